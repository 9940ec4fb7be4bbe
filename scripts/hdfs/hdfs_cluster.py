#!/usr/bin/env python3
"""A real HDFS for the demo and the tests: one NameNode and one DataNode, as processes, everything below one folder.

::

    hdfs_cluster.py start [--dir DIR]     fetch the jars by Maven if needed, format, start, wait until it answers
    hdfs_cluster.py env   [--dir DIR]     print what a shell needs to use it as the default datastore
    hdfs_cluster.py stop  [--dir DIR]     stop both and wait for their end

Needs Java 17 or later, and Maven the first time. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
CACHE = PROJECT / ".cache" / "hadoop"
DEFAULT_DIRECTORY = PROJECT / ".cache" / "hdfs"
HOST = "127.0.0.1"
START_SECONDS = 90.0
DAEMONS = {
    "namenode": "org.apache.hadoop.hdfs.server.namenode.NameNode",
    "datanode": "org.apache.hadoop.hdfs.server.datanode.DataNode",
}
_PORTS = ("rpc", "http", "data", "data_http", "data_ipc")
_LOG4J = """log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
"""


class HdfsError(Exception):
    """The cluster cannot be started; the message says what to do."""


class HdfsCluster:
    """One NameNode and one DataNode on free ports of the loopback interface.

    :param directory: where configuration, data, logs and the state live.
    """

    def __init__(self, directory: Path | str = DEFAULT_DIRECTORY) -> None:
        self.directory = Path(directory).absolute()
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
    def rpc(self) -> str:
        """What Spark uses: ``hdfs://host:port``."""
        return f"hdfs://{HOST}:{self.state['ports']['rpc']}"

    @property
    def webhdfs(self) -> str:
        """What everyone else uses: ``http://host:port``."""
        return f"http://{HOST}:{self.state['ports']['http']}"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the daemons that run."""
        found = {name: process["pid"] for name, process in self.state.get("processes", {}).items() if _is_ours(process)}
        return dict(found)

    def connection(self, root: str = "/stepwell/data") -> dict[str, Any]:
        """Return the Airflow connection (as its JSON form has it) that makes *root* a datastore."""
        return {
            "conn_type": "stepwell_datastore",
            "host": HOST,
            "port": self.state["ports"]["rpc"],
            "extra": {"kind": "hdfs", "root": root, "webhdfs_url": self.webhdfs},
        }

    # -- its life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, unless it runs; return when it can be written to.

        :raises HdfsError: Java or Maven is missing, or a daemon does not come up; the message holds its last lines.
        """
        if len(self.pids) == len(DAEMONS):
            self._wait()
            return
        self.stop()
        java, jars = find_java(), fetch_jars()
        before = self.state.get("ports")
        ports = before if before and all(_is_free(p) for p in before.values()) else _free_ports()
        self._configure(ports)
        command = [
            java,
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Djava.net.preferIPv4Stack=true",
            "-cp",
            f"{self.directory / 'conf'}:{jars}/*",
        ]
        if not (self.directory / "name" / "current").exists():
            done = subprocess.run(
                [*command, DAEMONS["namenode"], "-format", "-nonInteractive"],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise HdfsError("The NameNode cannot be formatted:\n" + _tail(done.stderr))
        self._write_state({"ports": ports, "processes": {}})
        for name in DAEMONS:
            self._launch(name, command)
        self._wait()

    def start_daemon(self, name: str) -> None:
        """Start one daemon again that was stopped by :meth:`stop_daemon`; do not wait."""
        self._launch(name, self.state["processes"][name]["command"][:-1])

    def _launch(self, name: str, command: list[str]) -> None:
        whole = [*command, DAEMONS[name]]
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                whole, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        state = self.state
        state["processes"][name] = {"pid": process.pid, "started": _started(process.pid), "command": whole}
        self._write_state(state)

    def stop(self) -> None:
        """Stop both and wait for their end; nothing happens if they do not run."""
        for name in reversed(list(DAEMONS)):
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

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while time.monotonic() < end:
            for pid in [p["pid"] for p in self.state["processes"].values()]:
                _reap(pid)
            missing = [name for name in DAEMONS if name not in self.pids]
            if missing:
                log = self.directory / f"{missing[0]}.log"
                raise HdfsError(f"The {missing[0]} has ended; the last lines of {log}:\n{_tail(log.read_text())}")
            try:
                url = f"{self.webhdfs}/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
                with opener.open(url, timeout=2) as answer:
                    (bean,) = json.load(answer)["beans"]
                if bean["NumLiveDataNodes"] == 1 and bean["FSState"] == "Operational":
                    return
            except (urllib.error.URLError, OSError, ValueError, KeyError):
                pass
            time.sleep(0.1)
        raise HdfsError(f"HDFS did not come up within {START_SECONDS:.0f} seconds; see the logs in {self.directory}")

    def _configure(self, ports: dict[str, int]) -> None:
        conf = self.directory / "conf"
        for page in ("hdfs", "datanode", "secondary", "static"):  # the jars hold no web pages, and it insists on them
            (conf / "webapps" / page).mkdir(parents=True, exist_ok=True)
        _write_xml(
            conf / "core-site.xml",
            {"fs.defaultFS": f"hdfs://{HOST}:{ports['rpc']}", "hadoop.tmp.dir": str(self.directory / "tmp")},
        )
        _write_xml(
            conf / "hdfs-site.xml",
            {
                "dfs.replication": "1",
                "dfs.namenode.name.dir": (self.directory / "name").as_uri(),
                "dfs.datanode.data.dir": (self.directory / "data").as_uri(),
                "dfs.namenode.http-address": f"{HOST}:{ports['http']}",
                "dfs.namenode.safemode.extension": "0",
                "dfs.datanode.address": f"{HOST}:{ports['data']}",
                "dfs.datanode.http.address": f"{HOST}:{ports['data_http']}",
                "dfs.datanode.ipc.address": f"{HOST}:{ports['data_ipc']}",
                "dfs.datanode.hostname": HOST,
            },
        )
        (conf / "log4j.properties").write_text(_LOG4J)

    def _write_state(self, state: dict[str, Any]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        draft = self._state_file.with_suffix(".tmp")
        draft.write_text(json.dumps(state, indent=1))
        draft.replace(self._state_file)

    def __enter__(self) -> HdfsCluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def find_java() -> str:
    """Return the path of a Java of version 17 or later.

    :raises HdfsError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    wanted = "Install a headless JDK 17 or later (Debian: apt-get install openjdk-17-jre-headless), or set JAVA_HOME"
    if java is None:
        raise HdfsError(f"Java was not found{f' in JAVA_HOME={home}' if home else ''}. {wanted}.")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, stdin=subprocess.DEVNULL).stderr
    match = re.search(r'version "(\d+)', said)
    if match is None or int(match[1]) < 17:
        raise HdfsError(f"{java} is {said.splitlines()[0] if said else 'of an unknown version'}. {wanted}.")
    return java


def hadoop_version() -> str:
    """Return the release of Hadoop that ``pom.xml`` names."""
    match = re.search(r"<hadoop\.version>([^<]+)<", (HERE / "pom.xml").read_text())
    if match is None:
        raise HdfsError(f"{HERE / 'pom.xml'} names no hadoop.version")
    return match[1]


def fetch_jars() -> Path:
    """Return the folder with Hadoop's jars, fetched by Maven into the project's cache the first time.

    :raises HdfsError: Maven is missing or fails.
    """
    jars = CACHE / f"lib-{hadoop_version()}"
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise HdfsError("Maven was not found, which fetches Hadoop's jars. Install it (Debian: apt-get install maven).")
    draft, repository = CACHE / f".lib.{os.getpid()}", CACHE / f".repository.{os.getpid()}"
    print(f"Fetching Hadoop {hadoop_version()} by Maven (once, about 70 MB)", file=sys.stderr)
    try:
        done = subprocess.run(
            [
                maven,
                "--quiet",
                "--batch-mode",
                "--file",
                str(HERE / "pom.xml"),
                "dependency:copy-dependencies",
                f"-DoutputDirectory={draft}",
                "-DincludeScope=runtime",
                f"-Dmaven.repo.local={repository}",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise HdfsError("Maven could not fetch Hadoop's jars:\n" + _tail(done.stdout + done.stderr))
        try:
            draft.rename(jars)
        except OSError:
            if not jars.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(repository, ignore_errors=True)
    return jars


def _free_ports() -> dict[str, int]:
    with ExitStack() as stack:  # all are held until all are known, so that none is given twice
        sockets = [stack.enter_context(socket.socket()) for _ in _PORTS]
        for one in sockets:
            one.bind((HOST, 0))
        return {name: one.getsockname()[1] for name, one in zip(_PORTS, sockets, strict=True)}


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
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


def _is_ours(process: dict[str, Any]) -> bool:
    """Say whether the process that was started still runs (its id may have been given to another one since)."""
    started = _started(process["pid"])
    return bool(started) and started == process["started"]


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # started by an earlier command


def _write_xml(path: Path, properties: dict[str, str]) -> None:
    from xml.sax.saxutils import escape

    lines = [
        f"  <property><name>{escape(k)}</name><value>{escape(v)}</value></property>" for k, v in properties.items()
    ]
    path.write_text('<?xml version="1.0"?>\n<configuration>\n' + "\n".join(lines) + "\n</configuration>\n")


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.splitlines()[-lines:])


def main(arguments: list[str] | None = None) -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(description="A real HDFS (NameNode and DataNode) below one folder")
    parser.add_argument("command", choices=["start", "stop", "env"])
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIRECTORY, help="where everything of it lives")
    parser.add_argument("--datastore", default="workspaceblobstore", help="env: the datastore that it shall be")
    parser.add_argument("--root", default="/stepwell/data", help="env: the folder of that datastore")
    options = parser.parse_args(arguments)
    cluster = HdfsCluster(options.dir)
    try:
        if options.command == "start":
            cluster.start()
            print(
                f"HDFS runs: {cluster.rpc} (Spark), {cluster.webhdfs} (WebHDFS), everything below {cluster.directory}"
            )
        elif options.command == "stop":
            cluster.stop()
        else:
            if not cluster.pids:
                raise HdfsError(f"No HDFS runs in {cluster.directory}. Start it first.")
            variable = "AIRFLOW_CONN_" + options.datastore.upper()
            print(f"export {variable}={shlex.quote(json.dumps(cluster.connection(options.root)))}")
    except HdfsError as error:
        print(f"hdfs_cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
