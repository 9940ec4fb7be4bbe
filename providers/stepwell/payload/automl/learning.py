"""What every engine needs of a fitted pipeline: its predictions for all classes, and their metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepwell.payload.automl import scores
from stepwell.payload.automl.problem import Problem


def predict(estimator: Any, X: Any, problem: Problem) -> np.ndarray:
    """Return probabilities for all of the problem's classes, or numbers."""
    if problem.task != "classification":
        return np.asarray(estimator.predict(X), dtype=float)
    found = np.asarray(estimator.predict_proba(X), dtype=float)
    known = np.asarray(estimator.classes_, dtype=int)
    if len(known) == len(problem.classes or ()):
        return found
    whole = np.zeros((len(found), len(problem.classes or ())))  # a fold without one of the classes
    whole[:, known] = found
    return whole


def metrics_of(
    problem: Problem, y: Any, predictions: np.ndarray, weight: Any = None, X: Any = None
) -> dict[str, float]:
    """Return all metrics of the task for *predictions*.

    :param X: the features of the same rows. Forecasts are learnt as differences from a level that stands there; they
        are judged as what they are.
    """
    if problem.task == "classification":
        return scores.classification(np.asarray(y), predictions, positive=problem.facts.get("positive"), weight=weight)
    facts = problem.facts
    level = 0.0 if X is None or not facts.get("level") else X[facts["level"]].to_numpy(dtype=float)
    truth, found = np.asarray(y, dtype=float) + level, np.asarray(predictions) + level
    return scores.regression(truth, found, y_min=facts["y_min"], y_max=facts["y_max"], weight=weight)
