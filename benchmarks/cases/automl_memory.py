"""The most memory of a search's worker with 1 GB of training data, beside FLAML called directly.

4.2 million rows of 30 numbers and a label of two classes, a tenth of them held out; the default learners, one worker on
one core, two minutes, and then on until eight trials are over. The worker's peak is the kernel's own (``VmHWM``): its
private memory and the pages of the data's files that it has mapped, which several workers share. Its largest private
memory (``RssAnon``, looked at every tenth of a second) stands beside. FLAML has the same frame in memory, the same
split, learners and time.

A search begins with samples and may not come to all rows in that time. So each learner is also fitted to all of them,
with the parameters of its first trial, by the engine in a process of its own that maps the data as a worker does.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from support import automl
from support.figures import Bench, Figure, Sample
from support.processes import answer

TITLE = "AutoML: memory of a worker with 1 GB of training data"
REPEAT = 1
SECONDS, TRIALS, LONGEST = 120.0, 8, 600.0
COLUMNS = 30
#: The engine's names of the default ones.
LEARNERS = ("lgbm", "rf", "xgboost", "extra_tree", "sgd", "lrl1")
FIGURES = [
    Figure(
        "AutoML: peak memory of a worker, over 1 GB of training data", lambda s: s["peak"] / s["data"], "×", at_most=2.5
    ),
    Figure("… on all rows, the learner that needs most", lambda s: s["all_rows"] / s["data"], "×", at_most=2.5),
    Figure("… private: without the pages that workers share", lambda s: s["private"] / s["data"], "×"),
    Figure("… FLAML called directly, with the same data and time", lambda s: s["flaml"] / s["data"], "×"),
    Figure("… the search's own process while it prepares the data", lambda s: s["search"] / s["data"], "×"),
    Figure("… the worker's trials", lambda s: s["trials"], "trials"),
    Figure("… FLAML's", lambda s: s["flaml_trials"], "trials"),
]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield megabytes."""
    seconds = automl.budget(bench, SECONDS, 20)
    rows = 420_000 if bench.quick else 4_200_000
    python, env = automl.python(bench), automl.variables(bench)
    file = bench.cache / f"numbers-{rows}.parquet"
    if not file.is_file():
        subprocess.run(
            [python, bench.programs / "automl_numbers.py", str(rows), str(COLUMNS), file], env=env, check=True
        )
    wanted = automl.settings(
        "classification",
        "label",
        LONGEST,
        primary_metric="AUC_weighted",
        validation_size=0.1,
        enable_voting_ensemble=False,
        enable_stack_ensemble=False,
        model_explainability=False,
    )
    while True:
        path = automl.request(bench.scratch / "search", wanted, {"training": file})
        sample = {"data": rows * COLUMNS * 8 / 1e6, **_peaks(bench, path, seconds)}
        for learner in LEARNERS:
            mine = [python, bench.programs / "automl_all_rows.py", path, learner]
            sample[learner] = answer(mine, env=env, cwd=bench.scratch)
        sample["all_rows"] = max(sample[learner] for learner in LEARNERS)
        theirs = [python, bench.programs / "automl_flaml_memory.py", file, str(seconds)]
        sample |= {f"flaml{key}": value for key, value in answer(theirs, env=env, cwd=bench.scratch).items()}
        yield sample


def _peaks(bench: Bench, path: Path, seconds: float) -> dict[str, float]:
    """Search, look at the processes meanwhile, and return their peaks; the search is ended when enough is seen."""
    found = {"peak": 0.0, "private": 0.0, "search": 0.0, "trials": 0.0}
    history, began = path.parent / "results" / "trials.jsonl", 0.0
    process = automl.start(bench, path)
    try:
        while process.poll() is None:
            time.sleep(0.1)
            found["search"] = max(found["search"], _status(process.pid).get("VmHWM", 0))
            for worker in _children(process.pid):
                now = _status(worker)
                found["peak"] = max(found["peak"], now.get("VmHWM", 0))
                found["private"] = max(found["private"], now.get("RssAnon", 0))
            if not began and history.exists():
                began = time.monotonic()
            if began:
                found["trials"] = len(automl.trials(history.parent))
                if time.monotonic() > began + seconds and found["trials"] >= TRIALS:
                    break
    finally:
        process.terminate()
        process.wait()
    return found


def _children(parent: int) -> list[int]:
    """Return the processes that *parent* has started: a search starts its workers."""

    def ids(file: Path) -> list[int]:
        try:
            return [int(word) for word in file.read_text().split()]
        except OSError:
            return []

    return [child for file in Path(f"/proc/{parent}/task").glob("*/children") for child in ids(file)]


def _status(process: int) -> dict[str, float]:
    """Return the memory of a process by the kernel's names, in megabytes."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    words = (line.split() for line in lines)
    return {w[0].rstrip(":"): int(w[1]) * 1024 / 1e6 for w in words if len(w) == 3 and w[2] == "kB"}
