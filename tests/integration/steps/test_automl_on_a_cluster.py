"""A search on two executors of a standalone Spark: what is killed there, or here, costs what it ran and no more."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.standalone import Standalone, standalone
from tests.support import automl
from tests.support.steps import Bench, until

from stepwell import ComputeTarget, SparkCompute
from stepwell.errors import ActivityFailedException
from stepwell.tracking import children

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, payload_python: Path) -> Iterator[Standalone]:
    with standalone(payload_python, tmp_path_factory.mktemp("standalone")) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


@pytest.fixture
def step(bench: Bench, project: Path, cluster: Standalone, folder: Path, payload_python: Path) -> Any:
    """Make a step whose trials wait, two at a time."""
    ComputeTarget.attach(bench.ws, "link1-spark01", SparkCompute.attach_configuration(master=cluster.url))
    text = (project / "include/data/Titanic.csv").read_text(encoding="utf-8")

    def make(target: str = "link1-spark01", *, wait: float = 1.0, **more: Any) -> Any:
        return automl.search(
            bench, text, automl.environment(folder, payload_python, wait), automl.ENGINE,
            max_concurrent_iterations=2, allowed_models=["LightGBM", "KNN"], compute_target=target,
            driver_memory="512m", executor_memory="512m", **more,
        )  # fmt: skip

    return make


def nothing_runs(cluster: Standalone) -> bool:
    return not automl.workers() and cluster.state.get("activeapps") == []


def test_an_executor_that_is_killed_costs_a_trial_at_most(
    bench: Bench, scratch: Path, step: Any, cluster: Standalone
) -> None:
    with bench.meanwhile(step(iterations=30)) as end:
        until(lambda: len(automl.trials(scratch / "jobs")) >= 3 and len(automl.workers()) == 2, 120)
        executors = {automl.executor_of(pid) for pid in automl.workers()}
        assert len(executors) == 2, "each of the two islands has an executor"
        os.kill(min(executors), signal.SIGKILL)
        killed = time.time()
    assert not isinstance(end[0], Exception), end[0]
    assert end[0].references["model"]["version"] == 1
    done = automl.trials(bench.run_folder() / "outputs/automl")
    assert sorted(t["iteration"] for t in done) == list(range(30))
    failed = [t for t in done if t["status"] == "Failed"]
    assert len(failed) <= 1
    assert {t["status"] for t in done} <= {"Completed", "Failed"}
    for number in (0, 1):
        assert any(t["worker"] == number and t["started"] > killed + 1.5 for t in done), (
            "the lost island has begun anew"
        )
    first, second = sorted(t["started"] for t in done)[:2]
    assert second < first + 1, "two trials run at a time"
    assert len(children.of_record(bench.ws, bench.record())) == 30
    until(lambda: nothing_runs(cluster), 30)


def test_a_step_that_is_cancelled_leaves_nothing_running(
    bench: Bench, scratch: Path, step: Any, cluster: Standalone
) -> None:
    with bench.elsewhere(step(iterations=1000, wait=300)) as worker:
        until(lambda: len(automl.workers()) == 2, 120)
        worker.terminate()
    until(lambda: nothing_runs(cluster), 30)
    assert bench.registered() == []
    assert bench.staged() == []


def test_a_driver_that_is_killed_is_gone_on_with_by_the_next_try(
    bench: Bench, scratch: Path, step: Any, cluster: Standalone
) -> None:
    wanted = step(iterations=12)
    before = set((scratch / "jobs").glob("a_dag.automl.*"))

    def job() -> Path:
        (found,) = set((scratch / "jobs").glob("a_dag.automl.*")) - before
        return found

    with bench.meanwhile(wanted) as end:
        until(lambda: set((scratch / "jobs").glob("a_dag.automl.*")) - before, 60)
        until(lambda: len(automl.trials(job() / "code/outputs/automl")) >= 4, 120)
        session = json.loads((job() / "pid").read_text())["session"]
        os.killpg(session, signal.SIGKILL)
    assert isinstance(end[0], ActivityFailedException)
    kept = automl.trials(bench.run_folder() / "outputs/automl")
    assert 4 <= len(kept) < 12
    until(lambda: nothing_runs(cluster), 60)
    assert bench.run(wanted, try_number=2).references["model"]["version"] == 1
    done = automl.trials(bench.run_folder() / "outputs/automl")
    assert [t["iteration"] for t in done[: len(kept)]] == [t["iteration"] for t in kept]
    assert len(done) == 12


def test_one_word_makes_no_difference_to_what_is_made(bench: Bench, step: Any) -> None:
    def made(target: str) -> Any:
        references = bench.run(step(target, iterations=4, wait=0.02), dag_run_id=target).references
        results = bench.run_folder() / "outputs/automl"
        statuses = sorted((t["iteration"], t["status"]) for t in automl.trials(results))
        return {n: r["kind"] for n, r in references.items()}, sorted(p.name for p in results.iterdir()), statuses

    assert made("local") == made("link1-spark01")
