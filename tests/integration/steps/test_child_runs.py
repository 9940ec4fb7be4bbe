"""Child runs of a step are there while it runs, and whatever becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.steps import Bench, until

from stepwell.errors import ActivityFailedException
from stepwell.operators import PythonScriptStepOperator
from stepwell.step import children as step_children
from stepwell.tracking import children, history

pytestmark = pytest.mark.integration

SEARCH = """
import os, sys, time
from azureml.core import Run
run = Run.get_context()
for depth in (1, 2):
    child = run.child_run(name=f"depth {depth}")
    child.log("loss", 1 / depth)
    child.tag("depth", depth)
    child.complete()
last = run.child_run(name="depth 3")
run.flush()
while not os.path.exists(sys.argv[1]): time.sleep(0.02)
if sys.argv[2] == "fail": sys.exit("the search broke")
last.log("loss", 0.1)
last.complete()
"""


def step(bench: Bench, end: str) -> PythonScriptStepOperator:
    return PythonScriptStepOperator(
        task_id="search",
        script_name="s.py",
        source_directory=bench.source({"s.py": SEARCH}),
        arguments=[str(bench.folder / "go"), end],
    )


def found(bench: Bench) -> list[tuple[str, str, Any]]:
    (record, *_) = history.runs(bench.ws) or [None]
    listed = children.of_record(bench.ws, record) if record else []
    return [(c["name"], c["status"], c["metrics"].get("loss")) for c in listed]


@pytest.mark.parametrize(("end", "last"), [("well", ("Completed", 0.1)), ("fail", ("Canceled", None))])
def test_child_runs_are_seen_while_the_step_runs_and_afterwards(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, end: str, last: tuple[str, Any]
) -> None:
    monkeypatch.setattr(step_children.ChildRecord.follow, "__defaults__", (0.05,))
    first = [("depth 1", "Completed", 1.0), ("depth 2", "Completed", 0.5)]
    with bench.meanwhile(step(bench, end)) as ended:
        until(lambda: found(bench) == [*first, ("depth 3", "Running", None)])
        assert not ended
        (bench.folder / "go").touch()
    assert isinstance(ended[0], ActivityFailedException) is (end == "fail")
    assert found(bench) == [*first, ("depth 3", *last)]


def test_another_try_that_adopts_the_job_sees_them_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_children.ChildRecord.follow, "__defaults__", (0.05,))
    search = step(bench, "well")
    with bench.elsewhere(search) as worker:
        until(lambda: len(found(bench)) == 3)
        worker.kill()
    with bench.meanwhile(search, try_number=2):
        (bench.folder / "go").touch()
    assert [status for _, status, _ in found(bench)] == ["Completed"] * 3


def test_a_reused_run_has_those_of_the_run_that_did_the_work(bench: Bench) -> None:
    (bench.folder / "go").touch()
    search = step(bench, "well")
    for dag_run_id in ("run 1", "run 2"):
        bench.run(search, reuse=True, dag_run_id=dag_run_id)
    newest, oldest = history.runs(bench.ws)
    assert newest["reused_from"] == oldest["run_id"]
    assert children.best_child(bench.ws, newest["run_id"], "loss", "min")["name"] == "depth 3"


def test_trouble_with_them_costs_the_step_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no room")

    monkeypatch.setattr(step_children.ChildRecord.follow, "__defaults__", (0.02,))
    monkeypatch.setattr(step_children.ChildRuns, "feed", broken)
    with bench.meanwhile(step(bench, "well")) as ended:
        until(lambda: "The child runs cannot be followed for now" in bench.log.text)
        (bench.folder / "go").touch()
    assert not isinstance(ended[0], Exception)
    assert history.runs(bench.ws)[0]["status"] == "completed"
