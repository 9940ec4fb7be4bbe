#!/usr/bin/env python3
"""A real Apache Livy for tests and demos: one server process, on local Spark or on YARN.

::

    livy_server.py start [--dir DIR] [--python PYTHON] [--yarn DIR]     start, wait until it answers
    livy_server.py run   …                                              the same, and stay until SIGTERM
    livy_server.py stop  [--dir DIR]                                    stop it and wait for its end

``--yarn`` is the folder of a ``../yarn/yarn_cluster.py`` that runs: batches then go to it in cluster mode. Needs Java
17 or later, and Maven the first time. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from hdfs.daemons import (
    LOG4J,
    LOOPBACK,
    PROJECT,
    ClusterError,
    Daemons,
    fetch_jars,
    get_json,
    java_command,
    java_home,
    write_xml,
)
from hdfs.hdfs_cluster import HdfsCluster
from yarn.yarn_cluster import YarnCluster

POM = Path(__file__).resolve().parent / "pom.xml"
DEFAULT_DIRECTORY = PROJECT / ".cache" / "livy-server"
_OPENED = ("lang", "util", "io", "net", "lang.invoke")


class LivyServer(Daemons):
    """One Livy, for batches (its sessions need older Spark).

    :param directory: where configuration, logs and the state live.
    :param python: an interpreter that has PySpark, whose Spark it uses.
    :param yarn: the cluster that batches go to, in cluster mode; default: ``local[2]`` on this machine.
    :param hdfs: the default file system of batches on this machine; default: local files.
    :param recovery: keep what it knows about batches on disk, so that a restart finds them (on YARN only).
    :param settings: more of ``livy.conf``.
    """

    title: ClassVar[str] = "Livy"
    daemons: ClassVar[dict[str, str]] = {"livy": "org.apache.livy.server.LivyServer"}
    usual: ClassVar[dict[str, int]] = {"http": 8998}

    def __init__(
        self,
        directory: Path | str = DEFAULT_DIRECTORY,
        python: Path | str = sys.executable,
        yarn: YarnCluster | None = None,
        hdfs: HdfsCluster | None = None,
        host: str = LOOPBACK,
        usual_ports: bool = False,
        recovery: bool = False,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(directory, host, usual_ports)
        self.python = Path(python)
        self.yarn = yarn
        self.hdfs = yarn.hdfs if yarn else hdfs
        self.recovery = recovery
        self.settings = dict(settings or {})

    @property
    def url(self) -> str:
        """Where it answers: ``http://host:port``."""
        return f"http://{self.host}:{self.ports['http']}"

    @property
    def local_files(self) -> Path:
        """The folder of scripts on this machine that batches may use."""
        return self.directory / "files"

    def start(self) -> None:
        """Start it, unless it runs; the cluster below it must run.

        :raises ClusterError: Java, Maven or PySpark is missing, or it does not come up.
        """
        for below in (self.yarn, self.hdfs):
            if below is not None:
                below.start()
        super().start()

    def _command(self) -> list[str]:
        jars = fetch_jars(POM, PROJECT / ".cache" / "livy", "Livy")
        opened = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED]
        hadoop = self._variables()["HADOOP_CONF_DIR"]
        return java_command([self.directory / "conf", hadoop, f"{jars}/*"], *opened, memory="512m")

    def _variables(self) -> dict[str, str]:
        found = {
            "LIVY_HOME": str(self.directory),
            "LIVY_CONF_DIR": str(self.directory / "conf"),
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }
        if self.yarn is not None:
            return {**found, **self.yarn.environment(self.python)}
        spark = list(self.python.parent.parent.glob("lib/python*/site-packages/pyspark"))
        if len(spark) != 1:
            raise ClusterError(f"The environment of {self.python} has no PySpark")
        return {
            **found,
            "HADOOP_CONF_DIR": str(self.directory / "hadoop-conf"),
            "JAVA_HOME": java_home(),
            "PYSPARK_PYTHON": str(self.python),
            "SPARK_HOME": str(spark[0]),
            "SPARK_LOCAL_IP": self.host,
        }

    def _is_ready(self) -> bool:
        return isinstance(get_json(f"{self.url}/batches")["sessions"], list)

    def _configure(self, ports: dict[str, int]) -> None:
        conf, hadoop = self.directory / "conf", self.directory / "hadoop-conf"
        for folder in (conf, hadoop, self.local_files, self.directory / "state", self.directory / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        settings: dict[str, Any] = {
            "livy.server.host": self.host,
            "livy.server.port": ports["http"],
            "livy.spark.master": "yarn" if self.yarn else "local[2]",
            "livy.file.local-dir-whitelist": self.local_files,
            "livy.repl.enable-hive-context": "false",
        }
        if self.yarn is not None:
            settings |= {"livy.spark.deploy-mode": "cluster", "livy.server.yarn.poll-interval": "1s"}
        if self.recovery:
            settings |= {
                "livy.server.recovery.mode": "recovery",
                "livy.server.recovery.state-store": "filesystem",
                "livy.server.recovery.state-store.url": (self.directory / "state").as_uri(),
            }
        lines = {**settings, **self.settings}
        (conf / "livy.conf").write_text("".join(f"{name} = {value}\n" for name, value in lines.items()))
        (conf / "log4j.properties").write_text(LOG4J)
        write_xml(hadoop / "core-site.xml", {"fs.defaultFS": self.hdfs.rpc if self.hdfs else "file:///"})


def main(arguments: list[str] | None = None) -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(description="A real Apache Livy below one folder")
    parser.add_argument("command", choices=["start", "run", "stop"])
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIRECTORY, help="where everything of it lives")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="an interpreter that has PySpark")
    parser.add_argument("--yarn", type=Path, help="the folder of the YARN that batches go to; default: local[2]")
    parser.add_argument("--host", default=LOOPBACK, help="the address or name to bind to and to be reached at")
    parser.add_argument("--usual-ports", action="store_true", help="Livy's own port number instead of a free one")
    options = parser.parse_args(arguments)
    yarn = YarnCluster(options.yarn, None, options.host, options.usual_ports) if options.yarn else None
    server = LivyServer(options.dir, options.python, yarn, None, options.host, options.usual_ports)
    try:
        if options.command == "start":
            server.start()
            print(f"Livy runs: {server.url}, everything below {server.directory}")
        elif options.command == "run":
            server.stay()
        else:
            server.stop()
    except ClusterError as error:
        print(f"livy_server: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
