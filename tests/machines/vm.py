"""Machines to reach over SSH, each with an address of its own: import ``vm`` into a ``conftest.py`` or a test module.

A network namespace, a copy-on-write view of this machine's files, process ids and users of its own, a real sshd: up in
less than a second. Its network can be cut, it can crash and be started again, and Docker can run in it.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

LOGIN, PASSWORD, PASSPHRASE = "ml", "correct horse/42", "battery staple"
#: A second login, with the same password and keys, that has no rights on Docker.
GUEST = "guest"
#: sshd's settings, unless a test says otherwise.
SETTINGS: dict[str, Any] = {
    "PasswordAuthentication": "yes",
    "KbdInteractiveAuthentication": "no",
    "PubkeyAuthentication": "yes",
    "UsePAM": "no",
    "Subsystem": "sftp internal-sftp",
    "MaxSessions": 100,
    "MaxStartups": 100,
    "LoginGraceTime": 30,
    "UseDNS": "no",
}
#: How this machine reaches a package index is how those do.
_PASSED = re.compile(r"SSL_CERT_FILE|REQUESTS_CA_BUNDLE|(PIP|UV)_[A-Z_]*(INDEX|CERT|FIND_LINKS)[A-Z_]*|[a-z]+_proxy")
if _found := {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name) and value.isprintable()}:
    SETTINGS["SetEnv"] = " ".join(f'"{name}={value}"' for name, value in _found.items() if '"' not in value)
_ROOT = Path(tempfile.gettempdir()) / "stepwell-vms"

_INIT = """
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /run/lock; mount --rbind /host/dev /dev; mount -t tmpfs tmpfs /tmp; chmod 1777 /tmp
mkdir -p /sys/fs/cgroup; mount --rbind /host/cgroup /sys/fs/cgroup
cat /proc/sys/kernel/random/uuid > /run/boot_id; mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
hostname {name}
if ! id {login} >/dev/null 2>&1; then
  groupadd -f docker
  for user in {login} {guest}; do
    useradd -m -s /bin/bash $user; echo {credentials} | sed "s/^/$user:/" | chpasswd
    mkdir -p /home/$user/.ssh; cat /host/keys/*.pub > /home/$user/.ssh/authorized_keys
    chown -R $user:$user /home/$user; chmod 700 /home/$user/.ssh; chmod 600 /home/$user/.ssh/authorized_keys
  done
  usermod -aG docker {login}
  rm -f /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
fi
cp /host/sshd_config /etc/ssh/sshd_config_vm
/usr/sbin/sshd -E /run/sshd.log -f /etc/ssh/sshd_config_vm
touch /host/keys/up
while :; do wait -n 2>/dev/null || sleep 1; done
"""

_ENTER = """
mount --rbind /dev {root}/host/dev; mount --rbind /sys/fs/cgroup {root}/host/cgroup
mount --bind {folder}/keys {root}/host/keys; mount --bind {folder}/docker {root}/var/lib/docker
cp {folder}/init.sh {folder}/sshd_config {root}/host/
# No chroot: who enters a container's mount namespace in it would come out at this machine's own root.
mkdir -p {root}/host/old; cd {root}; pivot_root . host/old; cd /; umount --lazy /host/old
exec unshare --pid --fork --kill-child --uts --ipc --mount-proc bash /host/init.sh
"""


class VmError(Exception):
    """There can be no such machine here; the message says why."""


class Vm:
    """One machine.

    :param name: its host name, and part of the names of what belongs to it.
    """

    login, password, passphrase = LOGIN, PASSWORD, PASSPHRASE

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 22
        self.settings = dict(SETTINGS)
        self.folder = self.root = Path()
        self.address = self._gateway = self._net = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._init: int | None = None

    # -- what a client needs ---------------------------------------------------------------------------------------

    @property
    def key_file(self) -> Path:
        """A private key that opens it."""
        return self.folder / "keys" / "id"

    @property
    def locked_key_file(self) -> Path:
        """Another one, encrypted with :attr:`passphrase`."""
        return self.folder / "keys" / "locked"

    @property
    def host_key(self) -> str:
        """Its host key, ``ssh-ed25519 AAAA…``."""
        return " ".join(self.path("/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])

    def path(self, path: str) -> Path:
        """Return where this machine finds a file of that one; not for what is below /tmp, /run, /dev and /proc."""
        return self.root / path.lstrip("/")

    # -- its life --------------------------------------------------------------------------------------------------

    def start(self) -> Vm:
        """Start it and wait until its sshd answers; nothing happens if it runs.

        :raises VmError: it cannot be had here.
        """
        if self._process is not None and self._process.poll() is None:
            return self
        if not self._net:
            self._make()
        config = [f"Port {self.port}", "HostKey /etc/ssh/ssh_host_ed25519_key", "PidFile /run/sshd.pid"]
        (self.folder / "sshd_config").write_text(
            "\n".join([*config, *(f"{name} {value}" for name, value in self.settings.items())]) + "\n"
        )
        up = self.folder / "keys" / "up"
        up.unlink(missing_ok=True)
        enter = ["nsenter", f"--net=/run/netns/{self._net}", "unshare", "--mount", "--propagation", "private"]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [*enter, "bash", str(self.folder / "enter.sh")], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while not up.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise VmError(
                    "the machine does not start: " + (self.folder / "log").read_text(errors="replace")[-1500:]
                )
            time.sleep(0.02)
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._init = int(children[0])
        return self

    def run(self, *argv: str, user: str | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root or as *user*, and return how that went."""
        return subprocess.run(self.command(*argv, user=user), capture_output=True, text=True, check=False, **more)

    def exec(self, *argv: str, user: str | None = None, **more: Any) -> str:
        """Run a command in it, as root or as *user*, and return what it says.

        :raises AssertionError: it failed.
        """
        done = self.run(*argv, user=user, **more)
        assert done.returncode == 0, f"{shlex.join(argv)}: exit code {done.returncode}: {done.stderr or done.stdout}"
        return done.stdout.strip()

    def command(self, *argv: str, user: str | None = None) -> list[str]:
        """Return the command line, for this machine's root, of a command in it."""
        become = ["runuser", "-u", user, "--"] if user else []
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        home = f"HOME=/home/{user}" if user else "HOME=/root"
        return ["nsenter", "-t", str(self._init), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "env", "-i", path, home,
                *become, *argv]  # fmt: skip

    def cut(self) -> None:
        """Cut its network, both ways: what is sent gets lost without a word."""
        self.restore()
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o"), ("FORWARD", "-i"), ("FORWARD", "-o")):
            self._in_net("iptables", "-I", chain, way, "eth0", "-j", "DROP")

    def restore(self) -> None:
        """Let the network go on."""
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o"), ("FORWARD", "-i"), ("FORWARD", "-o")):
            while self._in_net("iptables", "-D", chain, way, "eth0", "-j", "DROP", check=False) == 0:
                pass

    def crash(self) -> None:
        """End all that runs in it at once, as without power: nobody is told. Its files stay."""
        if self._process is not None:
            self.cut()
            self._process.kill()  # and with it, by --kill-child, all that has a process id in there
            self._process.wait()
            deadline = time.monotonic() + 10
            while self._init and Path(f"/proc/{self._init}").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            self._process = self._init = None

    def restart(self) -> Vm:
        """Crash it, and start it again."""
        self.crash()
        time.sleep(0.1)
        self.restore()
        return self.start()

    def sshd(self, **settings: Any) -> None:
        """Start its sshd anew, with other settings than the usual ones; connections that are open stay."""
        self.settings = {**SETTINGS, **settings}
        lines = [f"{name} {value}" for name, value in self.settings.items()]
        kept = [f"Port {self.port}", "HostKey /etc/ssh/ssh_host_ed25519_key", "PidFile /run/sshd.pid"]
        self.path("/etc/ssh/sshd_config_vm").write_text("\n".join([*kept, *lines]) + "\n")
        self.exec("bash", "-c", "kill $(cat /run/sshd.pid); while [ -e /run/sshd.pid ]; do sleep 0.02; done")
        self.exec("/usr/sbin/sshd", "-E", "/run/sshd.log", "-f", "/etc/ssh/sshd_config_vm")

    def new_host_key(self) -> None:
        """Give it another host key, as after an installation from scratch."""
        key = "/etc/ssh/ssh_host_ed25519_key"
        self.exec("bash", "-c", f"rm -f {key}*; ssh-keygen -q -t ed25519 -N '' -f {key}")
        self.sshd(**self.settings)

    def hang_up(self) -> None:
        """End all its SSH connections; sshd goes on."""
        self.run("bash", "-c", "for p in $(pgrep -x sshd); do [ $p = $(cat /run/sshd.pid) ] || kill -9 $p; done")

    def dockerd(self) -> None:
        """Start Docker in it, unless it runs.

        :raises VmError: there is none, or it does not start.
        """
        if self.run("docker", "version").returncode == 0:
            return
        if shutil.which("dockerd", path="/usr/local/sbin:/usr/sbin:/usr/bin:/usr/local/bin") is None:
            raise VmError("there is no dockerd: install Debian's docker.io")
        self.run("rm", "-f", "/run/docker.pid", "/var/run/docker.sock")
        # Not the configuration of this machine's own daemon.
        start = "echo '{}' >/run/daemon.json; exec dockerd --config-file /run/daemon.json >/run/dockerd.log 2>&1"
        subprocess.Popen(self.command("setsid", "bash", "-c", start), stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 30
        while self.run("docker", "version").returncode:
            if time.monotonic() > deadline:
                raise VmError("dockerd does not start: " + self.run("tail", "-c", "1500", "/run/dockerd.log").stdout)
            time.sleep(0.1)

    def stop_dockerd(self) -> None:
        """Stop Docker in it."""
        self.run("pkill", "-TERM", "-x", "dockerd")
        deadline = time.monotonic() + 20
        while self.run("pgrep", "-x", "dockerd").returncode == 0 and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and remove all that belongs to it; nothing happens if there is nothing."""
        if not self._net:
            return
        self.crash()
        _remove(self._net, self._gateway)
        self._net = ""

    # -- how it is made --------------------------------------------------------------------------------------------

    def _make(self) -> None:
        if os.geteuid() != 0:
            raise VmError("a machine in a network namespace needs root")
        for program in ("sshd", "ip", "nsenter", "iptables", "ssh-keygen", "unshare"):
            if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
                raise VmError(f"there is no {program}: install Debian's openssh-server, iproute2 and iptables")
        self._net, number = _take()
        base = number * 4
        self._gateway, self.address = (f"10.77.{(base + i) >> 8}.{(base + i) & 255}" for i in (1, 2))
        self.folder = _ROOT / self._net
        self.root = self.folder / "root"
        try:
            self._make_files()
            self._make_network()
        except subprocess.CalledProcessError as error:
            self.stop()
            raise VmError(f"{shlex.join(error.cmd)}: {error.stderr.decode(errors='replace').strip()}") from error

    def _make_files(self) -> None:
        for name in ("rw", "root", "docker", "keys"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        _system("mount", "-t", "tmpfs", "-o", "size=6g", "tmpfs", f"{self.folder}/rw")  # not on the disk below it
        for name in ("upper", "work"):
            (self.folder / "rw" / name).mkdir()
        layers = f"lowerdir=/,upperdir={self.folder}/rw/upper,workdir={self.folder}/rw/work"
        _system("mount", "-t", "overlay", "-o", layers, "overlay", str(self.root))
        for path in ("host/dev", "host/cgroup", "host/keys", "var/lib/docker"):
            (self.root / path).mkdir(parents=True, exist_ok=True)
        for key, phrase in ((self.key_file, ""), (self.locked_key_file, self.passphrase)):
            _system("ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", str(key))
        words = {"login": LOGIN, "guest": GUEST, "credentials": shlex.quote(PASSWORD), "name": self.name}
        (self.folder / "init.sh").write_text(_INIT.format(**words))
        (self.folder / "enter.sh").write_text(_ENTER.format(root=self.root, folder=self.folder))

    def _make_network(self) -> None:
        net = self._net
        _system("ip", "link", "add", net, "type", "veth", "peer", "name", "eth0", "netns", net)
        _system("ip", "addr", "add", f"{self._gateway}/30", "dev", net)
        _system("ip", "link", "set", net, "up")
        _system("ip", "-n", net, "addr", "add", f"{self.address}/30", "dev", "eth0")
        _system("ip", "-n", net, "link", "set", "eth0", "up")
        _system("ip", "-n", net, "link", "set", "lo", "up")
        _system("ip", "-n", net, "route", "add", "default", "via", self._gateway)
        for rule in _rules(net, self._gateway):  # the way to a package index
            subprocess.run(["iptables", "-w", *rule("-I")], capture_output=True, check=False)

    def _in_net(self, *argv: str, check: bool = True) -> int:
        command = ["nsenter", f"--net=/run/netns/{self._net}", argv[0], "-w", *argv[1:]]
        return subprocess.run(command, capture_output=True, check=check).returncode


def _take() -> tuple[str, int]:
    """Take a name and a number that nobody uses; what tests that were killed have left is removed."""
    _ROOT.mkdir(exist_ok=True)
    with open(_ROOT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for number in range(1, 4000):
            net = f"swvm{number}"
            owner = _ROOT / net / "owner"
            if owner.exists():
                if Path(f"/proc/{owner.read_text().split()[0]}").exists():
                    continue
                gateway = f"10.77.{(number * 4 + 1) >> 8}.{(number * 4 + 1) & 255}"
                _remove(net, gateway)
            if subprocess.run(["ip", "netns", "add", net], capture_output=True, check=False).returncode == 0:
                owner.parent.mkdir(exist_ok=True)
                owner.write_text(f"{os.getpid()} {uuid.uuid4()}\n")
                return net, number
    raise VmError("no network namespace can be made here")


def _remove(net: str, gateway: str) -> None:
    folder = _ROOT / net
    found = subprocess.run(["ip", "netns", "pids", net], capture_output=True, text=True, check=False).stdout.split()
    for pid in map(int, found):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for rule in _rules(net, gateway):
        subprocess.run(["iptables", "-w", *rule("-D")], capture_output=True, check=False)
    for command in (["ip", "link", "del", net], ["ip", "netns", "del", net]):
        subprocess.run(command, capture_output=True, check=False)
    for mount in ("root", "rw"):
        subprocess.run(["umount", "--lazy", f"{folder}/{mount}"], capture_output=True, check=False)
    if not os.path.ismount(folder / "root"):
        shutil.rmtree(folder, ignore_errors=True)


def _rules(net: str, gateway: str) -> list[Any]:
    subnet = f"{gateway}/30"
    return [
        lambda how: ["-t", "nat", how, "POSTROUTING", "-s", subnet, "!", "-d", subnet, "-j", "MASQUERADE"],
        lambda how: [how, "FORWARD", "-i", net, "-j", "ACCEPT"],
        lambda how: [how, "FORWARD", "-o", net, "-j", "ACCEPT"],
    ]


def _system(*argv: str) -> None:
    subprocess.run(list(argv), check=True, capture_output=True)


@pytest.fixture(scope="session")
def vm() -> Vm:
    """One machine for the whole session; a test leaves it as it has found it."""
    return running("vm")


@pytest.fixture
def mortal_vm() -> Vm:
    """A machine that the test may cut off, crash and configure; it is as new when the next test gets it."""
    machine = running("mortal")
    machine.restore()
    if machine.settings != SETTINGS:
        machine.sshd()
    return machine


def running(name: str) -> Vm:
    """Return the machine of that name, running; it is stopped and removed when the tests end.

    Where none can be, the test is skipped with the reason; with ``CI=true`` it fails.
    """
    machine = _made(name)
    try:
        return machine.start()
    except VmError as error:
        (pytest.fail if os.environ.get("CI", "").lower() in {"1", "true"} else pytest.skip)(str(error))


@lru_cache
def _made(name: str) -> Vm:
    # Not a fixture's end but the process's: each module that imports the fixture would have a machine of its own.
    machine, maker = Vm(name), os.getpid()
    atexit.register(lambda: machine.stop() if os.getpid() == maker else None)
    return machine
