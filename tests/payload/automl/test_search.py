"""What a search does about workers that hang, crash, fail or are killed: real processes, an engine on a script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from automl_engine import NAME, WAIT
from payload_support import PROJECT

from stepwell.payload.automl.limits import Limits
from stepwell.payload.automl.pools import Processes
from stepwell.payload.automl.problem import Problem
from stepwell.payload.automl.search import Search, read_history
from stepwell.payload.automl.server import Server
from stepwell.payload.automl.trial import CANCELED, COMPLETED, FAILED, Trial

LONG = 600.0


def problem() -> Problem:
    X = pd.DataFrame({"f0": np.arange(40.0), "f1": np.arange(40.0) % 7})
    y = (np.arange(40) % 2).astype(int)
    facts = {"positive": 1, "task": "classification", "known": 40}
    return Problem("classification", X, y, [(np.arange(30), np.arange(30, 40))], "AUC_weighted", None, [0, 1], facts)


def limits(**changes: Any) -> Limits:
    values = {"iterations": 1000, "seconds": LONG, "trial_seconds": None, "exit_score": None, "early_stopping": False}
    return Limits("AUC_weighted", **{**values, **changes})


class Run:
    """A search with workers, in this process."""

    def __init__(self, folder: Path, learners: list[list[str]], *, earlier: Any = (), **changes: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.folder = folder
        self.search = Search(
            "run", limits(**changes), learners, "classification", str(folder / "results"), str(folder / "aside"),
            rows=30, earlier=earlier, emit=lambda kind, **fields: self.events.append(fields), say=self.said.append,
        )  # fmt: skip
        self.server = Server()
        self.workers = len(learners)

    def live(self, meanwhile: Callable[[], None] | None = None) -> Run:
        files = problem().save(str(self.folder / "problem"), "p.")
        self.server.open(self.search, files, {"engine": NAME, "cores": 1, "prefix": "p."})
        if meanwhile is not None:
            threading.Thread(target=meanwhile, daemon=True).start()
        Processes().run(self.server, self.workers, NAME, 1)
        self.server.close()
        return self

    @property
    def count(self) -> Counter[str]:
        return Counter(t.status for t in self.search.trials)

    def wait_for(self, trials: int) -> None:
        deadline = time.monotonic() + 30
        while len(self.search.trials) < trials:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture(autouse=True)
def worker_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROJECT / "providers"))


def workers(number: int | None = None) -> list[int]:
    """Return the processes of workers of this test's searches."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"stepwell.payload.automl.worker" in words and NAME.encode() in words:
            if number is None or str(number).encode() in words:
                found.append(int(path.parent.name))
    return found


def none_left() -> bool:
    """Whether all workers are gone: they look for their parent twice a second."""
    deadline = time.monotonic() + 10
    while workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not workers()


def test_workers_share_one_count_of_iterations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT, "0.3")  # so that all have begun before all is done
    run = Run(tmp_path, [["lgbm"], ["lgbm"], ["lgbm"]], iterations=30).live()
    assert run.search.over == "iterations: all 30 are done"
    assert sorted(t.iteration for t in run.search.trials) == list(range(30))
    assert {t.worker for t in run.search.trials} == {0, 1, 2}
    assert run.count == {COMPLETED: 30}


def test_every_trial_is_a_child_run_from_its_beginning(tmp_path: Path) -> None:
    run = Run(tmp_path, [["lgbm", "extra_tree"]], iterations=4).live()
    states = [(e["id"], e["state"]) for e in run.events]
    assert states == [
        ("run_0", "Running"), ("run_0", "Completed"), ("run_1", "Running"), ("run_1", "Failed"),
        ("run_2", "Running"), ("run_2", "Completed"), ("run_3", "Running"), ("run_3", "Failed"),
    ]  # fmt: skip
    done, failed = run.events[1], run.events[3]
    assert done["metrics"].keys() == {"AUC_weighted", "accuracy"}
    assert done["properties"]["score"] == done["metrics"]["AUC_weighted"]
    assert done["properties"]["primary_metric"] == "AUC_weighted"
    assert failed["error"] == "it always fails"


def test_a_trial_that_hangs_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT, "0.3")
    run = Run(tmp_path, [["lgbm", "sgd"], ["lgbm"]], iterations=70, trial_seconds=1.0).live()
    failed = [t for t in run.search.trials if t.status == FAILED]
    assert [t.learner for t in failed] == ["sgd", "sgd"]  # and then it is left out
    assert all(t.reason and t.reason.startswith("iteration_timeout_minutes") for t in failed)
    assert all(1.0 <= (t.seconds or 0) < 6 for t in failed)
    assert run.count[COMPLETED] == 68
    assert any("left out" in line for line in run.said)


