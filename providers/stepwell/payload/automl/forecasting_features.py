"""Features of forecasts: all that is known of a period when it is forecast from an earlier one, its origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, Sequence

import numpy as np
import pandas as pd

from stepwell.payload.automl.forecasting_table import Column, Tape, column_key, series_values
from stepwell.payload.automl.forecasting_times import Grid

#: Averages are over so many periods at least, and over so many seasons.
AVERAGED_PERIODS, AVERAGED_SEASONS = 30, 10
BASELINES = ("naive", "seasonal_naive", "average", "seasonal_average")
#: Kinds of features that are values of the target; relative ones are told as differences from the level.
VALUES = (*BASELINES, "lag", "window_mean", "window_min", "window_max")
_CHUNK = 4_000_000
#: Parts of a time, and after how many days of data each is more than a name of the one time it was seen at.
_CALENDAR = {
    "quarter": 365,
    "month": 365,
    "week": 365,
    "dayofyear": 365,
    "day": 60,
    "weekday": 14,
    "hour": 2,
    "minute": 0,
}


@dataclass(frozen=True)
class Feature:
    """A feature.

    :param kind: what it is, one of the names of methods of :class:`Features`.
    :param source: the column of the data that it comes from.
    :param argument: how far back, or which part of the calendar.
    :param categories: of a category, by code.
    """

    kind: str
    source: str
    argument: Any = None
    categories: tuple[str, ...] | None = None

    @property
    def words(self) -> str:
        """What it is, in a word or two: "sales lag 7"."""
        argument = "" if self.argument is None else f" {self.argument}"
        return f"{self.source} {self.kind.replace('_', ' ')}{argument}"


def calendar_parts(times: pd.DatetimeIndex) -> list[str]:
    """Return the parts of the calendar that differ between *times*, and have come round among them."""
    days = (times.max() - times.min()).days
    return [part for part, least in _CALENDAR.items() if days >= least and len(np.unique(_part(times, part))) > 1]


def _part(times: pd.DatetimeIndex, part: str) -> np.ndarray:
    values = times.isocalendar().week if part == "week" else getattr(times, part)
    return np.asarray(values, dtype=float)


def plan(
    target: str,
    time: str,
    series: Sequence[tuple[str, Sequence[str]]],
    columns: Sequence[Column],
    parts: Sequence[str],
    *,
    horizon: int,
    season: int,
    lags: Sequence[int],
    window: int | None,
    feature_lags: Sequence[int],
    relative: bool,
) -> list[Feature]:
    """Return the features of a forecast.

    :param series: the columns of ids with the values they have; those with a single one are left out.
    """
    features = [Feature(kind, target) for kind in BASELINES if season > 1 or "seasonal" not in kind]
    features += [Feature("level", target)] * relative
    features += [Feature("lag", target, lag) for lag in lags if lag not in (1, season)]
    if window is not None:
        features += [Feature(f"window_{name}", target, window) for name in ("mean", "min", "max")]
    features += [Feature("step", time)] * (horizon > 1) + [Feature("trend", time)]
    features += [Feature("calendar", time, part) for part in parts]
    features += [Feature(kind, time, season) for kind in ("season_sine", "season_cosine")] * (season > 1)
    features += [
        Feature("series", name, position, tuple(values))
        for position, (name, values) in enumerate(series)
        if len(values) > 1
    ]
    for column in columns:
        categories = None if column.categories is None else tuple(column.categories)
        if column.known:
            features.append(Feature("now", column.name, None, categories))
        else:
            features.append(Feature("past", column.name, 1, categories))
        if categories is None:
            features += [Feature("past", column.name, lag) for lag in feature_lags if column.known or lag != 1]
    return features


class Features:
    """Calculates features of rows: of a series *s* the period *t*, seen from its origin *o* < *t*.

    None of them uses a target of a period after the origin. "k periods before" means the latest period already known
    at the origin that lies a multiple of k before: with it lags have the same meaning at each step of the horizon.

    :param rows: the numbers of the series, the periods, and the origins.
    :param relative: tell past values as differences from the level.
    :param tape: the series; what is asked for must lie on it, but for what is before a series' first period.
    """

    def __init__(
        self,
        tape: Tape,
        grid: Grid,
        season: int,
        rows: tuple[np.ndarray, np.ndarray, np.ndarray],
        relative: bool = False,
    ) -> None:
        s, t, o = rows
        self.tape, self.season, self.relative = tape, season, relative
        self.s, self.t, self.o = s, t, o
        self._here = tape.place(s, t)
        self._origin = tape.place(s, o)
        distinct, self._which = np.unique(t, return_inverse=True)
        self._times = grid.times(distinct)
        self._level: np.ndarray | None = None

    def of(self, feature: Feature) -> Any:
        """Return a feature's values: floats or a categorical."""
        values = getattr(self, feature.kind)(feature)
        if feature.categories is None:
            values = np.asarray(values, dtype=float)
            return values - self.level() if self.relative and feature.kind in VALUES else values
        return pd.Categorical.from_codes(np.asarray(values, dtype=np.int64), categories=list(feature.categories))

    def level(self, feature: Feature | None = None) -> np.ndarray:
        """Return where the series is on the whole: the mean of the last periods."""
        if self._level is None:
            self._level = self._mean(averaged(self.season))
        return self._level

    def _back(self, periods: int) -> np.ndarray:
        """Return the latest period known at the origin that lies a multiple of *periods* before."""
        return np.asarray(self.t - periods * -(-(self.t - self.o) // periods))

    def naive(self, feature: Feature) -> Any:
        """Return the last known value."""
        return self.tape.y[self._origin]

    def lag(self, feature: Feature) -> Any:
        """Return the value so many periods before."""
        return self.tape.y[self.tape.place(self.s, self._back(feature.argument))]

    def seasonal_naive(self, feature: Feature) -> Any:
        """Return the value a season before; the last one, where the series is younger than a season."""
        back = self._back(self.season)
        return np.where(
            back >= self.tape.start[self.s], self.tape.y[self.tape.place(self.s, back)], self.naive(feature)
        )

    def average(self, feature: Feature) -> Any:
        """Return the mean of the last periods."""
        return self.level()

    def seasonal_average(self, feature: Feature) -> Any:
        """Return the mean of the values a season before, two seasons before, …; the average, where there are none."""
        back = self._back(self.season)
        first = self.tape.start[self.s]
        total, count = np.zeros(len(back)), np.zeros(len(back))
        for _ in range(AVERAGED_SEASONS):
            there = back >= first
            total += np.where(there, self.tape.y[self.tape.place(self.s, back)], 0.0)
            count += there
            back = back - self.season
        return np.where(count > 0, total / np.maximum(count, 1), self.average(feature))

    def window_mean(self, feature: Feature) -> Any:
        """Return the mean of the last values."""
        return self._mean(feature.argument)

    def window_min(self, feature: Feature) -> Any:
        """Return the least of the last values."""
        return self._over(feature.argument, np.min)

    def window_max(self, feature: Feature) -> Any:
        """Return the greatest of the last values."""
        return self._over(feature.argument, np.max)

    def _mean(self, periods: int) -> np.ndarray:
        return self._over(periods, np.mean)

    def _over(self, periods: int, function: Any) -> np.ndarray:
        """Return what *function* says of the last *periods* values before and at the origins."""
        origins, which = np.unique(self._origin, return_inverse=True)
        # The first periods of a series have fewer values before them.
        first = np.repeat(self.tape.offset, self.tape.length)[origins]
        result = np.empty(len(origins))
        for part in _parts(len(origins), periods):
            short = np.flatnonzero(origins[part] - first[part] < periods - 1) + part.start
            whole = np.flatnonzero(origins[part] - first[part] >= periods - 1) + part.start
            places = origins[whole, None] - np.arange(periods - 1, -1, -1)
            result[whole] = function(self.tape.y[places], axis=1)
            for row in short:
                result[row] = function(self.tape.y[first[row] : origins[row] + 1])
        return result[which]

    def step(self, feature: Feature) -> Any:
        """Return how many periods after the origin it is."""
        return self.t - self.o

    def trend(self, feature: Feature) -> Any:
        """Return the number of the period."""
        return self.t

    def calendar(self, feature: Feature) -> Any:
        """Return a part of the time."""
        return _part(self._times, feature.argument)[self._which]

    def season_sine(self, feature: Feature) -> Any:
        """Return where in the season it is, as the sine of an angle."""
        return np.sin(2 * np.pi * (self.t % self.season) / self.season)

    def season_cosine(self, feature: Feature) -> Any:
        """Return where in the season it is, as the cosine of an angle."""
        return np.cos(2 * np.pi * (self.t % self.season) / self.season)

    def series(self, feature: Feature) -> Any:
        """Return the code of the value of an id."""
        code = {value: number for number, value in enumerate(feature.categories or ())}
        codes = np.array([code[series_values(key)[feature.argument]] for key in self.tape.keys], dtype=np.int64)
        return codes[self.s]

    def now(self, feature: Feature) -> Any:
        """Return what comes along with the period itself."""
        return self.tape.columns[column_key(feature.source)][self._here]

    def past(self, feature: Feature) -> Any:
        """Return what came along so many periods before."""
        return self.tape.columns[column_key(feature.source)][self.tape.place(self.s, self._back(feature.argument))]


def averaged(season: int) -> int:
    """Return over how many periods the average is."""
    return max(AVERAGED_PERIODS, season)


def _parts(rows: int, width: int) -> Iterator[slice]:
    size = max(1, _CHUNK // max(1, width))
    for begin in range(0, rows, size):
        yield slice(begin, min(begin + size, rows))
