"""Which rows are learnt from and which are judged by: v1's rules; and an order in which any first rows are a sample."""

from __future__ import annotations

import warnings
from typing import Any, List, Mapping, Tuple

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from stepwell.payload.automl.errors import AutoMLError

#: Positions of rows to learn from and to judge by, each ascending.
Folds = List[Tuple[np.ndarray, np.ndarray]]

#: v1's automatic rule: below so many rows, so many folds; with more, this share is held out.
AUTOMATIC = ((1000, 10), (20_001, 3))
HELD_OUT = 0.1
#: Metrics that have no value where all labels are the same.
_OF_DIFFERENT = ("AUC_weighted", "r2_score", "spearman_correlation")
#: So many rows of each class come first.
_AHEAD = 3


def fair_order(y: np.ndarray, task: str, seed: int = 1) -> np.ndarray:
    """Return positions of rows in an order of which any first n are a fair sample: each class has its share.

    A few rows of each class come first of all, so that a sample has every class.

    :param y: codes of the classes, or numbers.
    """
    order = _spread(y, task, seed)
    if task != "classification":
        return order
    first = np.zeros(len(y), dtype=bool)
    _, found = np.unique(y[order], return_index=True)
    for _ in range(_AHEAD):
        first[found] = True
        left = np.flatnonzero(~first)
        found = left[np.unique(y[order[left]], return_index=True)[1]]
    result: np.ndarray = np.concatenate([order[first], order[~first]])
    return result


def _spread(y: np.ndarray, task: str, seed: int) -> np.ndarray:
    """Return positions of rows in a random order, each class spread evenly over it."""
    rng = np.random.default_rng(seed)
    place: np.ndarray = rng.permutation(len(y))
    if task != "classification":
        return place
    order = place[np.argsort(y[place], kind="stable")]
    _, starts, counts = np.unique(y[order], return_index=True, return_counts=True)
    rank = np.arange(len(y)) - np.repeat(starts, counts)
    # The n-th row of a class stands where n rows of it are due; each class begins somewhere within its first step.
    due = (rank + np.repeat(rng.random(len(counts)), counts)) / np.repeat(counts, counts)
    result: np.ndarray = order[np.argsort(due, kind="stable")]
    return result


def hold_out(y: np.ndarray, task: str, share: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the rows that stay and of those held out, each ascending; each class has its share.

    A class always keeps a row that stays.

    :param share: of all rows to hold out, between 0 and 1.
    :raises AutoMLError: it is not, or one of the two parts would be empty.
    """
    if not 0 < share < 1:
        raise AutoMLError(f"{share!r} is not a share of the rows to hold out", allowed=["more than 0 and less than 1"])
    order = _spread(y, task, seed)
    count = max(1, round(share * len(y)))
    stay, held = order[:-count], order[-count:]
    if task == "classification":
        lost = np.setdiff1d(y[held], y[stay])
        if len(lost):
            _, first = np.unique(y[held], return_index=True)
            back = first[np.isin(y[held][first], lost)]
            stay, held = np.append(stay, held[back]), np.delete(held, back)
    if not len(stay) or not len(held):
        raise AutoMLError(
            f"Of {len(y)} rows, a share of {share} cannot be held out", hint="Give more data, or another share"
        )
    return np.sort(stay), np.sort(held)


def folds(
    y: np.ndarray,
    task: str,
    settings: Mapping[str, Any],
    validation_rows: int = 0,
    splits: Any = None,
) -> tuple[Folds, str]:
    """Return how the rows are split, and that in words. Not for forecasts, which are split by time.

    :param y: codes of the classes, or numbers, of all rows; those of validation data stand at the end.
    :param validation_rows: how many they are; then these are judged by.
    :param splits: frame of columns with 1 = learn and 0 = judge, a fold each, in the order of *y*.
    :raises AutoMLError: the rows are too few for what is asked for.
    """
    rows, seed = len(y), int(settings.get("seed") or 1)
    if validation_rows:
        known = rows - validation_rows
        return [(np.arange(known), np.arange(known, rows))], f"validation data of {validation_rows:,} rows"
    if splits is not None:
        return _given(splits, y, task)
    count, share = _asked(rows, settings)
    if count and count > rows:
        raise AutoMLError(
            f"n_cross_validations={count} is more than there are rows ({rows})", hint=f"Give at most {rows // 2}"
        )
    if count and share:
        made = [hold_out(y, task, share, seed + n) for n in range(count)]
        return made, f"{count} random splits with {share:.0%} held out" + _stratified(task)
    if share:
        return [hold_out(y, task, share, seed)], f"{share:.0%} held out" + _stratified(task)
    return _cross_validation(y, task, count, seed)


def check_judged(y: np.ndarray, folds: Folds, metric: str, words: str) -> None:
    """Check that the rows to judge by tell the primary metric.

    :param words: how the rows are split.
    :raises AutoMLError: their labels are all the same, and the metric needs different ones.
    """
    if metric in _OF_DIFFERENT and all(len(np.unique(y[judge])) < 2 for _, judge in folds):
        raise AutoMLError(
            f"{metric} cannot be told from the rows to judge by ({words}): their label is the same in each",
            hint="Judge by more rows, or by another primary_metric",
        )


def _asked(rows: int, settings: Mapping[str, Any]) -> tuple[int, float]:
    """Return how many folds and which share held out the settings mean; v1's rule where they say nothing."""
    count, share = settings.get("n_cross_validations"), float(settings.get("validation_size") or 0)
    if isinstance(count, int) and count > 1:
        return count, share
    if share:
        return 0, share
    for below, automatic in AUTOMATIC:
        if rows < below:
            return automatic, 0.0
    return 0, HELD_OUT


def _given(splits: Any, y: np.ndarray, task: str) -> tuple[Folds, str]:
    if len(splits) != len(y):
        raise AutoMLError(f"The given splits have {len(splits):,} rows, the data {len(y):,}")
    made = []
    for name in splits.columns:
        chosen = splits[name].to_numpy() == 1
        learn, judge = np.flatnonzero(chosen), np.flatnonzero(~chosen)
        if task == "classification" and len(np.setdiff1d(y, y[learn])):
            raise AutoMLError(
                f"The rows that the split {name!r} learns from lack a class of the label",
                hint="Mark at least one row of each class with 1",
            )
        made.append((learn, judge))
    names = ", ".join(map(str, splits.columns))
    return made, f"{len(made)} given split{'s' * (len(made) != 1)} ({names})"


def _cross_validation(y: np.ndarray, task: str, count: int, seed: int) -> tuple[Folds, str]:
    if task != "classification":
        made = list(KFold(count, shuffle=True, random_state=seed).split(y))
        return made, f"{count}-fold cross-validation"
    largest = int(np.bincount(y).max())
    if largest < count:  # otherwise scikit-learn spreads also classes with fewer rows than folds
        count = largest
    if count < 2:
        raise AutoMLError("Each class has one row only, which cannot be learnt from and judged by")
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes with fewer rows than folds
        made = list(splitter.split(np.zeros(len(y)), y))
    alone = np.flatnonzero(np.bincount(y)[y] == 1)
    if len(alone):  # the one row of a class is always learnt from, else the models of some folds would not know it
        made = [(np.union1d(learn, alone), np.setdiff1d(judge, alone)) for learn, judge in made]
    return made, f"{count}-fold cross-validation" + _stratified(task)


def _stratified(task: str) -> str:
    return ", each with all classes in proportion" if task == "classification" else ""
