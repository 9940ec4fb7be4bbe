"""Columns: what each is for, told from its values, and its values as numbers, dates or texts.

This module travels inside saved models: it imports nothing of Stepwell.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

#: What a column can be for (v1's names).
NUMERIC, DATETIME, TEXT, IGNORE, ALL_NAN = "Numeric", "DateTime", "Text", "Ignore", "AllNan"
CATEGORICAL, CATEGORICAL_HASH, HASHES = "Categorical", "CategoricalHash", "Hashes"
PURPOSES = (NUMERIC, DATETIME, CATEGORICAL, CATEGORICAL_HASH, TEXT, HASHES, IGNORE, ALL_NAN)

#: From so many distinct values on, rare ones are grouped.
HIGH_CARDINALITY = 100
#: How many distinct values are looked at where all would take long.
_SAMPLE = 1000
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?\Z")
_ID_NAME = re.compile(r"(?:^|[^a-z])(?:id|index|key|row|row ?number|unnamed: ?0|uuid|guid)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z](?:Id|ID|Index|Key)$")


class FeaturizationError(ValueError):
    """The columns of a frame cannot be made into features; the message is for the reader of the log."""


def purpose_of(series: pd.Series) -> tuple[str, str]:
    """Return the purpose of a column and why."""
    kind = kind_of(series)
    if kind == "empty":
        return ALL_NAN, "has no values"
    if kind == "unusable":
        return IGNORE, "holds values that are not numbers, dates or text"
    if kind in ("number", "bool", "duration"):
        return _purpose_of_numbers(series, kind)
    if kind == "date":
        return DATETIME, "holds dates"
    return _purpose_of_texts(series)


def kind_of(series: pd.Series) -> str:
    """Return what a column holds: number, bool, date, duration, text, mixed, unusable, or empty."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "text" if series.notna().any() else "empty"
    if dtype.kind in "Mm":
        found = "date" if dtype.kind == "M" else "duration"
    elif isinstance(dtype, pd.PeriodDtype):
        found = "date"
    elif pd.api.types.is_bool_dtype(dtype):
        found = "bool"
    elif pd.api.types.is_numeric_dtype(dtype) and dtype.kind != "c":
        found = "number"
    else:
        return _kind_of_objects(series)
    return found if series.notna().any() else "empty"


_INFERRED = {
    **dict.fromkeys(("string", "categorical"), "text"),
    **dict.fromkeys(("integer", "floating", "decimal", "mixed-integer-float", "integer-na"), "number"),
    **dict.fromkeys(("datetime", "datetime64", "date", "period"), "date"),
    **dict.fromkeys(("timedelta", "timedelta64"), "duration"),
    **dict.fromkeys(("bytes", "complex", "interval"), "unusable"),
    "boolean": "bool",
    "time": "text",
    "empty": "empty",
}


def _kind_of_objects(series: pd.Series) -> str:
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    if inferred in _INFERRED:
        return _INFERRED[inferred]
    values = series[series.notna()]
    if all(is_plain(t) for t in set(map(type, values))):
        return "mixed"
    return "unusable"


def is_plain(kind: type) -> bool:
    """Tell whether values of a type are numbers, dates or text."""
    return issubclass(kind, (str, int, float, np.generic)) or (kind.__name__, kind.__module__) in _PLAIN


_PLAIN = {("Decimal", "decimal"), *((name, "datetime") for name in ("date", "datetime", "time", "timedelta"))} | {
    ("Timestamp", "pandas._libs.tslibs.timestamps"),
    ("Timedelta", "pandas._libs.tslibs.timedeltas"),
}


def _purpose_of_numbers(series: pd.Series, kind: str) -> tuple[str, str]:
    if kind == "number" and series.dtype.kind in "iu" and len(series) > 1 and looks_like_id(str(series.name)):
        span = int(series.max()) - int(series.min()) + 1
        if span == len(series) and series.is_unique:
            return HASHES, "counts the rows"
    return NUMERIC, {"bool": "is true or false", "duration": "holds durations"}.get(kind, "holds numbers")


