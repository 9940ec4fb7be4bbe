"""What becomes of a job on a machine behind SSH when the way there, or the machine, fails; and bad input."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import io
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contract.compute.case import Case, Runner, eventually
from tests.contract.compute.test_remote import address_of
from tests.machines.vm import Vm
from tests.machines.vm import mortal_vm as mortal_vm
from tests.machines.vm import vm as vm

from stepwell.compute import portal, ssh
from stepwell.compute.contract import Entry, EnvironmentRef, Handle, Job, Status, Unreachable
from stepwell.compute.kinds.remote import RemoteTarget
from stepwell.compute.ssh import hostkeys
from stepwell.errors import ComputeTargetException, StepwellError

connections = importlib.import_module("stepwell.compute.ssh.connection")
UNTIL_GO = "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.02)\nprint('end')"


class OnMortal(Case):
    @pytest.fixture
    def target(self, mortal_vm: Vm, request: pytest.FixtureRequest) -> Iterator[RemoteTarget]:
        self.vm = mortal_vm
        root = f"/home/{mortal_vm.login}/stepwell-{abs(hash(request.node.nodeid)):x}"
        target = RemoteTarget("vm", address_of(mortal_vm, root=root), root)
        yield target
        mortal_vm.restore()
        mortal_vm.start()
        portal.call(close(target))
        mortal_vm.run("rm", "-rf", root)

    @pytest.fixture
    def environment(self, target: RemoteTarget) -> EnvironmentRef:
        return EnvironmentRef("test", "/usr/bin/python3", None, user_managed=True)

    def here(self, path: str) -> Path:
        return self.vm.path(path)


async def close(target: RemoteTarget) -> None:
    connection = ssh.connection(target.address)
    connection.abort()
    await connection.close()


def agent_of(vm: Vm) -> list[str]:
    return vm.run("pgrep", "-f", "os.fdopen.0,.rb.").stdout.split()


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose hope sooner than a real worker would."""
    monkeypatch.setattr(connections, "KEEPALIVE_SECONDS", 1)
    monkeypatch.setattr(connections, "KEEPALIVE_COUNT", 1)
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 2.0)


