"""A gate of 13 expectations on 5 million rows in Spark, over one aggregation with the same checks, written by hand.

Each in a Spark of its own, started and warm enough to have counted the rows, with everything imported: so it is with a
gate, which runs once, at the end of the step that has written the rows. From the folder of Parquet files to the
verdict. Its second run in the same Spark stands beside it, and so does Great Expectations with all its defaults.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.figures import Bench, Figure, Sample
from support.processes import answer

TITLE = "a gate of 13 expectations on 5 million rows in Spark"
FIGURES = [
    Figure(
        "gate of 13 expectations on 5 million rows in Spark, over one hand-written aggregation",
        lambda s: s["stepwell"] / s["hand"],
        "×",
        2.0,
    ),
    Figure("… Great Expectations' default, over the same", lambda s: s["gx"] / s["hand"], "×"),
    Figure(
        "… the gate's second run in that Spark, over the aggregation's", lambda s: s["again"] / s["hand_again"], "×"
    ),
    Figure("… the gate", lambda s: s["stepwell"], "s"),
    Figure("… the hand-written aggregation", lambda s: s["hand"], "s"),
]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    python = bench.project / ".venv-payload" / "bin" / "python"
    env = {**os.environ, "GX_ANALYTICS_ENABLED": "false", "PYSPARK_PYTHON": str(python)}
    env.pop("PYTHONPATH")
    rows = _rows(bench, python, env)

    def judged(side: str) -> dict[str, float]:
        found: dict[str, float] = answer([python, bench.programs / "gate_side.py", side, rows], env=env)
        return found

    while True:
        hand, ours, theirs = judged("hand"), judged("stepwell"), judged("gx")
        yield {
            "stepwell": ours["first"],
            "hand": hand["first"],
            "gx": theirs["first"],
            "again": ours["second"],
            "hand_again": hand["second"],
        }


def _rows(bench: Bench, python: Path, env: dict[str, str]) -> Path:
    """Return the folder of the rows; they are made once."""
    count = 200_000 if bench.quick else 5_000_000
    folder = bench.cache / f"rows-{count}"
    if not (folder / "_SUCCESS").is_file():
        subprocess.run([python, bench.programs / "gate_rows.py", str(count), folder], env=env, check=True)
    return folder
