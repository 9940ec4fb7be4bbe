"""The child runs of a run: those of the run that did the work, ended with it, and the best of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.children import TRIALS, document, trial
from tests.support.records import write_record

from stepwell import Workspace
from stepwell.errors import StepwellError, UserErrorException
from stepwell.tracking import children


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace("default", root=tmp_path)


def write(tmp_path: Path, found: list[dict[str, Any]], run_id: str = "run-search", **facts: Any) -> str:
    return write_record(tmp_path, run_id, {"children.json": document(found)}, **facts)


def test_a_run_without_child_runs_has_none(ws: Workspace, tmp_path: Path) -> None:
    write_record(tmp_path, "run-plain")
    assert children.children(ws, "run-plain") == []
    with pytest.raises(UserErrorException, match="The run run-plain has no child runs"):
        children.best_child(ws, "run-plain", "accuracy")
    with pytest.raises(UserErrorException, match="There is no run 'nope'"):
        children.children(ws, "nope")


@pytest.mark.parametrize(
    ("status", "last"),
    [("running", "Running"), ("completed", "Completed"), ("failed", "Canceled"), ("cancelled", "Canceled")],
)
def test_with_its_run_a_child_ends_too(ws: Workspace, tmp_path: Path, status: str, last: str) -> None:
    """A step that was killed cannot say how its trials ended."""
    write(tmp_path, TRIALS, status=status)
    found = children.children(ws, "run-search")
    assert [c["status"] for c in found] == ["Completed", "Completed", "Failed", "Completed", "Completed", last]
    assert (found[5]["error"] is not None) is (last == "Canceled")


def test_of_a_run_that_was_reused_those_of_the_run_that_did_the_work(ws: Workspace, tmp_path: Path) -> None:
    write(tmp_path, TRIALS)
    reuse = {"decision": "reused", "reason": "", "changes": [], "from": "run-search", "compared_with": "run-search"}
    write_record(tmp_path, "run-again", reuse=reuse, reused_from="run-search")
    assert children.children(ws, "run-again") == children.children(ws, "run-search")
    assert children.best_child(ws, "run-again")["id"] == "run-search_3"


@pytest.mark.parametrize(("metric", "best"), [(None, 3), ("AUC_weighted", 3), ("accuracy", 0), ("log_loss", 0)])
def test_the_best_child(ws: Workspace, tmp_path: Path, metric: str | None, best: int) -> None:
    write(tmp_path, TRIALS, status="running")
    assert children.best_child(ws, "run-search", metric)["properties"]["iteration"] == best


def test_what_is_no_number_or_failed_is_never_the_best(ws: Workspace, tmp_path: Path) -> None:
    bad = [
        trial(0, 0.5, metrics={"AUC_weighted": "nan"}), trial(1, 0.5, metrics={"AUC_weighted": "inf"}),
        trial(2, 0.5, metrics={"AUC_weighted": True}), trial(3, 0.5, metrics={"AUC_weighted": {"a": 1}}),
        trial(4, status="Failed", metrics={"AUC_weighted": 0.99}), trial(5, 0.5, metrics={"AUC_weighted": []}),
    ]  # fmt: skip
    write(tmp_path, [*bad, trial(6, 0.7), trial(7, 0.7)])
    assert children.best_child(ws, "run-search", "AUC_weighted")["id"] == "run-search_6"
    write(tmp_path, bad, "run-bad")
    with pytest.raises(UserErrorException, match="No child of run run-bad has a 'AUC_weighted' that is a number"):
        children.best_child(ws, "run-bad", "AUC_weighted")


def test_metrics_of_ones_own_need_a_direction(ws: Workspace, tmp_path: Path) -> None:
    """Of a script with v1's ``child_run()``; several values of a metric were logged: the last one counts."""
    logged = [{"id": "a", "metrics": {"loss": [1, 0.25]}}, {"id": "b", "metrics": {"loss": [0.1, 0.5]}}, {"id": "c"}]
    write(tmp_path, [{"status": "Completed", **c} for c in logged])
    assert children.best_child(ws, "run-search", "loss", "min")["id"] == "a"
    assert children.best_child(ws, "run-search", "loss", "max")["id"] == "b"
    for direction in (None, "down"):
        with pytest.raises(UserErrorException, match="max"):
            children.best_child(ws, "run-search", "loss", direction)


def test_errors_name_the_metrics_that_there_are(ws: Workspace, tmp_path: Path) -> None:
    write(tmp_path, TRIALS)
    with pytest.raises(UserErrorException, match="No child of run run-search has the metric 'AUC'.*AUC_weighted"):
        children.best_child(ws, "run-search", "AUC")
    write(tmp_path, [{"id": "a", "status": "Completed", "metrics": {"loss": 1}}], "run-own")
    with pytest.raises(UserErrorException, match="is not known.*loss"):
        children.best_child(ws, "run-own")


def test_the_primary_metric_is_the_one_that_the_score_is(ws: Workspace) -> None:
    assert children.primary_metric(TRIALS) == "AUC_weighted"
    assert children.primary_metric([trial(0, 0.9)]) is None, "it could be the accuracy as well"
    named = trial(0, 0.9)
    named["properties"]["primary_metric"] = "accuracy"
    assert children.primary_metric([named]) == "accuracy"
    assert children.primary_metric([{**trial(0), "properties": {}}]) is None


def test_the_best_score_comes_first() -> None:
    assert [c["properties"]["iteration"] for c in children.ranked(TRIALS)] == [3, 4, 1, 0, 2, 5]
    low = [trial(n, s, metrics={"log_loss": s}) for n, s in enumerate([0.3, 0.1, 0.2])]
    assert [c["properties"]["iteration"] for c in children.ranked(low)] == [1, 2, 0]
    plain = [{**trial(n), "properties": {}} for n in range(3)]
    assert children.ranked(plain) == plain


def test_a_damaged_file_is_said_and_a_page_goes_on_without(ws: Workspace, tmp_path: Path) -> None:
    record: dict[str, Any] = {
        "run_id": write_record(tmp_path, "run-bad", {"children.json": "{"}),
        "status": "completed",
    }
    with pytest.raises(StepwellError, match="damaged"):
        children.of_record(ws, record)
    assert children.read(ws, record) == []
