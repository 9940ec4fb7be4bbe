"""Parsing a DAG of 200 steps: the file is imported anew by a DagBag, in a process that has all libraries.

The steps are as in a real pipeline: each reads what the one before it wrote, as a download, and writes an output of
its own; so edges, arguments, ports and templates are in it. The tasks hand nothing on, which is the cheapest DAG of 200
tasks there is.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path

from support.figures import Bench, Figure, Sample

TITLE = "parsing a DAG of 200 steps"
REPEAT = 11
FIGURES = [
    Figure(
        "parsing a DAG of 200 steps with inputs and outputs, over 200 bare `@task`",
        lambda s: s["stepwell"] / s["airflow"],
        "×",
        2.0,
    ),
    Figure("… 200 steps without inputs and outputs", lambda s: s["plain"] / s["airflow"], "×"),
    Figure("… 200 bare `@task`", lambda s: s["airflow"], "ms"),
]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of one parse."""
    from support.surroundings import PARSED

    files = {
        "stepwell": PARSED / "many_steps.py",
        "plain": PARSED / "many_plain_steps.py",
        "airflow": PARSED / "many_tasks.py",
    }
    for file in files.values():
        _parse(file)
    while True:
        yield {side: _parse(file) for side, file in files.items()}


def _parse(file: Path) -> float:
    from support import dags

    gc.collect()  # what the one before left behind is not this one's time
    began = time.perf_counter()
    dag = dags.load(file.stem, file)
    seconds = time.perf_counter() - began
    assert len(dag.tasks) == 200, len(dag.tasks)
    return seconds