def looks_like_id(name: str) -> bool:
    """Tell whether a column's name says that it identifies rows."""
    return bool(_ID_NAME.search(name) or _CAMEL_ID.search(name))


def _purpose_of_texts(series: pd.Series) -> tuple[str, str]:
    codes, texts = coded(series)
    filled = int((codes >= 0).sum())
    distinct = len(texts)
    step = max(1, distinct // _SAMPLE)
    sample = texts[::step]
    if all(_ISO_DATE.match(t) for t in sample):
        return DATETIME, "holds dates as text"
    words = sum(len(t.split()) for t in sample) / len(sample)
    share = distinct / filled
    if words >= 2.5 and share > 0.3 and distinct > 20:
        return TEXT, f"{distinct:,} distinct texts of {words:.1f} words"
    if distinct == filled > 1:
        return HASHES, "every value is different"
    if share > 0.9 and distinct > HIGH_CARDINALITY:
        return HASHES, f"nearly every value is different ({distinct:,} of {filled:,})"
    if distinct > HIGH_CARDINALITY:
        return CATEGORICAL_HASH, f"{distinct:,} distinct values"
    return CATEGORICAL, f"{distinct:,} distinct values"


def as_numbers(series: pd.Series) -> np.ndarray:
    """Return a column as floats; what is missing, infinite or no number is NaN. The result may share its memory."""
    kind = series.dtype.kind
    if kind == "m":
        return series.dt.total_seconds().to_numpy(dtype=float)
    if kind == "M" or isinstance(series.dtype, pd.PeriodDtype):
        return days(as_dates(series))
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
        kind = "O"
    if kind == "O" or pd.api.types.is_string_dtype(series.dtype):
        series = _numbers_of_objects(series)
    numbers: np.ndarray = series.to_numpy(dtype=float, na_value=np.nan)
    infinite = np.isinf(numbers)
    return np.where(infinite, np.nan, numbers) if infinite.any() else numbers


def _numbers_of_objects(series: pd.Series) -> pd.Series:
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    if inferred == "timedelta":
        return pd.to_timedelta(series, errors="coerce").dt.total_seconds()
    if inferred in ("datetime", "date", "datetime64"):
        return pd.Series(days(as_dates(series)))
    if inferred in ("boolean", "decimal"):
        return series.astype(object).where(series.notna(), np.nan).astype(float)
    return pd.to_numeric(series.astype(object), errors="coerce")


def as_dates(series: pd.Series) -> pd.Series:
    """Return a column as dates without a zone (of UTC, where it has one); what is no date is NaT."""
    if isinstance(series.dtype, pd.PeriodDtype):
        return series.dt.to_timestamp()
    if series.dtype.kind != "M":
        text = series.astype(object) if isinstance(series.dtype, pd.CategoricalDtype) else series
        form = {"format": "ISO8601"} if pd.api.types.infer_dtype(text, skipna=True) == "string" else {}
        series = pd.to_datetime(text, errors="coerce", utc=True, **form)
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    return series


def days(dates: pd.Series) -> np.ndarray:
    """Return dates as days since 1970, NaN where missing."""
    result: np.ndarray = ((dates - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy(dtype=float)
    return result


def coded(series: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return a column as positions in a list of different texts, -1 where missing.

    A value has the same text whatever the column's type: 3, 3.0 and "3" are one.
    """
    try:
        codes, values = pd.factorize(series)
    except TypeError:  # values that cannot be compared
        codes, values = pd.factorize(series.map(lambda v: v if v is None else str(v)))
    texts = [text_of(v) for v in values]
    different = list(dict.fromkeys(texts))
    if len(different) < len(texts):
        position = {text: number for number, text in enumerate(different)}
        codes = np.append(np.array([position[t] for t in texts]), -1)[codes]
    return codes, different


def text_of(value: Any) -> str:
    """Return a value as text: whole numbers without a decimal point."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)
