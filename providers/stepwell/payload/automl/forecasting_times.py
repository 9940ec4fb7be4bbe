"""The times of series: how they are read, how often they are, where they stand on a regular grid.

Like everything that a saved forecasting model needs, it imports nothing else of Stepwell than its like.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any, Iterator, Sequence

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

_OFFSET = re.compile(r"(?:[zZ]|[+-]\d\d:?\d\d)\s*$")
#: Names of frequencies as of the time of SDK v1, and what pandas calls them since.
_OLD_NAMES = {"H": "h", "T": "min", "S": "s", "L": "ms", "M": "ME", "Q": "QE", "A": "YE", "Y": "YE", "BM": "BME"}
#: At least so much of a grid must be there, or it is a wrong one.
_COVERED = 0.3
_EXAMPLES = 3


class ForecastError(ValueError):
    """A forecast cannot be made of what was given.

    :param what: what was wrong, as a sentence.
    :param hint: what to do next.
    """

    def __init__(self, what: str, hint: str | None = None) -> None:
        self.what = what
        self.hint = hint
        super().__init__(f"{what}. {hint}." if hint else f"{what}.")

    def __reduce__(self) -> Any:
        return (type(self), (self.what, self.hint))


def read_times(column: pd.Series, name: str) -> tuple[pd.Series, bool]:
    """Return times without a zone (those with one: as UTC), and whether they had one.

    :param name: of the column, for messages.
    :raises ForecastError: some are missing or not times.
    """
    hint = "Give dates or times: a timestamp column, or text such as 2024-05-31 or 2024-05-31T14:00:00"
    kind = column.dtype
    if isinstance(kind, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    elif pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
        raise ForecastError(f"The time column {name!r} holds numbers ({kind})", hint)
    if column.isna().any():
        raise ForecastError(
            f"{int(column.isna().sum())} of {len(column)} values of the time column {name!r} are missing"
        )
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[ns]"), True
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return column.astype("datetime64[ns]"), False
    text = column.astype(str)
    times = _parsed(text)
    if times.isna().any():
        wrong = ", ".join(repr(v) for v in text[times.isna()].unique()[:_EXAMPLES])
        count = int(times.isna().sum())
        raise ForecastError(f"{count} of {len(text)} values of the time column {name!r} are no times: {wrong}", hint)
    return times.dt.tz_localize(None).astype("datetime64[ns]"), bool(text.str.contains(_OFFSET).any())


def _parsed(text: pd.Series) -> pd.Series:
    """Return text as times in UTC, NaT where it is none. 02.01.2023 is in January, 02/01/2023 if it must be."""
    dotted = bool(text.str.match(r"\s*\d{1,2}\.\d{1,2}\.").all())
    best = None
    for way in ({"dayfirst": dotted}, {"dayfirst": True}, {"format": "ISO8601"}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about days that could be months
            times = pd.to_datetime(text, errors="coerce", utc=True, **way)
        if best is None or times.isna().sum() < best.isna().sum():
            best = times
    return best


def offset_of(freq: str) -> Any:
    """Return pandas' offset for the name of a frequency; v1's old names ("H", "M") are understood.

    :raises ForecastError: there is no such frequency.
    """
    parts = re.fullmatch(r"\s*(-?\d*)\s*([A-Za-z]+)(-[A-Za-z]+)?\s*", freq)
    try:
        if parts:
            number, name, anchor = parts.groups()
            offset = to_offset(f"{number}{_OLD_NAMES.get(name, name)}{anchor or ''}")
        else:
            offset = to_offset(freq)
    except ValueError:
        offset = None
    if offset is None or offset.n < 1:
        raise ForecastError(
            f"freq {freq!r} is not a frequency",
            "Examples: D (days), h, 15min, W-MON, MS (month starts), ME (their ends)",
        )
    return offset


@dataclass(frozen=True)
class Grid:
    """Regular times, numbered from 0.

    :param start: the first.
    :param freq: pandas' name of the frequency, "h", "W-SUN", "MS".
    """

    start: pd.Timestamp
    freq: str

    def positions(self, times: Any) -> np.ndarray:
        """Return the number of each time, or -1 for those before the start or off the grid."""
        index = pd.DatetimeIndex(times)
        step = _fixed(self.freq)
        if not len(index):
            return np.empty(0, dtype=np.int64)
        if step is not None:
            gone = (index - self.start) // pd.Timedelta(1, "ns")
            whole, rest = np.divmod(np.asarray(gone, dtype=np.int64), step)
            return np.where((rest == 0) & (whole >= 0), whole, -1)
        line = pd.date_range(self.start, max(index.max(), self.start), freq=self.freq)
        return np.asarray(line.get_indexer(index), dtype=np.int64)

    def times(self, positions: Any) -> pd.DatetimeIndex:
        """Return the times of these numbers."""
        numbers = np.asarray(positions, dtype=np.int64)
        if not len(numbers):
            return pd.DatetimeIndex([])
        return pd.date_range(self.start, periods=int(numbers.max()) + 1, freq=self.freq)[numbers]


def _fixed(freq: str) -> int | None:
    """Return the nanoseconds of a frequency that is always as long, or None, as for months."""
    try:
        return int(pd.Timedelta(to_offset(freq)).value)
    except ValueError:
        return None


def grid_of(series: Sequence[pd.DatetimeIndex], freq: str | None) -> tuple[Grid, bool]:
    """Return the grid that the times of all series stand on, and whether its frequency was found (not given).

    :param series: the times of each series, sorted, none twice.
    :param freq: the name of the frequency, if it is known; of a name like W or M also the other anchors are tried.
    :raises ForecastError: the times are not regular, or not of *freq*.
    """
    start = min(index[0] for index in series)
    if freq is not None:
        offset = offset_of(freq)
        grid = _grid(start, offset.freqstr)
        if _coverage(grid, series) is not None:
            return grid, False
    best: tuple[float, Grid] | None = None
    for name in _candidates(series):
        candidate = _grid(start, name)
        covered = _coverage(candidate, series)
        if covered is not None and covered >= _COVERED and (best is None or covered > best[0]):
            best = (covered, candidate)
    if freq is not None:
        if best and _family(best[1].freq) == _family(offset.freqstr):
            return best[1], False
        seen = f" (they look like {best[1].freq})" if best else ""
        raise ForecastError(
            f"Times are not of the frequency {freq!r}{seen}: {_odd(_grid(start, offset.freqstr), series)}",
            "Give the frequency they have, or target_aggregation_function to gather them by freq",
        )
    if best is None:
        raise _irregular(series)
    return best[1], True


def _grid(start: pd.Timestamp, freq: str) -> Grid:
    # A time between two of the grid makes the grid begin after it: such a time is off it.
    return Grid(pd.date_range(start, periods=1, freq=freq)[0], freq)


def _coverage(grid: Grid, series: Sequence[pd.DatetimeIndex]) -> float | None:
    """Return which part of the grid is there, from each series' first time to its last; None = some are off it."""
    there = spanned = 0
    for index in series:
        positions = grid.positions(index)
        if (positions < 0).any():
            return None
        there += len(index)
        spanned += int(positions[-1] - positions[0]) + 1
    return there / spanned


