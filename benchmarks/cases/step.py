"""A no-op PythonScriptStep on ``local``, warm, beside Metaflow's local step and a bare task of Airflow.

Ours: the wall time of a ``dag.test()`` of ten steps in a process that has run it before, divided by ten; Airflow's own
share is in it. Metaflow: the wall time of a flow with ten steps more than another, divided by ten; so its start, its
end and its two obligatory steps are not counted.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from support import dags, peers
from support.figures import Bench, Figure, Sample
from support.processes import timed

TITLE = "a no-op step on local, per step of ten"
REPEAT = 7
FIGURES = [
    Figure(
        "no-op PythonScriptStep on `local`, over Metaflow's local step",
        lambda s: s["stepwell"] / s["metaflow"],
        "×",
        0.6,
    ),
    Figure("… ours, Airflow's share included", lambda s: s["stepwell"], "ms"),
    Figure("… Airflow's own share: a bare `@task`", lambda s: s["airflow"], "ms"),
    Figure("… Metaflow's", lambda s: s["metaflow"], "ms"),
]
STEPS = 10


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds per step."""
    python, env = peers.python_of("metaflow"), peers.metaflow_environment(bench.scratch)
    for steps in (0, STEPS):
        command = [sys.executable, bench.programs / "metaflow_flow.py", str(steps), f"linear_{steps}.py"]
        subprocess.run(command, cwd=bench.scratch, check=True)

    def metaflow(steps: int) -> float:
        return timed([python, f"linear_{steps}.py", "--quiet", "run"], cwd=bench.scratch, env=env)

    ours, bare = dags.load("ten_steps"), dags.load("ten_tasks")
    for warm_up in (ours, bare):
        dags.run(warm_up)
    metaflow(0)
    while True:
        yield {
            "stepwell": dags.run(ours)[0] / STEPS,
            "metaflow": (metaflow(STEPS) - metaflow(0)) / STEPS,
            "airflow": dags.run(bare)[0] / STEPS,
        }