def test_a_trial_that_kills_its_process_costs_itself(tmp_path: Path) -> None:
    run = Run(tmp_path, [["lgbm", "rf"]], iterations=20).live()
    failed = [t for t in run.search.trials if t.status == FAILED]
    assert len(failed) == 2
    assert all("SIGKILL" in str(t.reason) for t in failed)
    assert run.count[COMPLETED] == 18
    begun_anew = [t for t in run.search.trials if t.parameters.get("seed") == 2]
    assert begun_anew
    assert all(t.parameters.get("started_from") for t in begun_anew if t.learner == "lgbm")


def test_a_worker_that_is_killed_costs_its_trial_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT, "0.2")
    run = Run(tmp_path, [["lgbm"], ["lgbm"]], iterations=30)

    def kill() -> None:
        run.wait_for(6)
        os.kill(workers(1)[0], signal.SIGKILL)

    run.live(kill)
    assert len(run.search.trials) == 30
    assert run.count[FAILED] <= 1  # none, if it was killed between two
    assert {t.worker for t in run.search.trials[-6:]} == {0, 1}  # it has begun anew
    assert none_left()


@pytest.mark.parametrize(("learner", "why"), [("sgd", "iteration_timeout_minutes"), ("rf", "SIGKILL")])
def test_the_last_trial_fails_for_its_own_reason(tmp_path: Path, learner: str, why: str) -> None:
    (trial,) = Run(tmp_path, [[learner]], iterations=1, trial_seconds=0.2).live().search.trials
    assert trial.status == FAILED
    assert why in str(trial.reason)


def test_a_worker_that_is_lost_during_the_last_trial_costs_it(tmp_path: Path) -> None:
    search = Run(tmp_path, [["lgbm"]], iterations=1).search
    assert search.begin(0, "lgbm", "LightGBM", {}, 30) is None
    assert search.wanted(0) is None, "all iterations have begun"
    search.lost(0)
    assert [t.status for t in search.trials] == [FAILED]


def test_when_all_fail_the_search_ends_by_its_count(tmp_path: Path) -> None:
    run = Run(tmp_path, [["extra_tree"]], iterations=7).live()
    assert run.count == {FAILED: 7}
    assert run.search.best is None


def test_a_worker_whose_learners_all_crash_is_given_up(tmp_path: Path) -> None:
    run = Run(tmp_path, [["rf"], ["rf"]]).live()
    assert run.search.over == "nothing is left to try"
    assert run.count == {FAILED: 10}  # five lives each


def test_the_timeout_ends_trials_that_run(tmp_path: Path) -> None:
    began = time.monotonic()
    run = Run(tmp_path, [["lgbm", "sgd"]], seconds=8.0).live()
    assert time.monotonic() - began < 30
    assert str(run.search.over).startswith("experiment_timeout_hours")
    assert run.search.trials[-1].status == CANCELED
    assert run.search.trials[-1].learner == "sgd"
    assert none_left()


def test_a_score_that_is_good_enough_ends_the_search(tmp_path: Path) -> None:
    run = Run(tmp_path, [["lgbm"]], exit_score=0.7).live()
    assert str(run.search.over).startswith("experiment_exit_score")
    assert len(run.search.trials) < 10


def test_no_progress_ends_the_search_at_the_31st_iteration_at_the_earliest(tmp_path: Path) -> None:
    class Flat(Run):
        def live(self, meanwhile: Callable[[], None] | None = None) -> Run:
            number = 0
            while self.search.begin(0, "lgbm", "LightGBM", {}, 30) is None:
                self.search.completed(0, {"AUC_weighted": 0.5 if number else 0.6}, {})
                number += 1
            return self

    run = Flat(tmp_path, [["lgbm"]], early_stopping=True).live()
    assert len(run.search.trials) == 31
    assert str(run.search.over).startswith("enable_early_stopping")


def test_cancelling_ends_all_of_it(tmp_path: Path) -> None:
    run = Run(tmp_path, [["sgd"], ["sgd"]])

    def cancel() -> None:
        deadline = time.monotonic() + 30
        while len(run.events) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        run.search.cancel("told to")

    began = time.monotonic()
    run.live(cancel)
    assert time.monotonic() - began < 40
    assert run.count == {CANCELED: 2}
    assert {t.reason for t in run.search.trials} == {"told to"}
    assert none_left()


