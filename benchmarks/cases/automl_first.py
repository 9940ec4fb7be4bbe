"""From the start of an AutoML step to the end of its first trial, on the census; on Spark, over Spark's own start.

The step's whole life, without Airflow's share, in an environment that is there: resolve, snapshot, submit, read,
featurize, split, start a worker, fit. On Spark (``local[2]``) what a bare ``spark-submit`` takes until its session
stands is taken off, measured in the same round with the same Python, Spark and sizes.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import automl
from support.figures import Bench, Figure, Sample
from support.processes import answer

TITLE = "AutoML: from step start to the first finished trial"
FIGURES = [
    Figure("AutoML: from step start to the first finished trial, on `local`", lambda s: s["local"], "s", at_most=5.0),
    Figure(
        "… on Spark (`local[2]`), over the Spark session's own start",
        lambda s: s["spark"] - s["session"],
        "s",
        at_most=5.0,
    ),
    Figure("… on Spark", lambda s: s["spark"], "s"),
    Figure("… bare `spark-submit` until its session stands", lambda s: s["session"], "s"),
]
SIZES: dict[str, Any] = {"driver_memory": "1g", "executor_memory": "1g"}


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    from stepwell import SparkCompute, Workspace
    from stepwell.compute.base import ComputeTarget

    ws = Workspace.from_config()
    configuration = SparkCompute.attach_configuration(master="local[2]")
    ComputeTarget.attach(ws, "spark01", configuration).wait_for_completion()
    ws.get_default_datastore().upload_files([str(automl.CENSUS)], target_path="", overwrite=True)
    targets = ("local", "spark01")
    python = {target: _first_trial(target)[1] for target in targets}  # builds the environment, if need be
    while True:
        local, spark = (_first_trial(target)[0] for target in targets)
        yield {"local": local, "spark": spark, "session": _session(bench, python["spark01"])}


def _first_trial(target: str) -> tuple[float, str]:
    """Return the seconds until a step's first trial was over, and the interpreter that it ran in."""
    from stepwell import AutoMLConfig, Dataset, OutputFileDatasetConfig, Workspace
    from stepwell.operators import AutoMLStepOperator
    from stepwell.step.life import Life
    from stepwell.step.spec import JobKey

    ws = Workspace.from_config()
    census = Dataset.Tabular.from_parquet_files((ws.get_default_datastore(), automl.CENSUS.name))
    config = AutoMLConfig(
        task="classification",
        primary_metric="AUC_weighted",
        label_column_name="income",
        training_data=census,
        iterations=1,
        model_explainability=False,
    )
    more = SIZES if target == "spark01" else {}
    step = AutoMLStepOperator(
        task_id="automl",
        automl_config=config,
        model_output=OutputFileDatasetConfig(),
        compute_target=target,
        allow_reuse=False,
        **more,
    )
    key = JobKey("bench", "a_dag", uuid.uuid4().hex, "automl")
    began = time.time()
    life = Life(ws, step.specification({}), key, try_number=1, triggering=(), log=logging.getLogger("stepwell.step"))
    life.live()
    results = Path(os.environ["STEPWELL_ROOT"], "runs", str(life.record.facts["run_id"]), "outputs", "automl")
    print(target, json.dumps(life.record.facts["phases"]), flush=True)
    return min(map(automl.ended, automl.trials(results))) - began, str(life.record.facts["environment"]["python"])


def _session(bench: Bench, python: str) -> float:
    """Return the seconds from the start of ``spark-submit`` until the session stands."""
    command = [python, "-c", "import os, pyspark; print(os.path.dirname(pyspark.__file__))"]
    home = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "WARN",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    argv: list[str | Path] = [f"{home}/bin/spark-submit", "--master", "local[2]"]
    for name, size in SIZES.items():
        argv += ["--" + name.replace("_", "-"), size]
    for name, value in settings.items():
        argv += ["--conf", f"{name}={value}"]
    env = {**os.environ, "SPARK_HOME": home, "PYSPARK_PYTHON": python, "PYTHONUNBUFFERED": "1"}
    env.pop("PYTHONPATH")
    began = time.time()
    stands: float = answer([*argv, bench.programs / "spark_session.py"], env=env, cwd=bench.scratch)
    return stands - began
