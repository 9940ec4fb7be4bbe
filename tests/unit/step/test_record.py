"""The record of a run: metrics in v1's exact shapes, phases that add up, a second try that goes on with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepwell.compute.contract import Handle, Outcome
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
    found = stored(again)
    assert (found["try_number"], found["status"], found["inputs"]) == (2, "running", {"a": {"id": "x"}})
    assert found["started"] == record.facts["started"]
