"""Trials in 120 s on the census, one at a time, beside FLAML called directly.

Both learn from the same rows and judge by the same tenth of them, with the same learners in the same order, and compute
all metrics of the task for each trial. What counts are the trials that have ended 120 s after the first one began: what
comes before (libraries, reading, featurization) is counted for neither. FLAML gets the very features that Stepwell's
trials get, so that what the search around it costs is seen; and, beside, the raw columns, which it encodes itself:
other features lead it to other, larger or smaller models.
"""

from __future__ import annotations

from collections.abc import Iterator

from support import automl
from support.figures import Bench, Figure, Sample
from support.processes import answer

TITLE = "AutoML: trials in 120 s on the census, beside FLAML's own"
REPEAT = 3
SECONDS = 120.0
FIGURES = [
    Figure(
        "AutoML: trials in 120 s on the census, over FLAML called directly",
        lambda s: s["stepwell"] / s["same"],
        "×",
        at_least=0.95,
    ),
    Figure("… over FLAML on the raw columns", lambda s: s["stepwell"] / s["flaml"], "×"),
    Figure("… ours", lambda s: s["stepwell"], "trials"),
    Figure("… ours, on all rows (others are on samples)", lambda s: s["stepwell_whole"], "trials"),
    Figure("… ours: time outside of trials", lambda s: s["between"] * 100, "%"),
    Figure("… FLAML's", lambda s: s["same"], "trials"),
    Figure("… FLAML's, on all rows", lambda s: s["same_whole"], "trials"),
    Figure("… FLAML's on the raw columns", lambda s: s["flaml"], "trials"),
    Figure("… FLAML's on the raw columns, on all rows", lambda s: s["flaml_whole"], "trials"),
]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield counts of trials."""
    seconds = automl.budget(bench, SECONDS, 10)
    wanted = automl.settings(
        "classification",
        "income",
        seconds + 5,  # the last second is not the search's last one
        primary_metric="AUC_weighted",
        validation_size=0.1,
        enable_voting_ensemble=False,
        enable_stack_ensemble=False,
        model_explainability=False,
    )
    while True:
        path = automl.request(bench.scratch / "search", wanted, {"training": automl.CENSUS})
        found = automl.search(bench, path)
        over = min(t["started"] for t in found) + seconds
        inside = [t for t in found if automl.ended(t) <= over]
        whole = max(t["rows"] for t in found)
        sample = {"stepwell": len(inside), "stepwell_whole": sum(t["rows"] == whole for t in inside)}
        sample["between"] = 1 - sum(t["seconds"] for t in inside) / (max(map(automl.ended, inside)) + seconds - over)
        for name, side in (("same", "features"), ("flaml", "raw")):
            argv = [automl.python(bench), bench.programs / "automl_flaml_trials.py", side, path, str(seconds)]
            theirs = answer(argv, env=automl.variables(bench), cwd=bench.scratch)
            sample[name], sample[f"{name}_whole"] = theirs["trials"], theirs["whole"]
        yield sample