class TestFaults(OnMortal):
    def go(self, handle: Handle) -> None:
        self.here(f"{handle.directory}/code/go").touch()

    def test_a_cut_of_the_network_is_no_failure_and_loses_no_line(
        self, run: Runner, target: RemoteTarget, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quick(monkeypatch)
        handle = run(
            "import os, sys, time\nprint('up', flush=True); n = 0\n"
            "while not os.path.exists('go'): n += 1; print('line', n, flush=True); time.sleep(0.01)\n"
            "print('lines', n)"
        )
        pieces: list[bytes] = []
        reader = threading.Thread(target=lambda: pieces.extend(portal.iterate(target.logs(handle))))
        reader.start()
        eventually(lambda: b"line 20\n" in b"".join(pieces))
        self.vm.cut()
        status = eventually(lambda: (s := run.status(handle)).state == "unknown" and s, 15)
        assert "lost" in status.detail or "answered" in status.detail
        time.sleep(1.0)
        self.vm.restore()
        eventually(lambda: run.status(handle).state == "running", 15)
        self.go(handle)
        reader.join(20)
        assert not reader.is_alive()
        log = b"".join(pieces).decode().splitlines()
        count = int(log[-1].split()[1])
        assert log[:-1] == ["up", *(f"line {n}" for n in range(1, count + 1))]
        assert run.wait(handle).final["status"] == "succeeded"

    @pytest.mark.slow
    def test_a_cut_of_twenty_seconds_while_it_is_staged_and_submitted(self, run: Runner, target: RemoteTarget) -> None:
        job = run.job("open('ran', 'a').write('x')")
        portal.call(target.probe())
        self.vm.cut()
        threading.Timer(20.0, self.vm.restore).start()
        portal.call(target.stage(job))
        self.vm.cut()
        threading.Timer(20.0, self.vm.restore).start()
        handle = portal.call(target.submit(job))
        run.handles.append(handle)
        assert run.wait(handle).final["status"] == "succeeded"
        assert self.here(f"{handle.directory}/code/ran").read_text() == "x"

    def test_a_machine_that_stays_away_is_unknown_and_then_given_up(
        self, run: Runner, target: RemoteTarget, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quick(monkeypatch)
        monkeypatch.setattr(target, "unreachable_seconds", 3.0)
        handle = run(UNTIL_GO)
        self.vm.cut()
        began = time.monotonic()
        with pytest.raises(ComputeTargetException, match="has not answered for 3 s"):
            list(portal.iterate(target.logs(handle)))
        assert time.monotonic() - began < 20
        assert run.status(handle).state == "unknown"
        self.vm.restore()
        eventually(lambda: run.status(handle).state == "running", 15)
        self.go(handle)
        assert run.wait(handle).final["status"] == "succeeded"

    def test_a_restart_of_the_machine_is_the_end_of_its_jobs(
        self, run: Runner, target: RemoteTarget, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quick(monkeypatch)
        monkeypatch.setattr("stepwell.compute.target.SILENT_SECONDS", 2.0)
        handle = run(UNTIL_GO)
        self.vm.restart()
        status = eventually(lambda: (s := run.status(handle)).ended and s, 20)
        assert status.state == "failed"
        assert "restarted" in status.detail
        outcome = run.wait(handle)
        assert "up" in (outcome.directory / "logs/step.log").read_text()
        assert run.status(run("pass")).state != "failed"

    def test_the_end_of_sshd_and_of_the_agent_is_not_that_of_the_job(self, run: Runner, target: RemoteTarget) -> None:
        handle = run(UNTIL_GO)
        for lose in (self.vm.hang_up, lambda: self.vm.exec("kill", "-9", *agent_of(self.vm))):
            lose()
            eventually(lambda: run.status(handle).state == "running", 15)
            assert len(agent_of(self.vm)) == 1
        self.go(handle)
        assert run.log(handle).endswith("end\n")
        assert run.wait(handle).final["status"] == "succeeded"

    def test_connections_that_break_again_and_again_start_one_job(self, run: Runner, target: RemoteTarget) -> None:
        job = run.job("open('ran', 'a').write('x'); import time; time.sleep(0.3)", files={"big": "x" * 5_000_000})
        over = threading.Event()

        def break_it() -> None:
            while not over.wait(0.15):
                self.vm.hang_up()

        breaking = threading.Thread(target=break_it)
        breaking.start()
        threading.Timer(3.0, over.set).start()
        portal.call(target.stage(job))
        handle = portal.call(target.submit(job))
        run.handles.append(handle)
        over.set()
        breaking.join()
        assert run.wait(handle).final["status"] == "succeeded"
        assert self.here(f"{handle.directory}/code/ran").read_text() == "x"

    def test_nothing_is_left_there_when_the_worker_goes(self, run: Runner, target: RemoteTarget) -> None:
        run.wait(run("pass"))
        began = asyncio.run_coroutine_threadsafe(target.exec.run(["sleep", "4711"], timeout=60), portal._loop())
        eventually(lambda: self.vm.run("pgrep", "-f", "sleep 4711").stdout)
        portal.call(close(target))
        eventually(lambda: not agent_of(self.vm) and not self.vm.run("pgrep", "-f", "sleep 4711").stdout, 10)
        with pytest.raises(Unreachable):
            began.result(10)

    def test_a_cancelled_command_is_ended_there(self, target: RemoteTarget) -> None:
        began = asyncio.run_coroutine_threadsafe(target.exec.run(["sleep", "4712"], timeout=60), portal._loop())
        eventually(lambda: self.vm.run("pgrep", "-f", "sleep 4712").stdout)
        began.cancel()
        eventually(lambda: not self.vm.run("pgrep", "-f", "sleep 4712").stdout, 10)

    def test_a_command_that_takes_too_long_is_ended_there(self, target: RemoteTarget) -> None:
        with pytest.raises(ComputeTargetException, match="did not answer within 0.3 s"):
            portal.call(target.exec.run(["sleep", "4713"], timeout=0.3))
        eventually(lambda: not self.vm.run("pgrep", "-f", "sleep 4713").stdout, 10)

    def test_a_full_disk_is_told_and_leaves_no_half_files(self, run: Runner, target: RemoteTarget) -> None:
        self.vm.exec("mkdir", "-p", target.root)
        self.vm.exec("mount", "-t", "tmpfs", "-o", f"size=4m,uid={self.uid()}", "tmpfs", target.root)
        try:
            noise = random.Random(1).randbytes(6_000_000).hex()
            job = run.job("pass", files={"big": noise})
            with pytest.raises(ComputeTargetException, match=r"No space left on device.*Make room") as raised:
                portal.call(target.stage(job))
            assert "ml@" in str(raised.value)
            found = self.vm.exec("find", target.root, "-name", "*.tmp", "-o", "-name", "*.zip", "-size", "+1000k")
            assert found == ""
            handle = run("open('../outputs/fill', 'wb').write(bytes(8 << 20))")
            final = run.wait(handle).final
            assert final["status"] == "failed"
            assert any("No space left" in line for line in final["last_lines"])
        finally:
            self.vm.run("umount", "-l", target.root)

    def uid(self) -> str:
        return self.vm.exec("id", "-u", self.vm.login)

    def test_one_session_is_enough(self, run: Runner, target: RemoteTarget) -> None:
        self.vm.sshd(MaxSessions=1)
        handles = [run("print('hello')") for _ in range(3)]
        portal.call(together(*(target.files.modified(h.directory) for h in handles)))
        assert [run.wait(handle).final["status"] for handle in handles] == ["succeeded"] * 3

    def test_no_session_is_said(self, target: RemoteTarget) -> None:
        self.vm.sshd(MaxSessions=0)
        report = portal.call(target.probe())
        assert not report.ok
        assert "opens no session" in report.problems[0]

    def test_a_changed_host_key_is_refused(self, run: Runner, target: RemoteTarget) -> None:
        handle, old = run("pass"), self.vm.host_key
        run.wait(handle)
        self.vm.new_host_key()
        self.vm.hang_up()
        status = eventually(lambda: "host key of ml@" in (s := run.status(handle)).detail and s)
        assert status.state == "unknown"
        assert "has changed" in status.detail
        with pytest.raises(ComputeTargetException, match="somebody may be listening") as raised:
            portal.call(target.stage(run.job("pass")))
        assert raised.value.permanent
        assert hostkeys.fingerprint(old) in str(raised.value)
        target.address = replace(target.address, host_keys=(self.vm.host_key,))
        for port in (target.files, target.runner, target.exec):
            port.address = target.address  # type: ignore[attr-defined]
        assert portal.call(target.probe()).ok


async def together(*awaited: Any) -> list[Any]:
    return list(await asyncio.gather(*awaited))


def on(vm: Vm, **more: Any) -> RemoteTarget:
    root = f"/home/{vm.login}/stepwell-bad"
    return RemoteTarget("vm", address_of(vm, **{"root": root, **more}), root)


class TestBadInput:
    """Nothing is started, nothing is left, and the message says what to do."""

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"password": "wrong"}, "refuses its password"),
            ({"password": None}, "neither a password nor a private key"),
            ({"login": "nobody-there"}, "does not let us in"),
            ({"host_keys": ()}, "No host key of ml@"),
            ({"python": "no-such-python"}, "no-such-python does not exist"),
            ({"python": "/etc/passwd"}, "/etc/passwd is not executable"),
            ({"python": "/bin/true"}, "/bin/true on ml@.* does not run as Python"),
            ({"python": "/usr/local/bin/oldpython"}, "is Python 3.6.8.*Allowed: Python 3.8 or later"),
            ({"port": 23}, "cannot be reached: Connection refused"),
            ({"host": "no-such-host.invalid"}, "cannot be reached"),
        ],
    )
    def test_is_refused_in_words(self, vm: Vm, more: dict[str, Any], said: str) -> None:
        program = "import sys; sys.version_info = (3, 6, 8); exec(sys.stdin.buffer.raw.readline())"
        old = f"#!/bin/sh\nexec python3 -c '{program}'"
        vm.exec("sh", "-c", "cat > /usr/local/bin/oldpython; chmod 755 /usr/local/bin/oldpython", input=old)
        target = on(vm, **more)
        report = portal.call(target.probe())
        assert not report.ok
        import re

        assert re.search(said, report.problems[0]), report.problems
        assert vm.run("test", "-e", target.root).returncode != 0

    def test_a_key_that_others_can_read(self, vm: Vm, tmp_path: Path) -> None:
        key = tmp_path / "id"
        key.write_text(vm.key_file.read_text())
        key.chmod(0o644)
        with pytest.raises(ComputeTargetException, match="can be read by others"):
            portal.call(on(vm, password=None, key_file=str(key)).files.now())

    def test_an_encrypted_key_without_its_passphrase(self, vm: Vm) -> None:
        for passphrase, said in ((None, "no passphrase was given"), ("wrong", "passphrase of .* is wrong")):
            target = on(vm, password=None, key_file=str(vm.locked_key_file), passphrase=passphrase)
            with pytest.raises(ComputeTargetException, match=said) as raised:
                portal.call(target.files.now())
            assert raised.value.permanent

    def test_a_host_that_accepts_and_never_answers(self, vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "CONNECT_SECONDS", 1.0)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            target = on(vm, host="127.0.0.1", port=silent.getsockname()[1])
            began = time.monotonic()
            report = portal.call(target.probe())
        assert "has not answered within 1 s" in report.problems[0]
        assert time.monotonic() - began < 5

    def test_a_shell_that_talks_is_talked_over(self, vm: Vm) -> None:
        talk = "echo 'echo hello from the shell'; echo 'printf \"\\0\"'"
        vm.exec("sh", "-c", f"cd /home/ml; cp .bashrc .kept; ({talk}) | cat - .kept > .bashrc")
        try:
            assert portal.call(on(vm, passphrase="another connection").files.modified("/home/ml"))
        finally:
            vm.exec("mv", "/home/ml/.kept", "/home/ml/.bashrc")

    def test_a_root_that_cannot_be_written(self, vm: Vm) -> None:
        target = RemoteTarget("vm", address_of(vm, root="/proc/stepwell"), "/proc/stepwell")
        report = portal.call(target.probe())
        assert not report.ok
        assert "/proc/stepwell" in report.problems[0]

    @pytest.mark.parametrize("root", ["relative", "/", "~", "~/../else", "/a\nb", ""])
    def test_what_is_no_folder(self, vm: Vm, root: str) -> None:
        with pytest.raises(StepwellError, match="folder"):
            ssh.address.check_root(root)

    @pytest.mark.parametrize("python", ["", " ", "-c", "python3\nrm", "a\0b"])
    def test_what_is_no_program(self, python: str) -> None:
        with pytest.raises(StepwellError, match="path of a program"):
            ssh.address.check_program(python)

    def test_a_python_of_a_hostile_name_is_a_name(self, vm: Vm) -> None:
        report = portal.call(on(vm, python="python3'; touch /home/ml/pwned; '$(touch /home/ml/pwned)").probe())
        assert "does not exist" in report.problems[0]
        assert vm.run("test", "-e", "/home/ml/pwned").returncode != 0


