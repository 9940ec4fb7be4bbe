"""Importing the DAG-facing API: every public name of ``stepwell`` and ``stepwell.operators``, over Airflow's own.

CPU seconds of a Python that does it and ends, user and system; every DAG file pays this in every process that reads it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from support.figures import Bench, Figure, Sample
from support.processes import cpu

TITLE = "importing all names for DAG files, CPU seconds"
REPEAT = 9
FIGURES = [
    Figure(
        "importing the DAG-facing API, over `from airflow.sdk import dag, task` (CPU)",
        lambda s: s["stepwell"] - s["airflow"],
        "s",
        0.15,
    ),
    Figure("… `from airflow.sdk import dag, task` (CPU)", lambda s: s["airflow"], "s"),
]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the CPU seconds."""
    sides = {"stepwell": bench.programs / "use_all_names.py", "airflow": bench.programs / "use_airflow.py"}
    for program in sides.values():  # bytecode, and the system's file cache
        cpu([sys.executable, program], env=os.environ)
    while True:
        yield {side: cpu([sys.executable, program], env=os.environ) for side, program in sides.items()}
