"""Machines attached over a real SSH: by v1's calls, and by the command line, as a person does it."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.machines.vm import Vm
from tests.machines.vm import mortal_vm as mortal_vm
from tests.machines.vm import vm as vm
from tests.support.connections import Kept

from stepwell import ComputeTarget, RemoteCompute, Workspace, cli
from stepwell.compute import portal, ssh
from stepwell.compute.ssh import hostkeys, keys
from stepwell.compute.ssh.connection import PAUSE_SECONDS
from stepwell.errors import ComputeTargetException, StepwellError, UserErrorException
from stepwell.workspace.connections import ConnectionInfo, set_connection_source

pytestmark = pytest.mark.integration


@pytest.fixture
def kept() -> Iterator[Kept]:
    store = Kept()
    set_connection_source(store)
    yield store
    set_connection_source(None)


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Kept) -> Workspace:
    monkeypatch.setenv("STEPWELL_ROOT", str(tmp_path / "ws"))
    return Workspace()


def login(vm: Vm, **more: Any) -> dict[str, Any]:
    return {"username": vm.login, "address": f"{vm.address}:{vm.port}", "host_key": vm.host_key, **more}


def by_password(vm: Vm, **more: Any) -> Any:
    return RemoteCompute.attach_configuration(**login(vm, password=vm.password, **more))


def run(*argv: str) -> int:
    return cli.main(["computetarget", *argv])


# -- v1's calls --------------------------------------------------------------------------------------------------------


def test_a_machine_is_attached_by_password_and_detached(ws: Workspace, vm: Vm, kept: Kept) -> None:
    target = ComputeTarget.attach(ws, "gpu-box", by_password(vm))
    target.wait_for_completion(show_output=True)
    assert isinstance(ComputeTarget(ws, "gpu-box"), RemoteCompute)
    assert target.get_status() == "Succeeded"
    assert target.report is not None
    assert target.report["facts"]["python_path"]
    connection = kept.all["stepwell_target_default_gpu-box"]
    assert (connection.conn_type, connection.login, connection.password) == ("ssh", vm.login, vm.password)
    assert connection.extra["host_key"] == vm.host_key, "Airflow's own SSH hook pins it, too"
    assert vm.password not in json.dumps(target.serialize())
    assert ws.store.read("compute/gpu-box.json").find(vm.password.encode()) == -1
    target.detach()
    assert kept.all == {}
    assert [one.name for one in ComputeTarget.list(ws)] == ["local"]


def test_a_machine_is_attached_by_a_key_whose_content_is_kept(ws: Workspace, vm: Vm, kept: Kept) -> None:
    for name, path, phrase in (("open", vm.key_file, ""), ("locked", vm.locked_key_file, vm.passphrase)):
        wanted = login(vm, private_key_file=str(path), private_key_passphrase=phrase)
        target = ComputeTarget.attach(ws, name, RemoteCompute.attach_configuration(**wanted))
        assert kept.all[f"stepwell_target_default_{name}"].extra["private_key"] == path.read_text()
        assert isinstance(target, RemoteCompute)
        credentials = target.get_credentials()
        assert credentials["username"] == vm.login
        assert credentials["publicKeyData"].split()[:2] == Path(f"{path}.pub").read_text().split()[:2]


def test_a_connection_that_exists_says_all(ws: Workspace, vm: Vm, kept: Kept) -> None:
    extra = {"host_key": vm.host_key}
    kept.put(ConnectionInfo("ssh_gpu", "ssh", vm.address, vm.port, vm.login, vm.password, extra=extra), "")
    target = ComputeTarget.attach(ws, "gpu", RemoteCompute.attach_configuration(ssh_conn_id="ssh_gpu"))
    assert target.serialize()["connectionId"] == "ssh_gpu"
    target.detach()
    assert list(kept.all) == ["ssh_gpu"], "it was there before"
    with pytest.raises(ComputeTargetException, match="ssh_conn_id='ssh_gpu' and username both say how to log in"):
        RemoteCompute.attach_configuration(username="ml", ssh_conn_id="ssh_gpu")


def refused(ws: Workspace, kept: Kept, wanted: Any, message: str) -> StepwellError:
    before = dict(kept.all)
    with pytest.raises((ComputeTargetException, UserErrorException), match=message) as caught:
        ComputeTarget.attach(ws, "gpu", wanted)
    assert kept.all == before
    assert [one.name for one in ComputeTarget.list(ws)] == ["local"]
    return caught.value


def test_a_wrong_password_is_refused_and_nothing_stays(ws: Workspace, vm: Vm, kept: Kept) -> None:
    wanted = RemoteCompute.attach_configuration(**login(vm, password="wrong-one"))
    error = refused(ws, kept, wanted, "'gpu' cannot work: .*password")
    assert error.permanent
    assert "wrong-one" not in str(error)


def test_another_host_key_is_refused_with_both_fingerprints(ws: Workspace, vm: Vm, kept: Kept, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    wanted = RemoteCompute.attach_configuration(**login(vm, password=vm.password, host_key=other))
    error = refused(ws, kept, wanted, "cannot work")
    assert hostkeys.fingerprint(vm.host_key) in str(error)
    assert hostkeys.fingerprint(other) in str(error)
    fingerprint = hostkeys.fingerprint(other)
    wanted = RemoteCompute.attach_configuration(**login(vm, password=vm.password, host_key=fingerprint))
    assert hostkeys.fingerprint(vm.host_key) in str(refused(ws, kept, wanted, "shows other host keys than SHA256:"))


def test_without_a_host_key_it_is_refused_and_the_shown_one_is_told(ws: Workspace, vm: Vm, kept: Kept) -> None:
    wanted = RemoteCompute.attach_configuration(**login(vm, password=vm.password, host_key=None))
    error = refused(ws, kept, wanted, "No host key of .* is known")
    fingerprint = hostkeys.fingerprint(vm.host_key)
    assert fingerprint in str(error)
    ComputeTarget.attach(
        ws, "gpu", RemoteCompute.attach_configuration(**login(vm, password=vm.password, host_key=fingerprint))
    )
    assert ComputeTarget(ws, "gpu").serialize()["properties"]["host_key"] == vm.host_key
    # Attached anew, the pinned one holds.
    ComputeTarget.attach(
        ws, "gpu", RemoteCompute.attach_configuration(**login(vm, password=vm.password, host_key=None), root="~/other")
    )
    properties = ComputeTarget(ws, "gpu").serialize()["properties"]
    assert (properties["host_key"], properties["root"]) == (vm.host_key, "~/other")


def test_a_host_key_that_changes_later_is_refused(ws: Workspace, mortal_vm: Vm) -> None:
    old = hostkeys.fingerprint(mortal_vm.host_key)
    target = ComputeTarget.attach(ws, "gpu", by_password(mortal_vm))
    mortal_vm.new_host_key()
    portal.call(_hang_up(target.target()), 10)
    report = target.probe()
    assert not report.ok
    assert old in report.problems[0]
    assert hostkeys.fingerprint(mortal_vm.host_key) in report.problems[0]
    assert ComputeTarget(ws, "gpu").provisioning_state == "Failed"
    assert ComputeTarget(ws, "gpu").provisioning_errors == list(report.problems)


async def _hang_up(target: Any) -> None:
    await ssh.connection(target.address).close()


@pytest.mark.parametrize("answers", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_host_that_never_says_a_word_is_refused_in_time(ws: Workspace, vm: Vm, kept: Kept, answers: bool) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if answers:
            silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        wanted = RemoteCompute.attach_configuration("ml", address=address, password="x1234567", host_key=vm.host_key)
        refused(ws, kept, wanted, "'gpu' cannot work")
        assert time.monotonic() - start < 60


def test_no_python_there_is_refused(ws: Workspace, vm: Vm, kept: Kept) -> None:
    refused(ws, kept, by_password(vm, python="/usr/bin/python99"), "'gpu' cannot work: .*python99")


def test_what_cannot_be_meant_is_refused_before_anything_is_asked(ws: Workspace, kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "my.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "my.pem").chmod(0o600)
    machine = {"username": "ml", "address": "127.0.0.1:9", "host_key": "SHA256:" + "A" * 43}
    for more, message in (
        ({"private_key_file": str(tmp_path / "my.pem")}, "my.pem is a certificate, not a private key"),
        ({"private_key_file": str(tmp_path / "none")}, "There is no private key"),
    ):
        refused(ws, kept, RemoteCompute.attach_configuration(**machine, **more), message)
    for more, message in (
        ({}, "Neither password nor private key"),
        ({"password": "x", "private_key_file": "y"}, "password and private_key_file all say how to log in"),
        ({"password": "x", "private_key_passphrase": "y"}, "private_key_passphrase is given without"),
        ({"password": "x", "address": None}, "No machine was named"),
        ({"password": "x", "address": None, "vm_name": "v"}, "machine of an Azure subscription"),
        ({"password": "x", "resource_id": "/subscriptions/x"}, "address and resource_id all say which machine"),
        ({"password": "x", "username": None}, "username is missing"),
        ({"password": "x", "username": "-oProxyCommand=x"}, "is not the name of a user"),
        ({"password": "x", "address": "a b; reboot"}, "is not a host"),
        ({"password": "x", "address": "-oX"}, "is not a host"),
        ({"password": "x", "ssh_port": 0}, "0 is not a port"),
        ({"password": "x", "root": "relative"}, "is not a folder on a machine"),
        ({"password": "x", "rot": "/x"}, "'rot' is no setting of .*Allowed: root"),
    ):
        with pytest.raises((ComputeTargetException, UserErrorException), match=message):
            RemoteCompute.attach_configuration(**{**machine, **more})
    assert kept.all == {}


def test_without_a_store_for_connections_a_password_is_refused(tmp_path: Path, vm: Vm) -> None:
    from stepwell.workspace.connections import EnvironmentConnections

    set_connection_source(EnvironmentConnections())
    try:
        with pytest.raises(ComputeTargetException, match="nowhere to keep the login of the compute target 'gpu'"):
            ComputeTarget.attach(Workspace("lab", tmp_path), "gpu", by_password(vm))
    finally:
        set_connection_source(None)


def test_a_connection_of_somebody_else_is_not_replaced(ws: Workspace, vm: Vm, kept: Kept) -> None:
    kept.put(ConnectionInfo("stepwell_target_default_gpu", "ssh", "elsewhere"), "")
    refused(ws, kept, by_password(vm), "'stepwell_target_default_gpu' exists already, and was not made for this")


# -- made by hand ------------------------------------------------------------------------------------------------------


def test_a_target_made_by_hand_is_looked_at_when_it_is_first_used(ws: Workspace, vm: Vm, kept: Kept) -> None:
    from stepwell.compute.resolve import target_for

    fields = ("stepwell_ssh", vm.address, vm.port, vm.login, vm.password)
    kept.put(ConnectionInfo("byhand", *fields, extra={"kind": "remote", "host_key": vm.host_key, "root": ""}), "")
    assert ComputeTarget(ws, "byhand").provisioning_state == "Unprobed"
    assert ComputeTarget(ws, "byhand").report is None
    target_for(ws, "byhand")
    assert ComputeTarget(ws, "byhand").provisioning_state == "Succeeded"
    assert [one.name for one in ComputeTarget.list(ws)] == ["byhand", "local"]
    with pytest.raises(ComputeTargetException, match="'byhand' was made by hand.*airflow connections delete byhand"):
        ComputeTarget(ws, "byhand").detach()
    kept.remove("byhand")
    ComputeTarget(ws, "byhand").detach()
    assert [one.name for one in ComputeTarget.list(ws)] == ["local"]
    kept.put(ConnectionInfo("nokey", *fields, extra={"kind": "remote"}), "")
    with pytest.raises(ComputeTargetException, match="'nokey', made by hand .* cannot work: No host key"):
        target_for(ws, "nokey")
    kept.put(ConnectionInfo("other", *fields, extra={"workspace": "another", "host_key": vm.host_key}), "")
    with pytest.raises(ComputeTargetException, match="ComputeTargetNotFound"):
        ComputeTarget(ws, "other")


@pytest.mark.parametrize("key", [True, False])
def test_the_button_of_the_form_looks_at_the_machine(vm: Vm, monkeypatch: pytest.MonkeyPatch, key: bool) -> None:
    pytest.importorskip("airflow")
    from airflow.models import Connection  # the server's, with which the form works

    from stepwell.hooks.connections import AirflowConnections

    extra = {"kind": "remote", "host_key": vm.host_key if key else ""}
    made = Connection(  # noqa: AIR311
        conn_id="chance", conn_type="stepwell_ssh", host=vm.address, login=vm.login, password=vm.password,
        extra=json.dumps(extra),
    )  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_CHANCE", made.get_uri())
    set_connection_source(AirflowConnections())
    try:
        works, message = made.test_connection()
    finally:
        set_connection_source(None)
    assert works == key, message
    assert ("It works" if key else "No host key of") in message


# -- the command line --------------------------------------------------------------------------------------------------


def test_attach_show_probe_and_detach(
    ws: Workspace, vm: Vm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(vm.password + "\n"))
    where = ["-a", f"{vm.address}:{vm.port}", "-u", vm.login]
    fingerprint = hostkeys.fingerprint(vm.host_key)
    run("attach", "remote", "-n", "gpu", *where, "-w", "-", "--accept-host-key", fingerprint, "--tag", "team=a")
    said = capsys.readouterr()
    assert vm.password not in said.out + said.err
    assert fingerprint in said.out
    for word in (
        "cores",
        "memory",
        "disk free",
        "clock skew seconds",
        "VirtualMachine (remote)",
        "team=a",
        "Probed 20",
    ):
        assert word in said.out, word
    run("show", "gpu", "-o", "json")
    shown = json.loads(capsys.readouterr().out)
    assert shown["provisioningState"] == "Succeeded"
    run("probe", "gpu")
    run("wait", "gpu")
    run("list")
    assert re.search(r"gpu\s*│ remote\s*│ Succeeded\s*│ 20[0-9-]+ [0-9:]+\s*│ ml@", capsys.readouterr().out)
    run("detach", "gpu")
    with pytest.raises(SystemExit, match="ComputeTargetNotFound"):
        run("show", "gpu")


def test_known_hosts_says_the_key(ws: Workspace, vm: Vm, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text(f"{vm.address} {vm.host_key}\n")
    where = ["-a", vm.address, "-u", vm.login, "-i", str(vm.key_file), "--known-hosts", str(tmp_path / "known_hosts")]
    run("attach", "remote", "-n", "gpu", *where)
    assert ComputeTarget(ws, "gpu").serialize()["properties"]["host_key"] == vm.host_key
    with pytest.raises(SystemExit, match="--known-hosts and --accept-host-key all say the host key"):
        run("attach", "remote", "-n", "gpu", *where, "--accept-host-key", "SHA256:" + "A" * 43)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch", "-n", "x"], "'nosuch' is no kind of compute target that can be attached"),
        (["remote", "-n", "local", "-a", "h", "-u", "u"], "'local' is a reserved name"),
        (["remote", "-n", "../x", "-a", "h", "-u", "u"], "not a valid compute target name"),
        (["remote", "-n", "x", "-a", "h", "-u", "u"], "There is no terminal to ask for the password of u@h on"),
        (["remote", "-n", "x", "-a", "h", "-u", "u", "-i", "/none"], "There is no private key /none"),
        (["remote", "-n", "x", "-a", "h", "-u", "u", "-k", "--accept-host-key", "abc"], "'abc' is not a fingerprint"),
        (["amlcompute", "-n", "x"], "'amlcompute' is no kind of compute target that can be attached"),
    ],
)
@pytest.mark.usefixtures("ws")
def test_what_is_wrong_on_the_command_line_is_told(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        run("attach", *arguments)


def test_a_locked_key_asks_for_its_passphrase(ws: Workspace, vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    where = ["-a", vm.address, "-u", vm.login, "--host-key", vm.host_key, "-i", str(vm.locked_key_file)]
    with pytest.raises(SystemExit, match=r"There is no terminal to ask for the passphrase of .*locked on"):
        run("attach", "remote", "-n", "gpu", *where)
    for typed, message in (
        ("wrong one", "The passphrase of .* is wrong"),
        ("", "Nothing was given for the passphrase"),
    ):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed + "\n"))
        with pytest.raises(SystemExit, match=message):
            run("attach", "remote", "-n", "gpu", *where, "--private-key-passphrase", "-")
    monkeypatch.setattr(sys, "stdin", io.StringIO(vm.passphrase + "\n"))
    run("attach", "remote", "-n", "gpu", *where, "--private-key-passphrase", "-")
    assert ComputeTarget(ws, "gpu").provisioning_state == "Succeeded"


def test_a_wrong_password_puts_no_key_anywhere(
    ws: Workspace, vm: Vm, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vm.path(f"/home/{vm.login}/.ssh/authorized_keys").read_text()
    where = ["-a", vm.address, "-u", vm.login, "--host-key", vm.host_key]
    monkeypatch.setattr(sys, "stdin", io.StringIO("wrong-one\n"))
    with pytest.raises(SystemExit, match=f"refuses the password of {vm.login}"):
        run("attach", "remote", "-n", "gpu", *where, "-k", "-w", "-")
    assert vm.path(f"/home/{vm.login}/.ssh/authorized_keys").read_text() == before
    assert list(kept.all) == ["stepwell_key_default"], "only the workspace's own pair"
    assert [one.name for one in ComputeTarget.list(ws)] == ["local"]


def test_the_workspaces_own_key_is_put_there_with_a_password_used_once(
    ws: Workspace, vm: Vm, kept: Kept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["-a", vm.address, "-u", vm.login, "--accept-host-key", hostkeys.fingerprint(vm.host_key)]
    with pytest.raises(SystemExit, match="cannot work"):
        run("attach", "remote", "-n", "gpu", *where, "-k")
    public = keys.pair(ws).public
    assert public in capsys.readouterr().err
    time.sleep(PAUSE_SECONDS)  # who was refused is not tried again at once
    for told in ("Added", "Found"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(vm.password + "\n"))
        run("attach", "remote", "-n", "gpu", *where, "-k", "-w", "-")
        assert f"{told} the public key" in capsys.readouterr().err
    assert kept.all["stepwell_target_default_gpu"].password is None
    assert vm.path(f"/home/{vm.login}/.ssh/authorized_keys").read_text().count(public) == 1
    run("key")
    assert capsys.readouterr().out == public + "\n"


# -- as a person does it: on a terminal, with Airflow's own connections ------------------------------------------------


class Terminal:
    """A command on a terminal of its own; what is typed is sent when it asks."""

    def __init__(self, argv: list[str], variables: dict[str, str]) -> None:
        self.said = ""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvpe(argv[0], argv, variables)

    def until(self, words: str, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            if not self._more():
                raise AssertionError(f"it ended before {words!r}:\n{self.said}")

    def _more(self) -> bool:
        if not select.select([self._fd], [], [], 1.0)[0]:
            return True
        try:
            piece = os.read(self._fd, 65536)
        except OSError:
            return False
        self.said += piece.decode(errors="replace")
        return bool(piece)

    def type(self, text: str) -> None:
        os.write(self._fd, (text + "\n").encode())

    def end(self) -> int:
        while self._more():
            pass
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


@pytest.fixture
def airflow(tmp_path: Path, project: Path) -> dict[str, str]:
    """The variables of a command where Airflow has a database, of which only connections are needed here."""
    variables = {
        **os.environ,
        "PYTHONPATH": str(project / "providers"),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__CORE__FERNET_KEY": "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=",
        "STEPWELL_ROOT": str(tmp_path / "ws"),
        "COLUMNS": "160",
    }
    make = (
        "from airflow import settings; from airflow.models.connection import Connection as C; t = C.__table__;"
        "C.metadata.create_all(settings.engine, [*(f.column.table for f in t.foreign_keys), t])"
    )
    subprocess.run([sys.executable, "-c", make], env=variables, check=True, capture_output=True)
    return variables


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_person_attaches_a_machine_and_everybody_can_use_it(
    airflow: dict[str, str], vm: Vm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "stepwell.cli", "computetarget"]
    terminal = Terminal([*command, "attach", "remote", "-n", "gpu", "-a", vm.address, "-u", vm.login], airflow)
    terminal.until(f"The password of {vm.login}@{vm.address}:")
    terminal.type(vm.password)
    terminal.until("[yes/no/fingerprint]")
    assert hostkeys.fingerprint(vm.host_key) in terminal.said
    terminal.type("yes")
    assert terminal.end() == 0, terminal.said
    assert "Succeeded" in terminal.said
    assert vm.password not in terminal.said, "it was echoed"
    database = (tmp_path / "airflow.db").read_bytes()
    assert b"stepwell_target_default_gpu" in database
    assert vm.password.encode() not in database, "Airflow encrypts it"

    again = subprocess.run([*command, "probe", "gpu", "-o", "json"], env=airflow, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["report"]["ok"]
    gone = subprocess.run([*command, "detach", "gpu"], env=airflow, capture_output=True, text=True)
    assert (gone.returncode, gone.stdout) == (0, "Detached gpu\n"), gone.stderr
    assert b"stepwell_target_default_gpu" not in _rows(tmp_path / "airflow.db")


def _rows(database: Path) -> bytes:
    import sqlite3

    with sqlite3.connect(database) as connection:
        return repr(connection.execute("SELECT conn_id FROM connection").fetchall()).encode()


@pytest.mark.timeout(240)
def test_a_no_to_the_host_key_changes_nothing(airflow: dict[str, str], vm: Vm, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stepwell.cli", "computetarget", "attach", "remote", "-n", "gpu"]
    terminal = Terminal([*command, "-a", vm.address, "-u", vm.login], airflow)
    terminal.until("password")
    terminal.type(vm.password)
    terminal.until("[yes/no/fingerprint]")
    terminal.type("no")
    assert terminal.end() == 1
    assert "was not accepted" in terminal.said
    assert _rows(tmp_path / "airflow.db") == b"[]"
    assert not (tmp_path / "ws" / "compute").exists()


# -- from a file -------------------------------------------------------------------------------------------------------


def test_a_file_makes_a_machine_and_asks_for_its_password_once(
    ws: Workspace,
    vm: Vm,
    kept: Kept,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Typed(io.StringIO):
        """Where ``getpass`` has no terminal it reads standard input, and says so."""

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Typed(""))
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return vm.password

    monkeypatch.setattr("getpass.getpass", answer)
    path = tmp_path / "targets.yaml"
    fingerprint = hostkeys.fingerprint(vm.host_key)
    text = f"""
