"""The command line over a workspace with a few written records: as tables for people, as JSON for programs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.records import REFERENCE, write_record

from stepwell import cli

NEWEST, OLDER = "manual__2026-01-02T00:00:00+00:00", "manual__2026-01-01T00:00:00+00:00"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with two DAG runs of ``titanic`` (the newer one of two steps) and one of another DAG."""
    root = tmp_path / "workspace"
    monkeypatch.setenv("STEPWELL_ROOT", str(root))
    start = 1_790_000_000.0
    write_record(root, "run-old", started=start, dag_run_id=OLDER)
    write_record(root, "run-prepare", started=start + 100, dag_run_id=NEWEST)
    write_record(
        root, "run-train", started=start + 200, dag_run_id=NEWEST, step="train", task_id="train", target="cpucluster",
        status="running", seconds=None, ended=None, outputs={}, verdicts={}, metrics={"AUC": 0.87654321, "folds": 5},
        inputs={"step2_input": REFERENCE},
    )  # fmt: skip
    write_record(root, "run-other", started=start + 300, dag_id="payroll", dag_run_id=NEWEST)
    return root


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_ROOT", str(tmp_path / "workspace"))


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main(list(argv)) == 0
    return capsys.readouterr().out


def table(text: str) -> list[list[str]]:
    """Return the table's cells, the columns' names first; the lines of a cell are joined by a line break."""
    rows: list[list[str]] = []
    begin = True
    for line in text.splitlines():
        if line[:1] in {"╭", "├"}:
            begin = True
        elif line.startswith("│"):
            cells = [cell.strip() for cell in line.strip("│").split("│")]
            if begin:
                rows.append(cells)
            else:
                rows[-1] = [f"{a}\n{b}".strip("\n") for a, b in zip(rows[-1], cells, strict=True)]
            begin = False
    return rows


# -- list --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("root")
def test_list_shows_every_run_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    columns, *rows = table(said(capsys, "list"))
    assert columns == ["run", "started", "target", "status", "duration"]
    assert [row[0] for row in rows] == ["run-other", "run-train", "run-prepare", "run-old"]
    assert rows[1][2:] == ["cpucluster", "running", ""], "what still runs has no duration yet"
    assert rows[2][2:] == ["pool", "completed", "42.5 s"]
    assert all(row[1].startswith("2026-") for row in rows)


@pytest.mark.usefixtures("root")
def test_list_of_one_dag_as_json_is_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    records = json.loads(said(capsys, "list", "--dag", "titanic", "-o", "json"))
    assert [r["run_id"] for r in records] == ["run-train", "run-prepare", "run-old"]
    assert records[0]["metrics"] == {"AUC": 0.87654321, "folds": 5}


@pytest.mark.usefixtures("empty")
def test_list_of_an_empty_workspace_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert table(said(capsys, "list")) == [["run", "started", "target", "status", "duration"]]
    assert json.loads(said(capsys, "list", "-o", "json")) == []


# -- show --------------------------------------------------------------------------------------------------------------


def test_show_tells_all_that_the_record_says(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns, *rows = table(said(capsys, "show", "run-train"))
    facts = {name: value.replace("\n", "") for name, value in rows}
    assert columns == ["what", "run-train"]
    assert (facts["step"], facts["status"], facts["dag_id"]) == ("train", "running", "titanic")
    record = json.loads((root / "runs/run-train/run.json").read_text())
    assert set(facts) == set(record)
    assert json.loads(said(capsys, "show", "run-train", "--output", "json")) == record


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("run_id", "words"),
    [
        (
            "run-tain",
            ["There is no run 'run-tain' in the workspace default", "run-train", "airflow stepwell runs list"],
        ),
        ("../settings", ["'../settings'"]),
    ],
)
def test_show_of_a_run_that_is_not_there_is_a_sentence(run_id: str, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["show", run_id])
    message = str(caught.value)
    assert message.startswith("error: ")
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.usefixtures("root")
def test_the_sentence_goes_to_stderr_with_exit_code_1() -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}; from stepwell.cli import main; raise SystemExit(main())"
    done = subprocess.run([sys.executable, "-c", code, "show", "nope"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: There is no run 'nope'")
    assert len(done.stderr.splitlines()) == 1


# -- summary -----------------------------------------------------------------------------------------------------------


def test_summary_is_the_newest_dag_run_step_by_step(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "summary", "--dag", "titanic")
    columns, prepare, train = table(text)
    assert columns == ["step", "target", "status", "duration", "inputs", "outputs", "gate", "metrics"]
    assert text.splitlines()[0].strip() == f"titanic, run {NEWEST}"
    assert prepare == [
        "prepare", "pool", "completed", "42.5 s", "raw (180a998b)", "passengers v3", "warned (12/13)",
        "accuracy 0.825\nloss [3.000, 2.000, 1.500]",
    ]  # fmt: skip
    assert train == ["train", "cpucluster", "running", "", "passengers v3", "", "", "AUC 0.877\nfolds 5"]
    assert f"  log     {root}/runs/run-prepare/logs/step.log" in text.splitlines()
    assert f"  report  {root}/runs/run-prepare/gates/prepared.html" in text.splitlines()
    assert "  prepared file:///data/passengers" in text.splitlines()
    assert "run-old" not in text
    records = json.loads(said(capsys, "summary", "--dag", "titanic", "-o", "json"))
    assert [r["run_id"] for r in records] == ["run-prepare", "run-train"]


def test_summary_of_another_workspace(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    write_record(other, "run-there", dag_id="elsewhere")
    monkeypatch.setenv(
        "AIRFLOW_CONN_STEPWELL_SECOND", json.dumps({"conn_type": "stepwell_workspace", "host": str(other)})
    )
    records = json.loads(said(capsys, "summary", "--dag", "elsewhere", "--workspace", "second", "-o", "json"))
    assert [r["run_id"] for r in records] == ["run-there"]
    with pytest.raises(SystemExit, match=r"^error: No step of the DAG 'elsewhere' has run in the workspace default"):
        cli.main(["summary", "--dag", "elsewhere"])


# -- as commands of Airflow --------------------------------------------------------------------------------------------


def test_airflow_gets_the_same_commands() -> None:
    (group,) = cli.get_commands()
    found: Any = group
    runs = next(command for command in found.subcommands if command.name == "runs")
    assert (group.name, runs.name) == ("stepwell", "runs")
    assert [command.name for command in runs.subcommands][:3] == ["list", "show", "summary"]


def test_every_command_names_a_function_that_is_there() -> None:
    for command in cli.COMMANDS:
        module, _, name = command.function.partition(":")
        assert callable(getattr(importlib.import_module(f"stepwell.cli.{module}"), name)), command.path


def test_the_group_of_runs_may_be_left_out_without_airflow(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "runs", "show", "run-train") == said(capsys, "show", "run-train")
