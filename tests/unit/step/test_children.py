"""Child runs from the events of a job: folded as they come, whatever a script writes, and kept beside the record."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from stepwell.compute import portal
from stepwell.compute.contract import Handle, Outcome
from stepwell.step.children import ChildRecord, ChildRuns, fold
from stepwell.step.record import RunRecord
from stepwell.workspace import Workspace

HANDLE = Handle("local", "run-1", "/d")
FOLDER = "runs/run-1"


def child(identity: str, state: str, t: float, **more: Any) -> dict[str, Any]:
    return {
        "kind": "child",
        "id": identity,
        "name": f"trial {identity}",
        "parent": "run-1",
        "state": state,
        "t": t,
        **more,
    }


def logged(identity: str, name: str, value: Any, t: float, kind: str = "scalar") -> dict[str, Any]:
    return {"kind": "metric", "run": identity, "scope": "run", "type": kind, "name": name, "value": value, "t": t}


def trials(count: int, metrics: int = 3) -> list[dict[str, Any]]:
    """Return what a search emits: two events a trial."""
    events = []
    for n in range(count):
        rich = {"parameters": {"depth": n}, "properties": {"iteration": n, "model": "LightGBM", "score": n / count}}
        events.append(child(f"run-1_{n}", "Running", 10.0 + n, started=10.0 + n, **rich))
        scores = {f"metric_{i}": n / count + i for i in range(metrics)}
        events.append(child(f"run-1_{n}", "Completed", 10.5 + n, seconds=0.5, metrics=scores, error=None))
    return events


class Target:
    """Hands over what was put in, once; an exception is raised."""

    def __init__(self, *news: Any) -> None:
        self.news = list(news)

    async def events(self, _: Handle, seen: set[str]) -> list[dict[str, Any]]:
        new = self.news.pop(0) if self.news else []
        seen.add(str(len(seen)))
        if isinstance(new, Exception):
            raise new
        return list(new)

    async def collect(self, _: Handle, into: Path) -> Outcome:
        return Outcome({"status": "succeeded"}, self.news.pop(), into, {})


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(root=tmp_path)


def stored(ws: Workspace) -> list[dict[str, Any]]:
    try:
        document = ws.store.read_json(f"{FOLDER}/children.json")
    except FileNotFoundError:
        return []
    assert document["format"] == 1
    return list(document["children"])


def test_a_trial_is_folded_from_its_beginning_and_its_end() -> None:
    assert fold(trials(2))[1] == {
        "id": "run-1_1", "name": "trial run-1_1", "parent": "run-1", "status": "Completed", "started": 11.0,
        "seconds": 0.5, "metrics": {"metric_0": 0.5, "metric_1": 1.5, "metric_2": 2.5}, "parameters": {"depth": 1},
        "properties": {"iteration": 1, "model": "LightGBM", "score": 0.5}, "tags": {}, "error": None,
    }  # fmt: skip


def test_children_of_a_script_log_their_metrics_one_by_one() -> None:
    """As v1's layer writes them: no times but the event's, metrics and tags apart, the end without a name sometimes."""
    events = [
        child("a", "Running", 5.0),
        child("b", "Running", 6.0),
        logged("a", "loss", 0.5, 7.0), logged("a", "loss", 0.25, 8.0), logged("b", "loss", 1, 8.0),
        logged("b", "curve", [1, 2], 8.5, "list"), logged("b", "table", {"x": 1}, 8.6, "row"),
        {"kind": "metric", "scope": "run", "type": "scalar", "name": "own", "value": 1, "t": 8.7},
        {"kind": "tag", "run": "b", "scope": "run", "key": "colour", "value": "blue", "t": 9.0},
        {"kind": "tag", "run": "b", "scope": "run", "key": "gone", "value": "x", "t": 9.0},
        {"kind": "tag", "run": "b", "scope": "run", "key": "gone", "removed": True, "t": 9.1},
        {"kind": "property", "run": "b", "scope": "run", "key": "p", "value": "1", "t": 9.2},
        {"kind": "property", "run": "b", "scope": "run", "key": "p", "value": "2", "t": 9.3},
        {"kind": "child", "id": "a", "state": "Failed", "error": "singular matrix", "t": 10.0},
    ]  # fmt: skip
    a, b = fold(events)
    assert (a["status"], a["started"], a["seconds"], a["error"]) == ("Failed", 5.0, 5.0, "singular matrix")
    assert a["metrics"] == {"loss": [0.5, 0.25]}
    assert (b["status"], b["seconds"], b["tags"], b["properties"]) == ("Running", None, {"colour": "blue"}, {"p": "1"})
    assert b["metrics"] == {"loss": 1, "curve": [1, 2], "table": {"x": 1}}


def test_the_order_of_arrival_does_not_matter() -> None:
    """Segments of two processes come as they are written, not by the times in them."""
    events = trials(20)
    wanted = fold(events)
    random.Random(1).shuffle(events)
    shuffled = ChildRuns()
    for event in events:
        shuffled.feed([event])
    assert shuffled.to_list() == wanted


@pytest.mark.parametrize(
    "event",
    [
        child("a", "Completed", 2.0, metrics="none", parameters=[1], properties=7, started="x", seconds=True, error=5),
        child("a", "Completed", 2.0, metrics={"x": float("nan"), "y": float("-inf")}, seconds=float("nan")),
        child("a", "Completed", 2.0, metrics={"\ud800": "\udfff"}, name="\ud800", error="\ud800"),
        child("a", "x" * 10_000, 2.0, name="x" * 10_000, error="x" * 10_000),
        {"kind": "child", "id": None, "t": 2.0},
        {"kind": "child", "id": {"a": 1}, "t": 2.0},
        {"kind": "metric", "run": "a", "t": 2.0},
        {"kind": "metric", "run": "a", "name": "loss", "t": 2.0},
        {"kind": "metric", "run": "a", "name": "loss", "type": ["row"], "value": 1, "t": 2.0},
        {"kind": "metric", "run": ["a"], "name": "loss", "type": "scalar", "value": 1, "t": 2.0},
        {"kind": "tag", "run": "a", "t": 2.0},
        {"kind": "unreadable", "segment": "step-000000.jsonl", "t": 0.0},
    ],
)
def test_whatever_a_script_writes_costs_the_others_nothing(event: dict[str, Any]) -> None:
    children = ChildRuns()
    children.feed([child("a", "Running", 1.0), event, *trials(1)])
    document = json.loads(children.to_bytes(), parse_constant=pytest.fail)
    assert [c["id"] for c in document["children"]] == ["a", "run-1_0"]
    assert all(len(str(value)) < 5000 for value in document["children"][0].values())
    assert document["children"][1]["metrics"]["metric_0"] == 0.0


def test_nesting_without_end_costs_its_child_the_details_only() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    try:
        found = fold([child("a", "Completed", 1.0, metrics={"x": deep}), *trials(1)])
    finally:
        while isinstance(deep, list):  # freed in pieces: the interpreter's own way is recursive
            deep = deep.pop()
    assert [(c["id"], c["metrics"]) for c in found] == [("a", {}), ("run-1_0", found[1]["metrics"])]


def test_of_a_long_series_the_last_values_are_kept() -> None:
    (one,) = fold([child("a", "Running", 1.0), *(logged("a", "loss", n, 2.0 + n) for n in range(5000))])
    assert len(one["metrics"]["loss"]) == 1000
    assert one["metrics"]["loss"][-1] == 4999


def test_what_was_logged_before_the_child_is_known_is_not_lost() -> None:
    children = ChildRuns()
    assert children.feed([logged("a", "loss", 1, 1.0)])
    assert not children
    children.feed([child("a", "Running", 0.5)])
    assert children.to_list()[0]["metrics"] == {"loss": 1}


def test_a_thousand_trials_are_cheap_to_write() -> None:
    """1,000 trials of 40 metrics: what is new is folded and made JSON, the rest is there already."""
    children = ChildRuns()
    children.feed(trials(1000, 40))
    children.to_bytes()
    began = time.perf_counter()
    children.feed(trials(1001, 40)[-4:])
    data = children.to_bytes()
    assert time.perf_counter() - began < 0.05
    assert len(json.loads(data)["children"]) == 1001


# -- while the job runs ------------------------------------------------------------------------------------------------


def following(ws: Workspace, target: Target, *, mine: bool = True, seconds: float = 0.5) -> ChildRecord:
    record = ChildRecord(ws, FOLDER)
    log = logging.getLogger("test")
    with portal.during(record.follow(target, HANDLE, log, lambda: mine, pause=0.01)):  # type: ignore[arg-type]
        deadline = time.monotonic() + 10
        while target.news and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(seconds if not mine else 0.2)
    return record


def test_it_is_written_while_the_job_runs(ws: Workspace) -> None:
    events = trials(3)
    following(ws, Target(events[:3], [], events[3:5]))
    assert [c["status"] for c in stored(ws)] == ["Completed", "Completed", "Running"]


def test_trouble_is_said_once_and_gone_over(ws: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    following(ws, Target(OSError("no route"), OSError("no route"), trials(1)))
    assert [c["status"] for c in stored(ws)] == ["Completed"]
    assert [r.getMessage() for r in caplog.records].count(
        "The child runs cannot be followed for now; they are kept at the end: no route"
    ) == 1


def test_what_could_not_be_written_is_written_the_next_time(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, full = ws.store.replace, [OSError("disk full")]

    def sometimes(*args: Any, **kwargs: Any) -> None:
        if full:
            raise full.pop()
        replace(*args, **kwargs)

    monkeypatch.setattr(ws.store, "replace", sometimes)
    following(ws, Target(trials(1)))
    assert len(stored(ws)) == 1


def test_a_try_that_was_overtaken_writes_nothing(ws: Workspace) -> None:
    following(ws, Target(trials(1)), mine=False)
    assert stored(ws) == []


def test_nothing_is_written_of_a_step_without_child_runs(ws: Workspace) -> None:
    own = {"kind": "metric", "scope": "run", "type": "scalar", "name": "own", "value": 1, "t": 8.7}
    record = following(ws, Target([own]))
    record.finish([own])
    assert not ws.store.exists(f"{FOLDER}/children.json")


def test_a_write_that_is_late_does_not_replace_the_whole(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job ends while a write is under way: it is let end, and the whole is written behind it."""
    under_way, go_on = threading.Event(), threading.Event()
    replace = ws.store.replace

    def slow(path: str, data: bytes, *, durable: bool = True) -> None:
        if not durable:
            under_way.set()
            assert go_on.wait(10)
        replace(path, data, durable=durable)

    monkeypatch.setattr(ws.store, "replace", slow)
    record = ChildRecord(ws, FOLDER)
    target: Any = Target(trials(1))
    with portal.during(record.follow(target, HANDLE, logging.getLogger("test"), lambda: True, pause=0.01)):
        assert under_way.wait(10)
    threading.Timer(0.2, go_on.set).start()
    record.finish(trials(5))
    time.sleep(0.1)
    assert len(stored(ws)) == 5


def test_when_the_job_has_ended_the_whole_is_kept(ws: Workspace) -> None:
    record = RunRecord(ws, "run-1")
    target: Any = Target(trials(4))
    record.fetch(target, HANDLE)
    assert [c["id"] for c in stored(ws)] == [f"run-1_{n}" for n in range(4)]
