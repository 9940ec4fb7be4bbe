"""An engine whose trials do what their learner's name says: what a search does about them can then be counted.

The real engine is in ``test_flaml_engine.py``; this one stands for learners that wait, hang, crash or fail.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from stepwell.payload.automl.engine import Engine, Reporter, SearchOver
from stepwell.payload.automl.problem import Problem

NAME = "automl_engine:Scripted"
#: Seconds of a trial that waits.
WAIT = "AUTOML_ENGINE_WAIT"


class Scripted(Engine):
    """``lgbm`` waits, ``sgd`` hangs, ``rf`` kills its process, ``extra_tree`` fails."""

    name = NAME

    def words(self, learner: str, task: str) -> str:
        return learner

    def search(
        self, problem: Problem, learners: Sequence[str], reporter: Reporter, *, seed: int, cores: int, seconds: float,
        trial_seconds: float | None, starts: Mapping[str, Any], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        deadline = time.monotonic() + seconds
        judged = sum(len(judge) for _, judge in problem.folds)
        try:
            for number in range(100_000):
                learner = learners[number % len(learners)]
                if time.monotonic() > deadline:
                    return
                started = len(starts.get(learner, ()))
                parameters = {"number": number, "seed": seed, "started_from": started}
                reporter.begin(learner, parameters, len(problem.y))
                if learner == "extra_tree":
                    reporter.failed("it always fails")
                    continue
                if learner == "sgd":
                    time.sleep(1000)
                if learner == "rf":
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(float(os.environ.get(WAIT, "0.02")))
                score = 0.5 + 0.3 * (1 - 1 / (2 + number))
                reporter.completed(
                    {"AUC_weighted": score, "accuracy": 1 - score}, np.full((judged, 2), 0.5), parameters
                )
        except SearchOver:
            return

    def fit(
        self, problem: Problem, learner: str, parameters: Mapping[str, Any], rows: Any = None, cores: int = 1
    ) -> Any:
        X, y = problem.X, problem.y
        numbers = [("numbers", SimpleImputer(), X.select_dtypes("number").columns.tolist())]
        made = make_pipeline(ColumnTransformer(numbers), LogisticRegression())
        return made.fit(X if rows is None else X.iloc[rows], y if rows is None else y[rows])
