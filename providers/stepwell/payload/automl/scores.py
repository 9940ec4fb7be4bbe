"""v1's metrics of a classification and of a regression, fast enough for every fold of every trial.

Nothing here raises for what a model predicted: a metric that has no value is NaN.
"""

from __future__ import annotations

import math
from typing import Any, Iterable, Mapping

import numpy as np
from scipy.stats import rankdata

_NAN = float("nan")
_AVERAGED = ("AUC", "average_precision_score", "f1_score", "precision_score", "recall_score")


def classification(
    y_true: np.ndarray, probabilities: np.ndarray, *, positive: int | None = None, weight: np.ndarray | None = None
) -> dict[str, float]:
    """Return v1's scalar metrics of a classification.

    A class without a row in *y_true* does not count in means of AUC, average precision and balanced accuracy; the
    ``_binary`` ones are there for two classes, or where a positive class is named.

    :param y_true: codes of the classes from 0.
    :param probabilities: a row for each row, a column for each class; the largest is the prediction.
    :param positive: the code of the positive class; None = 1 of two.
    :param weight: of each row; None = all the same.
    """
    truth = np.asarray(y_true).astype(np.intp).ravel()
    chances = _for_all_classes(np.asarray(probabilities, dtype=float), truth)
    count = chances.shape[1]
    positive = 1 if positive is None and count == 2 else positive
    binary = positive is not None and 0 <= positive < count
    w = np.ones(len(truth)) if weight is None else np.asarray(weight, dtype=float).ravel()
    if not len(truth) or not np.isfinite(chances).all() or not w.sum() > 0:
        return _nothing(binary)
    predicted = chances.argmax(axis=1)
    matrix = np.bincount(truth * count + predicted, weights=w, minlength=count * count).reshape(count, count)
    found: dict[str, Any] = {
        **_of_labels(matrix, np.bincount(truth, minlength=count) + np.bincount(predicted, minlength=count) > 0),
        **_of_ranks(truth, chances, w, matrix.sum(axis=1)),
    }
    own = chances[np.arange(len(truth)), truth]
    tiny = np.finfo(float).eps
    found["log_loss"] = float(-(w * np.log(np.clip(own, tiny, 1 - tiny))).sum() / w.sum())
    each = {name: found.pop(name) for name in _AVERAGED}
    if binary:
        found.update({f"{name}_binary": float(values[positive]) for name, values in each.items()})
    return found


def regression(
    y_true: np.ndarray,
    predictions: np.ndarray,
    *,
    y_min: float | None = None,
    y_max: float | None = None,
    weight: np.ndarray | None = None,
) -> dict[str, float]:
    """Return v1's scalar metrics of a regression.

    As in v1 an R² below -1 is -1, and the mean absolute percentage error is in per cent and leaves out zeros.
    Logarithmic errors need values of 0 and more; predictions below 0 count as 0 there.

    :param y_min: with *y_max* the range by which normalised errors are divided: of the whole data, not of these rows;
        None = of these rows.
    :param weight: of each row; None = all the same. The medians and the rank correlation do not use it.
    """
    y, p = np.asarray(y_true, dtype=float).ravel(), np.asarray(predictions, dtype=float).ravel()
    w = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=float).ravel()
    if not len(y) or not np.isfinite(p).all() or not np.isfinite(y).all() or not w.sum() > 0:
        return dict.fromkeys(_REGRESSION, _NAN)
    with np.errstate(all="ignore"):
        return _regression(y, p, w, y.min() if y_min is None else y_min, y.max() if y_max is None else y_max)


def loss(metric: str, value: float | None) -> float:
    """Return what a search minimises: 1 - *value* for a metric that should be large; infinity for none and NaN."""
    if value is None or math.isnan(value):
        return math.inf
    return value if is_loss(metric) else 1 - value


def better(metric: str, a: float | None, b: float | None) -> bool:
    """Return whether the value *a* is better than *b*; no value and NaN are worse than any."""
    return loss(metric, a) < loss(metric, b)


def is_loss(metric: str) -> bool:
    """Return whether a smaller value of one of v1's metrics is the better one."""
    return metric == "log_loss" or metric.endswith("_error")


