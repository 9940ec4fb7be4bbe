#!/usr/bin/env python3
"""A real YARN for tests and demos: one ResourceManager and one NodeManager, as processes, on the HDFS beside it.

::

    yarn_cluster.py start [--dir DIR]     HDFS first; fetch the jars by Maven if needed, start, wait for the node
    yarn_cluster.py run   [--dir DIR]     the same, and stay until SIGTERM: for a container's main process
    yarn_cluster.py env   [--dir DIR] --python PYTHON     print what a shell needs for spark-submit (PYTHON has PySpark)
    yarn_cluster.py stop  [--dir DIR]     stop all four and wait for their end

``--host`` and ``--usual-ports`` make it reachable from other machines. Needs Java 17 or later, and Maven the first
time. Standard library only.
"""

from __future__ import annotations

import argparse
import getpass
import shlex
import sys
import zlib
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

POM = Path(__file__).resolve().parent / "pom.xml"
DEFAULT_DIRECTORY = PROJECT / ".cache" / "yarn-cluster"
#: Queue → its share in percent.
QUEUES = {"default": 80, "batch": 20}


class YarnCluster(Daemons):
    """One ResourceManager and one NodeManager; HDFS is started with them.

    :param directory: where configuration, logs, containers and the state live; HDFS is below it unless given.
    :param hdfs: the file system that it works on; it is started when needed, and stopped only if it was not given.
    :param memory: what the node has to give, in MB; what the machine really has does not matter to YARN.
    :param cores: likewise, virtual cores.
    :param settings: more of ``yarn-site.xml``.
    """

    title: ClassVar[str] = "YARN"
    daemons: ClassVar[dict[str, str]] = {
        "resourcemanager": "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager",
        "nodemanager": "org.apache.hadoop.yarn.server.nodemanager.NodeManager",
    }
    usual: ClassVar[dict[str, int]] = {
        "scheduler": 8030,
        "tracker": 8031,
        "rpc": 8032,
        "admin": 8033,
        "http": 8088,
        "node_localizer": 8040,
        "node_http": 8042,
        "node": 8041,
    }

    def __init__(
        self,
        directory: Path | str = DEFAULT_DIRECTORY,
        hdfs: HdfsCluster | None = None,
        host: str = LOOPBACK,
        usual_ports: bool = False,
        memory: int = 8192,
        cores: int = 8,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(directory, host, usual_ports)
        self._owns_hdfs = hdfs is None
        self.hdfs = hdfs or HdfsCluster(self.directory / "hdfs", host, usual_ports)
        self.memory = memory
        self.cores = cores
        self.settings = dict(settings or {})

    @property
    def resource_manager(self) -> str:
        """The ResourceManager's REST: ``http://host:port``."""
        return f"http://{self.host}:{self.ports['http']}"

    @property
    def conf(self) -> Path:
        """The folder for ``HADOOP_CONF_DIR``."""
        return self.directory / "conf"

    def environment(self, python: Path | str) -> dict[str, str]:
        """Return the variables that ``spark-submit`` needs.

        :param python: an interpreter that has PySpark; drivers and executors run it too.
        :raises ClusterError: it has none.
        """
        found = list(Path(python).parent.parent.glob("lib/python*/site-packages/pyspark"))
        if len(found) != 1:
            raise ClusterError(f"The environment of {python} has no PySpark")
        spark_conf = self.directory / f"spark-conf-{zlib.crc32(str(found[0]).encode()):08x}"
        spark_conf.mkdir(exist_ok=True)
        # The jars are here already, and need not go through HDFS (460 MB) for each application.
        lines = {"spark.yarn.jars": f"local:{found[0]}/jars/*", "spark.ui.enabled": "false"}
        if self.host == LOOPBACK:
            lines |= {"spark.yarn.appMasterEnv.SPARK_LOCAL_IP": LOOPBACK, "spark.executorEnv.SPARK_LOCAL_IP": LOOPBACK}
        (spark_conf / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        return {
            "HADOOP_CONF_DIR": str(self.conf),
            "JAVA_HOME": java_home(),
            "PYSPARK_PYTHON": str(python),
            "SPARK_CONF_DIR": str(spark_conf),
            "SPARK_HOME": str(found[0]),
        }

    def applications(self, **query: str) -> list[dict[str, Any]]:
        """Return what the ResourceManager knows about applications, such as ``applications(applicationTags="…")``."""
        from urllib.parse import urlencode

        found = get_json(f"{self.resource_manager}/ws/v1/cluster/apps?{urlencode(query)}")["apps"]
        return list(found["app"]) if found else []

    def start(self) -> None:
        """Start HDFS and YARN, unless they run; return when applications can be submitted.

        :raises ClusterError: Java or Maven is missing, or a daemon does not come up; the message holds its last lines.
        """
        self.hdfs.start()
        super().start()

    def stop(self) -> None:
        """Stop YARN, and HDFS if it is its own."""
        super().stop()
        if self._owns_hdfs and len(self.pids) == 0:
            self.hdfs.stop()

    def _command(self) -> list[str]:
        jars = fetch_jars(POM, PROJECT / ".cache" / "yarn", "YARN")
        opened = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.lang", "java.util", "java.io")]
        return java_command([self.conf, f"{jars}/*"], *opened)

    def _variables(self) -> dict[str, str]:
        return {"HADOOP_HOME": str(self.directory), "JAVA_HOME": java_home(), "HADOOP_CONF_DIR": str(self.conf)}

    def _is_ready(self) -> bool:
        metrics = get_json(f"{self.resource_manager}/ws/v1/cluster/metrics")["clusterMetrics"]
        return bool(metrics["activeNodes"] >= 1)

    def _configure(self, ports: dict[str, int]) -> None:
        if not self.hdfs.pids:
            self.hdfs.start()  # a stop before the start may have ended it
        for page in ("cluster", "node", "static"):
            (self.conf / "webapps" / page).mkdir(parents=True, exist_ok=True)
        user = getpass.getuser()
        write_xml(
            self.conf / "core-site.xml",
            {
                "fs.defaultFS": self.hdfs.rpc,
                "hadoop.tmp.dir": self.directory / "tmp",
                "hadoop.http.staticuser.user": user,
            },
        )
        write_xml(self.conf / "hdfs-site.xml", {"dfs.replication": "1"})
        write_xml(self.conf / "yarn-site.xml", {**self._yarn(ports), **self.settings})
        write_xml(self.conf / "capacity-scheduler.xml", _queues())
        (self.conf / "log4j.properties").write_text(LOG4J)

    def _yarn(self, ports: dict[str, int]) -> dict[str, Any]:
        manager, node = "yarn.resourcemanager", "yarn.nodemanager"
        return {
            f"{manager}.hostname": self.host,
            f"{manager}.address": f"{self.host}:{ports['rpc']}",
            f"{manager}.scheduler.address": f"{self.host}:{ports['scheduler']}",
            f"{manager}.resource-tracker.address": f"{self.host}:{ports['tracker']}",
            f"{manager}.admin.address": f"{self.host}:{ports['admin']}",
            f"{manager}.webapp.address": f"{self.host}:{ports['http']}",
            f"{manager}.nodemanagers.heartbeat-interval-ms": 200,
            f"{node}.hostname": self.host,
            f"{node}.address": f"{self.host}:{ports['node']}",
            f"{node}.localizer.address": f"{self.host}:{ports['node_localizer']}",
            f"{node}.webapp.address": f"{self.host}:{ports['node_http']}",
            f"{node}.resource.memory-mb": self.memory,
            f"{node}.resource.cpu-vcores": self.cores,
            f"{node}.vmem-check-enabled": "false",
            f"{node}.pmem-check-enabled": "false",
            f"{node}.disk-health-checker.max-disk-utilization-per-disk-percentage": "99.9",
            # Without absolute paths containers fail: "Stdout path must be absolute".
            f"{node}.local-dirs": self.directory / "local",
            f"{node}.log-dirs": self.directory / "containers",
            f"{node}.remote-app-log-dir": "/app-logs",
            "yarn.log-aggregation-enable": "true",
            "yarn.scheduler.minimum-allocation-mb": 256,
        }


def _queues() -> dict[str, Any]:
    root = "yarn.scheduler.capacity"
    found: dict[str, Any] = {f"{root}.root.queues": ",".join(QUEUES), f"{root}.maximum-am-resource-percent": 0.8}
    for queue, share in QUEUES.items():
        found |= {f"{root}.root.{queue}.capacity": share, f"{root}.root.{queue}.maximum-capacity": 100}
        found |= {f"{root}.root.{queue}.user-limit-factor": 100}
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(description="A real YARN on a real HDFS below one folder")
    parser.add_argument("command", choices=["start", "run", "stop", "env"])
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIRECTORY, help="where everything of it lives")
    parser.add_argument("--host", default=LOOPBACK, help="the address or name to bind to and to be reached at")
    parser.add_argument("--usual-ports", action="store_true", help="Hadoop's own port numbers instead of free ones")
    parser.add_argument("--memory", type=int, default=8192, help="what the node has to give, in MB")
    parser.add_argument("--python", default=sys.executable, help="env: an interpreter that has PySpark")
    options = parser.parse_args(arguments)
    cluster = YarnCluster(options.dir, None, options.host, options.usual_ports, options.memory)
    try:
        if options.command == "start":
            cluster.start()
            print(f"YARN runs: {cluster.resource_manager}, on {cluster.hdfs.rpc}, everything below {cluster.directory}")
        elif options.command == "run":
            cluster.stay()
        elif options.command == "stop":
            cluster.stop()
        else:
            if not cluster.pids:
                raise ClusterError(f"No YARN runs in {cluster.directory}. Start it first.")
            for name, value in cluster.environment(options.python).items():
                print(f"export {name}={shlex.quote(value)}")
    except ClusterError as error:
        print(f"yarn_cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