class TestStrings(Case):
    """What a script receives is what was given."""

    @pytest.fixture
    def target(self, vm: Vm) -> Iterator[RemoteTarget]:
        self.vm = vm
        root = f'/home/{vm.login}/it\'s a "root" $HOME ü'
        yield RemoteTarget("vm", address_of(vm, root=root), root)
        vm.run("rm", "-rf", root)

    @pytest.fixture
    def environment(self, target: RemoteTarget) -> EnvironmentRef:
        return EnvironmentRef("test", "/usr/bin/python3", None, user_managed=True)

    def here(self, path: str) -> Path:
        return self.vm.path(path)

    ECHO = (
        "import json, os, sys\n"
        "mine = {k: v for k, v in os.environ.items() if k.startswith('X_')}\n"
        "json.dump([sys.argv[1:], mine], open('../outputs/o', 'w'))"
    )

    def test_arguments_and_variables(self, run: Runner, target: RemoteTarget) -> None:
        pick = random.Random(20261121)
        letters = "ab '\"\\$`!;&|<>(){}[]*?~#%^=\n\r\t-äß€漢🙂\u2028\x01\x7f"
        words = ["", " ", "--", "$(id)", "a\nb", "'", '"', "\\", "%s", "-n", "~", "*", "$HOME", "`id`", "\udcff"[:0]]
        words += ["".join(pick.choices(letters, k=pick.randrange(30))) for _ in range(300)]
        variables = {f"X_{n}": word for n, word in enumerate(words)}
        handle = run(self.ECHO, *words, variables=variables)
        run.wait(handle)
        assert json.loads(self.here(f"{handle.directory}/outputs/o").read_text()) == [words, variables]

    def test_a_hundred_kilobytes_of_arguments(self, run: Runner) -> None:
        words = ["x" * 1000 + str(n) for n in range(100)]
        handle = run(self.ECHO, *words)
        assert run.wait(handle).final["status"] == "succeeded"
        assert json.loads(self.here(f"{handle.directory}/outputs/o").read_text())[0] == words

    def test_names_of_files(self, run: Runner, target: RemoteTarget, tmp_path: Path) -> None:
        names = ["a b", "it's", '"q"', "$HOME", "ü 漢", "-rf", "a;b", "`id`", "new\nline", "*"]
        handle = run(
            f"import os; os.mkdir('outputs')\nfor n in {names!r}: open(os.path.join('outputs', n), 'w').write(n)"
        )
        outcome = run.wait(handle)
        assert {path.name: path.read_text() for path in (outcome.directory / "outputs").iterdir()} == {
            n: n for n in names
        }
        for name in names:
            portal.call(
                target.files.put(io.BytesIO(name.encode()), f"{target.root}/in/{name}", f"{target.root}/drafts")
            )
        assert portal.call(target.files.names(f"{target.root}/in")) == sorted(names)

    def test_commands(self, target: RemoteTarget) -> None:
        words = ["$HOME", "; id", "a\nb", "'", '"', "ü"]
        done = portal.call(target.exec.run(["printf", "%s|", *words], variables={"A": "$B"}))
        assert done.out == "".join(f"{word}|" for word in words)


