"""A SynapseSparkStep behind Livy, over the same script posted to that Livy by hand: on local Spark, and on YARN.

The step's whole life, without Airflow's share: resolve, snapshot, environment, stage and submit, follow the log,
collect, publish and register its output on HDFS. By hand: one POST to ``/batches`` with the script on HDFS and the same
settings, then a look every 0.2 s until it has succeeded. Real daemons, started here.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.figures import Bench, Figure, Sample
from support.surroundings import DAGS, PROJECT

from cases.spark import CONF, SIZES, live

sys.path.append(str(PROJECT / "scripts"))

from hdfs.hdfs_cluster import HdfsCluster  # noqa: E402
from livy.livy_server import LivyServer  # noqa: E402
from yarn.yarn_cluster import YarnCluster  # noqa: E402

TITLE = "a SynapseSparkStep behind Livy over the same batch posted by hand"
REPEAT = 5
SCRIPT = DAGS / "source" / "spark_count.py"


def _figures(where: str, key: str) -> list[Figure]:
    return [
        Figure(
            f"Livy on {where}: a step, more than the same batch posted by hand",
            lambda s: s[key] - s[f"{key}_bare"],
            "s",
        ),
        Figure(
            "… of what is allowed: 5 % of the batch and 1 s",
            lambda s: (s[key] - s[f"{key}_bare"]) / (0.05 * s[f"{key}_bare"] + 1.0),
            "×",
            1.0,
            reach="≤ 5 % + 1 s",
        ),
        Figure("… what the step does before and after its job runs", lambda s: s[f"{key}_around"], "s"),
        Figure("… the batch by hand", lambda s: s[f"{key}_bare"], "s"),
    ]


FIGURES = [*_figures("local Spark", "local"), *_figures("YARN", "yarn")]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    python = bench.project / ".venv-payload" / "bin" / "python"
    hdfs = HdfsCluster(bench.scratch / "hdfs")
    yarn = YarnCluster(bench.scratch / "yarn", hdfs)
    servers = {
        "local": LivyServer(bench.scratch / "livy-local", python, hdfs=hdfs),
        "yarn": LivyServer(bench.scratch / "livy-yarn", python, yarn=yarn),
    }
    started: list[Any] = [hdfs, yarn, *servers.values()]
    try:
        for one in started:
            one.start()
        steps = {key: _step(key, server, hdfs, python) for key, server in servers.items()}
        for key, step in steps.items():
            live(step)
            _bare(servers[key], hdfs, python)
        while True:
            sample = {}
            for key, step in steps.items():
                sample[key], sample[f"{key}_around"] = live(step)
                sample[f"{key}_bare"] = _bare(servers[key], hdfs, python)
            yield sample
    finally:
        for one in reversed(started):
            one.stop()


def _step(key: str, server: LivyServer, hdfs: HdfsCluster, python: Path) -> Any:
    from stepwell import Datastore, Environment, HDFSOutputDatasetConfig, LivyCompute, Workspace
    from stepwell.compute.base import ComputeTarget
    from stepwell.operators import SynapseSparkStepOperator

    ws = Workspace.from_config()
    os.environ["AIRFLOW_CONN_LAKE"] = json.dumps(hdfs.connection("/bench"))
    os.environ[f"AIRFLOW_CONN_LIVY_{key.upper()}"] = f"livy://{server.host}:{server.ports['http']}"
    store = Datastore.get(ws, "lake")
    configuration = LivyCompute.attach_configuration(
        livy_conn_id=f"livy_{key}", storage="lake", python=str(python), conf=CONF
    )
    ComputeTarget.attach(ws, f"livy-{key}", configuration).wait_for_completion()
    environment = Environment("payload")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = str(python)
    groups = HDFSOutputDatasetConfig("groups", destination=(store, f"groups-{key}/{{run-id}}"))
    groups = groups.register_on_complete("groups")
    return SynapseSparkStepOperator(
        task_id="count",
        file=SCRIPT.name,
        source_directory=str(SCRIPT.parent),
        arguments=[groups],
        outputs=[groups],
        compute_target=f"livy-{key}",
        environment=environment,
        allow_reuse=False,
        **SIZES,
    )


def _bare(server: LivyServer, hdfs: HdfsCluster, python: Path) -> float:
    """Return the seconds from sending the script to seeing that its batch has succeeded."""
    folder = f"/bare-{uuid.uuid4().hex}"
    user = getpass.getuser()
    began = time.perf_counter()
    put = f"{hdfs.webhdfs}/webhdfs/v1{folder}/count.py?op=CREATE&overwrite=true&noredirect=true&user.name={user}"
    place = json.loads(_ask("PUT", put))["Location"]
    _ask("PUT", place, SCRIPT.read_bytes(), "application/octet-stream")
    conf = {**CONF, "spark.pyspark.driver.python": str(python), "spark.pyspark.python": str(python)}
    sizes = {"driverMemory": SIZES["driver_memory"], "driverCores": SIZES["driver_cores"]}
    sizes |= {"executorMemory": SIZES["executor_memory"], "executorCores": SIZES["executor_cores"], "numExecutors": 1}
    body = {"file": f"{hdfs.rpc}{folder}/count.py", "args": [f"{hdfs.rpc}{folder}/out"], "conf": conf, **sizes}
    batch = json.loads(_ask("POST", f"{server.url}/batches", json.dumps(body).encode(), "application/json"))
    while True:
        state = json.loads(_ask("GET", f"{server.url}/batches/{batch['id']}/state"))["state"]
        if state == "success":
            break
        assert state not in ("dead", "error", "killed"), state
        time.sleep(0.2)
    seconds = time.perf_counter() - began
    _ask("DELETE", f"{server.url}/batches/{batch['id']}")
    return seconds


def _ask(method: str, url: str, body: bytes | None = None, content: str = "application/json") -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": content, "X-Requested-By": "bench"}, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return bytes(answer.read())
