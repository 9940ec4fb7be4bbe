"""The kinds on this machine keep the contract; and what is special about each."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.contract.compute.case import Runner, eventually
from tests.contract.compute.contract import TargetContract
from tests.contract.compute.guarantees import TargetGuarantees

from stepwell.compute import portal
from stepwell.compute.contract import Entry, EnvironmentRef, Handle, Job
from stepwell.compute.kinds.amlcompute import AmlComputeTarget
from stepwell.compute.kinds.local import LocalTarget
from stepwell.errors import ComputeTargetException


class TestLocal(TargetContract, TargetGuarantees):
    @pytest.fixture
    def target(self, tmp_path: Path) -> LocalTarget:
        return LocalTarget("local", tmp_path / "scratch")

    @pytest.mark.parametrize("spec", [{}, {"user_managed": True, "interpreter": sys.executable}])
    def test_the_key_is_that_of_the_environment(self, target: LocalTarget, spec: dict[str, Any]) -> None:
        key = portal.call(target.environment_key(spec))
        assert key == portal.call(target.prepare(spec, print)).key

    def test_a_command_is_an_argument_list(self, target: LocalTarget, environment: EnvironmentRef) -> None:
        layout = target.layout("c")
        phases = target.phases(Entry("command", command=("/bin/echo", "$HOME; id")), environment, layout)
        job = Job("c", {"job_id": "c", "owner": "o", "phases": phases})
        portal.call(target.stage(job))
        handle = portal.call(target.submit(job))
        assert b"".join(portal.iterate(target.logs(handle))) == b"$HOME; id\n"

    def test_a_program_that_does_not_exist_is_named(self, target: LocalTarget, environment: EnvironmentRef) -> None:
        phases = target.phases(Entry("command", command=("no-such-program",)), environment, target.layout("c"))
        job = Job("c", {"job_id": "c", "owner": "o", "phases": phases})
        portal.call(target.stage(job))
        handle = portal.call(target.submit(job))
        log = b"".join(portal.iterate(target.logs(handle))).decode()
        assert "cannot start no-such-program: No such file or directory" in log
        final = portal.call(target.collect(handle, Path(target.root) / "x")).final
        assert final["exit_code"] == 127

    @pytest.mark.parametrize(
        ("argument", "variables", "said"),
        [("a\0b", {}, "argument 1 holds a NUL"), ("a", {"COLOUR": "x\0hidden"}, "variable 'COLOUR' holds a NUL")],
    )
    def test_what_no_program_can_be_given_is_named(
        self, target: LocalTarget, environment: EnvironmentRef, argument: str, variables: dict[str, str], said: str
    ) -> None:
        phases = target.phases(Entry("command", command=("echo", argument)), environment, target.layout("c"))
        job = Job("c", {"job_id": "c", "owner": "o", "phases": phases, "variables": variables})
        portal.call(target.stage(job))
        handle = portal.call(target.submit(job))
        log = b"".join(portal.iterate(target.logs(handle))).decode()
        assert said in log
        assert "hidden" not in log

    def test_the_end_of_a_long_log_is_read_and_not_all_of_it(
        self, target: LocalTarget, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = Job("c", {"job_id": "c", "owner": "o", "phases": []})
        portal.call(target.stage(job))
        log = Path(target.layout("c").logs, "step.log")
        log.write_bytes(b"line\n" * 100_000 + b"the last\n")
        real, most = target.files.read, []

        async def read(path: str, offset: int = 0, limit: int = -1) -> bytes:
            found = await real(path, offset, limit)
            most.append(len(found))
            return found

        monkeypatch.setattr(target.files, "read", read)
        handle = Handle(target.name, "c", target.layout("c").root)
        assert portal.call(target.cancel(handle, None)) is True
        assert max(most, default=0) <= 8192
        final = json.loads(Path(handle.directory, "events", "final.json").read_text())
        assert final["last_lines"][-1] == "the last"

    def test_a_step_that_leaves_a_process_behind_ends_all_the_same(self, run: Runner) -> None:
        started = time.monotonic()
        handle = run("import subprocess; print(subprocess.Popen(['sleep', '300']).pid, flush=True)")
        assert run.wait(handle).final["status"] == "succeeded"
        assert time.monotonic() - started < 8
        assert "that the step left running" in run.log(handle)

    def test_a_step_that_ignores_sigterm_is_killed(self, run: Runner, target: LocalTarget) -> None:
        handle = run(
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\n"
            "time.sleep(300)",
            grace_seconds=0.5,
        )
        eventually(lambda: "deaf" in (run.read(handle, "logs/step.log") or ""))
        assert portal.call(target.cancel(handle, None)) is True
        assert run.wait(handle).final["status"] == "cancelled"
        assert "did not stop within 0.5 s and is killed" in run.log(handle)

    def test_the_real_azureml_is_not_hidden(self, target: LocalTarget) -> None:
        layout = target.layout("j")
        for has, shown in ((True, False), (False, True)):
            environment = EnvironmentRef("e", sys.executable, has_azureml=has)
            (phase,) = target.phases(Entry("python", script="x.py"), environment, layout)
            assert (f"{layout.payload}/v1" in phase["variables"]["PYTHONPATH"].split(":")) is shown

    def test_starting_is_quick(self, run: Runner, target: LocalTarget) -> None:
        run.log(run("pass"))  # the payload is unpacked, its modules are compiled
        took = []
        for _ in range(5):
            job = run.job("pass")
            started = time.perf_counter()
            portal.call(target.stage(job))
            portal.call(target.submit(job))
            took.append(time.perf_counter() - started)
        assert min(took) < 0.3, took


class TestAmlCompute(TargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> AmlComputeTarget:
        return AmlComputeTarget("cpucluster", tmp_path / "scratch", 2)

    def test_more_jobs_than_nodes_wait_and_say_so(self, run: Runner, target: AmlComputeTarget) -> None:
        script = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)"
        busy = [run(script), run(script)]
        eventually(lambda: target.busy_nodes() == 2)
        waiting = run("print('my turn')")
        eventually(lambda: run.status(waiting).state == "queued")
        assert "all 2 node(s) of the compute target are busy" in (run.read(waiting, "logs/step.log") or "")
        assert run.status(busy[0]).state == "running"
        (Path(busy[0].directory) / "code" / "go").touch()
        assert "my turn" in run.log(waiting)
        assert run.status(waiting).state == "succeeded"

    def test_a_killed_launcher_gives_its_slot_back(self, run: Runner, target: AmlComputeTarget) -> None:
        handles = [run("import time; time.sleep(300)") for _ in range(2)]
        eventually(lambda: target.busy_nodes() == 2)
        for handle in handles:
            os.kill(json.loads(run.read(handle, "pid") or "")["pid"], signal.SIGKILL)
        eventually(lambda: target.busy_nodes() == 0, 5)
        assert [run.status(handle).state for handle in handles] == ["failed", "failed"]

    def test_a_waiting_job_can_be_cancelled(self, run: Runner, target: AmlComputeTarget) -> None:
        for _ in range(2):
            run("import time; time.sleep(300)")
        eventually(lambda: target.busy_nodes() == 2)
        waiting = run("open('ran', 'w')")
        eventually(lambda: run.status(waiting).state == "queued")
        assert portal.call(target.cancel(waiting, None)) is True
        assert run.wait(waiting).final["status"] == "cancelled"
        assert not Path(waiting.directory, "code", "ran").exists()

    def test_without_nodes_nothing_is_accepted(self, tmp_path: Path) -> None:
        target = AmlComputeTarget("none", tmp_path, 0)
        with pytest.raises(ComputeTargetException, match="max_nodes=0"):
            portal.call(target.submit(Job("j", {})))