class TestWaiting(OnMortal):
    def test_many_jobs_wait_through_one_connection(self, run: Runner, target: RemoteTarget) -> None:
        handles = [run(UNTIL_GO) for _ in range(12)]
        counted: list[str] = []
        real = ssh.agent.Agent.request

        async def request(self: Any, op: str, *args: Any, **kwargs: Any) -> Any:
            counted.append(op)
            return await real(self, op, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ssh.agent.Agent, "request", request)
            assert portal.call(target.status(handles)) == [Status("running")] * 12
        assert counted.count("look") == 1
        assert len(agent_of(self.vm)) == 1
        for handle in handles:
            self.here(f"{handle.directory}/code/go").touch()
        assert [run.wait(handle).final["status"] for handle in handles] == ["succeeded"] * 12


class TestConnection:
    def test_login_by_each_way(self, vm: Vm) -> None:
        key, locked = vm.key_file.read_text(), {"key_file": str(vm.locked_key_file), "passphrase": vm.passphrase}
        for more in ({}, {"password": None, "key": key}, {"password": None, **locked}):
            assert portal.call(on(vm, **more).files.modified("/home/ml"))

    def test_large_files_arrive_as_they_were(self, vm: Vm, tmp_path: Path) -> None:
        target, folder = on(vm), "/home/ml/large"
        content = random.Random(7).randbytes(30_000_000)
        for number in range(6):  # there are many pieces under way
            portal.call(target.files.put(io.BytesIO(content), f"{folder}/{number}", folder))
            assert (
                hashlib.sha256(vm.path(f"{folder}/{number}").read_bytes()).digest() == hashlib.sha256(content).digest()
            )
        assert portal.call(target.files.read(f"{folder}/5")) == content
        portal.call(target.files.fetch(folder, tmp_path / "back"))
        assert {(tmp_path / "back" / str(number)).read_bytes() == content for number in range(6)} == {True}
        vm.run("rm", "-rf", folder)

    def test_a_python_below_the_home(self, vm: Vm) -> None:
        vm.exec("ln", "-sf", "/usr/bin/python3", "/home/ml/my python")
        assert portal.call(on(vm, python="~/my python").files.modified("/home/ml"))

    def test_a_local_socket_and_a_port_lead_there_and_come_back(self, vm: Vm) -> None:
        address = address_of(vm)
        echo = (
            "import os, socketserver, sys, threading\n"
            "class H(socketserver.StreamRequestHandler):\n"
            "    def handle(self): self.wfile.write(self.rfile.readline()[::-1])\n"
            "s = socketserver.ThreadingUnixStreamServer('/run/echo.sock', H); os.chmod('/run/echo.sock', 0o777)\n"
            "threading.Thread(target=s.serve_forever).start()\n"
            "t = socketserver.ThreadingTCPServer(('127.0.0.1', 7777), H); print('up', flush=True); t.serve_forever()\n"
        )
        import subprocess

        server = subprocess.Popen(vm.command("python3", "-c", echo), stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"

        async def ways() -> tuple[Path, int]:
            shared = ssh.connection(address)
            assert await shared.local_socket("/run/echo.sock") == await shared.local_socket("/run/echo.sock")
            return await shared.local_socket("/run/echo.sock"), await shared.local_port(7777)

        def said(open_: Callable[[], socket.socket]) -> bytes:
            with open_() as one:
                one.sendall(b"abc\n")
                return one.makefile("rb").read()

        def by_path() -> socket.socket:
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(path))
            return one

        path, port = portal.call(ways())
        try:
            for _ in range(2):
                assert said(by_path) == b"\ncba"
                assert said(lambda: socket.create_connection(("127.0.0.1", port))) == b"\ncba"
                portal.call(drop(address))
        finally:
            vm.run("pkill", "-f", "echo.sock")
            server.wait()

    def test_the_home_is_asked_for_when_nobody_has_looked(self, vm: Vm) -> None:
        from stepwell.workspace.connections import ConnectionInfo

        record: dict[str, Any] = {
            "name": "vm",
            "configuration": {"host_key": vm.host_key},
            "connection": ConnectionInfo("c", "ssh", vm.address, login=vm.login, password=vm.password),
        }
        target = RemoteTarget.from_record(record, "/unused")
        assert target.root == "/home/ml/.stepwell"
        report = portal.call(target.probe())
        assert report.facts["root"] == target.root
        vm.cut()
        try:
            assert RemoteTarget.from_record({**record, "report": report.to_dict()}, "/unused").root == target.root
        finally:
            vm.restore()

    def test_missing_parts_of_a_connection(self) -> None:
        from stepwell.workspace.connections import ConnectionInfo

        for info, said in (
            (None, "has no connection"),
            (ConnectionInfo("c", "ssh"), "has no host"),
            (ConnectionInfo("c", "ssh", "h"), "has no login"),
        ):
            with pytest.raises(ComputeTargetException, match=said):
                ssh.Address.from_record({"name": "x", "configuration": {}, "connection": info})


