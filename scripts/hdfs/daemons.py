"""Daemons of Hadoop and its like as processes below one folder: started, waited for, stopped, found again.

Shared by ``hdfs_cluster.py``, ``../yarn/yarn_cluster.py`` and ``../livy/livy_server.py``. Standard library only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

PROJECT = Path(__file__).resolve().parent.parent.parent
LOOPBACK = "127.0.0.1"
START_SECONDS = 90.0
LOG4J = """log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
"""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ClusterError(Exception):
    """The cluster cannot be started; the message says what to do."""


class Daemons:
    """Some processes, and a file ``cluster.json`` that remembers them and their ports.

    :param directory: where configuration, data, logs and the state live.
    :param host: the address or name that the daemons bind to and are reached at.
    :param usual_ports: take the ports that everybody knows, instead of free ones.
    """

    #: Name of a daemon → its main class, in the order in which they start.
    daemons: ClassVar[dict[str, str]] = {}
    #: Name of a port → the number that it usually has.
    usual: ClassVar[dict[str, int]] = {}
    #: What the whole is called in messages.
    title: ClassVar[str] = ""

    def __init__(self, directory: Path | str, host: str = LOOPBACK, usual_ports: bool = False) -> None:
        self.directory = Path(directory).absolute()
        self.host = host
        self.usual_ports = usual_ports
        self._state_file = self.directory / "cluster.json"

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        """Ports and processes, as the last start wrote them; empty if there was none."""
        try:
            return dict(json.loads(self._state_file.read_text()))
        except FileNotFoundError:
            return {}

    @property
    def ports(self) -> dict[str, int]:
        """Its ports by name."""
        return dict(self.state["ports"])

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the daemons that run."""
        return {name: one["pid"] for name, one in self.state.get("processes", {}).items() if _is_ours(one)}

    # -- for its kinds ---------------------------------------------------------------------------------------------

    def _configure(self, ports: dict[str, int]) -> None:
        """Write the configuration."""
        raise NotImplementedError

    def _command(self) -> list[str]:
        """Return the program and its arguments, up to the main class."""
        raise NotImplementedError

    def _variables(self) -> dict[str, str]:
        """Return more environment variables of the daemons."""
        return {}

    def _before_first_start(self, command: list[str]) -> None:
        """Do what must be done once."""

    def _is_ready(self) -> bool:
        """Return whether it does its work; ``OSError``, ``ValueError`` and ``KeyError`` count as no."""
        raise NotImplementedError

    # -- its life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, unless it runs; return when it works.

        :raises ClusterError: Java or Maven is missing, or a daemon does not come up; the message holds its last lines.
        """
        if len(self.pids) == len(self.daemons):
            self.wait()
            return
        self.stop()
        ports = self._choose_ports()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._configure(ports)
        command = self._command()
        self._before_first_start(command)
        self._write_state({"ports": ports, "host": self.host, "processes": {}})
        for name in self.daemons:
            self._launch(name, command)
        self.wait()

    def start_daemon(self, name: str) -> None:
        """Start one daemon again that was stopped by :meth:`stop_daemon`; do not wait."""
        self._launch(name, self.state["processes"][name]["command"][:-1])

    def stop(self) -> None:
        """Stop all and wait for their end; nothing happens if they do not run."""
        for name in reversed(list(self.daemons)):
            self.stop_daemon(name)

    def stop_daemon(self, name: str, seconds: float = 15.0) -> None:
        """Stop one daemon and wait for its end."""
        process = self.state.get("processes", {}).get(name)
        if not process:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not _is_ours(process):
                return
            os.kill(process["pid"], number)
            end = time.monotonic() + seconds
            while _is_ours(process) and time.monotonic() < end:
                _reap(process["pid"])
                time.sleep(0.05)

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Wait until it works.

        :raises ClusterError: a daemon has ended, or it does not work within *seconds*.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for one in self.state["processes"].values():
                _reap(one["pid"])
            missing = [name for name in self.daemons if name not in self.pids]
            if missing:
                log = self.directory / f"{missing[0]}.log"
                text = tail(log.read_text("utf-8", "replace"))
                raise ClusterError(f"The {missing[0]} has ended; the last lines of {log}:\n{text}")
            try:
                if self._is_ready():
                    return
            except (OSError, ValueError, KeyError):
                pass
            time.sleep(0.1)
        raise ClusterError(
            f"{self.title} did not come up within {seconds:.0f} seconds; see the logs in {self.directory}"
        )

    def stay(self) -> None:
        """Start it and stay until SIGTERM or SIGINT, then stop it: for a container's main process.

        :raises ClusterError: it does not come up, or a daemon ends by itself.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        try:
            self.start()
            while len(self.pids) == len(self.daemons):
                time.sleep(1)
            self.wait(1)  # says which one has ended, and its last lines
        finally:
            self.stop()

    def __enter__(self) -> Daemons:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, name: str, command: list[str]) -> None:
        whole = [*command, self.daemons[name]]
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                whole,
                cwd=self.directory,
                env={**os.environ, **self._variables()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        state = self.state
        state["processes"][name] = {"pid": process.pid, "started": _started(process.pid), "command": whole}
        self._write_state(state)

    def _choose_ports(self) -> dict[str, int]:
        if self.usual_ports:
            return dict(self.usual)
        before = self.state.get("ports", {})
        if set(before) == set(self.usual) and all(_is_free(self.host, port) for port in before.values()):
            return dict(before)
        return _free_ports(self.host, self.usual)

    def _write_state(self, state: dict[str, Any]) -> None:
        draft = self._state_file.with_suffix(".tmp")
        draft.write_text(json.dumps(state, indent=1))
        draft.replace(self._state_file)


def get_json(url: str, seconds: float = 5.0) -> Any:
    """Return what a daemon says at *url*, without any proxy."""
    with _OPENER.open(url, timeout=seconds) as answer:
        return json.load(answer)


def java_command(class_path: Iterable[Path | str], *more: str, memory: str = "384m") -> list[str]:
    """Return what starts a small Java process, up to the main class."""
    return [
        find_java(),
        f"-Xmx{memory}",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Djava.net.preferIPv4Stack=true",
        *more,
        "-cp",
        ":".join(str(path) for path in class_path),
    ]


def find_java() -> str:
    """Return the path of a Java of version 17 or later.

    :raises ClusterError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    wanted = "Install a headless JDK 17 or later (Debian: apt-get install openjdk-17-jre-headless), or set JAVA_HOME"
    if java is None:
        raise ClusterError(f"Java was not found{f' in JAVA_HOME={home}' if home else ''}. {wanted}.")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, stdin=subprocess.DEVNULL).stderr
    match = re.search(r'version "(\d+)', said)
    if match is None or int(match[1]) < 17:
        raise ClusterError(f"{java} is {said.splitlines()[0] if said else 'of an unknown version'}. {wanted}.")
    return java


def java_home() -> str:
    """Return the folder of that Java."""
    return str(Path(find_java()).resolve().parent.parent)


def release_of(pom: Path) -> str:
    """Return the release that a ``pom.xml`` names in its property ``release`` (or ``hadoop.version``)."""
    match = re.search(r"<(?:release|hadoop\.version)>([^<]+)<", pom.read_text())
    if match is None:
        raise ClusterError(f"{pom} names no release")
    return match[1]


def fetch_jars(pom: Path, cache: Path, title: str) -> Path:
    """Return the folder with the jars that *pom* asks for, fetched by Maven into *cache* the first time.

    :param title: what is fetched, for people.
    :raises ClusterError: Maven is missing or fails.
    """
    release = release_of(pom)
    jars = cache / f"lib-{release}"
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise ClusterError(
            f"Maven was not found, which fetches the jars of {title}. Install it (Debian: apt-get install maven)."
        )
    cache.mkdir(parents=True, exist_ok=True)
    draft, repository = cache / f".lib.{os.getpid()}", cache / f".repository.{os.getpid()}"
    print(f"Fetching {title} {release} by Maven (once, about 100 MB)", file=sys.stderr)
    command = [maven, "--quiet", "--batch-mode", "--file", str(pom), "dependency:copy-dependencies"]
    options = [f"-DoutputDirectory={draft}", "-DincludeScope=runtime", f"-Dmaven.repo.local={repository}"]
    try:
        done = subprocess.run([*command, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"Maven could not fetch the jars of {title}:\n" + tail(done.stdout + done.stderr))
        try:
            draft.rename(jars)
        except OSError:
            if not jars.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(repository, ignore_errors=True)
    return jars


def write_xml(path: Path, properties: Mapping[str, object]) -> None:
    """Write a configuration file of Hadoop."""
    from xml.sax.saxutils import escape

    lines = [
        f"  <property><name>{escape(name)}</name><value>{escape(str(value))}</value></property>"
        for name, value in properties.items()
    ]
    path.write_text('<?xml version="1.0"?>\n<configuration>\n' + "\n".join(lines) + "\n</configuration>\n")


def tail(text: str, lines: int = 20) -> str:
    """Return the last lines of a text."""
    return "\n".join(text.splitlines()[-lines:])


def _free_ports(host: str, names: Iterable[str]) -> dict[str, int]:
    with ExitStack() as stack:  # all are held until all are known, so that none is given twice
        sockets = {name: stack.enter_context(socket.socket()) for name in names}
        for one in sockets.values():
            one.bind((host, 0))
        return {name: one.getsockname()[1] for name, one in sockets.items()}


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError:
            return False
    return True


def _started(pid: int) -> str:
    """Return when the process started (field 22 of its stat), or what ``ps`` says where there is no ``/proc``."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
        done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
        return done.stdout.strip()
    return "" if fields[0] == "Z" else fields[19]


def _is_ours(process: Mapping[str, Any]) -> bool:
    """Say whether the process that was started still runs (its id may have been given to another one since)."""
    started = _started(process["pid"])
    return bool(started) and started == process["started"]


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # started by an earlier command