def test_an_interrupted_search_is_gone_on_with(tmp_path: Path) -> None:
    first = Run(tmp_path / "one", [["lgbm", "extra_tree"]], iterations=10).live()
    history = tmp_path / "one" / "results" / "trials.jsonl"
    with history.open("a") as file:
        file.write('{"iteration": 10, "id": "cut o')
    earlier = read_history(str(history.parent))
    assert len(earlier) == 10
    second = Run(tmp_path / "two", [["lgbm", "extra_tree"]], iterations=16, earlier=earlier).live()
    assert [t.iteration for t in second.search.trials] == list(range(16))
    assert second.search.spent > sum(t.seconds or 0 for t in first.search.trials)
    own = [t for t in second.search.trials if t.iteration >= 10 and t.learner == "lgbm"]
    assert all(t.parameters.get("started_from", 1) for t in own)
    assert len(read_history(str(tmp_path / "two" / "results"))) == 16


def test_a_worker_whose_search_has_ended_meanwhile_says_nothing(tmp_path: Path) -> None:
    """What the search was refused with is the last thing that a user reads, not a traceback of a late worker."""
    run = Run(tmp_path, [["lgbm"]])
    address, token = run.server.address, run.server.token
    run.server.close()
    argv = [sys.executable, "-m", "stepwell.payload.automl.worker", address, "0", str(tmp_path / "w"), NAME]
    environment = {**os.environ, "STEPWELL_AUTOML_TOKEN": token, "PYTHONPATH": str(PROJECT / "providers")}
    late = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (late.returncode, late.stdout, late.stderr) == (1, "", "")


def test_strangers_are_not_answered(tmp_path: Path) -> None:
    from stepwell.payload.automl import wire

    run = Run(tmp_path, [["lgbm"]])
    with pytest.raises(wire.WireError):
        wire.connect(run.server.address, "guessed", role="worker", worker=0)
    run.server.close()


def test_workers_elsewhere_fetch_the_problem_once(tmp_path: Path) -> None:
    """A worker that does not see the files asks for them; a second process of it finds them."""
    from stepwell.payload.automl import wire
    from stepwell.payload.automl.worker import _fetched

    run = Run(tmp_path, [["lgbm"]])
    files = problem().save(str(tmp_path / "problem"), "p.")
    run.server.open(run.search, files, {"engine": NAME, "cores": 1, "prefix": "p."})
    here = tmp_path / "here"
    here.mkdir()
    with wire.connect(run.server.address, run.server.token, role="worker", worker=0) as line:
        work = {**line.ask({"kind": "work"}), "folder": "/nowhere"}
        assert _fetched(line, work, str(here)) == str(here)
        again = {path.name: path.stat().st_mtime_ns for path in here.iterdir()}
        _fetched(line, work, str(here))
    assert {path.name: path.stat().st_mtime_ns for path in here.iterdir()} == again
    assert np.array_equal(Problem.load(str(here), "p.").X, problem().X)
    run.server.close()


def test_a_problem_is_the_same_after_its_files() -> None:
    import tempfile

    made = problem()
    made.X["f2"] = pd.Categorical(["a", None, "b", "c"] * 10, categories=["c", "b", "a"])
    made.weight = np.linspace(0, 1, 40)
    with tempfile.TemporaryDirectory() as folder:
        made.save(folder)
        found = Problem.load(folder)
        pd.testing.assert_frame_equal(found.X, made.X)
        assert np.array_equal(found.weight, made.weight)
        assert found.facts == made.facts
        assert np.array_equal(found.folds[0][1], made.folds[0][1])


def test_trials_read_by_an_older_or_newer_version() -> None:
    assert Trial.from_dict({"iteration": 1, "id": "a_1", "model": "SGD", "of_the_future": 2}).model == "SGD"


