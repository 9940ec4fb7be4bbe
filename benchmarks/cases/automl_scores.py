"""Scores on test data of five real data sets, 30 s each, three seeds, beside FLAML called directly.

A quarter of the rows is kept for the test, the same rows for both; the seed decides which, and the search's draws. Both
search 30 s on one core with all their defaults, but that early stopping is off, and fit the best to all rows
afterwards.
Stepwell's model is an ensemble where one is better in the validation; what its best single model scores stands beside.
FLAML gets the raw columns, which it encodes itself, and its own form of the same metric.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from support import automl
from support.figures import Bench, Figure, Sample
from support.processes import answer

TITLE = "AutoML: scores on five real data sets, 30 s, three seeds, beside FLAML's"
REPEAT = 3
SECONDS = 30.0
#: Data set → what it is called, task, label, our metric.
SETS = {
    "breast_cancer": ("breast cancer", "classification", "target", "AUC_weighted"),
    "digits": ("digits", "classification", "target", "accuracy"),
    "diabetes": ("diabetes", "regression", "target", "r2_score"),
    "census": ("census", "classification", "income", "AUC_weighted"),
    "titanic": ("Titanic", "classification", "Survived", "AUC_weighted"),
}
#: Whoever works on this benchmark may choose: BENCH_AUTOML_SETS='titanic digits'.
CHOSEN = [name for name in SETS if name in os.environ.get("BENCH_AUTOML_SETS", " ".join(SETS)).split()]


@dataclass(frozen=True)
class Difference(Figure):
    """What we score more than FLAML: no less than nothing, but for the spread over seeds."""

    def made_of(self, samples: Sequence[Sample]) -> dict[str, Any]:
        values = [self.of(sample) for sample in samples]
        mean, spread = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
        return {**self.plain(mean, values, mean >= -spread), "to_reach": f"≥ 0 ∓ {spread:.4f}"}


class Mean(Figure):
    """A mean over seeds."""

    def made_of(self, samples: Sequence[Sample]) -> dict[str, Any]:
        values = [self.of(sample) for sample in samples]
        return self.plain(statistics.fmean(values), values)


def _figures(name: str) -> list[Figure]:
    words, _, _, metric = SETS[name]
    return [
        Difference(f"AutoML: {metric} on test data, {words}: more than FLAML", lambda s: _more(s, name), ""),
        Mean("… ours", lambda s: s[f"{name} ours"], ""),
        Mean("… ours, without ensembles", lambda s: s[f"{name} single"], ""),
        Mean("… FLAML's", lambda s: s[f"{name} flaml"], ""),
    ]


def _more(sample: Sample, name: str, side: str = "ours") -> float:
    return sample[f"{name} {side}"] - sample[f"{name} flaml"]


def _rank(sample: Sample, side: str) -> float:
    """Return the mean rank of one of our sides against FLAML: 1 is better, 2 is worse, 1.5 is as good."""
    differences = [_more(sample, name, side) for name in CHOSEN]
    return statistics.fmean(1.5 - 0.5 * ((d > 0) - (d < 0)) for d in differences)


FIGURES = [
    *(figure for name in CHOSEN for figure in _figures(name)),
    Mean("AutoML: mean rank on these, of two; FLAML has the rest to 3", lambda s: _rank(s, "ours"), ""),
    Mean("… without ensembles", lambda s: _rank(s, "single"), ""),
]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the scores of a seed."""
    seconds = automl.budget(bench, SECONDS, 5)
    python, env, seed = automl.python(bench), automl.variables(bench), 0
    program = [python, bench.programs / "automl_scores.py"]
    while True:
        seed += 1
        sample = {}
        for name in CHOSEN:
            _, task, label, metric = SETS[name]
            data = bench.scratch / "data"
            data.mkdir(exist_ok=True)
            answer([*program, "split", name, label, str(seed), data], env=env)
            wanted = automl.settings(task, label, seconds, primary_metric=metric, seed=seed)
            path = automl.request(bench.scratch / "search", wanted, {"training": data / "train.parquet"})
            automl.search(bench, path)
            sample |= {f"{name} {side}": s for side, s in answer([*program, "ours", path, data], env=env).items()}
            theirs = [*program, "flaml", path, data, str(seconds), str(seed)]
            sample[f"{name} flaml"] = answer(theirs, env=env, cwd=bench.scratch)
        yield sample
