"""What a step leaves in ``./outputs`` is kept whatever becomes of it, and its next try can go on from there."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.steps import Bench, until

from stepwell.compute.kinds.local import LocalTarget
from stepwell.errors import ActivityFailedException
from stepwell.operators import PythonScriptStepOperator
from stepwell.step.life import Life
from stepwell.step.record import RunRecord

pytestmark = pytest.mark.integration

SEARCH = """
import os, signal, sys, time
folder = sys.argv[1]
os.makedirs("outputs/search/parts")
left = "../resume/trials.txt"
before = open(left).read() if os.path.exists(left) else ""
with open("outputs/search/trials.txt", "w") as file:
    file.write(before + "trial\\n")
open("outputs/search/parts/model", "w").write("m" * 10)
open("outputs/notes", "w").write("not for the next try")
open(folder + "/started", "a").write(str(os.getppid()) + "\\n")
does = open(folder + "/does").read()
if does == "fails early":
    open("outputs/search/trials.txt", "w").close()
    sys.exit(3)
if does == "fails":
    sys.exit(3)
if does == "kills its launcher":
    os.kill(os.getppid(), signal.SIGKILL)
while does != "ends":
    time.sleep(0.01)
"""


class Resuming(PythonScriptStepOperator):
    def specification(self, context: Any) -> Any:
        return replace(super().specification(context), resumes="outputs/search/trials.txt")


class Search:
    """A step that counts its trials, those of earlier tries among them, and then does what it is told."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.source = bench.source({"search.py": SEARCH})
        self.step = self.operator()
        self.does("waits")

    def operator(self, **more: Any) -> PythonScriptStepOperator:
        given = {"task_id": "s", "script_name": "search.py", "source_directory": self.source, **more}
        return Resuming(arguments=[self.bench.folder], **given)

    def does(self, what: str) -> None:
        (self.bench.folder / "does").write_text(what)

    def launchers(self) -> list[int]:
        started = self.bench.folder / "started"
        return [int(pid) for pid in started.read_text().split()] if started.exists() else []

    def trials(self, run: int) -> int:
        """How many trials are kept with a run (0 = the oldest)."""
        return (self.bench.run_folder(run) / "outputs/search/trials.txt").read_text().count("trial")


@pytest.fixture
def search(bench: Bench) -> Search:
    return Search(bench)


def ends_well(search: Search, trials: int) -> None:
    """The next try goes on: it has *trials* in the end."""
    search.does("ends")
    search.bench.run(search.step, try_number=2)
    assert search.bench.record()["status"] == "completed"
    assert search.trials(-1) == trials
    assert "Going on with what run" in search.bench.log.text
    folder = search.bench.run_folder(0) / "outputs"
    assert (folder / "notes").exists()
    assert (folder / "search/parts/model").read_text() == "m" * 10


@pytest.mark.parametrize("does", ["fails", "kills its launcher"])
def test_the_next_try_has_what_a_failed_one_has_left(bench: Bench, search: Search, does: str) -> None:
    search.does(does)
    for tries in (1, 2):
        with pytest.raises(ActivityFailedException):
            bench.run(search.step)
        assert search.trials(-1) == tries
    ends_well(search, trials=3)


def test_a_try_that_fails_before_it_has_got_anywhere_is_passed_over(bench: Bench, search: Search) -> None:
    for does in ("fails", "fails early"):
        search.does(does)
        with pytest.raises(ActivityFailedException):
            bench.run(search.step)
    ends_well(search, trials=2)


def test_a_cancelled_try(bench: Bench, search: Search) -> None:
    with bench.elsewhere(search.step) as worker:
        until(search.launchers)
        assert worker.terminate() == 1
    assert bench.record()["status"] == "cancelled"
    assert search.trials(0) == 1
    ends_well(search, trials=2)


def test_a_try_that_was_cancelled_and_killed_before_it_had_cleaned_up(bench: Bench, search: Search) -> None:
    def prepare(life: Life) -> None:
        def cancel_and_die(*_: object) -> None:
            life.cancel()
            os.kill(os.getpid(), signal.SIGKILL)

        signal.signal(signal.SIGTERM, cancel_and_die)

    with bench.elsewhere(search.step, prepare) as worker:
        until(search.launchers)
        assert worker.terminate() == -signal.SIGKILL
    ends_well(search, trials=2)
    assert bench.record(0)["status"] == "failed"


def test_a_try_whose_worker_and_launcher_were_killed(bench: Bench, search: Search) -> None:
    with bench.elsewhere(search.step) as worker:
        (launcher,) = until(search.launchers)
        worker.kill()
    os.kill(launcher, signal.SIGKILL)
    ends_well(search, trials=2)


def test_what_could_not_be_fetched_is_fetched_by_the_next_try(bench: Bench, search: Search, scratch: Path) -> None:
    def prepare(_: Life) -> None:
        def gone(*_: object, **__: object) -> None:
            raise OSError("no route to host")

        RunRecord.fetch = gone  # type: ignore[assignment, method-assign]
        LocalTarget.forget = gone  # type: ignore[assignment, method-assign]

    search.does("fails")
    with bench.elsewhere(search.step, prepare) as worker:
        assert worker.ended() == 1
    assert not (bench.run_folder() / "outputs").exists()
    run_id = bench.record()["run_id"]
    assert (scratch / "jobs" / run_id).exists()
    ends_well(search, trials=2)
    assert not (scratch / "jobs" / run_id).exists()


def test_after_a_run_that_has_completed_a_step_begins_anew(bench: Bench, search: Search) -> None:
    search.does("fails")
    with pytest.raises(ActivityFailedException):
        bench.run(search.step)
    ends_well(search, trials=2)
    bench.run(search.step)
    assert search.trials(-1) == 1


def test_other_code_or_another_dag_run_begins_anew(bench: Bench, search: Search) -> None:
    search.does("fails")
    for step, dag_run in ((search.step, "run 1"), (search.operator(version="2"), "run 1"), (search.step, "run 2")):
        with pytest.raises(ActivityFailedException):
            bench.run(step, dag_run_id=dag_run)
        assert search.trials(-1) == 1


@pytest.mark.parametrize("name", ["fingerprint.json", "run.json"])
def test_a_damaged_record_of_the_earlier_try_costs_its_trials_only(bench: Bench, search: Search, name: str) -> None:
    search.does("fails")
    with pytest.raises(ActivityFailedException):
        bench.run(search.step)
    (bench.run_folder(0) / name).write_text("{")
    search.does("ends")
    result = bench.run(search.step)
    assert result.references == {}
    assert search.trials(-1) == 1
