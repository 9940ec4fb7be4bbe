"""A SynapseSparkStep on a Hadoop cluster, over the same ``spark-submit`` typed on its head node: YARN, cluster mode.

The step's whole life, without Airflow's share: resolve, snapshot, environment, stage and submit over SSH, follow the
log, collect, publish and register its output on HDFS. By hand: the script is on the head node already, and
``spark-submit`` with the same settings waits for the application's end. Real daemons and a machine of its own as head
node, started here; needs root.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.figures import Bench, Figure, Sample
from support.surroundings import DAGS, PROJECT

from cases.spark import CONF, SIZES, live

sys.path += [str(PROJECT), str(PROJECT / "scripts")]

TITLE = "a SynapseSparkStep on YARN over the same spark-submit by hand"
REPEAT = 5
FIGURES = [
    Figure(
        "YARN: a step on a Hadoop cluster, more than the same `spark-submit` by hand",
        lambda s: s["step"] - s["bare"],
        "s",
    ),
    Figure(
        "… of what is allowed: 5 % of `spark-submit` and 1 s",
        lambda s: (s["step"] - s["bare"]) / (0.05 * s["bare"] + 1.0),
        "×",
        1.0,
        reach="≤ 5 % + 1 s",
    ),
    Figure("… what the step does before and after its job runs", lambda s: s["around"], "s"),
    Figure("… `spark-submit`", lambda s: s["bare"], "s"),
]
SCRIPT = DAGS / "source" / "spark_count.py"


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    from tests.clusters.head import Cluster

    cluster = Cluster("bench", bench.project / ".venv-payload" / "bin" / "python")
    try:
        cluster.start()
        step = _step(cluster)
        live(step)
        _bare(cluster)
        while True:
            seconds, around = live(step)
            yield {"step": seconds, "around": around, "bare": _bare(cluster)}
    finally:
        cluster.yarn.stop()
        cluster.vm.stop()


def _step(cluster: Any) -> Any:
    from stepwell import Datastore, Environment, HDFSOutputDatasetConfig, Workspace
    from stepwell.compute.base import ComputeTarget
    from stepwell.compute.cluster_compute import HDInsightCompute
    from stepwell.operators import SynapseSparkStepOperator

    ws, vm = Workspace.from_config(), cluster.vm
    lake = {**cluster.yarn.hdfs.connection(f"/user/{vm.login}/bench"), "login": vm.login}
    os.environ["AIRFLOW_CONN_LAKE"] = json.dumps(lake)
    head = {"conn_type": "ssh", "host": vm.address, "login": vm.login, "password": vm.password, "port": vm.port}
    os.environ["AIRFLOW_CONN_HEAD"] = json.dumps(head)
    store = Datastore.get(ws, "lake")
    configuration = HDInsightCompute.attach_configuration(
        ssh_conn_id="head", host_key=vm.host_key, storage="lake", node_python=str(cluster.python), conf=CONF
    )
    ComputeTarget.attach(ws, "hadoop", configuration).wait_for_completion()
    environment = Environment("payload")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = str(cluster.python)
    groups = HDFSOutputDatasetConfig("groups", destination=(store, "groups/{run-id}")).register_on_complete("groups")
    return SynapseSparkStepOperator(
        task_id="count",
        file=SCRIPT.name,
        source_directory=str(SCRIPT.parent),
        arguments=[groups],
        outputs=[groups],
        compute_target="hadoop",
        environment=environment,
        allow_reuse=False,
        **SIZES,
    )


def _bare(cluster: Any) -> float:
    """Return the seconds of a ``spark-submit`` on the head node, the application's end included."""
    place = Path(f"/home/{cluster.vm.login}/{SCRIPT.name}")
    cluster.vm.path(str(place)).write_bytes(SCRIPT.read_bytes())
    out = f"{cluster.yarn.hdfs.rpc}/user/{cluster.vm.login}/bare-{uuid.uuid4().hex}"
    conf = {**CONF, "spark.pyspark.python": str(cluster.python), "spark.pyspark.driver.python": str(cluster.python)}
    argv = ["/opt/spark/bin/spark-submit", "--master", "yarn", "--deploy-mode", "cluster", "--num-executors", "1"]
    for name in ("driver_memory", "executor_memory", "driver_cores", "executor_cores"):
        argv += ["--" + name.replace("_", "-"), str(SIZES[name])]
    for name, value in conf.items():
        argv += ["--conf", f"{name}={value}"]
    login = ["bash", "-lc", 'exec "$@"', "--", *argv, str(place), out]
    began = time.perf_counter()
    cluster.vm.exec(*login, user=cluster.vm.login)
    return time.perf_counter() - began