def mean(folds: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over folds, those left out where it has no value, as without a class.

    A fold without a single value, as of NaN predictions, spoils them all.
    """
    folds = list(folds)
    names = list(dict.fromkeys(name for fold in folds for name in fold))
    spoilt = any(all(math.isnan(v) for v in fold.values()) for fold in folds)
    means = {}
    for name in names:
        values = [fold[name] for fold in folds if name in fold and not math.isnan(fold[name])]
        means[name] = _NAN if spoilt or not values else math.fsum(values) / len(values)
    return means


_REGRESSION = (
    "explained_variance",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "median_absolute_error",
    "normalized_mean_absolute_error",
    "normalized_median_absolute_error",
    "normalized_root_mean_squared_error",
    "normalized_root_mean_squared_log_error",
    "r2_score",
    "root_mean_squared_error",
    "root_mean_squared_log_error",
    "spearman_correlation",
)
_CLASSIFICATION = (
    *(f"{name}_{average}" for name in _AVERAGED for average in ("macro", "micro", "weighted")),
    "accuracy",
    "balanced_accuracy",
    "log_loss",
    "matthews_correlation",
    "norm_macro_recall",
    "weighted_accuracy",
)


def _nothing(binary: bool) -> dict[str, float]:
    names = [*_CLASSIFICATION, *(f"{name}_binary" for name in _AVERAGED if binary)]
    return dict.fromkeys(names, _NAN)


def _for_all_classes(chances: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A class that the model does not know has a column of zeros."""
    if chances.ndim == 1:
        chances = np.column_stack([1 - chances, chances])
    missing = int(truth.max()) + 1 - chances.shape[1] if len(truth) else 0
    return np.hstack([chances, np.zeros((len(chances), missing))]) if missing > 0 else chances


def _of_labels(matrix: np.ndarray, present: np.ndarray) -> dict[str, Any]:
    """Metrics of the confusion matrix, true classes in its rows; without an average: of each class."""
    hits, true, predicted, total = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0), matrix.sum()
    with np.errstate(all="ignore"):
        of_each = {
            "f1_score": _or_zero(2 * hits / (true + predicted)),
            "precision_score": _or_zero(hits / predicted),
            "recall_score": _or_zero(hits / true),
        }
    accuracy = float(hits.sum() / total)
    balanced = float(of_each["recall_score"][true > 0].mean())
    chance = 1 / len(matrix)
    spread = (total * total - (predicted * predicted).sum()) * (total * total - (true * true).sum())
    covered = hits.sum() * total - (true * predicted).sum()
    found: dict[str, Any] = {
        "accuracy": accuracy,
        "balanced_accuracy": balanced,
        "matthews_correlation": float(covered / math.sqrt(spread)) if spread > 0 else 0.0,
        "norm_macro_recall": (balanced - chance) / (1 - chance) if chance < 1 else _NAN,
        # v1: every row counts as often as its class has rows.
        "weighted_accuracy": float((true * hits).sum() / (true * true).sum()),
        **of_each,
    }
    for name, values in of_each.items():
        found[f"{name}_macro"] = float(values[present].mean())
        found[f"{name}_micro"] = accuracy
        found[f"{name}_weighted"] = float((values * true).sum() / total)
    return found


def _of_ranks(truth: np.ndarray, chances: np.ndarray, w: np.ndarray, support: np.ndarray) -> dict[str, Any]:
    """Metrics of the order in which the probabilities put the rows; without an average: of each class."""
    classes = np.arange(chances.shape[1])
    hot = truth[:, None] == classes
    each = np.array([_area_and_precision(hot[:, c], chances[:, c], w) for c in classes])
    micro = _area_and_precision(hot.ravel(), chances.ravel(), np.repeat(w, len(classes)))
    found: dict[str, Any] = {}
    for position, name in enumerate(("AUC", "average_precision_score")):
        values = each[:, position]
        known = ~np.isnan(values)
        shares = support[known]
        found[name] = values
        found[f"{name}_macro"] = float(values[known].mean()) if known.any() else _NAN
        found[f"{name}_micro"] = micro[position]
        found[f"{name}_weighted"] = float((values[known] * shares).sum() / shares.sum()) if shares.sum() else _NAN
    return found


def _area_and_precision(positive: np.ndarray, score: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    """Return the area under the ROC curve and the average precision, rows of the same score being one step."""
    order = np.argsort(-score)
    ordered, weights = score[order], w[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    everything = np.cumsum(weights)[ends]
    hits = np.cumsum(np.where(positive[order], weights, 0.0))[ends]
    misses = everything - hits
    if not hits[-1] > 0:
        return _NAN, _NAN
    steps = np.diff(hits, prepend=0.0)
    with np.errstate(all="ignore"):
        precision = float((steps * _or_zero(hits / everything)).sum() / hits[-1])
    if not misses[-1] > 0:
        return _NAN, precision
    area = (np.diff(misses, prepend=0.0) * (hits - steps / 2)).sum() / (hits[-1] * misses[-1])
    return float(area), precision


def _or_zero(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, 0.0)


def _regression(y: np.ndarray, p: np.ndarray, w: np.ndarray, y_min: float, y_max: float) -> dict[str, float]:
    total, errors = w.sum(), p - y
    sizes = np.abs(errors)
    variation = (w * (y - (w * y).sum() / total) ** 2).sum()
    squares = (w * errors**2).sum()
    around = (w * (errors - (w * errors).sum() / total) ** 2).sum()
    mae, rmse = (w * sizes).sum() / total, math.sqrt(squares / total)
    median = float(np.median(sizes))
    rmsle, percent = _NAN, _NAN
    if y.min() >= 0:
        rmsle = math.sqrt((w * (np.log1p(np.maximum(p, 0)) - np.log1p(y)) ** 2).sum() / total)
    parts = y != 0
    if w[parts].sum() > 0:
        percent = 100 * (w[parts] * sizes[parts] / np.abs(y[parts])).sum() / w[parts].sum()
    extent = abs(float(y_max) - float(y_min)) or _NAN
    values = (
        1 - around / variation if variation > 0 else _NAN,
        mae,
        percent,
        median,
        mae / extent,
        median / extent,
        rmse / extent,
        rmsle / extent,
        max(-1.0, 1 - squares / variation) if variation > 0 else _NAN,
        rmse,
        rmsle,
        _spearman(y, p),
    )
    return {name: float(value) for name, value in zip(_REGRESSION, values)}


def _spearman(y: np.ndarray, p: np.ndarray) -> float:
    a, b = rankdata(y) - (len(y) + 1) / 2, rankdata(p) - (len(y) + 1) / 2
    scale = math.sqrt((a * a).sum() * (b * b).sum())
    if scale > 0:
        return float((a * b).sum() / scale)
    return 0.0 if a.any() else _NAN  # predictions that are all the same say nothing of the order