async def drop(address: ssh.Address) -> None:
    ssh.connection(address).abort()


class TestWhatIsThere:
    def test_the_probe_tells_what_is_there(self, vm: Vm) -> None:
        facts = portal.call(on(vm).probe()).facts
        assert facts["reachable"] is True
        assert (facts["user"], facts["host"], facts["python_path"]) == ("ml", "vm", "/usr/bin/python3")
        assert facts["cores"] >= 1
        assert facts["disk_free_bytes"] > 1 << 20
        assert facts["docker"]["problem"] == "Docker does not run"
        assert abs(facts["clock_skew_seconds"]) < 1
        assert "spark" not in facts
        vm.run("rm", "-rf", "/home/ml/stepwell-bad")

    def test_unchanged_code_is_sent_once_and_a_copy_waits_for_the_next_job(self, vm: Vm, tmp_path: Path) -> None:
        import zipfile

        target = on(vm)
        portal.call(target.probe())
        with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
            for n in range(200):
                archive.writestr(f"m{n}.py", f"x = {n}\n")
        puts: list[str] = []
        real = target.files.put

        async def put(reader: Any, path: str, *args: Any, **kwargs: Any) -> None:
            puts.append(path)
            await real(reader, path, *args, **kwargs)

        target.files.put = put  # type: ignore[method-assign]
        for n in range(3):
            portal.call(target.files.unpack(tmp_path / "code.zip", f"{target.root}/jobs/j{n}/code"))
            found = vm.path(f"{target.root}/jobs/j{n}/code")
            assert {p.name: p.read_text() for p in found.iterdir()} == {f"m{i}.py": f"x = {i}\n" for i in range(200)}
            spare = vm.path(puts[0] + ".spare")
            eventually(spare.exists, 10)
        assert len(puts) == 1
        (spare / "m0.py").write_text("changed")  # a spare is nobody's yet; the jobs' own are apart
        assert vm.path(f"{target.root}/jobs/j2/code/m0.py").read_text() == "x = 0\n"
        vm.run("rm", "-rf", target.root)