def test_a_search_that_is_told_to_end_leaves_nothing_running(tmp_path: Path) -> None:
    """The whole process: SIGTERM, as when the step is cancelled."""
    frame = pd.DataFrame({"a": np.arange(60.0), "b": np.arange(60) % 5, "label": np.arange(60) % 2})
    frame.to_parquet(tmp_path / "train.parquet")
    settings = {
        "task": "classification", "primary_metric": "AUC_weighted", "label_column_name": "label", "engine": NAME,
        "allowed_models": ["SGD"], "max_concurrent_iterations": 2, "enable_early_stopping": False,
    }  # fmt: skip
    request = {
        "run_id": "r", "settings": settings, "results": str(tmp_path / "results"), "work": str(tmp_path / "work"),
        "outputs": {"model": str(tmp_path / "model")}, "models": {"model": {}},
        "inputs": {"training": str(tmp_path / "train.parquet")}, "resume": None, "job": None,
    }  # fmt: skip
    (tmp_path / "request.json").write_text(json.dumps(request))
    path = os.pathsep.join([str(PROJECT / "providers"), str(PROJECT / "tests" / "payload")])
    argv = [sys.executable, "-m", "stepwell.payload.automl.main", str(tmp_path / "request.json")]
    with subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if "searching with" in line:
                break
        deadline = time.monotonic() + 40
        while not (tmp_path / "results" / "trials.jsonl").exists() or not workers():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.0)
        child.terminate()
        assert child.wait(20) == 143
    assert none_left()
    assert not (tmp_path / "model").exists()


def test_a_process_that_was_replaced_is_not_listened_to(tmp_path: Path) -> None:
    """Spark may start a task twice: what the older process of a worker says is not the newer one's trial."""
    from stepwell.payload.automl import wire

    run = Run(tmp_path, [["lgbm"]])
    files = problem().save(str(tmp_path / "problem"), "p.")
    run.server.open(run.search, files, {"engine": NAME, "cores": 1, "prefix": "p."})
    one = {"kind": "begin", "learner": "lgbm", "pipeline": "LightGBM", "parameters": {}, "rows": 30}
    lines = [wire.connect(run.server.address, run.server.token, role="worker", worker=0) for _ in range(2)]
    older, newer = lines
    older.ask({"kind": "work"})
    assert older.ask(one) == {"over": None}
    newer.ask({"kind": "work"})
    assert newer.ask(one) == {"over": None}
    late = {"kind": "completed", "metrics": {"AUC_weighted": 0.9}, "parameters": {}}
    assert "another process" in str(older.ask(late)["over"])
    newer.ask({"kind": "completed", "metrics": {"AUC_weighted": 0.6}, "parameters": {}})
    first, second = run.search.trials
    assert (first.status, first.reason) == (FAILED, "its worker was lost")
    assert (second.status, second.score) == (COMPLETED, 0.6)
    for line in lines:
        line.close()
    run.server.close()


def test_a_keeper_that_is_gone_without_a_word_is_noticed(tmp_path: Path) -> None:
    import socket
    import struct

    from stepwell.payload.automl import wire

    run = Run(tmp_path, [["lgbm"]])
    files = problem().save(str(tmp_path / "problem"), "p.")
    run.server.open(run.search, files, {"engine": NAME, "cores": 1, "prefix": "p."})
    keeper = wire.connect(run.server.address, run.server.token, role="keeper", worker=0)
    keeper.ask({"kind": "look"})
    run.search.begin(0, "lgbm", "LightGBM", {}, 30)
    keeper._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    keeper.close()  # a reset, not an end
    run.wait_for(1)
    assert run.search.trials[0].status == FAILED
    run.server.close()


def test_a_learner_is_left_out_for_deaths_in_a_row_only(tmp_path: Path) -> None:
    run = Run(tmp_path, [["lgbm", "rf"]])
    for _ in range(4):
        run.search.begin(0, "lgbm", "LightGBM", {}, 30)
        assert run.search.died(0, "killed")
        run.search.begin(0, "lgbm", "LightGBM", {}, 30)
        run.search.completed(0, {"AUC_weighted": 0.5}, {})
    assert run.search.work(0)["learners"] == ["lgbm", "rf"]


def test_a_resumed_search_shows_the_earlier_trials_as_its_own(tmp_path: Path) -> None:
    earlier = [Trial(0, "run-g1_0", "LightGBM", learner="lgbm", status=COMPLETED, score=0.7, seconds=1.0)]
    run = Run(tmp_path, [["lgbm"]], earlier=earlier)
    assert [(e["id"], e["state"]) for e in run.events] == [("run_0", COMPLETED)]
    assert run.search.best is earlier[0]


def test_the_models_that_were_never_tried_are_named(tmp_path: Path) -> None:
    run = Run(tmp_path, [["lgbm", "sgd"], ["rf"]], iterations=1)
    run.search.begin(0, "lgbm", "LightGBM", {}, 30)
    run.search.completed(0, {"AUC_weighted": 0.5}, {})
    assert run.search.untried == ["RandomForest", "SGD"]
    assert run.search.idle == [0, 1]  # nobody has asked for work
