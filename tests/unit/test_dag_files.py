"""Parsing DAG files: the same result each time, and no look at disk, network or workspace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PARSE = """
import json, sys
from pathlib import Path

opened = []
if "--closed" in sys.argv:
    def watch(event, args):
        if event.startswith("socket.connect") or event == "socket.getaddrinfo" or event == "subprocess.Popen":
            opened.append([event, repr(args)])
        if event in ("open", "os.listdir", "os.mkdir", "os.rename") and sys.argv[2] in str(args[0]):
            opened.append([event, str(args[0])])

from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
import airflow.sdk

if "--closed" in sys.argv:
    sys.addaudithook(watch)
found = {}
for file in sorted(Path(sys.argv[1]).glob("*.py")):
    bag = DagBag(str(file))
    assert not bag.import_errors, bag.import_errors
    for dag in bag.dags.values():
        found[dag.dag_id] = DagSerialization.to_dict(dag)
json.dump({"dags": found, "opened": opened}, sys.stdout, sort_keys=True)
"""


def parse(project: Path, *more: str, **variables: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(project / "dags"), *more],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout[done.stdout.index('{"dags"') :]))


@pytest.fixture(scope="module")
def parsed(project: Path) -> dict[str, Any]:
    return dict(parse(project, PYTHONHASHSEED="1")["dags"])


def test_two_parses_of_each_dag_file_give_the_same_dag(parsed: dict[str, Any], project: Path) -> None:
    again = parse(project, PYTHONHASHSEED="2")["dags"]
    assert set(again) == set(parsed) >= {"titanic_pipeline", "titanic_scoring"}
    for name, dag in parsed.items():
        assert again[name] == dag, name
        assert " at 0x" not in json.dumps(dag)


def test_parsing_looks_at_no_workspace_no_network_and_starts_no_process(project: Path, tmp_path: Path) -> None:
    """The root lies below a file: whatever touches it fails; and every touch of it is seen."""
    (tmp_path / "file").write_text("")
    root = str(tmp_path / "file" / "workspace")
    looked = parse(project, root, "--closed", STEPWELL_ROOT=root, STEPWELL_SCRATCH=root)["opened"]
    assert looked == []


def tasks(dag: dict[str, Any]) -> dict[str, Any]:
    return {task["__var"]["task_id"]: task["__var"] for task in dag["dag"]["tasks"]}


def uris(assets: list[Any]) -> list[str]:
    return [a["__var"]["uri"] for a in assets if "uri" in a["__var"]]


def test_the_article_s_pipeline_has_its_edges_and_assets(parsed: dict[str, Any]) -> None:
    found = tasks(parsed["titanic_pipeline"])
    assert set(found["synapse-spark"]["downstream_task_ids"]) == {"train"}
    assert set(found["attach-spark"]["downstream_task_ids"]) == {"synapse-spark"}
    assert uris(found["synapse-spark"]["outlets"]) == ["stepwell://default/registered_dataset"]
    assert uris(found["train"]["outlets"]) == ["stepwell://default/titanic_model"]
    assert found["train"]["arguments"][0] == {"input": "step2_input"}


def test_the_scoring_dag_waits_for_both_datasets(parsed: dict[str, Any]) -> None:
    dag = parsed["titanic_scoring"]
    text = json.dumps(dag["dag"]["timetable"])
    assert "stepwell://default/registered_dataset" in text
    assert "stepwell://default/titanic_model" in text
    assert "asset_all" in text.lower()
    (score,) = tasks(dag).values()
    assert uris(score["inlets"]) == ["stepwell://default/registered_dataset", "stepwell://default/titanic_model"]
    assert uris(score["outlets"]) == ["stepwell://default/titanic_scores"]