targets:
  gpu:
    kind: remote
    address: {vm.address}
    username: {vm.login}
    password: ask
    host_key: {fingerprint}
"""
    path.write_text(text)
    cli.main(["apply", "-f", str(path), "--yes"])
    assert asked == [f"The password of {vm.login}@{vm.address}: "]
    assert kept.all["stepwell_target_default_gpu"].password == vm.password
    assert vm.password not in capsys.readouterr().out
    cli.main(["apply", "-f", str(path), "--yes"])
    assert "Nothing to change" in capsys.readouterr().out
    path.write_text(text + "    root: ~/elsewhere\n")
    cli.main(["apply", "-f", str(path), "--yes"])
    assert re.search(r"~ target gpu\s*│ root\s*│ ~/.stepwell\s*│ ~/elsewhere", capsys.readouterr().out)
    assert len(asked) == 1, "machine and user are the same: so is the password"
    path.write_text(text.replace("password: ask", f"private_key_file: {vm.key_file}"))
    cli.main(["apply", "-f", str(path), "--yes"])
    assert re.search(r"log in by\s*│ password\s*│ key", capsys.readouterr().out)
    assert kept.all["stepwell_target_default_gpu"].password is None


def test_a_file_that_says_the_workspaces_own_key_changes_nothing_twice(
    ws: Workspace, vm: Vm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = vm.path(f"/home/{vm.login}/.ssh/authorized_keys")
    before = path.read_text()
    path.write_text(before + keys.pair(ws).public + "\n")
    try:
        (tmp_path / "t.yaml").write_text(
            f"targets: {{gpu: {{kind: remote, address: '{vm.address}:22', username: {vm.login}, "
            f"use_azureml_ssh_key: true, host_key: {vm.host_key}}}}}\n"
        )
        cli.main(["apply", "-f", str(tmp_path / "t.yaml"), "--yes", "-o", "json"])
        assert json.loads(capsys.readouterr().out)[0]["new"], "the public key is told elsewhere"
        cli.main(["apply", "-f", str(tmp_path / "t.yaml"), "--yes"])
        assert "Nothing to change" in capsys.readouterr().out
    finally:
        path.write_text(before)
