"""Ten steps with an output each that are reused, above bare tasks, beside ten cached steps of ZenML.

Ours: the wall time of a ``dag.test()`` of ten steps that have been run before in the same process, minus that of ten
bare tasks, by ten. Outputs are local, and proved unchanged. That all were reused is seen by what they put on XCom. In
another DAG each step also reads what the one before it made, and registers its output. ZenML: the wall time of a
pipeline of ten cached steps, each on what the one before it made, in a process that has run it before, by ten; it runs
without Airflow.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from support import dags, peers
from support.figures import Bench, Figure, Sample
from support.processes import helper

TITLE = "a reused step, per step of ten"
REPEAT = 9
FIGURES = [
    Figure(
        "reused step with local outputs, above a bare `@task`",
        lambda s: s["stepwell"] - s["airflow"],
        "ms",
        0.02,
    ),
    Figure(
        "… one that also reads the output of the one before, and registers its own",
        lambda s: s["pipeline"] - s["airflow"],
        "ms",
    ),
    Figure("… ZenML's cached step", lambda s: s["zenml"], "ms"),
    Figure("… ours, Airflow's share included", lambda s: s["stepwell"], "ms"),
    Figure("… Airflow's own share: a bare `@task`", lambda s: s["airflow"], "ms"),
]
STEPS = 10
#: A file younger than a file system's clock is precise is hashed anew, whatever a cache says.
SETTLE = 3.0


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds per step."""
    ours, pipeline, bare = dags.load("reused_steps"), dags.load("reused_pipeline"), dags.load("ten_tasks")
    for dag in (bare, ours, pipeline):  # they run
        dags.run(dag)
    time.sleep(SETTLE)
    for dag in (ours, pipeline):
        _reused(dag)
    python, env = peers.python_of("zenml"), peers.zenml_environment(bench.scratch)
    with helper([python, bench.programs / "zenml_steps.py"], cwd=bench.scratch, env=env) as zenml:
        zenml.ask()
        while True:
            yield {
                "stepwell": _reused(ours) / STEPS,
                "airflow": dags.run(bare)[0] / STEPS,
                "pipeline": _reused(pipeline) / STEPS,
                "zenml": zenml.ask() / STEPS,
            }


def _reused(dag: Any) -> float:
    seconds, dag_run = dags.run(dag)
    decisions = {task: said["reuse"]["decision"] for task, said in dags.handed_on(dag_run, "stepwell_run").items()}
    if len(decisions) != STEPS or set(decisions.values()) != {"reused"}:
        raise RuntimeError(f"Not all were reused: {decisions}")
    return seconds
