"""Reuse as the author of a DAG meets it: on Airflow, with the page about it telling the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepwell import Workspace, cli
from stepwell.tracking import history
from stepwell.ui import artifacts, pages

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

DAG = """
from airflow.sdk import dag

from stepwell import OutputFileDatasetConfig, Workspace
from stepwell.operators import CommandStepOperator

store = Workspace.from_config().get_default_datastore()
numbers = OutputFileDatasetConfig("numbers").read_delimited_files().register_on_complete("numbers")


@dag(schedule=None, params={params})
def {name}():
    CommandStepOperator(
        task_id="count", command=["sh", "count.sh", numbers], source_directory="{source}", outputs=[numbers]
    )


{name}()
"""
SCRIPT = 'printf "n\\n1\\n2\\n" > "$1/numbers.csv"\necho counted\n'


class Pipeline:
    """A DAG of one step, run as ``airflow dags test`` and ``airflow dags trigger`` do."""

    def __init__(self, ws: Workspace, folder: Path, name: str, params: str) -> None:
        self.ws, self.name = ws, name
        self.source = folder / f"{name}_source"
        self.source.mkdir()
        (self.source / "count.sh").write_text(SCRIPT)
        self.file = folder / f"{name}.py"
        self.file.write_text(
            DAG.replace("{name}", name).replace("{params}", params).replace("{source}", str(self.source))
        )

    def run(self, conf: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the DAG and return the record of its step."""
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(self.file))
        assert not bag.import_errors
        assert bag.dags[self.name].test(run_conf=conf).state == "success"
        (record,) = history.latest_dag_run(self.ws, self.name)
        return record


@pytest.mark.parametrize("params", ["None", '{"regenerate_outputs": False}'])
@pytest.mark.parametrize("value", [True, "true"])
def test_regenerate_outputs_as_a_param_of_one_dag_run(ws: Workspace, more_dags: Path, params: str, value: Any) -> None:
    """The DAG need not declare it: what is given when a DAG run is started counts."""
    pipeline = Pipeline(ws, more_dags, f"regenerate_{len(params)}_{type(value).__name__}", params)
    decisions = [
        pipeline.run(conf)["reuse"] for conf in ({"regenerate_outputs": True}, None, {"regenerate_outputs": value})
    ]
    assert [d["reason"] for d in decisions[::2]] == ["regenerate_outputs=True"] * 2
    assert [d["decision"] for d in decisions] == ["ran", "reused", "ran"]
    assert pipeline.run({"regenerate_outputs": False})["reuse"]["decision"] == "reused", "of the newest one"


def test_regenerate_outputs_as_the_dags_own_default(ws: Workspace, more_dags: Path) -> None:
    pipeline = Pipeline(ws, more_dags, "regenerate_always", '{"regenerate_outputs": True}')
    assert [pipeline.run()["reuse"]["decision"] for _ in range(2)] == ["ran", "ran"]
    assert pipeline.run({"regenerate_outputs": False})["reuse"]["decision"] == "reused"


def test_what_people_are_told(ws: Workspace, more_dags: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line and the pages, over what real steps have written."""

    def said(*argv: str) -> str:
        capsys.readouterr()
        assert cli.main(["runs", *argv]) == 0
        return capsys.readouterr().out

    def page(record: dict[str, Any]) -> str:
        return pages.run_page(record, artifacts.opened(ws, record), "default", "/stepwell")

    pipeline = Pipeline(ws, more_dags, "told", "None")
    first = pipeline.run({"regenerate_outputs": True})
    again = pipeline.run()
    assert again["reused_from"] == first["run_id"]
    told = json.loads(said("why", again["run_id"], "-o", "json"))
    assert (told["decision"], told["from"]) == ("reused", first["run_id"])
    assert first["run_id"] in said("why", again["run_id"])
    log = next(line for line in said("summary", "--dag", "told").splitlines() if line.startswith("  log"))
    assert Path(log.split()[1]).read_text() == "counted\n"
    assert f'href="/stepwell/default/runs/{first["run_id"]}/log"' in page(again)
    assert "badge reused" in pages.dag_run_page([again], "default", "/stepwell")

    (pipeline.source / "count.sh").write_text(SCRIPT + "# a comment\n")
    changed = pipeline.run()
    text = said("why", "--dag", "told", "--task", "count")
    assert "count.sh changed (lines +1 -0)" in text
    assert first["run_id"] in text, "the run that it was compared with: the last one that did the work"
    assert "<li>count.sh changed (lines +1 -0)</li>" in page(changed)
    assert changed["outputs"]["numbers"]["version"] == first["outputs"]["numbers"]["version"] + 1
    shown = said("show", changed["run_id"])
    assert "decision: ran" in shown
    rows = [line for line in said("list", "--dag", "told", "--status", "completed").splitlines() if "reused" in line]
    assert len(rows) == 1
