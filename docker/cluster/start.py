"""The one process of the image ``cluster``: HDFS, YARN and Livy by scripts/, and an SSH server beside them.

::

    start.py fetch        only the jars, by Maven: while the image is built
    start.py run NAME     all of them, reached under NAME, until SIGTERM
    start.py check NAME   whether they work: the container's health check
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from hdfs import hdfs_cluster  # noqa: E402
from hdfs.daemons import PROJECT, fetch_jars, get_json  # noqa: E402
from hdfs.hdfs_cluster import HdfsCluster  # noqa: E402
from livy import livy_server  # noqa: E402
from livy.livy_server import LivyServer  # noqa: E402
from yarn import yarn_cluster  # noqa: E402
from yarn.yarn_cluster import YarnCluster  # noqa: E402

DATA = Path("/data")
PYTHON = ROOT / "spark" / "bin" / "python"
SSHD_CONFIG = Path("/etc/ssh/stepwell_sshd_config")
SSH_PORT = 2222


def fetch() -> None:
    """Fetch the jars of all three."""
    fetch_jars(hdfs_cluster.POM, PROJECT / ".cache" / "hadoop", "Hadoop")
    fetch_jars(yarn_cluster.POM, PROJECT / ".cache" / "yarn", "YARN")
    fetch_jars(livy_server.POM, PROJECT / ".cache" / "livy", "Livy")


def run(name: str) -> None:
    """Start all, and stay."""
    hdfs = HdfsCluster(DATA / "hdfs", name, usual_ports=True)
    yarn = YarnCluster(DATA / "yarn", hdfs, name, usual_ports=True)
    yarn.directory.mkdir(parents=True, exist_ok=True)
    start_ssh(name, yarn.environment(PYTHON))
    LivyServer(DATA / "livy", PYTHON, yarn, None, name, usual_ports=True).stay()


def start_ssh(name: str, environment: dict[str, str]) -> None:
    """Start the SSH server in the background; who logs in finds Spark and the cluster's configuration."""
    variables = {
        "LANG": "C.UTF-8",
        **environment,
        "PATH": f"{environment['SPARK_HOME']}/bin:/usr/local/bin:/usr/bin:/bin",
    }
    lines = [line for line in SSHD_CONFIG.read_text().splitlines() if not line.startswith("SetEnv")]
    lines.append("SetEnv " + " ".join(f"{name}={value}" for name, value in variables.items()))
    SSHD_CONFIG.write_text("\n".join(lines) + "\n")
    # YARN's REST is asked through the head node.
    subprocess.run(["start-sshd", name, "-o", "AllowTcpForwarding=local"], check=True)


def check(name: str) -> None:
    """Ask each of them; an exception says which one does not answer."""
    get_json(f"http://{name}:9870/jmx?qry=java.lang:type=Runtime")
    if get_json(f"http://{name}:8088/ws/v1/cluster/metrics")["clusterMetrics"]["activeNodes"] < 1:
        raise SystemExit("YARN has no node")
    get_json(f"http://{name}:8998/batches")
    socket.create_connection((name, SSH_PORT), 5).close()


if __name__ == "__main__":
    {"fetch": fetch, "run": run, "check": check}[sys.argv[1]](*sys.argv[2:])
