"""Which of the original columns a fitted pipeline needs: how much worse it is when a column's values are shuffled."""

from __future__ import annotations

import math
import time
from typing import Any, Callable

import numpy as np
import pandas as pd

from stepwell.payload.automl import scores


def importances(
    pipeline: Any,
    frame: pd.DataFrame,
    y: np.ndarray,
    *,
    task: str,
    metric: str,
    facts: dict[str, Any] | None = None,
    weight: np.ndarray | None = None,
    rows: int = 2000,
    repeats: int = 5,
    seconds: float = 60.0,
    seed: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Return ``column``, ``importance`` and ``std`` of each column, the most important first.

    The importance is by how much the metric gets worse, as a mean of the repeats: 0 = not needed, below 0 = by chance.
    When the time is over, what has been measured so far is returned; columns without a measurement are left out.

    :param pipeline: fitted; takes frames like *frame* and has ``predict_proba`` (classification) or ``predict``.
    :param y: codes of the classes, or numbers.
    :param task: ``classification``, ``regression`` or ``forecasting``.
    :param metric: v1's name.
    :param facts: ``positive``, ``y_min``, ``y_max``, where they are known.
    :param rows: at most so many rows, drawn at random, are predicted at a time.
    :param seconds: no prediction begins after so long, the first round of a column excepted if there is none yet.
    :param say: is told in words when not everything could be measured.
    """
    began, random = time.monotonic(), np.random.default_rng(seed)
    if len(frame) > rows:
        chosen = np.sort(random.choice(len(frame), rows, replace=False))
        frame, y = frame.iloc[chosen], np.asarray(y)[chosen]
        weight = None if weight is None else np.asarray(weight)[chosen]

    def loss(data: pd.DataFrame) -> float:
        return scores.loss(metric, _metric(pipeline, data, y, task, metric, facts or {}, weight))

    base = loss(frame)
    if not math.isfinite(base):
        say(f"Importances of columns: {metric} has no value for the {len(frame)} rows they would be measured on.")
        return []
    found: dict[Any, list[float]] = {column: [] for column in frame.columns}
    complete = True
    for column in [column for _ in range(repeats) for column in frame.columns]:
        if any(found.values()) and time.monotonic() - began >= seconds:
            complete = False
            break
        shuffled = frame.copy(deep=False)
        shuffled[column] = frame[column].array.take(random.permutation(len(frame)))
        found[column].append(loss(shuffled) - base)
    if not complete:
        say(_unfinished(found, repeats, seconds))
    entries = [
        {"column": str(column), "importance": float(np.mean(values)), "std": float(np.std(values))}
        for column, values in found.items()
        if values and all(math.isfinite(value) for value in values)
    ]
    return sorted(entries, key=lambda e: -float(str(e["importance"])))


def _metric(
    pipeline: Any, frame: pd.DataFrame, y: np.ndarray, task: str, metric: str, facts: dict[str, Any], weight: Any
) -> float | None:
    if task == "classification":
        chances = np.asarray(pipeline.predict_proba(frame))
        return scores.classification(y, chances, positive=facts.get("positive"), weight=weight).get(metric)
    limits = {name: facts.get(name) for name in ("y_min", "y_max")}
    return scores.regression(y, np.asarray(pipeline.predict(frame)), weight=weight, **limits).get(metric)


def _unfinished(found: dict[Any, list[float]], repeats: int, seconds: float) -> str:
    measured = sum(1 for values in found.values() if values)
    least = min(len(values) for values in found.values())
    if not least:
        what = f"of {measured} of {len(found)} columns"
    else:
        what = f"from {least} of {repeats} repeats"
    return f"Importances of columns are {what}: the {seconds:g} seconds for them were over."
