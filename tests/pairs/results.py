"""What came of each pair: kept in ``results.json``, to be continued, and shown in ``docs/compute/pairs.md``."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.pairs.kinds import PREPARE, TRAIN

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results.json")
PAGE = PROJECT / "docs" / "compute" / "pairs.md"
#: What `make test-thorough` runs.
FEW = (("spark", "docker"), ("livy", "remote"))
_HEAD = """# Pairs of compute targets

The example pipeline (`dags/titanic_pipeline.py`) prepares on Spark and trains a model. Here it runs with each kind of
[compute target](README.md) for the preparation and each for the training. Between two runs the two words
`compute_target="…"` differ, nothing else. The data are on HDFS, and each kind is the real thing, but for Synapse: there
Azure's client talks to a Livy behind Synapse's paths.

Each cell: seconds of the preparation (↺: reused, made by an earlier pair of this row) + seconds of the training, on a
machine that did other work, too; environments that were not there yet were built in that time.
"""


def selected() -> list[tuple[str, str]]:
    """Return the pairs to be run: a few, all by ``STEPWELL_PAIRS=all``, or those that it names (``spark-local,…``)."""
    asked = os.environ.get("STEPWELL_PAIRS", "")
    every = [(prepare, train) for prepare in PREPARE for train in TRAIN]
    if asked == "all":
        return every
    if asked:
        return [pair for pair in every if "-".join(pair) in asked.split(",")]
    return list(FEW)


def keep(prepare: str, train: str, cell: dict[str, Any]) -> None:
    """Add the result of a pair, if results are asked for, and write the page."""
    if "STEPWELL_PAIRS" not in os.environ:
        return
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True)
    day = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    results = read()
    results[f"{prepare}-{train}"] = {**cell, "commit": commit.stdout.strip(), "day": day}
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(results))


def read() -> dict[str, Any]:
    """Return the results so far."""
    return dict(json.loads(RESULTS.read_text())) if RESULTS.exists() else {}


def page(results: dict[str, Any]) -> str:
    """Return the page."""
    notes: list[str] = []
    lines = ["| prepare \\ train | " + " | ".join(f"`{train}`" for train in TRAIN) + " |"]
    lines.append("|---" * (len(TRAIN) + 1) + "|")
    for prepare in PREPARE:
        cells = [_cell(f"{prepare}-{train}", results, notes) for train in TRAIN]
        lines.append(f"| `{prepare}` | " + " | ".join(cells) + " |")
    good = sum(cell["ok"] for cell in results.values())
    commits = sorted({f"{cell['commit']} ({cell['day']})" for cell in results.values()})
    accuracies = sorted({cell["accuracy"] for cell in results.values() if cell["ok"]})
    lines += ["", f"{good} of {len(PREPARE) * len(TRAIN)} pairs succeeded. Commits: {', '.join(commits)}."]
    if accuracies:
        same = "the same everywhere" if len(accuracies) == 1 else "in all"
        lines.append(f"Accuracy of the models: {', '.join(f'{a:.4f}' for a in accuracies)}, {same}.")
    lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))] if notes else []
    lines += [
        "",
        "`make pair-table` makes this page again; `make pair-table PAIRS=livy-remote,spark-docker` some of it.",
    ]
    return _HEAD + "\n" + "\n".join(lines) + "\n"


def _cell(pair: str, results: dict[str, Any], notes: list[str]) -> str:
    cell = results.get(pair)
    if cell is None:
        return "not run"
    if cell["ok"]:
        return f"✅ {'↺' if cell['reused'] else format(cell['prepare_seconds'], '.0f')} + {cell['train_seconds']:.0f}"
    notes.append(f"{pair}: {cell['why']}")
    return f"❌ ({len(notes)})"
