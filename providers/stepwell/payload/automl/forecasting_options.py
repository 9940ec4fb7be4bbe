"""What is forecast and how, and the rows of features that come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

import numpy as np


@dataclass(frozen=True)
class ForecastOptions:
    """What is forecast, and how.

    :param target: the column that is forecast.
    :param time: the column of times.
    :param series: columns that together name the series of a row.
    :param horizon: how many periods ahead are forecast at once; ``auto``: a season, or a tenth of the data.
    :param lags: target values of so many periods ago are features; ``auto``: those that tell most.
    :param window: mean, least and greatest of so many last target values are features; ``auto``: of a season.
    :param season: after so many periods the series repeat themselves; 1 = they do not; ``auto``: found.
    :param feature_lags: the like for numbers that come along; ``auto``: of one period ago.
    :param unknown: columns not known when forecasting: only their past is used.
    :param freq: pandas' name of the frequency; None = found.
    :param gather: sum, max, min or mean of rows of the same period of *freq*; None = there must be one.
    :param short: what becomes of series too short to learn from: ``auto``, ``pad``, ``drop``, None.
    :param weight: the column of the rows' weights.
    :param dropped: columns that are not used.
    :param purposes: v1's purposes of columns.
    :param relative: what is learnt is the difference from the level, the mean of the last values: learners that cannot
        go beyond what they have seen, such as trees, then follow a trend.
    """

    target: str
    time: str
    series: tuple[str, ...] = ()
    horizon: int | str = 1
    lags: tuple[int, ...] | str = ()
    window: int | str | None = None
    season: int | str = "auto"
    feature_lags: tuple[int, ...] | str = ()
    unknown: tuple[str, ...] = ()
    freq: str | None = None
    gather: str | None = None
    short: str | None = "auto"
    weight: str | None = None
    dropped: tuple[str, ...] = ()
    purposes: Mapping[str, str] = field(default_factory=dict)
    relative: bool = False


@dataclass(frozen=True)
class Rows:
    """Rows of features: the number of the series, the period forecast, and the origin that it is forecast from."""

    series: np.ndarray
    period: np.ndarray
    origin: np.ndarray

    def __len__(self) -> int:
        return len(self.period)

    def __getitem__(self, which: Any) -> Rows:
        return Rows(self.series[which], self.period[which], self.origin[which])

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of all parts."""
        return cls(
            np.concatenate([p.series for p in parts]),
            np.concatenate([p.period for p in parts]),
            np.concatenate([p.origin for p in parts]),
        )
