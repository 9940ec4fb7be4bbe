"""A fault at every call of the contract: whoever makes it is killed before it, within it or after it, or gets an error.

Then somebody else goes on as a retry would. Whatever happened: the script was started once, the job ended as it should,
its log is whole, and nothing is left in the end. No Airflow is needed for that; a kind's test class adds its
:class:`~tests.contract.compute.contract.Case`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.contract.compute.case import Case, Runner, eventually, launchers, scripts

from stepwell.compute import portal
from stepwell.compute.contract import Handle, Job, Target

LINES = 20
#: Starts are counted outside of the log, too: a second one could overwrite that.
SCRIPT = f"""
import os, sys, time
with open(os.path.join(os.environ["DESK"], "starts"), "a") as file:
    file.write("x")
print("started", flush=True)
for number in range({LINES}):
    print("line", number, flush=True)
    time.sleep(float(sys.argv[1]) / {LINES})
print("done", flush=True)
"""
WHOLE = ["started", *(f"line {number}" for number in range(LINES)), "done"]
#: The calls of a job's life, in their order; those after ``collect`` come when it is over.
CALLS = (
    "probe", "environment_key", "prepare", "find", "stage", "submit", "adopt", "renew", "events", "log_part", "status",
    "logs", "collect", "forget", "reap",
)  # fmt: skip
#: What happens: the caller is killed before the call, while it lasts or after it; the call fails before it has done
#: anything, or its answer is lost.
FAULTS = ("killed before", "killed within", "killed after", "fails", "answer lost")
_TOOK: dict[type, dict[str, float]] = {}


@dataclass(frozen=True)
class Fault:
    """One fault.

    :param after: how long into the call the caller is killed, in seconds, if it is killed within.
    """

    call: str
    how: str
    after: float = 0.0

    def before(self, call: str) -> None:
        if call != self.call:
            return
        if self.how == "killed before":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.how == "killed within":
            threading.Timer(self.after, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        elif self.how == "fails":
            raise ConnectionResetError("hung up")

    def behind(self, call: str) -> None:
        if call == self.call and self.how == "killed after":
            os.kill(os.getpid(), signal.SIGKILL)
        if call == self.call and self.how == "killed within":
            time.sleep(10)  # it took less time than before
        if call == self.call and self.how == "answer lost":
            raise ConnectionResetError("hung up")


class Worker:
    """Who lives a job's life on a target, noting as little of it as a worker would.

    :param notes: a file with what has been noted: the job was ``submitted``, it was ``collected``.
    """

    def __init__(self, case: FaultContract, target: Target, job: Job, folder: Path, fault: Fault | None = None) -> None:
        self.target = target
        self.job = job
        self.spec = case.spec
        self.handle = Handle(target.name, job.id, case.directory(target, job.id))
        self.into = folder / job.id
        self.notes = folder / f"{job.id}.notes"
        self.fault = fault
        self.took: dict[str, float] = {}

    def call(self, name: str, *arguments: Any) -> Any:
        """Make one call of the contract, with its fault."""
        if self.fault is not None:
            self.fault.before(name)
        began = time.monotonic()
        made = getattr(self.target, name)(*arguments)
        if name == "logs":
            found: Any = b"".join(portal.iterate(made))
        else:
            found = portal.call(made, 60)
        self.took[name] = time.monotonic() - began
        if self.fault is not None:
            self.fault.behind(name)
        return found

    def noted(self, what: str) -> bool:
        """Return whether that was noted."""
        return self.notes.exists() and what in self.notes.read_text().split()

    def note(self, what: str) -> None:
        """Note it."""
        with self.notes.open("a") as file:
            file.write(what + "\n")

    def live(self, owner: str, until: Callable[[Handle], None] | None = None) -> None:
        """Live the life, or what is left of it, up to what has been collected.

        :param until: what is done with the job in place of watching it.
        """
        handle = self.handle
        if not self.noted("collected"):
            self.call("probe")
            self.call("environment_key", self.spec)
            self.call("prepare", self.spec, lambda _: None)
            found = self.call("find", self.job.id)
            job = replace(self.job, document={**self.job.document, "owner": owner})
            if found is None:
                self.call("stage", job)
                found = self.call("submit", job)
            assert found == handle
            self.call("adopt", handle, owner)
            self.call("renew", handle)
            self.call("events", handle, set())
            self.call("log_part", handle, 0)
            if until is not None:
                until(handle)
            self.call("status", [handle])
            self.call("logs", handle)
            outcome = self.call("collect", handle, self.into)
            (self.into / "final.json").write_text(json.dumps(outcome.final))
            self.note("collected")

    def clean(self) -> None:
        """Remove what the job has left."""
        self.call("forget", self.handle)
        self.call("reap", -1.0)


@dataclass
class Life:
    """A job whose first worker meets a fault, and the worker that goes on."""

    job: Job
    fault: Fault
    worker: Worker
    #: What the script had written at each start, if the second worker saw its job end.
    starts: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.fault} of job {self.job.id}"


class FaultContract(Case):
    """Faults at every call of the contract."""

    #: What is prepared; whatever the kind has at hand.
    spec: ClassVar[dict[str, Any]] = {"user_managed": True, "interpreter": sys.executable}
    #: Where jobs take long to start: less.
    calls: tuple[str, ...] = CALLS
    faults: tuple[str, ...] = FAULTS
    #: How often each fault happens.
    rounds = int(os.environ.get("STEPWELL_FAULT_ROUNDS", "5"))
    #: How long the script takes, in seconds: longer than it takes to get to watch it.
    lasts = 0.3
    #: How many lives go on at the same time.
    together = 5

    def another(self, target: Target) -> Target:
        """Return the target as another process would make it."""
        return target

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give :meth:`test_faults_at` the class's calls."""
        if "call" in metafunc.fixturenames:
            metafunc.parametrize("call", self.calls)

    def test_faults_at(self, run: Runner, tmp_path: Path, call: str) -> None:
        self.check(run, tmp_path, call, self.rounds)

    def test_faults_at_cancel(self, run: Runner, tmp_path: Path) -> None:
        for how in self.faults:
            self.check_cancel(run, tmp_path, how, self.rounds)

    # -- how -----------------------------------------------------------------------------------------------------------

    def check(self, run: Runner, folder: Path, call: str, rounds: int) -> None:
        """Let each fault happen at *call*, so many times."""
        took = self.undisturbed(run, folder)
        faults = [
            Fault(call, how, took[call] * random.random())  # noqa: S311
            for how in self.faults
            for _ in range(rounds)
        ]

        def watch(life: Life, handle: Handle) -> None:
            self.wait_for_end(life, handle)
            life.starts.append(run.desk(handle.job_id, "starts").read_text())

        # Who reaps removes what others have not collected yet, so that is done alone.
        for some in _parts(faults, 1 if call == "reap" else self.together):
            for life in self.live(run, folder, some, self.lasts, None, watch):
                assert life.starts in ([], ["x"]), life  # none: the first has collected it
                assert self.lines(life.worker) == WHOLE, life
                self.check_over(run, life.worker, str(life), "succeeded")

    def check_cancel(self, run: Runner, folder: Path, how: str, rounds: int) -> None:
        """Let that happen to who cancels, so many times."""
        faults = [Fault("cancel", how, random.uniform(0, 0.02)) for _ in range(rounds)]  # noqa: S311

        def cancel(worker: Worker, handle: Handle) -> None:
            starts = run.desk(handle.job_id, "starts")
            eventually(lambda: starts.exists() and starts.read_text(), self.patience)
            worker.call("cancel", handle, None, "cancelled by the first")

        def cancel_again(life: Life, handle: Handle) -> None:
            assert portal.call(life.worker.target.cancel(handle, None, "cancelled by the second")) is True
            self.wait_for_end(life, handle)
            assert run.desk(handle.job_id, "starts").read_text() == "x"

        for some in _parts(faults, self.together):
            for life in self.live(run, folder, some, 300, cancel, cancel_again):
                self.check_over(run, life.worker, str(life), "cancelled")

    def wait_for_end(self, life: Life, handle: Handle) -> None:
        """Wait until the job has ended."""
        eventually(lambda: portal.call(life.worker.target.status([handle]))[0].ended, self.patience)

    def live(
        self,
        run: Runner,
        folder: Path,
        faults: Sequence[Fault],
        lasts: float,
        first: Callable[[Worker, Handle], None] | None,
        second: Callable[[Life, Handle], None],
    ) -> list[Life]:
        """Live a life with each of the faults, at the same time.

        :param first: what the first worker does with its job in place of watching it.
        :param second: the same of the second one.
        """
        jobs = [run.job(SCRIPT, str(lasts)) for _ in faults]
        lives = [
            Life(job, fault, Worker(self, run.target, job, folder)) for job, fault in zip(jobs, faults, strict=True)
        ]
        firsts = [self.start_first(run, folder, life, first) for life in lives]
        for life, process in zip(lives, firsts, strict=True):
            process.join(self.patience * 2)
            assert process.exitcode in (-signal.SIGKILL, 3), f"{life}: {process.exitcode}"
        with ThreadPoolExecutor(len(lives)) as pool:
            list(pool.map(lambda life: life.worker.live("second", partial(second, life)), lives))
        for life in lives:
            life.worker.clean()
        return lives

    def undisturbed(self, run: Runner, folder: Path) -> dict[str, float]:
        """Live a life without a fault, once for all tests of the class; return how long each call takes."""
        if type(self) in _TOOK:
            return _TOOK[type(self)]
        worker = Worker(self, run.target, run.job(SCRIPT, str(self.lasts)), folder)
        worker.live("first")
        worker.clean()
        assert self.lines(worker) == WHOLE
        assert set(worker.took) == set(CALLS)
        self.check_over(run, worker, "undisturbed", "succeeded")
        return _TOOK.setdefault(type(self), worker.took)

    def start_first(
        self, run: Runner, folder: Path, life: Life, instead: Callable[[Worker, Handle], None] | None
    ) -> BaseProcess:
        """Live the job's life in another process, which does not get beyond the fault."""

        def work() -> None:
            worker = Worker(self, self.another(run.target), life.job, folder, life.fault)
            try:
                worker.live("first", partial(instead, worker) if instead else None)
                worker.clean()
            except ConnectionResetError:
                os._exit(3)
            os._exit(0)

        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        return process

    def lines(self, worker: Worker) -> list[str]:
        """Return what the script has printed, by the log that was collected."""
        log = (worker.into / "logs" / "step.log").read_text().splitlines()
        return [line for line in log if line in ("started", "done") or line.startswith("line ")]

    def check_over(self, run: Runner, worker: Worker, said: str, state: str) -> None:
        """Make sure that the job ended in that state, and that nothing is left of it."""
        job_id, target = worker.job.id, worker.target
        handle = worker.handle
        assert self.final(worker)["status"] == state, said
        assert not run.exists(handle), said
        assert portal.call(target.find(job_id)) is None, said
        eventually(lambda: not scripts(job_id) and not launchers(job_id), 10)
        assert job_id not in portal.call(target.runner.known()), said  # type: ignore[attr-defined]
        assert portal.call(target.reap(-1)) == [], said
        shutil.rmtree(worker.into)

    def final(self, worker: Worker) -> dict[str, Any]:
        """Return the final status that was collected."""
        return json.loads((worker.into / "final.json").read_text())  # type: ignore[no-any-return]


def _parts(faults: Sequence[Fault], size: int) -> Iterator[Sequence[Fault]]:
    for start in range(0, len(faults), size):
        yield faults[start : start + size]
