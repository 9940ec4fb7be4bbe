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
    assert columns == ["run", "started", "target", "status", "reuse", "duration"]
    assert [row[0] for row in rows] == ["run-other", "run-train", "run-prepare", "run-old"]
    assert rows[1][2:] == ["cpucluster", "running", "", ""], "what still runs has no duration yet"
    assert rows[2][2:] == ["pool", "completed", "", "42.5 s"]
    assert all(row[1].startswith("2026-") for row in rows)


@pytest.mark.usefixtures("root")
def test_list_of_one_dag_as_json_is_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    records = json.loads(said(capsys, "list", "--dag", "titanic", "-o", "json"))
    assert [r["run_id"] for r in records] == ["run-train", "run-prepare", "run-old"]
    assert records[0]["metrics"] == {"AUC": 0.87654321, "folds": 5}


@pytest.mark.usefixtures("empty")
def test_list_of_an_empty_workspace_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert table(said(capsys, "list")) == [["run", "started", "target", "status", "reuse", "duration"]]
    assert json.loads(said(capsys, "list", "-o", "json")) == []


@pytest.mark.usefixtures("root")
def test_list_shows_as_many_as_asked_for_and_says_that_there_are_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "--limit", "3"]) == 0
    out, err = capsys.readouterr()
    assert [row[0] for row in table(out)[1:]] == ["run-other", "run-train", "run-prepare"]
    assert "--limit 0" in err
    for limit in ("0", "4"):
        assert cli.main(["list", "--limit", limit, "-o", "json"]) == 0
        out, err = capsys.readouterr()
        assert (len(json.loads(out)), err) == (4, "")
    with pytest.raises(SystemExit, match="--limit -1 is not right"):
        cli.main(["list", "--limit", "-1"])


@pytest.mark.usefixtures("root")
def test_list_of_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    columns, *rows = table(said(capsys, "list", "--status", "running"))
    assert [row[0] for row in rows] == ["run-train"]
    with pytest.raises(SystemExit):
        cli.main(["list", "--status", "walking"])
    assert "'walking'" in capsys.readouterr().err


def test_a_damaged_record_costs_itself_only(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "runs/run-other/run.json").write_text("{")
    (root / "runs/run-train/run.json").write_text('{"dag_id": "titanic"}')
    assert [r["run_id"] for r in json.loads(said(capsys, "list", "-o", "json"))] == ["run-prepare", "run-old"]
    with pytest.raises(SystemExit, match="damaged"):
        cli.main(["show", "run-other"])


# -- show --------------------------------------------------------------------------------------------------------------


