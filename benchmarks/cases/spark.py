"""A SynapseSparkStep on a Spark of this machine, over the same script under bare ``spark-submit``.

The step's whole life, without Airflow's share: resolve, snapshot, environment (warm), submit, follow the log, collect,
publish and register its output. ``spark-submit`` gets the same script, interpreter, Spark and settings, and writes into
a plain folder.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from typing import Any

from support.figures import Bench, Figure, Sample
from support.processes import timed
from support.surroundings import DAGS

TITLE = "a SynapseSparkStep over bare spark-submit"
REPEAT = 7
FIGURES = [
    Figure(
        "SynapseSparkStep, more than the same script under bare `spark-submit`",
        lambda s: s["stepwell"] - s["bare"],
        "s",
    ),
    Figure(
        "… of what is allowed: 5 % of `spark-submit` and 0.3 s",
        lambda s: (s["stepwell"] - s["bare"]) / (0.05 * s["bare"] + 0.3),
        "×",
        1.0,
        reach="≤ 5 % + 0.3 s",
    ),
    Figure("… what the step does before and after its job runs", lambda s: s["around"], "s"),
    Figure("… `spark-submit`", lambda s: s["bare"], "s"),
]
SOURCE = DAGS / "source"
CONF = {"spark.sql.shuffle.partitions": "2"}


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    step = _step(bench)
    live(step)
    while True:
        seconds, around = live(step)
        yield {"stepwell": seconds, "bare": _bare(bench), "around": around}


def _step(bench: Bench) -> Any:
    from stepwell import Environment, HDFSOutputDatasetConfig, SparkCompute, Workspace
    from stepwell.compute.base import ComputeTarget
    from stepwell.operators import SynapseSparkStepOperator

    ws = Workspace.from_config()
    configuration = SparkCompute.attach_configuration(master="local[2]", conf=CONF)
    ComputeTarget.attach(ws, "spark01", configuration).wait_for_completion()
    environment = Environment("payload")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = str(bench.project / ".venv-payload" / "bin" / "python")
    groups = HDFSOutputDatasetConfig("groups", destination=(ws.get_default_datastore(), "groups/{run-id}"))
    groups = groups.register_on_complete("groups")
    return SynapseSparkStepOperator(
        task_id="count",
        file="spark_count.py",
        source_directory=str(SOURCE),
        arguments=[groups],
        outputs=[groups],
        compute_target="spark01",
        environment=environment,
        allow_reuse=False,
        **SIZES,
    )


SIZES: dict[str, Any] = {
    "driver_memory": "1g",
    "driver_cores": 2,
    "executor_memory": "1g",
    "executor_cores": 2,
    "num_executors": 1,
}


def live(step: Any) -> tuple[float, float]:
    """Return the seconds of the step's life, and those of it in which its job did not run."""
    from stepwell import Workspace
    from stepwell.step.life import Life
    from stepwell.step.spec import JobKey

    key = JobKey("bench", "a_dag", uuid.uuid4().hex, "count")
    log = logging.getLogger("stepwell.step")
    began = time.perf_counter()
    ws = Workspace.from_config()
    life = Life(ws, step.specification({}), key, try_number=1, triggering=(), log=log)
    result = life.live()
    seconds = time.perf_counter() - began
    assert result.references["groups"]["dataset"] == "groups"
    return seconds, seconds - life.record.facts["phases"]["run"]


def _bare(bench: Bench) -> float:
    python = bench.project / ".venv-payload" / "bin" / "python"
    command = [python, "-c", "import os, pyspark; print(os.path.dirname(pyspark.__file__))"]
    home = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    out = bench.scratch / "bare"
    settings = {
        **CONF,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "WARN",
        "spark.executor.instances": "1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.warehouse.dir": f"file:{bench.scratch}/warehouse",
    }
    argv = [f"{home}/bin/spark-submit", "--master", "local[2]"]
    for name in ("driver_memory", "executor_memory", "driver_cores", "executor_cores"):
        argv += ["--" + name.replace("_", "-"), str(SIZES[name])]
    for name, value in settings.items():
        argv += ["--conf", f"{name}={value}"]
    env = {**os.environ, "SPARK_HOME": home, "PYSPARK_PYTHON": str(python), "PYTHONUNBUFFERED": "1"}
    env.pop("PYTHONPATH")
    seconds = timed([*argv, SOURCE / "spark_count.py", f"file://{out}"], env=env, cwd=bench.scratch)
    shutil.rmtree(out)
    return seconds