def _candidates(series: Sequence[pd.DatetimeIndex]) -> list[str]:
    """Return names of frequencies that stretches of the longest series have."""
    found: dict[str, None] = {}
    for index in sorted(series, key=len, reverse=True)[:5]:
        for part in _stretches(index):
            name = pd.infer_freq(part)
            if name:
                found[to_offset(name).freqstr] = None
        if len(index) > 1:
            steps = np.diff(index.asi8)
            values, counts = np.unique(steps, return_counts=True)
            for step in (int(values[counts.argmax()]), int(np.gcd.reduce(values))):
                found[to_offset(pd.Timedelta(step, "ns")).freqstr] = None
    # Of a single pair of times nothing can be said.
    return [*found, "B", "MS", "ME"] if max(len(index) for index in series) > 2 else []


def _stretches(index: pd.DatetimeIndex) -> Iterator[pd.DatetimeIndex]:
    if len(index) >= 3:
        yield index
    for size in (12, 6, 3):
        for begin in range(0, max(0, len(index) - size + 1), max(1, (len(index) - size) // 20)):
            yield index[begin : begin + size]


def _family(freq: str) -> str:
    """Return what kind of time a frequency counts, without its anchor: W of W-MON, M of MS and ME."""
    offset = to_offset(freq)
    return f"{offset.n}{offset.rule_code.split('-')[0][:1]}"


def _odd(grid: Grid, series: Sequence[pd.DatetimeIndex]) -> str:
    odd = [str(time) for index in series for time in index[grid.positions(index) < 0][:_EXAMPLES]]
    return ", ".join(odd[:_EXAMPLES]) + (" are" if len(odd) > 1 else " is") + " between its times"


def _irregular(series: Sequence[pd.DatetimeIndex]) -> ForecastError:
    longest = max(series, key=len)
    if len(longest) < 3:
        return ForecastError(f"The frequency cannot be told from {len(longest)} time(s) a series", "Give freq")
    steps = longest[1:] - longest[:-1]
    return ForecastError(
        f"The times are not regular: {steps.min()} to {steps.max()} lie between two rows",
        "Give freq and target_aggregation_function (sum, max, min, mean)",
    )