def test_show_tells_all_that_the_record_says(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns, *rows = table(said(capsys, "show", "run-train"))
    facts = {name: value.replace("\n", "") for name, value in rows}
    assert columns == ["what", "run-train"]
    assert (facts["step"], facts["status"], facts["dag_id"]) == ("train", "running", "titanic")
    record = json.loads((root / "runs/run-train/run.json").read_text())
    assert set(facts) == set(record)
    assert json.loads(said(capsys, "show", "run-train", "--output", "json")) == record


def test_show_is_read_by_people(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = {**REFERENCE, "schema": [{"name": "a", "nulls": 0, "type": "bigint"}, {"name": "b", "type": "string"}]}
    write_record(
        root, "run-nested", outputs={"prepared": reference}, metrics={"loss": list(range(100)), "table": {"a": ["x"]}},
        registered_by_script=[{"dataset": "x", "tags": {"a": "b"}}], tags={}, error="one\ntwo",
    )  # fmt: skip
    facts = dict(table(said(capsys, "show", "run-nested"))[1:])
    lines = facts["outputs"].splitlines()
    assert lines[0] == "prepared:"
    for line in ("size: 60.3 kB", "name: a, nulls: 0, type: bigint", "name: b, type: string", "dataset: passengers"):
        assert line in lines
    assert facts["error"].splitlines() == ["one", "two"]
    assert "18, 19, … (80 more)" in facts["metrics"]
    assert facts["tags"] == facts["version"] == ""
    assert facts["started"].startswith("2026-09-2")
    assert "{" not in "".join(facts.values())


@pytest.mark.usefixtures("root")
def test_the_beginning_of_an_id_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "show", "run-tr") == said(capsys, "show", "run-train")
    with pytest.raises(SystemExit, match="4 runs in the workspace default begin with 'run-'.*run-train"):
        cli.main(["show", "run-"])
    with pytest.raises(SystemExit, match="There is no run ''|is not a valid run name"):
        cli.main(["show", ""])


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


# -- why ---------------------------------------------------------------------------------------------------------------

CHANGED = {
    "decision": "ran",
    "reason": "not reused: train.py changed (lines +3 -1); input step2_input is version 4, was 3",
    "changes": ["train.py changed (lines +3 -1)", "input step2_input is version 4, was 3"],
    "from": None,
    "compared_with": "run-before",
}
REUSED = {
    "decision": "reused",
    "reason": "same code, environment, arguments and data as run run-first",
    "changes": [],
    "from": "run-first",
    "compared_with": None,
}
ANEW = {**REUSED, "decision": "revalidated", "reason": "validated anew: the gate of prepared changed"}


def test_why_names_each_change(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(root, "changed", reuse=CHANGED)
    assert table(said(capsys, "runs", "why", "changed")) == [
        ["what", "changed"],
        ["decision", "ran"],
        ["reason", CHANGED["reason"]],
        ["change", "train.py changed (lines +3 -1)"],
        ["change", "input step2_input is version 4, was 3"],
        ["compared with", "run-before"],
    ]
    told = json.loads(said(capsys, "runs", "why", "chan", "-o", "json"))
    assert told == {
        **CHANGED, "run_id": "changed", "dag_id": "titanic", "task_id": "prepare", "dag_run_id": OLDER, "map_index": -1,
        "status": "completed",
    }  # fmt: skip


@pytest.mark.parametrize(("reuse", "word"), [(REUSED, "reused"), (ANEW, "validated anew")])
def test_why_and_list_name_the_run_that_did_the_work(
    root: Path, capsys: pytest.CaptureFixture[str], reuse: dict[str, Any], word: str
) -> None:
    write_record(root, "again", reuse=reuse, reused_from="run-first", seconds=0.032)
    rows = dict(table(said(capsys, "runs", "why", "again")))
    assert (rows["decision"], rows["reused from"]) == (word, "run-first")
    row = next(r for r in table(said(capsys, "list")) if r[0] == "again")
    assert row[4:] == [f"{word}\nfrom run-first", "0.03 s"]


def test_why_of_the_newest_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_record(root, "newest", reuse=CHANGED, task_id="evaluate", started=1_790_000_500.0)
    write_record(root, "newest-2", reuse=REUSED, started=1_790_000_499.0)
    assert json.loads(said(capsys, "why", "--dag", "titanic", "-o", "json"))["run_id"] == "newest"
    assert (
        json.loads(said(capsys, "why", "--dag", "titanic", "--task", "prepare", "-o", "json"))["run_id"] == "newest-2"
    )


@pytest.mark.usefixtures("root")
def test_why_of_runs_about_which_nothing_was_decided(capsys: pytest.CaptureFixture[str]) -> None:
    assert "not decided yet" in said(capsys, "why", "run-train")
    assert "nothing was decided" in said(capsys, "why", "run-old")
    assert json.loads(said(capsys, "why", "run-old", "-o", "json"))["decision"] is None


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "Which run is not said"),
        (["run-old", "--dag", "titanic"], "Which run is not said"),
        (["run-old", "--task", "train"], "--task goes with --dag"),
        (["nobody"], "There is no run 'nobody'"),
        (["--dag", "nobody"], "There is no run of the DAG 'nobody'"),
        (["--dag", "titanic", "--task", "nobody"], "the task 'nobody' of the DAG 'titanic'"),
    ],
)
def test_why_of_what_is_not_there_is_a_sentence(argv: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["why", *argv])
    assert str(caught.value).startswith("error: ")
    assert message in str(caught.value)


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


def test_summary_leads_to_the_run_that_did_the_work(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = {"verdict": "passed", "statistics": {"passed": 3, "evaluated": 3}}
    more = {"dag_id": "again", "reused_from": "run-first"}
    write_record(root, "again-1", reuse=REUSED, verdicts={"out": {**verdict, "run": "run-judge"}}, **more)
    write_record(
        root, "again-2", reuse=ANEW, verdicts={"out": verdict, "old": {**verdict, "run": "run-first"}}, step="anew",
        started=1_790_000_001.0, **more,
    )  # fmt: skip
    write_record(
        root, "again-3", reuse=ANEW, status="failed", started=1_790_000_002.0, dag_id="again", verdicts={}, step="bad"
    )
    text = said(capsys, "summary", "--dag", "again")
    assert [row[2] for row in table(text)[1:]] == ["reused", "validated anew", "failed"]
    lines = [line.strip() for line in text.splitlines()]
    begin = lines.index("anew:")
    assert f"log     {root}/runs/run-first/logs/step.log" in lines[:begin]
    assert f"report  {root}/runs/run-judge/gates/out.html" in lines[:begin]
    assert "made by run-first" in lines[:begin]
    assert f"log     {root}/runs/again-2/logs/step.log" in lines[begin:], "it judged, and has a log of that"
    assert f"report  {root}/runs/again-2/gates/out.html" in lines[begin:]
    assert f"report  {root}/runs/run-first/gates/old.html" in lines[begin:]


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
    assert [command.name for command in runs.subcommands][:4] == ["list", "show", "why", "summary"]


def test_every_command_names_a_function_that_is_there() -> None:
    for command in cli.COMMANDS:
        module, _, name = command.function.partition(":")
        assert callable(getattr(importlib.import_module(f"stepwell.cli.{module}"), name)), command.path


def test_the_group_of_runs_may_be_left_out_without_airflow(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "runs", "show", "run-train") == said(capsys, "show", "run-train")
