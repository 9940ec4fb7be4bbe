"""The profile ``cluster``: prepare through Livy on YARN, train on the machine behind SSH, data on HDFS.

It takes ten minutes more than the rest, so it is left to ``make test-compose``.
"""

from __future__ import annotations

import json
import os

import pytest
from tests.compose.stack import ComposedAirflow, Stack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif("STEPWELL_TEST_COMPOSE" not in os.environ, reason="left to `make test-compose`"),
]

HDFS = {
    "conn_type": "stepwell_datastore",
    "host": "cluster",
    "port": 8020,
    "login": "hadoop",
    "extra": {"kind": "hdfs", "root": "/stepwell/data", "webhdfs_url": "http://cluster:9870"},
}
BOTH = ("targets", "cluster")


@pytest.fixture(scope="module")
def with_cluster(stack: Stack) -> Stack:
    """The stack with both profiles, and the default datastore on the cluster's HDFS, as the documentation says."""
    with (stack.folder / ".env").open("a") as file:
        file.write(f"AIRFLOW_CONN_WORKSPACEBLOBSTORE='{json.dumps(HDFS)}'\n")
    stack.compose("build", profiles=BOTH)
    stack.up(profiles=BOTH)
    return stack


def test_the_example_on_livy_and_on_a_machine_behind_ssh(with_cluster: Stack) -> None:
    airflow: ComposedAirflow = with_cluster.airflow()
    run_id = airflow.succeed("on_livy", 1500)
    log = airflow.log("on_livy", run_id, "synapse-spark", 1)
    assert "Spark" in log
    (cluster,) = with_cluster.containers("cluster")
    processes = with_cluster.daemon.docker("top", cluster, "-eo", "user,pid,args").splitlines()[1:]
    assert [line for line in processes if line.split()[0] == "root"] == []
