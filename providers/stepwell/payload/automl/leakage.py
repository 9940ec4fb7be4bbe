"""Leakage: a column that alone determines the label, found by small trees on one feature each."""

from __future__ import annotations

from typing import Mapping

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

#: Looked at: so many rows, so many features.
_ROWS, _FEATURES = 5000, 500
#: From these scores on, on rows that the tree has not seen, a feature is suspicious.
_ACCURACY, _R2 = 0.985, 0.995


def suspects(X: pd.DataFrame, y: np.ndarray, classification: bool, lineage: Mapping[str, str]) -> dict[str, str]:
    """Return the columns that alone determine the label or nearly so, and how well.

    :param X: features; *lineage* names the column of each.
    """
    if len(y) > _ROWS:
        rows = np.sort(np.random.default_rng(0).choice(len(y), _ROWS, replace=False))
        X, y = X.iloc[rows], y[rows]
    found: dict[str, str] = {}
    learn, judge = _halves(y, classification)
    for feature in list(X.columns)[:_FEATURES]:
        column = lineage[feature]
        values = X[feature]
        codes = values.cat.codes if isinstance(values.dtype, pd.CategoricalDtype) else values
        numbers = np.nan_to_num(codes.to_numpy(dtype=float), nan=-1e300).clip(-3e38, 3e38)
        if column not in found and numbers.min() < numbers.max():
            why = _determines(numbers, y, learn, judge, classification)
            if why:
                found[column] = why
    return found


def _halves(y: np.ndarray, classification: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return every other row in the order of the label, and the rows between them: both have every value's share."""
    order = np.random.default_rng(0).permutation(len(y))
    if classification:
        order = order[np.argsort(y[order], kind="stable")]
    return order[::2], order[1::2]


def _determines(
    values: np.ndarray, y: np.ndarray, learn: np.ndarray, judge: np.ndarray, classification: bool
) -> str | None:
    if not classification and np.array_equal(values, y):
        return "it is equal to the label"
    kind = DecisionTreeClassifier if classification else DecisionTreeRegressor
    leaves = max(32, 2 * len(np.unique(y))) if classification else None
    tree = kind(max_leaf_nodes=leaves, min_samples_leaf=1, random_state=0)
    column = values.reshape(-1, 1)
    predicted = tree.fit(column[learn], y[learn]).predict(column[judge])
    if not classification:
        score = r2_score(y[judge], predicted)
        return f"R² {score:.4f} alone" if score >= _R2 else None
    score = balanced_accuracy_score(y[judge], predicted)
    if score < _ACCURACY:
        return None
    return "it determines the label" if score == 1 else f"balanced accuracy {score:.1%} alone"
