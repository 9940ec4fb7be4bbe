"""The contract of compute targets as one test class: each kind subclasses it and says how to make a target.

The jobs are real processes; nothing is replaced by a stand-in.
"""

from __future__ import annotations

import io
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from tests.contract.compute.case import SECRET, Bytes, Case, Runner, eventually, launchers, scripts

from stepwell.compute import portal
from stepwell.compute.contract import Entry, EnvironmentRef, Handle, Status, Target, Transfer
from stepwell.errors import ComputeTargetException, StepwellError
from stepwell.runtime import protocol


class TargetContract(Case):
    """What every target does; a kind's test class adds its :class:`Case`."""

    # -- running a script --------------------------------------------------------------------------------------

    def test_probe_says_that_it_works_and_when(self, target: Target) -> None:
        report = portal.call(target.probe())
        assert report.ok, report.problems
        assert abs(report.at - time.time()) < 60
        json.dumps(report.to_dict())

    def test_the_key_of_an_environment_is_known_before_it_is_built(self, target: Target) -> None:
        key = portal.call(target.environment_key({"pip": ["six"]}))
        assert key == portal.call(target.environment_key({"pip": ["six"], "variables": {"A": "1"}}))
        assert key != portal.call(target.environment_key({"pip": ["six<2"]}))

    def test_runs_a_script_in_its_source_directory(self, run: Runner) -> None:
        handle = run(
            "import os, sys; print(sys.argv[1:], os.path.basename(os.getcwd()), os.environ['COLOUR'], flush=True)\n"
            "import helper; print(helper.WORD)",
            "--a b",
            "$HOME; 'x'",
            files={"helper.py": "WORD = 'from next to it'"},
            variables={"COLOUR": "blue"},
        )
        log = run.log(handle)
        assert "['--a b', \"$HOME; 'x'\"] code blue" in log
        assert "from next to it" in log
        assert run.status(handle) == Status("succeeded")

    def test_exit_code_and_last_lines_are_in_the_final_status(self, run: Runner) -> None:
        handle = run("import sys; print('one', flush=True); print('the reason', file=sys.stderr); sys.exit(3)")
        final = run.wait(handle).final
        assert (final["status"], final["phase"], final["exit_code"], final["signal"]) == ("failed", "step", 3, None)
        assert "the reason" in final["last_lines"]

    def test_outputs_and_logs_are_captured_also_on_failure(self, run: Runner) -> None:
        handle = run(
            "import os\n"
            "for d in ('outputs/deep', 'logs'): os.makedirs(d)\n"
            "open('outputs/deep/model.txt', 'w').write('weights')\n"
            "open('logs/own.txt', 'w').write('mine')\n"
            "open('../outputs/result/part', 'w').write('data')\n"
            "os.symlink('/etc/hostname', 'outputs/away')\n"
            "print('to stdout'); raise SystemExit(1)",
            outputs={"result": {"mode": "upload"}},
        )
        outcome = run.wait(handle)
        assert outcome.final["status"] == "failed"
        assert (outcome.directory / "outputs/deep/model.txt").read_text() == "weights"
        assert (outcome.directory / "logs/own.txt").read_text() == "mine"
        assert "to stdout" in (outcome.directory / "logs/step.log").read_text()
        assert "to stdout" in (outcome.directory / "logs/azureml/driver/stdout").read_text()
        assert (outcome.uploads["result"] / "part").read_text() == "data"
        assert not (outcome.directory / "outputs/away").exists(), "a link out of the directory was followed"

    def test_phases_are_told_as_events(self, run: Runner) -> None:
        events = run.wait(run("pass")).events
        assert [(e["name"], e["state"]) for e in events if e["kind"] == "phase"] == [
            ("step", "started"),
            ("step", "ended"),
        ]

    # -- once, and by whom -------------------------------------------------------------------------------------------

    def test_submitted_twice_it_runs_once(self, run: Runner) -> None:
        job = run.job("import os, time; open(os.environ['DESK'] + '/ran', 'a').write('x'); time.sleep(0.5)")
        portal.call(run.target.stage(job))
        with ThreadPoolExecutor(4) as pool:
            handles = list(pool.map(lambda _: portal.call(run.target.submit(job)), range(4)))
        portal.call(run.target.stage(job))  # by a try that does not know yet; it must not touch a running job
        handles.append(portal.call(run.target.submit(job)))
        run.handles.append(handles[0])
        assert set(handles) == {handles[0]}
        assert run.wait(handles[0]).final["status"] == "succeeded"
        assert portal.call(run.target.submit(job)) == handles[0]
        time.sleep(0.2)
        assert run.desk(job.id, "ran").read_text() == "x"

    def test_another_process_finds_it_and_takes_it_over(self, run: Runner, target: Target) -> None:
        handle = run("import time; print('up', flush=True); time.sleep(60)", owner="try-1")
        found = portal.call(target.find(handle.job_id))
        assert found == handle
        assert Handle.from_dict(json.loads(json.dumps(handle.to_dict()))) == handle
        portal.call(target.adopt(handle, "try-2"))
        assert portal.call(target.cancel(handle, "try-1")) is False
        assert run.status(handle).state in ("running", "queued")
        assert portal.call(target.cancel(handle, "try-2", "marked failed")) is True
        final = run.wait(handle).final
        assert (final["status"], final["reason"]) == ("cancelled", "marked failed")

    def test_nothing_is_found_that_was_not_submitted(self, target: Target) -> None:
        assert portal.call(target.find("never")) is None

    def test_a_job_that_is_cancelled_before_it_starts_never_starts(self, run: Runner, target: Target) -> None:
        job = run.job("import os; open(os.environ['DESK'] + '/ran', 'w')")
        portal.call(target.stage(job))
        handle = Handle(target.name, job.id, self.directory(target, job.id))
        assert portal.call(target.cancel(handle, None, "too late")) is True
        assert portal.call(target.submit(job)) == handle
        assert run.status(handle) == Status("cancelled", "too late")
        assert not run.desk(job.id, "ran").exists()

    def test_cancel_ends_also_what_the_step_started(self, run: Runner, target: Target) -> None:
        handle = run(
            "import subprocess, sys, time\n"
            "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=False)\n"
            "print('up', flush=True); time.sleep(300)"
        )
        eventually(lambda: len(scripts(handle.job_id)) == 2, self.patience)
        assert portal.call(target.cancel(handle, None)) is True
        assert run.wait(handle).final["status"] == "cancelled"
        eventually(lambda: not scripts(handle.job_id), 10)

    # -- logs --------------------------------------------------------------------------------------------------------

    def test_lines_are_there_while_it_runs_and_can_be_read_on_from_anywhere(self, run: Runner, target: Target) -> None:
        handle = run(
            "import os, time\nprint('first', flush=True)\n"
            "while not os.path.exists(os.environ['DESK'] + '/go'): time.sleep(0.02)\nprint('second', flush=True)"
        )
        seen = b""
        for piece in portal.iterate(target.logs(handle)):
            seen += piece
            if b"first\n" in seen and b"second" not in seen:
                assert run.status(handle).state == "running"
                run.desk(handle.job_id, "go").touch()
        assert seen.count(b"first\n") == 1
        assert seen.endswith(b"second\n") or b"\nsecond\n" in seen
        offset = seen.index(b"second")
        assert b"".join(portal.iterate(target.logs(handle, offset))) == seen[offset:]

    # -- events ------------------------------------------------------------------------------------------------------

    def test_events_are_there_while_it_runs_each_of_them_once(self, run: Runner, target: Target) -> None:
        handle = run(
            "import json, os, time\n"
            "def say(writer, *events):\n"
            "    path = f'../events/{writer}-000000.jsonl'\n"
            "    with open(path + '.tmp', 'w') as file:\n"
            "        file.writelines(e if isinstance(e, str) else json.dumps(e) + chr(10) for e in events)\n"
            "    os.rename(path + '.tmp', path)\n"
            "first, second = {'kind': 'child', 'id': 'a', 't': 1}, {'kind': 'child', 'id': 'b', 't': 2}\n"
            "say('one', second, 'no JSON' + chr(10), first)\n"
            "while not os.path.exists(os.environ['DESK'] + '/go'): time.sleep(0.02)\n"
            "say('another', {'kind': 'child', 'id': 'c', 't': 3})"
        )
        seen: set[str] = set()
        found: list[dict[str, Any]] = []

        def children() -> list[str]:
            found.extend(portal.call(target.events(handle, seen)))
            return [event["id"] for event in found if event["kind"] == "child"]

        assert eventually(children) == ["a", "b"]
        assert run.status(handle).state == "running"
        assert [event["segment"] for event in found if event["kind"] == "unreadable"] == ["one-000000.jsonl"]
        run.desk(handle.job_id, "go").touch()
        outcome = run.wait(handle)
        assert children() == ["a", "b", "c"]
        assert portal.call(target.events(handle, seen)) == []
        assert portal.call(target.events(handle, set())) == outcome.events
        portal.call(target.forget(handle))
        assert portal.call(target.events(handle, set())) == []

    # -- secrets -----------------------------------------------------------------------------------------------------

    def test_secrets_reach_the_step_and_nothing_else(self, run: Runner) -> None:
        handle = run(
            "import os, sys, time\ns = os.environ['TOKEN']\n"
            "print('long enough' if len(s) == 16 else s, s, flush=True)\n"
            "sys.stdout.write(s[:7]); sys.stdout.flush(); time.sleep(0.4); print(s[7:])\n"
            "import urllib.parse; print(urllib.parse.quote(s, safe=''), file=sys.stderr, flush=True)\n"
            "while not os.path.exists(os.environ['DESK'] + '/go'): time.sleep(0.02)",
            secrets={"TOKEN": SECRET},
        )
        eventually(lambda: "long enough ***" in (run.read(handle, "logs/step.log") or ""), self.patience)
        pids = [*launchers(handle.job_id), *scripts(handle.job_id)]
        assert len(pids) >= 2
        for pid in pids:
            assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        run.desk(handle.job_id, "go").touch()
        outcome = run.wait(handle)
        assert outcome.final["status"] == "succeeded"
        for top in (self.here(handle.directory), outcome.directory):
            for path in (p for p in top.rglob("*") if p.is_file()):
                for form in (SECRET.encode(), SECRET.replace("/", "%2F").replace("+", "%2B").encode()):
                    if path.name != "main.py":
                        assert form not in path.read_bytes(), path
        assert run.read(handle, "secrets.json") is None

    def test_the_workers_own_environment_stays_with_the_worker(
        self, run: Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_BANK", "postgres://me:hunter22@bank/")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter33")
        log = run.log(run("import os; print(dict(os.environ))"))
        assert "hunter" not in log
        assert "AIRFLOW" not in log

    # -- silence is failure ------------------------------------------------------------------------------------------

    def test_a_killed_step_is_a_failure_that_names_the_signal(self, run: Runner) -> None:
        handle = run("import os, signal; print('up', flush=True); os.kill(os.getpid(), signal.SIGKILL)")
        final = run.wait(handle).final
        assert final["status"] == "failed"
        assert final["exit_code"] != 0
        self.check_killed(final)

    def test_a_killed_launcher_is_a_failure_and_leaves_nothing_running(self, run: Runner) -> None:
        handle = run("import time; time.sleep(300)")
        eventually(lambda: scripts(handle.job_id), self.patience)
        self.lose(handle)
        status = eventually(lambda: (s := run.status(handle)).ended and s, 10)
        assert status.state == "failed"
        assert "without a final status" in status.detail
        eventually(lambda: not scripts(handle.job_id), 10)
        assert run.wait(handle).final["status"] == "failed"

    def test_a_job_that_nobody_asks_about_ends_itself(self, run: Runner) -> None:
        handle = run("import time; time.sleep(300)", lease_seconds=1)
        final = eventually(lambda: run.read(handle, "events/final.json"), self.patience)
        assert json.loads(final)["status"] == "cancelled"
        assert "lease" in json.loads(final)["reason"]

    def test_a_renewed_lease_keeps_it_alive(self, run: Runner, target: Target) -> None:
        handle = run("import time; time.sleep(3.5)", lease_seconds=2)
        while not run.status(handle).ended:
            portal.call(target.renew(handle))
            time.sleep(0.1)
        assert run.status(handle) == Status("succeeded")

    # -- staging -----------------------------------------------------------------------------------------------------

    def test_inputs_are_staged_and_not_twice(self, run: Runner, target: Target) -> None:
        source = Bytes({"a.csv": b"x\n1\n", "deep/b.csv": b"y\n2\n"})
        job = run.job(
            "print(open('../inputs/titanic/deep/b.csv').read())", transfers=(Transfer(source, "inputs/titanic"),)
        )
        portal.call(target.stage(job))
        portal.call(target.stage(job))
        assert source.opened == ["a.csv", "deep/b.csv"]
        handle = portal.call(target.submit(job))
        run.handles.append(handle)
        assert "y\n2" in run.log(handle)

    @pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a/../../x"])
    def test_a_file_that_leads_out_of_the_job_is_refused(self, run: Runner, target: Target, name: str) -> None:
        job = run.job("pass", transfers=(Transfer(Bytes({name: b"x"}), "inputs/titanic"),))
        with pytest.raises(StepwellError, match="leaves its root"):
            portal.call(target.stage(job))
        with pytest.raises(ComputeTargetException, match="is not staged"):
            portal.call(target.submit(job))

    @pytest.mark.parametrize("job_id", ["../other", "", "a/b", "x\0y"])
    def test_a_job_id_that_is_a_path_is_refused(self, target: Target, job_id: str) -> None:
        with pytest.raises(StepwellError):
            target.layout(job_id)

    def test_an_entry_of_the_wrong_kind_is_refused(self, target: Target, environment: EnvironmentRef) -> None:
        wrong: Any = next((kind for kind in ("spark", "python") if kind not in target.runs), "fortran")
        with pytest.raises(ComputeTargetException, match=f"cannot run a {wrong} step"):
            target.phases(Entry(wrong, script="x.py"), environment, target.layout("j"))

    # -- what an earlier try has left --------------------------------------------------------------------------------

    def test_what_a_lost_try_staged_of_something_else_is_not_mixed_in(self, run: Runner, target: Target) -> None:
        source = Bytes({"a.csv": b"old", "gone.csv": b"old", "z.csv": b"old"})
        real = source.open

        def killed(name: str) -> BinaryIO:
            if name == "z.csv":
                raise OSError("the worker was killed")
            return real(name)

        source.open = killed  # type: ignore[method-assign]
        old = run.job("print('old code')", transfers=(Transfer(source, "inputs/titanic"),))
        with pytest.raises(OSError, match="was killed"):
            portal.call(target.stage(old))
        inputs = self.here(self.directory(target, old.id)) / "inputs/titanic"
        assert (inputs / "a.csv").read_bytes() == b"old"
        run.made -= 1  # the next try has the same job id
        new_source = Bytes({"a.csv": b"new", "z.csv": b"new"})
        script = (
            "import glob; print('new code', [(p[-5:], open(p).read()) for p in sorted(glob.glob('../inputs/*/*'))])"
        )
        new = run.job(script, transfers=(Transfer(new_source, "inputs/titanic"),))
        assert new.id == old.id
        portal.call(target.stage(new))
        handle = portal.call(target.submit(new))
        run.handles.append(handle)
        assert "new code [('a.csv', 'new'), ('z.csv', 'new')]" in run.log(handle)

    def test_contents_that_changed_without_their_size_are_told_by_the_digest(self, run: Runner, target: Target) -> None:
        job = run.job("pass")
        for content in (b"old", b"new"):
            source = Bytes({"a.csv": content})
            source.digest = content.decode()  # type: ignore[attr-defined]
            portal.call(target.stage(replace(job, transfers=(Transfer(source, "inputs/titanic"),))))
        inputs = self.here(self.directory(target, job.id)) / "inputs/titanic"
        assert (inputs / "a.csv").read_bytes() == b"new"

    def test_a_file_of_the_snapshot_is_replaced_by_an_input_of_its_size(self, run: Runner, target: Target) -> None:
        transfer = Transfer(Bytes({"a.csv": b"new"}), "code/data")
        job = run.job("print(open('data/a.csv').read())", files={"data/a.csv": "old"}, transfers=(transfer,))
        portal.call(target.stage(job))
        handle = portal.call(target.submit(job))
        run.handles.append(handle)
        assert "new" in run.log(handle)

    def test_a_half_written_file_is_never_among_the_inputs(self, run: Runner, target: Target) -> None:
        seen: list[str] = []

        class Cut(io.BytesIO):
            def read(self, *_: Any) -> bytes:
                if self.tell():
                    seen.extend(p.name for p in inputs.rglob("*") if p.is_file())
                return super().read(1)

        source = Bytes({"a.csv": b"abc"})
        source.open = lambda _: Cut(b"abc")  # type: ignore[method-assign]
        job = run.job("pass", transfers=(Transfer(source, "inputs/titanic"),))
        inputs = self.here(self.directory(target, job.id)) / "inputs"
        portal.call(target.stage(job))
        assert seen == []
        assert [p.name for p in inputs.rglob("*") if p.is_file()] == ["a.csv"]

    # -- whose eyes --------------------------------------------------------------------------------------------------

    def test_nobody_else_can_read_a_job(self, run: Runner) -> None:
        handle = run("print('hello')")
        run.wait(handle)
        top = self.here(handle.directory)
        assert top.stat().st_mode & 0o777 == 0o700
        logs = [p for p in (top / "logs").rglob("*") if p.is_file()]
        assert len(logs) >= 3
        for path in (top / "job.json", *logs):
            assert path.stat().st_mode & 0o777 == 0o600, path

    def test_secrets_of_a_job_that_never_started_do_not_stay(self, run: Runner, target: Target) -> None:
        for clean in ("stage", "find", "reap", "cancel"):
            job = run.job("pass")
            portal.call(target.stage(job))
            at = self.here(self.directory(target, job.id))
            (at / "secrets.json").write_text("{}")
            os.utime(at / "secrets.json", (0, 0))
            if clean == "stage":
                portal.call(target.stage(job))
            elif clean == "find":
                assert portal.call(target.find(job.id)) is None
            elif clean == "reap":
                assert portal.call(target.reap(3600)) == []
            else:
                portal.call(target.cancel(Handle(target.name, job.id, self.directory(target, job.id)), None))
            assert not (at / "secrets.json").exists(), clean

    # -- more on logs and ends ---------------------------------------------------------------------------------------

    def test_the_scripts_own_logs_do_not_replace_ours(self, run: Runner) -> None:
        handle = run(
            "import os; os.makedirs('logs/step'); print('from the launcher')\n"
            "for n in ('step.log', 'azureml', 'own.txt', 'step/x'): open('logs/' + n, 'w').write('mine')"
        )
        run.wait(handle)
        logs = run.wait(handle).directory / "logs"  # collected twice, the result is the same
        assert "from the launcher" in (logs / "step.log").read_text()
        assert "from the launcher" in (logs / "azureml/driver/stdout").read_text()
        assert (logs / "own.txt").read_text() == (logs / "step/x").read_text() == "mine"
        assert (logs / "script/step.log").read_text() == (logs / "script/azureml").read_text() == "mine"

    def test_a_part_of_the_log_is_there_while_the_job_runs(self, run: Runner, target: Target) -> None:
        handle = run("import time; print('first line', flush=True); time.sleep(300)")

        def there() -> bytes:
            return portal.call(target.log_part(handle, 0))

        eventually(lambda: there().endswith(b"first line\n"), self.patience)
        before = len(there()) - 11
        assert before == 0 or not self.quiet
        assert portal.call(target.log_part(handle, before + 6)) == b"line\n"
        assert portal.call(target.log_part(handle, before, 5)) == b"first"
        assert portal.call(target.log_part(handle, before + 11)) == b""

    def test_a_job_that_somebody_else_has_ended_does_not_go_on(self, run: Runner) -> None:
        handle = run("import time; time.sleep(300)")
        eventually(lambda: scripts(handle.job_id), self.patience)
        final = {"status": "failed", "reason": "given up"}
        protocol.create_json(str(self.here(handle.directory) / "events/final.json"), final)
        eventually(lambda: not scripts(handle.job_id), 15)
        eventually(lambda: run.status(handle) == Status("failed", "given up"), 15)
        eventually(lambda: not launchers(handle.job_id), 15)

    # -- afterwards --------------------------------------------------------------------------------------------------

    def test_a_running_job_is_neither_collected_nor_forgotten(
        self, run: Runner, target: Target, tmp_path: Path
    ) -> None:
        handle = run("import time; print('up', flush=True); time.sleep(60)")
        with pytest.raises(ComputeTargetException, match="has not ended"):
            portal.call(target.collect(handle, tmp_path / "into"))
        with pytest.raises(ComputeTargetException, match="Cancel it first"):
            portal.call(target.forget(handle))
        assert portal.call(target.reap(0)) == []

    def test_reap_takes_what_is_old_and_leaves_what_runs(self, run: Runner, target: Target) -> None:
        done, runs = run("pass"), run("import time; time.sleep(60)")
        run.wait(done)
        staged = run.job("pass")
        portal.call(target.stage(staged))
        assert portal.call(target.reap(3600)) == []
        assert sorted(portal.call(target.reap(0))) == sorted([done.job_id, staged.id])
        assert portal.call(target.find(done.job_id)) is None
        assert portal.call(target.find(runs.job_id)) == runs

    def test_forget_removes_the_directory_and_may_be_repeated(self, run: Runner, target: Target) -> None:
        handle = run("pass")
        run.wait(handle)
        portal.call(target.forget(handle))
        portal.call(target.forget(handle))
        assert not run.exists(handle)
        assert run.status(handle).state == "failed"
