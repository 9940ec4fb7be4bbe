"""What must be true of the data before a search begins: label, weights, splits, columns, further data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

import numpy as np
import pandas as pd

from stepwell.payload.automl import labels
from stepwell.payload.automl.columns import PURPOSES, FeaturizationError, as_numbers, is_plain, kind_of
from stepwell.payload.automl.errors import AutoMLError
from stepwell.payload.automl.featurizer import Featurizer
from stepwell.runtime.names import nearest

#: Fewer rows are no basis for a search.
MINIMUM_ROWS = 20
#: v1's limit of cells for a search of an hour or less.
CELLS_PER_HOUR = 10_000_000


@dataclass
class Checked:
    """Data that a search can be made of.

    :param X: the columns to learn from; it shares its memory with the frame that was given.
    :param y: the label of each row: floats of a regression, or a forecast; values of :attr:`classes` otherwise.
    :param weight: of each row.
    :param splits: the columns of ``cv_split_column_names``: 1 = learn from, 0 = judge by.
    :param classes: of a classification: its labels in order, plain Python values.
    :param positive: the position of ``positive_label`` in them.
    :param notes: what was changed or is remarkable, for the log.
    :param facts: the same for :mod:`.guardrails`: ``unlabelled`` (rows left out), ``infinite`` (column → values),
        ``mixed`` and ``unusable`` (columns), ``cells_for_an_hour``, ``unjudged`` (classes that further data lack).
    """

    X: pd.DataFrame
    y: pd.Series
    weight: np.ndarray | None = None
    splits: pd.DataFrame | None = None
    classes: list[Any] | None = None
    positive: int | None = None
    validation: Checked | None = None
    test: Checked | None = None
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> np.ndarray:
        """The label as learners take it: codes of the classes, or numbers."""
        return self.y.to_numpy(dtype=float) if self.classes is None else labels.encode(self.y, self.classes)


def check(
    frame: pd.DataFrame,
    settings: Mapping[str, Any],
    validation: pd.DataFrame | None = None,
    test: pd.DataFrame | None = None,
) -> Checked:
    """Return the data of a search, or say what is wrong with them. The frames that are given stay as they are.

    :param settings: of the ``AutoMLConfig``.
    :param validation: rows to judge by.
    :param test: rows to judge the result by.
    :raises AutoMLError: they do not allow a search.
    """
    if 0 < len(frame) < MINIMUM_ROWS:  # whatever else is wrong with them
        raise _too_few(len(frame), "", 0)
    checked = _frame(frame, settings, "training data", None)
    _enough_rows(checked, settings)
    _configuration(checked, settings)
    for name, more in (("validation", validation), ("test", test)):
        if more is not None:
            other = _further(more, settings, f"{name} data", checked)
            setattr(checked, name, other)
            checked.notes += other.notes
    _cells(checked, settings)
    return checked


def featurize(X: pd.DataFrame, settings: Mapping[str, Any]) -> Featurizer:
    """Return the featurizer of a search, fitted to *X*.

    :raises AutoMLError: a column is not what the configuration says, or no column is left to learn from.
    """
    try:
        return Featurizer(settings.get("featurization") or "auto", int(settings.get("seed") or 1)).fit(X)
    except FeaturizationError as error:
        raise AutoMLError(str(error)) from error


def _frame(frame: pd.DataFrame, settings: Mapping[str, Any], what: str, model: Checked | None) -> Checked:
    X = frame.copy(deep=False)
    X.columns = _names(X, what)
    if not len(X):
        raise AutoMLError(f"The {what} have no rows", hint="See what the step before wrote, or what a filter left")
    label = settings.get("label_column_name")
    if not label:
        raise AutoMLError("label_column_name is not given", allowed=list(X.columns)[:20])
    _column(X, label, "label_column_name", what)
    notes: list[str] = []
    y, keep, more = labels.check(X.pop(label), settings, what, model.classes if model else None)
    notes += more
    facts: dict[str, Any] = {"unlabelled": 0 if keep is None else int((~keep).sum())}
    if keep is not None:
        X = X.take(np.flatnonzero(keep))
    weight = _weight(X, settings.get("weight_column_name"), what)
    splits = None if model else _splits(X, settings.get("cv_split_column_names"), what)
    for column in set(settings.get("cv_split_column_names") or ()) & set(X.columns):
        X.pop(column)
    if not len(X.columns):
        raise AutoMLError(f"The {what} have no columns to learn from beside the label {label!r}")
    X = _usable(X, notes, facts, what)
    X.index = y.index = pd.RangeIndex(len(X))  # reset_index would copy all of it
    classes = None
    if settings["task"] == "classification":
        classes = model.classes if model else labels.classes_of(y)
    return Checked(X, y, weight, splits, classes, None, notes=notes, facts=facts)


def _names(frame: pd.DataFrame, what: str) -> list[str]:
    names = [str(c) for c in frame.columns]
    double = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if double:
        raise AutoMLError(
            f"The {what} have several columns with the name {', '.join(map(repr, double[:5]))}",
            hint="Rename or drop them in the step before",
        )
    return names


def _column(frame: pd.DataFrame, name: str, setting: str, what: str) -> None:
    if name not in frame.columns:
        raise AutoMLError(
            f"{setting}: the {what} have no column {name!r}", allowed=nearest(str(name), map(str, frame.columns))
        )


def _weight(X: pd.DataFrame, name: str | None, what: str) -> np.ndarray | None:
    if not name:
        return None
    _column(X, name, "weight_column_name", what)
    series = X.pop(name)
    if kind_of(series) not in ("number", "bool"):
        raise AutoMLError(f"The weights in the column {name!r} of the {what} are no numbers")
    weight = as_numbers(series)
    for wrong, bad in (("missing or infinite", np.isnan(weight)), ("negative", weight < 0)):
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise AutoMLError(
                f"{int(bad.sum()):,} weights in the column {name!r} of the {what} are {wrong}, the first in row {first}"
            )
    if not weight.any():
        raise AutoMLError(f"All weights in the column {name!r} of the {what} are 0")
    return weight


def _splits(X: pd.DataFrame, names: Any, what: str) -> pd.DataFrame | None:
    if not names:
        return None
    for name in names:
        _column(X, name, "cv_split_column_names", what)
        values = as_numbers(X[name])
        if not np.isin(values, (0.0, 1.0)).all():
            raise AutoMLError(
                f"The column {name!r} of cv_split_column_names holds something else than 0 and 1",
                allowed=["1 = a row to learn from", "0 = a row to judge by"],
            )
        if values.min() == values.max():
            raise AutoMLError(f"The column {name!r} of cv_split_column_names is {values[0]:.0f} in every row")
    return X[list(names)].astype(float).astype(np.int8).reset_index(drop=True)


def _usable(X: pd.DataFrame, notes: list[str], facts: dict[str, Any], what: str) -> pd.DataFrame:
    """Make one type of columns of several types, and look for values that no learner takes."""
    facts.update(infinite={}, mixed=[], unusable=[])
    for column in list(X.columns):
        kind = kind_of(X[column])
        if kind == "mixed":
            values = X[column]
            X[column] = values.map(str).where(values.notna(), None)
            facts["mixed"].append(column)
            notes.append(f"The column {column!r} of the {what} has values of several types; they are taken as text")
        elif kind == "unusable":
            values = X[column][X[column].notna()]
            example = next((t for t in map(type, values) if not is_plain(t)), type(values.iloc[0])).__name__
            facts["unusable"].append(column)
            notes.append(f"The column {column!r} of the {what} holds values of the type {example}, and is left out")
        elif kind == "number" and X[column].dtype.kind == "f":
            infinite = int(np.isinf(X[column].to_numpy(dtype=float, na_value=np.nan)).sum())
            if infinite:
                facts["infinite"][column] = infinite
                notes.append(f"{infinite:,} infinite values in the column {column!r} of the {what} count as missing")
    if len(facts["unusable"]) == len(X.columns):
        raise AutoMLError(
            f"None of the columns of the {what} can be learnt from: {', '.join(map(repr, X.columns[:10]))} hold lists,"
            " structures or bytes",
            hint="Make numbers or text of them in the step before",
        )
    return X.drop(columns=facts["unusable"]) if facts["unusable"] else X


# -- the settings and the data ------------------------------------------------------------------------------------


def _enough_rows(checked: Checked, settings: Mapping[str, Any]) -> None:
    rows, folds = len(checked.X), settings.get("n_cross_validations")
    asked = folds if isinstance(folds, int) and checked.splits is None else 0
    if asked > rows:
        raise AutoMLError(
            f"n_cross_validations={asked} is more than the training data have rows ({rows})",
            hint=f"Give at most {rows // 2}, or more data",
        )
    if rows < MINIMUM_ROWS:
        raise _too_few(rows, " with a label", checked.facts["unlabelled"])


def _too_few(rows: int, which: str, unlabelled: int) -> AutoMLError:
    return AutoMLError(
        f"The training data have {rows} row{'s' * (rows != 1)}{which}; a search needs at least"
        f" {MINIMUM_ROWS}" + (f" ({unlabelled:,} rows have no label)" if unlabelled else "")
    )


def _configuration(checked: Checked, settings: Mapping[str, Any]) -> None:
    positive = settings.get("positive_label")
    if positive is not None and checked.classes is not None:
        found = labels.position(positive, checked.classes)
        if found is None:
            raise AutoMLError(f"positive_label {positive!r} is not among the labels", allowed=checked.classes[:20])
        checked.positive = found
    featurization = settings.get("featurization")
    if not isinstance(featurization, Mapping):
        return
    purposes = dict(featurization.get("column_purposes") or {})
    given: list[tuple[str, str]] = [("column_purposes", c) for c in purposes]
    given += [("drop_columns", c) for c in featurization.get("drop_columns") or ()]
    for transformer, entries in (featurization.get("transformer_params") or {}).items():
        given += [(f"transformer_params of {transformer}", c) for columns, _ in entries for c in columns or ()]
    special = {settings.get("label_column_name"), settings.get("weight_column_name"), *checked.facts["unusable"]}
    for setting, column in given:
        if column not in checked.X.columns and column not in special:
            raise AutoMLError(
                f"featurization, {setting}: there is no column {column!r}", allowed=nearest(column, checked.X.columns)
            )
    for column, purpose in purposes.items():
        if purpose not in PURPOSES:
            raise AutoMLError(
                f"featurization, column_purposes: {purpose!r} ({column!r}) is not a purpose", allowed=PURPOSES
            )
    if len(set(featurization.get("drop_columns") or ()) & set(checked.X.columns)) == len(checked.X.columns):
        raise AutoMLError("featurization: drop_columns names every column; none is left to learn from")


def _further(frame: pd.DataFrame, settings: Mapping[str, Any], what: str, model: Checked) -> Checked:
    """Check data beside the training data: they must have its columns, and labels that it knows."""
    label = settings.get("label_column_name")
    # Test data may come without weights.
    if settings.get("weight_column_name") not in [str(c) for c in frame.columns]:
        settings = {**settings, "weight_column_name": None}
    other = _frame(frame, settings, what, model)
    there = [*other.X.columns, *other.facts["unusable"]]
    missing = [c for c in model.X.columns if c not in there]
    if missing:
        raise AutoMLError(
            f"The {what} lack the columns {', '.join(map(repr, missing[:10]))} of the training data",
            allowed=[c for c in nearest(missing[0], there) if c != label],
        )
    more = [c for c in other.X.columns if c not in model.X.columns and c not in model.facts["unusable"]]
    if more:
        other.notes.append(f"Columns of the {what} that the training data have not are left out: {', '.join(more)}")
    for column in model.X.columns:
        _same_kind(column, what, model, other)
    other.X = other.X[list(model.X.columns)]
    if model.classes is not None:
        codes = labels.encode(other.y, model.classes)
        unjudged = [c for i, c in enumerate(model.classes) if not (codes == i).any()]
        if unjudged:
            other.facts["unjudged"] = unjudged
            other.notes.append(f"The {what} have no row of the class {', '.join(map(repr, unjudged[:10]))}")
    return other


def _same_kind(column: str, what: str, model: Checked, other: Checked) -> None:
    if column not in other.X.columns:
        raise AutoMLError(f"The column {column!r} of the {what} holds lists, structures or bytes")
    if column in other.facts["mixed"] or column in model.facts["mixed"]:
        return
    learnt, given = kind_of(model.X[column]), kind_of(other.X[column])
    numbers = ("number", "bool", "duration")
    if learnt in numbers and given in ("text", "date") or learnt == "date" and given in numbers:
        raise AutoMLError(
            f"The column {column!r} holds {given}s in the {what}, but {learnt}s in the training data",
            hint="Give both the same types: set_column_types of the dataset",
        )


def _cells(checked: Checked, settings: Mapping[str, Any]) -> None:
    cells, hours = checked.X.size, settings.get("experiment_timeout_hours")
    if hours is not None and hours <= 1 and cells > CELLS_PER_HOUR:
        checked.facts["cells_for_an_hour"] = cells
        checked.notes.append(
            f"The training data have {cells:,} cells: an hour or less may be too short for more than"
            f" {CELLS_PER_HOUR:,} of them. Set experiment_timeout_hours to more than 1"
        )
