"""Two trials at a time against one, on processes and on the executors of Spark: 20 trials that wait 3 s each.

They wait, so that two cores can prove it. The search itself: from the begin of its first trial to the end of its last.
Spark is a standalone master with two workers of one core each, on this machine; two executors, or one.
"""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import automl
from support.figures import Bench, Figure, Sample

TITLE = "AutoML: two trials at a time against one, on processes and on Spark"
REPEAT = 2
TRIALS = 20
FIGURES = [
    Figure(
        "AutoML: 20 trials that wait 3 s, two at a time on two Spark workers, against one",
        lambda s: s["spark_1"] / s["spark_2"],
        "×",
        at_least=1.8,
    ),
    Figure("… on two processes, against one", lambda s: s["processes_1"] / s["processes_2"], "×", at_least=1.8),
    Figure("… two at a time on Spark", lambda s: s["spark_2"], "s"),
    Figure("… two at a time on processes", lambda s: s["processes_2"], "s"),
]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    with _cluster(bench) as master:
        while True:
            sample = {}
            for workers in (1, 2):
                path = _request(bench, workers)
                sample[f"processes_{workers}"] = _seconds(automl.search(bench, path), workers)
                path = _request(bench, workers)
                driver = [automl.python(bench), bench.programs / "automl_on_spark.py", master, str(workers), path]
                env = {**automl.variables(bench), "PYSPARK_PYTHON": str(automl.python(bench))}
                subprocess.run(driver, env=env, check=True, stdin=subprocess.DEVNULL)
                sample[f"spark_{workers}"] = _seconds(automl.trials(path.parent / "results"), workers)
            yield sample


def _request(bench: Bench, workers: int) -> Path:
    wanted = automl.settings(
        "classification",
        "income",
        3600,
        primary_metric="AUC_weighted",
        validation_size=0.1,
        max_concurrent_iterations=workers,
        allowed_models=["LightGBM", "SGD"],
        enable_voting_ensemble=False,
        enable_stack_ensemble=False,
        model_explainability=False,
        iterations=6 if bench.quick else TRIALS,
        engine="automl_waits:Waits",
    )
    return automl.request(bench.scratch / "search", wanted, {"training": automl.CENSUS})


def _seconds(trials: list[dict[str, object]], workers: int) -> float:
    assert len({t["worker"] for t in trials}) == workers
    return max(map(automl.ended, trials)) - min(float(str(t["started"])) for t in trials)


@contextmanager
def _cluster(bench: Bench) -> Iterator[str]:
    """Run a master and two workers of one core each; they are ended afterwards."""
    command = [automl.python(bench), "-c", "import os, pyspark; print(os.path.dirname(pyspark.__file__))"]
    home = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    folder = bench.scratch / "cluster"
    folder.mkdir()
    env = {**automl.variables(bench), "SPARK_HOME": home, "SPARK_WORKER_DIR": str(folder)}
    port, web = _free_port(), _free_port()
    url, start = f"spark://127.0.0.1:{port}", [f"{home}/bin/spark-class"]
    master = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web)]
    worker = ["--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0", url]
    name = "org.apache.spark.deploy"
    commands = [[f"{name}.master.Master", *master], *2 * [[f"{name}.worker.Worker", *worker]]]
    with (folder / "log").open("wb") as log:
        running = [
            subprocess.Popen([*start, *command], env=env, cwd=folder, stdout=log, stderr=log) for command in commands
        ]
        try:
            _wait_for_workers(f"http://127.0.0.1:{web}/json/")
            yield url
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(30)


def _wait_for_workers(page: str) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(page, timeout=5) as answer:
                if '"aliveworkers" : 2' in answer.read().decode():
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise RuntimeError("Spark's workers have not come up")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
