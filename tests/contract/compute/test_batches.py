"""Targets whose jobs are batches keep the contract: with the real driver, and processes in place of a cluster."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.contract.compute.case import Bytes, Case, Runner, eventually, launchers, scripts
from tests.contract.compute.contract import TargetContract
from tests.contract.compute.guarantees import TargetGuarantees
from tests.support.batches import ProcessBatches

from stepwell.compute import portal
from stepwell.compute.batch.storage import Storage, StorageFiles
from stepwell.compute.batch.target import BatchTarget
from stepwell.compute.contract import Handle, Status, Target, Transfer
from stepwell.compute.disk import DiskFiles
from stepwell.compute.ports import Start
from stepwell.errors import ComputeTargetException


class BatchCase(Case):
    @pytest.fixture
    def batches(self, tmp_path: Path) -> ProcessBatches:
        return ProcessBatches(tmp_path / "batches")

    @pytest.fixture
    def target(self, tmp_path: Path, batches: ProcessBatches) -> BatchTarget:
        self.folder = tmp_path
        storage = Storage(StorageFiles(DiskFiles()), str(tmp_path / "storage"), "file://")
        target = BatchTarget("cluster", tmp_path / "here", storage, batches)
        target.kind = "processes"  # type: ignore[misc]
        return target

    def desk(self, target: Target, job_id: str) -> str:
        folder = self.folder / "desks" / job_id
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def lose(self, handle: Handle) -> None:
        drivers = [
            pid for pid in _pids() if f"/jobs/{handle.job_id}\0" in _command(pid) and "stepwell_batch" in _command(pid)
        ]
        assert drivers
        for pid in [*drivers]:
            os.kill(pid, signal.SIGKILL)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


class TestBatches(BatchCase, TargetContract, TargetGuarantees):
    test_secrets_reach_the_step_and_nothing_else = None  # type: ignore[assignment]

    # -- what is special about batches -----------------------------------------------------------------------------

    def test_a_step_with_secrets_is_refused_before_anything_is_there(self, run: Runner, target: BatchTarget) -> None:
        job = run.job("pass", secrets={"TOKEN": "hunter22"})
        with pytest.raises(ComputeTargetException, match=r"cannot keep secrets.*TOKEN"):
            portal.call(target.stage(job))
        assert not run.exists(Handle(target.name, job.id, target.layout(job.id).root))

    def test_paths_of_the_storage_become_those_of_the_drivers_machine(self, run: Runner, target: BatchTarget) -> None:
        inputs = target.layout(f"job-1-{run.mark}").input("titanic")
        job = run.job(
            "import os, sys; print(os.listdir(sys.argv[1]), os.path.isdir(sys.argv[1]), sys.argv[2][:6], sys.argv[1])",
            inputs,
            f"--in={inputs}",
            transfers=(Transfer(Bytes({"a.csv": b"x"}), "inputs/titanic"),),
        )
        portal.call(target.stage(job))
        run.handles.append(portal.call(target.submit(job)))
        log = run.log(run.handles[0])
        assert "['a.csv'] True --in=/" in log
        assert str(target.root) not in log

    def test_a_batch_that_waits_for_its_turn_is_queued_and_can_be_cancelled(
        self, run: Runner, target: BatchTarget, batches: ProcessBatches
    ) -> None:
        batches.begins = False
        handle = run("open('/dev/null'); print('ran')")
        assert run.status(handle).state == "queued"
        assert portal.call(target.find(handle.job_id)) == handle
        job = run.job("print('ran')")
        run.made -= 1
        batches.begin()
        assert run.wait(handle).final["status"] == "succeeded"
        portal.call(target.stage(job))
        late = portal.call(target.submit(job))
        assert run.status(late).state == "queued"
        assert portal.call(target.cancel(late, None, "too late")) is True
        assert run.status(late) == Status("cancelled", "too late")
        assert target.runner.name(late.job_id) not in portal.call(batches.seen())
        assert run.wait(late).final["reason"] == "too late"

    def test_of_two_drivers_one_runs_the_job(self, run: Runner, target: BatchTarget, batches: ProcessBatches) -> None:
        batches.begins = False
        handle = run(f"open('{self.desk(target, 'x')}/ran', 'a').write('x'); import time; time.sleep(0.5)")
        start = Start(handle.job_id, (), handle.directory, {})
        target.runner.name = lambda job_id: "a second one"  # type: ignore[method-assign]
        portal.call(target.runner.start(start))
        del target.runner.name  # type: ignore[method-assign]
        assert len(batches.names()) == 2
        batches.begin()
        assert run.wait(handle).final["status"] == "succeeded"
        eventually(lambda: all(seen.state == "ended" for seen in portal.call(batches.seen()).values()), 20)
        assert (self.folder / "desks/x/ran").read_text() == "x"

    def test_a_batch_that_its_service_has_forgotten_lives_by_its_heartbeat(
        self, run: Runner, target: BatchTarget, batches: ProcessBatches, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handle = run("print('up', flush=True); import time; time.sleep(300)")
        eventually(lambda: scripts(handle.job_id), self.patience)
        pid = batches.pid(target.runner.name(handle.job_id))
        assert pid is not None
        portal.call(batches.forget(target.runner.name(handle.job_id)))
        assert run.status(handle).state == "running"
        os.kill(pid, signal.SIGKILL)
        assert run.status(handle).state == "running", "a job is given up too soon"
        monkeypatch.setattr("stepwell.compute.target.SILENT_SECONDS", 1.0)
        status = eventually(lambda: (s := run.status(handle)).ended and s, 10)
        assert status.state == "failed"

    def test_a_batch_that_never_began_and_that_nobody_knows_is_given_up(
        self, run: Runner, target: BatchTarget, batches: ProcessBatches, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batches.begins = False
        handle = run("pass")
        portal.call(batches.forget(target.runner.name(handle.job_id)))
        assert run.status(handle).state == "unknown"
        monkeypatch.setattr("stepwell.compute.batch.target.LOST_SECONDS", 0.0)
        assert run.status(handle).state == "failed"
        assert "never begun" in run.wait(handle).final["reason"]

    def test_what_was_removed_in_part_can_be_forgotten(
        self, run: Runner, target: BatchTarget, batches: ProcessBatches
    ) -> None:
        handle = run("pass")
        run.wait(handle)
        portal.call(batches.forget(target.runner.name(handle.job_id)))
        Path(handle.directory, "events", "final.json").unlink()
        portal.call(target.forget(handle))
        assert not run.exists(handle)
        assert portal.call(target.files.names(f"{target.root}/ended")) == []

    def test_code_of_which_only_the_folder_is_there_is_brought_again(self, run: Runner, target: BatchTarget) -> None:
        """Whoever stages may be killed between the two."""
        job = run.job("print('ran')")
        portal.call(target.stage(job))
        (mark,) = Path(target.layout(job.id).root).glob(".staged.*")
        mark.unlink()
        Path(target.layout(job.id).code, ".stepwell.zip").unlink()
        portal.call(target.stage(job))
        run.handles.append(portal.call(target.submit(job)))
        assert run.wait(run.handles[-1]).final["status"] == "succeeded"

    def test_a_batch_that_dies_before_its_job_begins_says_why(self, run: Runner, target: BatchTarget) -> None:
        job = run.job("pass")
        portal.call(target.stage(job))
        Path(target.payload, "stepwell_batch.py").unlink()
        handle = portal.call(target.submit(job))
        run.handles.append(handle)
        final = run.wait(handle).final
        assert "has never begun" in final["reason"]
        assert "stepwell_batch.py" in final["reason"]

    def test_a_job_that_waited_longer_than_its_lease_does_not_begin(
        self, run: Runner, batches: ProcessBatches, target: BatchTarget
    ) -> None:
        batches.begins = False
        handle = run("print('ran')", lease_seconds=5)
        os.utime(Path(handle.directory, "lease"), (time.time() - 60,) * 2)
        batches.begin()
        final = run.wait(handle).final
        assert final["status"] == "cancelled"
        assert "nobody has asked" in final["reason"]

    def test_a_storage_that_is_away_for_a_while_costs_no_line(
        self, run: Runner, target: BatchTarget, batches: ProcessBatches
    ) -> None:
        handle = run(
            "import time\nfor n in range(30):\n    print('line', n, flush=True)\n    time.sleep(0.1)\n",
        )
        eventually(lambda: scripts(handle.job_id), self.patience)
        aside = self.folder / "away"
        os.rename(target.root, aside)
        time.sleep(2)
        os.rename(aside, target.root)
        log = run.log(handle)
        assert [line for line in log.splitlines() if line.startswith("line")] == [f"line {n}" for n in range(30)]
        assert run.status(handle) == Status("succeeded")

    def test_drivers_leave_nothing_behind(self, run: Runner, target: BatchTarget, batches: ProcessBatches) -> None:
        ends, killed = run("pass"), run("import time; time.sleep(300)")
        assert run.wait(ends).final["status"] == "succeeded"
        eventually(lambda: scripts(killed.job_id), self.patience)
        portal.call(batches.kill(target.runner.name(killed.job_id)))
        eventually(lambda: not launchers(killed.job_id) and not scripts(killed.job_id), 15)
        eventually(lambda: not batches.left(), 10)

    def test_the_status_of_many_jobs_takes_as_few_calls_as_that_of_one(
        self, run: Runner, target: BatchTarget, batches: ProcessBatches, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batches.begins = False
        handles = [run("pass") for _ in range(20)]
        calls: list[str] = []
        for name in ("read", "modified", "names", "sizes"):
            method = getattr(DiskFiles, name)

            def counted(self: DiskFiles, *a: Any, _name: str = name, _method: Any = method, **k: Any) -> Any:
                calls.append(_name)
                return _method(self, *a, **k)

            monkeypatch.setattr(DiskFiles, name, counted)
        before = batches.lists
        assert {s.state for s in portal.call(target.status(handles))} == {"queued"}
        assert batches.lists - before == 1
        assert calls == ["names"]
        monkeypatch.undo()

    @pytest.mark.slow
    def test_an_environment_goes_with_its_interpreter(self, run: Runner, target: BatchTarget) -> None:
        lines: list[str] = []
        spec = {"pip": ["six"]}
        run.environment = portal.call(target.prepare(spec, lines.append))
        assert any("Sending the environment" in line for line in lines)
        assert run.environment.key == portal.call(target.environment_key(spec))
        script = (
            "import os, six, sys; print(six.__name__, sys.prefix, sys.base_prefix, os.path.realpath(sys.executable))"
        )
        name, prefix, base, executable = run.log(run(script)).split()
        assert name == "six"
        assert prefix == base == os.path.dirname(os.path.dirname(executable)), "it leans on this machine's"
        lines.clear()
        portal.call(target.prepare(spec, lines.append))
        assert not any("Sending" in line for line in lines)
