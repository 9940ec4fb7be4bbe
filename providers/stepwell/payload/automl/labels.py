"""The label: whether it fits the task, which classes it has, and their codes."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import pandas as pd

from stepwell.payload.automl.columns import as_numbers, coded, kind_of
from stepwell.payload.automl.errors import AutoMLError

#: A label of fractions that has more different values is no class.
_FRACTIONS = 20


def check(
    series: pd.Series, settings: Mapping[str, Any], what: str, known: list[Any] | None
) -> tuple[pd.Series, np.ndarray | None, list[str]]:
    """Return a label in the type that its task wants, which rows are kept (None = all), and notes.

    :param known: the classes, where they are those of other data; a label that is not among them is an error.
    :raises AutoMLError: no search can be made for it.
    """
    classification = settings["task"] == "classification"
    name, kind = series.name, kind_of(series)
    if kind == "empty":
        raise AutoMLError(f"The label {name!r} of the {what} has no values at all")
    if kind == "unusable":
        raise AutoMLError(f"The label {name!r} of the {what} holds lists, structures or bytes")
    notes: list[str] = []
    values = _for_classes(series, kind, notes) if classification else _for_numbers(series, kind, settings, what)
    there = values.notna().to_numpy()
    keep: np.ndarray | None = None
    if not there.all():
        absent = int((~there).sum())
        wrong = "missing" if classification else "missing or infinite"
        if not settings.get("exclude_nan_labels", True):
            raise AutoMLError(
                f"The label {name!r} is {wrong} in {absent:,} rows of the {what}",
                hint="Fill it in, or let such rows be left out: exclude_nan_labels=True",
            )
        if not there.any():
            raise AutoMLError(f"The label {name!r} of the {what} has no values that can be learnt from")
        notes.append(f"{absent:,} rows of the {what} are left out: their label {name!r} is {wrong}")
        keep, values = there, values[there]
    if classification and known is not None:
        _known(values, known, what)
    elif classification:
        _check_classes(values, what)
    elif known is None and what == "training data" and float(values.min()) == float(values.max()):
        raise AutoMLError(f"The label {name!r} has the same value in every row: {values.iloc[0]:g}")
    return values, keep, notes


def _for_numbers(series: pd.Series, kind: str, settings: Mapping[str, Any], what: str) -> pd.Series:
    if kind != "number":
        holds = {"bool": "true and false", "date": "dates", "duration": "durations"}.get(kind, "text")
        example = next(iter(series.dropna()))
        raise AutoMLError(
            f"The label {series.name!r} of the {what} holds {holds} (such as {example!r}), which a"
            f" {settings['task']} cannot predict",
            allowed=["numbers"],
            hint="Use task='classification', or convert it: set_column_types of the dataset",
        )
    return pd.Series(as_numbers(series), index=series.index, name=series.name)


def _for_classes(series: pd.Series, kind: str, notes: list[str]) -> pd.Series:
    if kind == "number":
        if series.dtype.kind in "iu":
            return series if series.dtype.kind == "u" else series.astype("Int64")  # as floats, large ones are others
        numbers = as_numbers(series)
        filled = numbers[~np.isnan(numbers)]
        if (filled == np.floor(filled)).all():
            return pd.Series(numbers, index=series.index, name=series.name).astype("Int64")
        distinct = len(np.unique(filled))
        if distinct > _FRACTIONS:
            raise AutoMLError(
                f"The label {series.name!r} holds fractions with {distinct:,} different values, which are no classes",
                hint="Use task='regression', or make classes of them in the step before",
            )
        return pd.Series(numbers, index=series.index, name=series.name)
    if kind == "bool":
        return series.astype("boolean")
    if kind == "mixed":
        notes.append(f"The label {series.name!r} has values of several types; they are taken as text")
    text = series.astype(object)
    return text.where(text.notna(), None).map(lambda v: v if v is None else str(v))


def _check_classes(values: pd.Series, what: str) -> None:
    counts = values.value_counts()
    if len(counts) < 2:
        raise AutoMLError(f"The label {values.name!r} has the same value in every row: {counts.index.tolist()[0]!r}")
    single = counts.index[counts == 1].tolist()
    if len(single) == len(counts) or len(single) > 20:
        raise AutoMLError(
            f"The label {values.name!r} has {len(counts):,} different values, {len(single):,} of them in one row only",
            hint="It looks like a number to predict (task='regression') or like an id, not like a class",
        )
    if single:
        raise AutoMLError(
            f"The class {', '.join(map(repr, single))} of the label {values.name!r} has one row only in the {what}",
            hint="A class needs at least two, to learn from and to judge by: add rows, leave it out, or merge it",
        )


def _known(values: pd.Series, classes: list[Any], what: str) -> None:
    codes = encode(values, classes)
    if (codes < 0).any():
        unknown = values[codes < 0].unique().tolist()
        raise AutoMLError(
            f"The {what} have labels that the training data have not: {', '.join(map(repr, unknown[:10]))}",
            allowed=classes[:20],
        )


def classes_of(values: pd.Series) -> list[Any]:
    """Return the classes of a checked label in order, as plain values that JSON knows."""
    return sorted(values.unique().tolist())


def position(label: Any, classes: list[Any]) -> int | None:
    """Return the code of one label, compared as text: 1, 1.0 and "1" are one."""
    code = int(encode(pd.Series([label]), classes)[0])
    return code if code >= 0 else None


def encode(values: pd.Series, classes: list[Any]) -> np.ndarray:
    """Return the code of each label, -1 where it is missing or not among *classes*."""
    places = {text: code for code, text in enumerate(coded(pd.Series(classes, dtype=object))[1])}
    codes, texts = coded(values)
    return np.array([*(places.get(t, -1) for t in texts), -1], dtype=np.int64)[codes]
