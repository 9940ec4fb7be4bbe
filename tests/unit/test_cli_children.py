"""``runs show --children`` and ``runs best`` over the child runs of a search, and of a script."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.children import TRIALS, document, trial
from tests.support.records import write_record

from stepwell import cli


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "workspace"
    monkeypatch.setenv("STEPWELL_ROOT", str(root))
    write_record(root, "run-search", {"children.json": document(TRIALS)}, status="running", ended=None, seconds=None)
    write_record(root, "run-plain")
    return root


def rows(text: str) -> list[list[str]]:
    return [[c.strip() for c in line.strip("│").split("│")] for line in text.splitlines() if line.startswith("│")]


@pytest.mark.usefixtures("root")
def test_the_trials_of_a_search_that_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs", "show", "run-s", "--children"]) == 0
    out, err = capsys.readouterr()
    assert "run-search (running), child runs: 4 completed, 1 running, 1 failed" in out
    columns, first, second, *_ = rows(out)
    assert columns == ["child", "model", "status", "AUC_weighted", "duration", "reason"]
    assert first == ["3", "LogisticRegression", "Completed", "0.92", "1.8 s", ""]
    assert second[1] == "StandardScaler, LogisticRegression"
    failed = next(row for row in rows(out) if row[0] == "2")
    assert failed[2:4] == ["Failed", ""]
    assert failed[5].startswith("it was killed (SIGKILL)")
    assert next(row for row in rows(out) if row[0] == "5")[2:5] == ["Running", "", ""]
    assert err == ""


@pytest.mark.usefixtures("root")
def test_as_many_as_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for limit, count in (("2", 2), ("0", 6), ("6", 6)):
        assert cli.main(["show", "run-search", "--children", "--limit", limit, "-o", "json"]) == 0
        out, err = capsys.readouterr()
        found = json.loads(out)
        assert (len(found), found[0]["id"], "There are 4 more" in err) == (count, "run-search_3", count == 2)
    for arguments, message in ((["--children", "--limit", "-1"], "--limit -1"), (["--limit", "3"], "goes with")):
        with pytest.raises(SystemExit, match=message):
            cli.main(["show", "run-search", *arguments])


def test_the_children_of_a_script_have_their_first_metrics(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        {"id": "x1", "name": "depth 3", "status": "Completed", "seconds": 0.25, "metrics": {"loss": [2, 1.5], "n": 3}},
        {"id": "x2", "name": "[red]\x1b[31m", "status": "Failed", "error": "no luck", "metrics": {"m": 1, "k": 1}},
    ]
    write_record(root, "run-script", {"children.json": document(found)})
    assert cli.main(["show", "run-script", "--children"]) == 0
    out = capsys.readouterr().out
    assert rows(out)[0] == ["child", "model", "status", "loss", "n", "m", "duration", "reason"]
    assert rows(out)[1] == ["depth 3", "", "Completed", "1.5", "3", "", "0.25 s", ""]
    assert "[red]" in out
    assert "\x1b" not in out


@pytest.mark.usefixtures("root")
def test_the_best_child(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs", "best", "run-search"]) == 0
    out = capsys.readouterr().out
    for shown in ("AUC_weighted", "0.92", "run-search_3", "accuracy: 0.87", "C: 1.25", "iteration: 3"):
        assert shown in out
    assert cli.main(["best", "run-search", "--metric", "log_loss", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == trial(0, 0.80)
    assert cli.main(["best", "run-search", "--metric", "accuracy", "--direction", "min", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "run-search_4"


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["show", "run-plain", "--children"], "^error: The run run-plain has no child runs"),
        (["best", "run-plain"], "^error: The run run-plain has no child runs"),
        (["best", "run-search", "--metric", "aucweighted"], "^error: No child .* 'aucweighted'.*AUC_weighted"),
        (["best", "nope"], "^error: There is no run 'nope'"),
        (["show", "nope", "--children"], "^error: There is no run 'nope'"),
    ],
)
def test_what_is_not_there_is_a_sentence(argv: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message) as caught:
        cli.main(argv)
    assert "\n" not in str(caught.value)


def test_as_a_program(root: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; import runpy; runpy.run_module('stepwell.cli', run_name='__main__')"
    )
    argv = [sys.executable, "-c", code, "runs", "best", "run-search", "-o", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["id"] == "run-search_3"
