"""The record of a run: metrics in v1's exact shapes, phases that add up, a second try that goes on with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepwell.compute.contract import Handle, Outcome
from stepwell.step.logged import brief_metrics
from stepwell.step.record import RunRecord
from stepwell.step.spec import JobKey, StepSpec
from stepwell.workspace import Workspace

SPEC = StepSpec("s", "python", "local")
KEY = JobKey("i", "d", "r", "s")


class Target:
    """Hands over *events* of an ended job."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events

    async def collect(self, _: Handle, into: Path) -> Outcome:
        return Outcome({"status": "succeeded"}, self.events, into, {})


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    record = RunRecord(Workspace(root=tmp_path), "run-1")
    record.open(SPEC, KEY, 1)
    return record


def stored(record: RunRecord) -> dict[str, Any]:
    return dict(record.ws.store.read_json("runs/run-1/run.json"))


def logged(kind: str, *values: Any, scope: str = "run") -> list[dict[str, Any]]:
    return [{"kind": "metric", "type": kind, "name": "m", "value": value, "scope": scope} for value in values]


def fetched(record: RunRecord, events: list[dict[str, Any]]) -> dict[str, Any]:
    record.fetch(Target(events), Handle("local", "j", "/d"))  # type: ignore[arg-type]
    return stored(record)


@pytest.mark.parametrize(
    ("events", "shape"),
    [
        (logged("scalar", 1), 1),
        (logged("scalar", 1, 2), [1, 2]),
        (logged("scalar", 0.5, None, "x", True), [0.5, None, "x", True]),
        (logged("list", [1]), [1]),
        (logged("list", [1, 2]), [1, 2]),
        (logged("row", {"a": 1, "b": "x"}), {"a": 1, "b": "x"}),
        (logged("row", {"a": 1}, {"a": 2}), {"a": [1, 2]}),
        (logged("row", {"a": 1}, {"b": 2}, {"a": 3, "b": 4}), {"a": [1, None, 3], "b": [None, 2, 4]}),
        (logged("row", {"a": 1}, {"a": "no number"}), {"a": [1, None]}),
        (logged("table", {"a": [1, 2], "b": [3, 4]}), {"a": [1, 2], "b": [3, 4]}),
        (logged("scalar", float("nan")), "nan"),
    ],
)
def test_metrics_have_the_shapes_that_v1_gives_them(record: RunRecord, events: Any, shape: Any) -> None:
    assert fetched(record, events)["metrics"] == {"m": shape}


def test_metrics_of_the_parent_and_tags_are_apart(record: RunRecord) -> None:
    tags = [{"kind": "tag", "key": "a", "value": v} for v in "12"]
    found = fetched(record, [*logged("scalar", 1), *logged("scalar", 2, scope="parent"), *tags])
    assert (found["metrics"], found["parent_metrics"], found["tags"]) == ({"m": 1}, {"m": 2}, {"a": "2"})
    json.dumps(found, allow_nan=False)


def test_a_phase_gone_through_twice_adds_up_and_is_kept_when_it_fails(record: RunRecord) -> None:
    with record.phase("run"):
        pass
    record.facts["phases"]["run"] = 5.0
    with pytest.raises(ValueError, match="x"), record.phase("run"):
        raise ValueError("x")
    record.close("failed", "x")
    found = stored(record)
    assert found["phases"]["run"] >= 5.0
    assert (found["status"], found["error"]) == ("failed", "x")
    assert found["seconds"] >= 0


def test_another_try_goes_on_with_the_record(record: RunRecord) -> None:
    record.note(inputs={"a": {"id": "x"}})
    again = RunRecord(record.ws, "run-1")
    again.open(SPEC, KEY, 2)
    again.note()
    found = stored(again)
    assert (found["try_number"], found["status"], found["inputs"]) == (2, "running", {"a": {"id": "x"}})
    assert found["started"] == record.facts["started"]


def test_a_long_series_is_cut_in_the_record_and_whole_beside_it(record: RunRecord) -> None:
    rows = [{"kind": "metric", "type": "row", "name": "t", "value": {"a": i}} for i in range(1500)]
    facts = fetched(record, [*logged("scalar", *range(1200)), *rows])
    assert facts["metrics"]["m"] == list(range(200, 1200))
    assert facts["metrics"]["t"] == {"a": list(range(500, 1500))}
    assert facts["metric_counts"] == {"m": 1200, "t": 1500}
    whole = record.ws.store.read_json("runs/run-1/metrics.json")
    assert whole["metrics"]["m"] == list(range(1200))
    assert brief_metrics({**facts["metrics"], "s": 1, "l": [1, 2]}, facts["metric_counts"]) == {
        "m": {"last": 1199, "count": 1200},
        "t": {"last": {"a": 1499}, "count": 1500},
        "s": 1,
        "l": [1, 2],
    }


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "metric"},
        {"kind": "metric", "name": ["x"], "type": "scalar", "value": 1},
        {"kind": "metric", "name": "b", "type": "scalar"},
        {"kind": "metric", "name": "b", "type": "list", "value": 1},
        {"kind": "metric", "name": "b", "type": "table", "value": {"a": 1}},
        {"kind": "metric", "name": "b", "type": {}, "value": 1},
        {"kind": "metric", "name": "\ud800", "type": "scalar", "value": "\ud800"},
        {"kind": "tag"},
        {"kind": "tag", "key": {}, "value": 1},
        {"kind": "tag", "key": "nan", "value": float("nan")},
    ],
)
def test_a_malformed_event_costs_itself_and_nothing_else(record: RunRecord, bad: dict[str, Any]) -> None:
    facts = fetched(record, [bad, *logged("scalar", 1), {"kind": "tag", "key": "k", "value": "v"}])
    assert facts["metrics"]["m"] == 1
    assert facts["tags"]["k"] == "v"


def test_what_was_fetched_for_a_workspace_elsewhere_is_removed_at_the_end(
    record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record.ws.store, "local_path", lambda _: None)
    outcome = record.fetch(Target([]), Handle("local", "j", "/d"))  # type: ignore[arg-type]
    assert outcome.directory.is_dir()
    record.close("completed")
    assert not outcome.directory.exists()