class TestEnvironments:
    @pytest.fixture
    def target(self, vm: Vm) -> Iterator[RemoteTarget]:
        target = on(vm)
        yield target
        vm.run("rm", "-rf", target.root)

    def test_one_is_built_there_and_found_again(self, vm: Vm, target: RemoteTarget) -> None:
        lines: list[str] = []
        spec = {"pip": ["six==1.17.0"], "variables": {"COLOUR": "blue"}}
        built = portal.call(target.prepare(spec, lines.append))
        assert any("this worker's is brought there" in line for line in lines)
        assert any("six==1.17.0" in line for line in lines)
        assert built.key == portal.call(target.environment_key(spec))
        assert vm.exec(built.python, "-c", "import six; print(six.__version__)", user="ml") == "1.17.0"
        lines.clear()
        again = portal.call(target.prepare(spec, lines.append))
        assert again == built
        assert lines == [f"Environment {built.key[:12]} is there (Python {built.version})"]
        record = json.loads(vm.path(f"{built.root}/stepwell-environment.json").read_text())
        assert "six==1.17.0" in record["lock"]
        assert "sha256:" in record["lock"]

    def test_two_that_want_it_build_it_once(self, vm: Vm, target: RemoteTarget) -> None:
        lines: list[str] = []
        other = on(vm, passphrase="another connection")
        one, two = portal.call(
            together(target.prepare({"pip": ["six"]}, lines.append), other.prepare({"pip": ["six"]}, lines.append))
        )
        assert one.python == two.python
        assert sum("built in" in line for line in lines) == 1

    def test_what_cannot_be_resolved_is_told_and_nothing_is_left(self, vm: Vm, target: RemoteTarget) -> None:
        with pytest.raises(
            StepwellError, match=r"(?s)cannot be resolved \(six==99\).*Change the requirements"
        ) as raised:
            portal.call(target.prepare({"pip": ["six==99"]}, print))
        assert "No solution found" in str(raised.value)
        assert vm.exec("ls", f"{target.root}/environments/.building") == ""
        assert vm.exec("sh", "-c", f"ls {target.root}/environments | wc -l") == "0"

    def test_a_user_managed_interpreter(self, vm: Vm, target: RemoteTarget) -> None:
        spec = {"user_managed": True, "interpreter": "python"}
        found = portal.call(target.prepare(spec, print))
        assert (found.python, found.user_managed) == ("/usr/bin/python3", True)
        assert found.key == portal.call(target.environment_key(spec))
        with pytest.raises(StepwellError, match="'/no/python' of the user-managed environment does not exist on ml@"):
            portal.call(target.environment_key({"user_managed": True, "interpreter": "/no/python"}))

    def test_a_step_runs_in_it(self, vm: Vm, target: RemoteTarget, tmp_path: Path) -> None:
        environment = portal.call(target.prepare({"pip": ["six"]}, print))
        layout = target.layout("j")
        program = "import os, sys, six; print(sys.prefix, os.environ['VIRTUAL_ENV'])"
        phases = target.phases(Entry("command", command=("python", "-c", program)), environment, layout)
        job = Job("j", {"job_id": "j", "owner": "o", "phases": phases})
        portal.call(target.stage(job))
        handle = portal.call(target.submit(job))
        assert b"".join(portal.iterate(target.logs(handle))).decode() == f"{environment.root} {environment.root}\n"
