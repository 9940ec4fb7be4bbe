"""A real Docker daemon of the tests' own: import ``dockerd`` and ``base_image`` into a ``conftest.py``.

It has its own data, socket and containers, and does not disturb another daemon of this machine: without a bridge and
without firewall rules its containers are on the host's network or on none.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
import zlib
from functools import lru_cache
from pathlib import Path

import pytest
from tests.machines import base_image as image_of

BASE_IMAGE = "stepwell-base:test"


class DockerError(Exception):
    """There can be no daemon here; the message says why."""


class DockerDaemon:
    """One daemon.

    :param folder: for all that it keeps.
    :param bridge: give it networks of its own, as compose needs them; then it shares the firewall with other daemons of
        this machine. The bridge has a name of its own: daemons without one remove ``docker0``.
    """

    def __init__(self, folder: Path, *, bridge: bool = False) -> None:
        self.folder = folder
        self.bridge = f"sw{zlib.crc32(str(folder).encode()):08x}" if bridge else None
        self.socket = folder / "docker.sock"
        self.log = folder / "dockerd.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """The address, for ``DOCKER_HOST``."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it and wait until it answers; nothing happens if it runs.

        :raises DockerError: the daemon's package or root's rights are missing, or it ended.
        """
        if self.process is not None and self.process.poll() is None:
            return
        program = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if program is None:
            raise DockerError("there is no dockerd: install Debian's docker.io")
        if os.geteuid() != 0:
            raise DockerError("dockerd needs root")
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in ("dockerd.pid", "exec/containerd/containerd.pid"):  # of a daemon that was killed
            (self.folder / left).unlink(missing_ok=True)
        mine = [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec"]
        mine += [f"--pidfile={self.folder}/dockerd.pid", f"--host={self.host}"]
        (self.folder / "daemon.json").write_text("{}")  # not the configuration of this machine's own daemon
        mine += [f"--config-file={self.folder}/daemon.json"]
        mine += self._network()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([program, *mine], stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 30
        while subprocess.run(self.command("version"), capture_output=True, check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise DockerError("dockerd does not start: " + self.log.read_text(errors="replace")[-1500:])
            time.sleep(0.1)

    def _network(self) -> list[str]:
        if self.bridge is None:
            return ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
        routes = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True).stdout
        if f"dev {self.bridge}" not in routes:
            free = next(number for number in range(256) if f"10.210.{number}." not in routes)
            for words in (
                ["link", "add", self.bridge, "type", "bridge"],
                ["address", "add", f"10.210.{free}.1/24", "dev", self.bridge],
                ["link", "set", self.bridge, "up"],
            ):
                subprocess.run(["ip", *words], check=True, capture_output=True)
        return [f"--bridge={self.bridge}", "--default-address-pool=base=10.211.0.0/16,size=24"]

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a ``docker`` command on this daemon."""
        return ["docker", "--host", self.host, *arguments]

    def docker(self, *arguments: str) -> str:
        """Run a ``docker`` command and return what it says.

        :raises subprocess.CalledProcessError: it failed.
        """
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=True).stdout.strip()

    def make_image(self, tag: str = BASE_IMAGE, packages: tuple[str, ...] = (), more: tuple[str, ...] = ()) -> str:
        """Make an image of Debian packages that are installed here, unless there is one of that tag; return the tag.

        :param packages: beside Python, a shell and the usual tools.
        :param more: files and folders of this machine.
        """
        if subprocess.run(self.command("image", "inspect", tag), capture_output=True, check=False).returncode:
            tar = self.folder / "image.tar"
            image_of.write_tar(tar, (*image_of.PACKAGES, *packages), more)
            self.docker("import", str(tar), tag)
            tar.unlink()
        return tag

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it with its containers, by SIGKILL only the daemon itself; nothing happens if it does not run."""
        if self.process is None:
            return
        if how == signal.SIGTERM and self.process.poll() is None and (found := self.docker("ps", "--quiet")):
            self.docker("rm", "--force", *found.split())
        self.process.send_signal(how)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def remove(self) -> None:
        """Stop it and remove all that it kept."""
        self.stop()
        if self.bridge is not None:
            subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True, check=False)
        for mount in sorted((line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()), reverse=True):
            if mount.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def dockerd() -> DockerDaemon:
    """One daemon for the whole session."""
    return running("shared")


@pytest.fixture
def mortal_dockerd() -> DockerDaemon:
    """A daemon that the test may stop."""
    return running("mortal")


@pytest.fixture(scope="session")
def base_image(dockerd: DockerDaemon) -> str:
    """The tag of a small image with Python in the shared daemon."""
    return dockerd.make_image()


def running(name: str, *, bridge: bool = False) -> DockerDaemon:
    """Return the daemon of that name, running; it is stopped and removed when the tests end.

    Where none can be, the test is skipped with the reason; with ``CI=true`` it fails.
    """
    daemon = _made(name, bridge)
    try:
        daemon.start()
    except DockerError as error:
        (pytest.fail if os.environ.get("CI", "").lower() in {"1", "true"} else pytest.skip)(str(error))
    return daemon


@lru_cache
def _made(name: str, bridge: bool) -> DockerDaemon:
    # Not a fixture's end but the process's: each conftest that imports the fixture would have a daemon of its own.
    daemon = DockerDaemon(Path(tempfile.mkdtemp(prefix=f"stepwell-dockerd-{name}-")), bridge=bridge)
    atexit.register(daemon.remove)
    return daemon
