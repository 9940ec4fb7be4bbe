"""Rows of series: read from a frame, gathered, and laid on a tape where any past value is found by arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real
from typing import Any, Mapping, Sequence

import numpy as np
import pandas as pd

from stepwell.payload.automl.forecasting_times import ForecastError, offset_of, read_times

_BETWEEN = "\x1f"
OTHER = "(other)"
_MOST_CATEGORIES = 100


def series_label(key: str) -> str:
    """Return a series' key as people read it."""
    return key.replace(_BETWEEN, " / ")


def series_values(key: str) -> list[str]:
    """Return the values of the id columns in a series' key."""
    return key.split(_BETWEEN)


def series_keys(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Return the key of each row's series: its ids as text. Whole numbers look the same as ints and as floats."""
    if not columns:
        return pd.Series("", index=frame.index, dtype=object)
    parts = [_id_text(frame[c]) for c in columns]
    keys = parts[0]
    for part in parts[1:]:
        keys = keys + _BETWEEN + part
    return keys


def _id_text(column: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(column.dtype) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype(object).where(column.notna(), "(missing)").astype(str)


def read_target(column: pd.Series, name: str) -> np.ndarray:
    """Return the target as floats, NaN where it is missing.

    :raises ForecastError: it is not made of finite numbers.
    """
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = column[numbers.isna() & column.notna()]
    if len(wrong):
        raise ForecastError(
            f"The target {name!r} is to be forecast and must be numbers, but {wrong.iloc[0]!r} is none",
            "Forecasts are of numbers; for labels, use the task classification",
        )
    values = np.array(numbers.astype("Float64").to_numpy(dtype=float, na_value=np.nan))
    if np.isinf(values).any():
        raise ForecastError(
            f"The target {name!r} is infinite in {int(np.isinf(values).sum())} rows", "Remove these rows"
        )
    return values


def column_key(name: Any) -> str:
    """Return the name of a column on a tape."""
    return f"column {name}"


@dataclass
class Column:
    """A column that comes along with the target.

    :param categories: of a categorical one, by code; code 0 stands for all others and for missing ones.
    :param known: known when forecasting, as the price or the day's promotion is; else only its past counts.
    :param usual: what stands for missing numbers before the first.
    """

    name: str
    known: bool
    categories: list[str] | None = None
    usual: float = 0.0

    @property
    def key(self) -> str:
        """Its name on a tape and in tables, where other names are series, time, position, y."""
        return column_key(self.name)

    def values(self, column: pd.Series) -> np.ndarray:
        """Return numbers or codes of categories as floats; NaN = missing."""
        if self.categories is None:
            numbers = pd.to_numeric(column, errors="coerce").astype("Float64").to_numpy(dtype=float, na_value=np.nan)
            return np.where(np.isfinite(numbers), numbers, np.nan)
        codes = pd.Categorical(_text(column), categories=self.categories).codes
        return np.maximum(codes, 0).astype(float)


def _text(column: pd.Series) -> pd.Series:
    return column.astype(object).where(column.notna(), OTHER).astype(str)


def column_of(column: pd.Series, name: str, known: bool, purpose: str | None) -> Column | str:
    """Return how a column is used, or why it is not.

    :param purpose: ``Numeric``, ``Categorical`` or another of v1's column purposes, if somebody has said it.
    """
    if column.isna().all():
        return "has no values"
    if purpose == "Numeric" or (purpose not in ("Categorical", "CategoricalHash") and _numeric(column)):
        numbers = Column(name, known).values(column)
        if np.isnan(numbers).all():
            return "has no numbers"
        if np.nanmin(numbers) == np.nanmax(numbers):
            return "is constant"
        return Column(name, known, usual=float(np.nanmedian(numbers)))
    if purpose in ("DateTime", "Text", "Ignore") or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "is a time or text; of times only the time column is used"
    if any(isinstance(value, (list, dict, set, np.ndarray)) for value in column.dropna().head(100)):
        return "holds lists"
    counts = _text(column[column.notna()]).value_counts()
    if len(counts) == 1 and column.notna().all():
        return "is constant"
    if len(counts) > _MOST_CATEGORIES and len(counts) > len(column) / 2:
        return f"has a value of its own in nearly each row ({len(counts)} values)"
    return Column(name, known, [OTHER, *(v for v in counts.index[:_MOST_CATEGORIES] if v != OTHER)])


def _numeric(column: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return True
    return column.dtype == object and all(isinstance(v, (Real, Decimal)) for v in column.dropna())


def gather(table: pd.DataFrame, freq: str, function: str, categorical: Sequence[str]) -> pd.DataFrame:
    """Return one row for each series and period: the target and numbers by *function*, categories by the most frequent.

    :param table: columns ``series``, ``time``, ``y`` and others.
    :param function: sum, max, min, mean.
    """
    offset = offset_of(freq)
    times = pd.DatetimeIndex(table["time"])
    line = pd.date_range(times.min().normalize() - offset, times.max() + offset, freq=offset)
    if offset.rule_code.split("-")[0] in ("W", "ME", "QE", "YE", "BME", "BQE", "BYE"):  # named by their last day
        bins = line[line.searchsorted(times.normalize(), side="left")]
    else:
        bins = line[line.searchsorted(times, side="right") - 1]
    groups = table.assign(time=bins).groupby(["series", "time"], sort=True)
    more = {"min_count": 1} if function == "sum" else {}
    numbers = [c for c in table.columns if c not in ("series", "time", *categorical)]
    gathered = getattr(groups[numbers], function)(**more)
    for column in categorical:
        counts = table.assign(time=bins).groupby(["series", "time", column]).size()
        counts = counts.sort_values(ascending=False, kind="stable").reset_index(column)
        gathered[column] = counts[~counts.index.duplicated()][column]
    return gathered.reset_index()


@dataclass
class Tape:
    """All series one after another, a value for each period from a series' first to its last.

    :param keys: of the series.
    :param start: the first period of each, as its number on the grid.
    :param length: how many periods each has.
    :param y: the target, gaps filled with the value before.
    :param known: where the target was given.
    :param columns: what comes along, gaps filled alike.
    """

    keys: list[str]
    start: np.ndarray
    length: np.ndarray
    y: np.ndarray
    known: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.offset = np.concatenate([[0], np.cumsum(self.length)[:-1]]).astype(np.int64)

    @property
    def end(self) -> np.ndarray:
        """The last period of each series."""
        return np.asarray(self.start + self.length - 1)

    @property
    def series(self) -> np.ndarray:
        """The number of the series of each place."""
        return np.repeat(np.arange(len(self.keys)), self.length)

    @property
    def positions(self) -> np.ndarray:
        """The period of each place."""
        return np.arange(len(self.y)) - np.repeat(self.offset - self.start, self.length)

    def place(self, series: Any, positions: Any) -> np.ndarray:
        """Return where these periods are; those before a series' first are there."""
        return np.asarray(self.offset[series] + np.maximum(positions, self.start[series]) - self.start[series])

    @classmethod
    def lay(
        cls,
        keys: list[str],
        bounds: tuple[np.ndarray, np.ndarray],
        rows: Mapping[str, np.ndarray],
        columns: Sequence[Column],
    ) -> Tape:
        """Lay rows on a tape.

        :param bounds: the first and the last period of each series; other rows are left out.
        :param rows: ``series`` (number), ``position``, ``y`` and the values of *columns*. Of rows of the same period,
            the later one counts, where it has a value.
        """
        start, end = bounds
        length = np.maximum(end - start + 1, 0)
        tape = cls(keys, start, length, np.empty(0), np.empty(0))
        s, position = rows["series"], rows["position"]
        inside = (position >= start[s]) & (position <= end[s])
        place = tape.place(s[inside], position[inside])
        groups = tape.series

        def laid(name: str) -> np.ndarray:
            values = rows[name][inside]
            there = ~np.isnan(values)
            line = np.full(int(length.sum()), np.nan)
            line[place[there]] = values[there]
            return line

        def filled(line: np.ndarray, usual: float) -> np.ndarray:
            return np.array(pd.Series(line).groupby(groups).ffill().fillna(usual).to_numpy())

        y = laid("y")
        tape.known = ~np.isnan(y)
        tape.y = filled(y, 0.0)
        tape.columns = {column.key: filled(laid(column.key), column.usual) for column in columns}
        return tape

    def rows(self) -> dict[str, np.ndarray]:
        """Return its rows, as :meth:`lay` takes them; the target only where it is known."""
        y = np.where(self.known, self.y, np.nan)
        return {"series": self.series, "position": self.positions, "y": y, **self.columns}

    def tail(self, periods: int) -> Tape:
        """Return the last periods of each series."""
        cut = np.maximum(self.length - periods, 0)
        if not cut.any():
            return self
        keep = np.arange(len(self.y)) >= np.repeat(self.offset + cut, self.length)
        columns = {name: line[keep] for name, line in self.columns.items()}
        return Tape(self.keys, self.start + cut, self.length - cut, self.y[keep], self.known[keep], columns)


def read_frame(
    frame: pd.DataFrame, time: str, series: Sequence[str], aware: bool | None = None
) -> tuple[pd.Series, pd.Series, bool]:
    """Return the times and the series' keys of a frame's rows, and whether the times had a zone.

    :param aware: whether those of the training data had one.
    :raises ForecastError: a column is not there, or its values are no times.
    """
    missing = [c for c in [time, *series] if c not in frame.columns]
    if missing:
        names = ", ".join(repr(c) for c in missing)
        given = ", ".join(str(c) for c in frame.columns)
        raise ForecastError(f"The data have no column {names}", f"Their columns: {given}")
    times, zoned = read_times(frame[time], time)
    if aware is not None and zoned != aware and len(frame):
        has, had = ("a", "none") if zoned else ("no", "one")
        raise ForecastError(
            f"The times of {time!r} have {has} time zone; those that the model has learnt from had {had}",
            "Give them alike: with tz_localize or tz_convert(None) of pandas",
        )
    return times, series_keys(frame, series), zoned
