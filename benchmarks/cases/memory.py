"""The most memory of the process in which Airflow's tasks run, in a step that moves 1 GB in and 1 GB out.

A process of its own for each: it runs a DAG by ``dag.test()`` and says its peak (``VmHWM``). The step gets a file of
1 GB by download, hands a copy on by upload, and registers it with its checksum; the other DAG has one bare task.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterator

from support.figures import Bench, Figure, Sample
from support.processes import answer

TITLE = "peak memory of a step that moves 1 GB"
FIGURES = [
    Figure(
        "peak memory of the Airflow task process in a step that moves 1 GB, above a bare task",
        lambda s: s["stepwell"] - s["airflow"],
        "MB",
        250.0,
    ),
    Figure("… a bare task", lambda s: s["airflow"], "MB"),
]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield megabytes."""
    data = bench.scratch / "workspace" / "data"
    data.mkdir(parents=True)
    piece = random.Random(1).randbytes(1 << 20)
    with (data / "large.bin").open("wb") as file:
        for number in range(10 if bench.quick else 1000):
            file.write(number.to_bytes(8, "little") + piece[:-8])
    while True:
        yield {"stepwell": _peak(bench, "moving"), "airflow": _peak(bench, "one_task")}
        for made in data.iterdir():  # what the step has made
            if made.name != "large.bin":
                shutil.rmtree(made)


def _peak(bench: Bench, dag: str) -> float:
    peak: int = answer([sys.executable, bench.programs / "peak_memory.py", dag], env=os.environ)
    return peak / 1e6
