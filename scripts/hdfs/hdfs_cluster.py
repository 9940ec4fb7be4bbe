#!/usr/bin/env python3
"""A real HDFS for the demo and the tests: one NameNode and one DataNode, as processes, everything below one folder.

::

    hdfs_cluster.py start [--dir DIR]     fetch the jars by Maven if needed, format, start, wait until it answers
    hdfs_cluster.py env   [--dir DIR]     print what a shell needs to use it as the default datastore
    hdfs_cluster.py stop  [--dir DIR]     stop both and wait for their end

``../yarn/yarn_cluster.py`` puts YARN on it. Needs Java 17 or later, and Maven the first time. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
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
    tail,
    write_xml,
)

POM = Path(__file__).resolve().parent / "pom.xml"
DEFAULT_DIRECTORY = PROJECT / ".cache" / "hdfs"


class HdfsCluster(Daemons):
    """One NameNode and one DataNode, on free ports of the loopback interface unless said otherwise.

    :param directory: where configuration, data, logs and the state live.
    :param host: the address or name that they bind to and are reached at.
    :param usual_ports: take Hadoop's own port numbers.
    """

    title: ClassVar[str] = "HDFS"
    daemons: ClassVar[dict[str, str]] = {
        "namenode": "org.apache.hadoop.hdfs.server.namenode.NameNode",
        "datanode": "org.apache.hadoop.hdfs.server.datanode.DataNode",
    }
    usual: ClassVar[dict[str, int]] = {
        "rpc": 8020,
        "http": 9870,
        "data": 9866,
        "data_http": 9864,
        "data_ipc": 9867,
    }

    def __init__(
        self, directory: Path | str = DEFAULT_DIRECTORY, host: str = LOOPBACK, usual_ports: bool = False
    ) -> None:
        super().__init__(directory, host, usual_ports)

    @property
    def rpc(self) -> str:
        """What Spark uses: ``hdfs://host:port``."""
        return f"hdfs://{self.host}:{self.ports['rpc']}"

    @property
    def webhdfs(self) -> str:
        """What everyone else uses: ``http://host:port``."""
        return f"http://{self.host}:{self.ports['http']}"

    def connection(self, root: str = "/stepwell/data") -> dict[str, Any]:
        """Return the Airflow connection (as its JSON form has it) that makes *root* a datastore."""
        return {
            "conn_type": "stepwell_datastore",
            "host": self.host,
            "port": self.ports["rpc"],
            "extra": {"kind": "hdfs", "root": root, "webhdfs_url": self.webhdfs},
        }

    def _command(self) -> list[str]:
        jars = fetch_jars(POM, PROJECT / ".cache" / "hadoop", "Hadoop")
        return java_command([self.directory / "conf", f"{jars}/*"])

    def _before_first_start(self, command: list[str]) -> None:
        if (self.directory / "name" / "current").exists():
            return
        done = subprocess.run(
            [*command, self.daemons["namenode"], "-format", "-nonInteractive"],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ClusterError("The NameNode cannot be formatted:\n" + tail(done.stderr))

    def _is_ready(self) -> bool:
        (bean,) = get_json(f"{self.webhdfs}/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState")["beans"]
        return bool(bean["NumLiveDataNodes"] == 1 and bean["FSState"] == "Operational")

    def _configure(self, ports: dict[str, int]) -> None:
        conf = self.directory / "conf"
        for page in ("hdfs", "datanode", "secondary", "static"):  # the jars hold no web pages, and it insists on them
            (conf / "webapps" / page).mkdir(parents=True, exist_ok=True)
        write_xml(
            conf / "core-site.xml",
            {"fs.defaultFS": f"hdfs://{self.host}:{ports['rpc']}", "hadoop.tmp.dir": self.directory / "tmp"},
        )
        write_xml(
            conf / "hdfs-site.xml",
            {
                "dfs.replication": "1",
                "dfs.namenode.name.dir": (self.directory / "name").as_uri(),
                "dfs.datanode.data.dir": (self.directory / "data").as_uri(),
                "dfs.namenode.http-address": f"{self.host}:{ports['http']}",
                "dfs.namenode.safemode.extension": "0",
                "dfs.namenode.datanode.registration.ip-hostname-check": "false",  # the address may have no name
                "dfs.datanode.address": f"{self.host}:{ports['data']}",
                "dfs.datanode.http.address": f"{self.host}:{ports['data_http']}",
                "dfs.datanode.ipc.address": f"{self.host}:{ports['data_ipc']}",
                "dfs.datanode.hostname": self.host,
            },
        )
        (conf / "log4j.properties").write_text(LOG4J)


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
                raise ClusterError(f"No HDFS runs in {cluster.directory}. Start it first.")
            variable = "AIRFLOW_CONN_" + options.datastore.upper()
            print(f"export {variable}={shlex.quote(json.dumps(cluster.connection(options.root)))}")
    except ClusterError as error:
        print(f"hdfs_cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
