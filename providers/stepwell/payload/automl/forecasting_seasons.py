"""What repeats itself in series, and which of their past values tell something: by autocorrelation."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
from pandas.tseries.frequencies import to_offset

#: So many of the longest series are looked at.
_SERIES = 20
_FAR = 1000
#: Less correlation than this with itself a season ago is no season.
_SEASONAL, _UNUSUAL = 0.2, 0.3
_LAGS = 5


def autocorrelation(values: np.ndarray, far: int) -> np.ndarray:
    """Return the autocorrelation of a series, freed of its linear trend, at 0 to *far* periods."""
    n = len(values)
    values = values / (float(np.abs(values).max()) or 1.0)
    time = np.arange(n, dtype=float)
    rest = values - np.polyval(np.polyfit(time, values, 1), time) if n > 2 else values - values.mean()
    size = 1 << (2 * n - 1).bit_length()
    power = np.abs(np.fft.rfft(rest, size)) ** 2
    correlation = np.fft.irfft(power, size)[: far + 1]
    if correlation[0] <= 1e-12 * n:
        return np.concatenate([[1.0], np.zeros(len(correlation) - 1)])
    return np.asarray(correlation / correlation[0])


def mean_autocorrelation(series: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Return the mean of the autocorrelations of the longest series, and how many periods the shortest of them has."""
    longest = sorted(series, key=len, reverse=True)[:_SERIES]
    longest = [values for values in longest if 2 * len(values) >= len(longest[0])]
    shortest = len(longest[-1])
    far = min(_FAR, shortest - 1)
    return np.mean([autocorrelation(values, far) for values in longest], axis=0), shortest


def usual_seasons(freq: str) -> list[int]:
    """Return after how many periods of a frequency a day, a week or a year is over, the shortest first."""
    offset = to_offset(freq)
    code, number = offset.rule_code.split("-")[0], offset.n
    year = {"W": 52, "B": 260, "MS": 12, "ME": 12, "BMS": 12, "BME": 12, "QS": 4, "QE": 4, "BQS": 4, "BQE": 4}
    if code == "B":
        lengths = [5.0, 260.0]
    elif code in year:
        lengths = [float(year[code])]
    else:
        seconds = {"D": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0}.get(code)
        lengths = [] if seconds is None else [t / seconds for t in (3600.0, 86400.0, 604800.0, 31536000.0)]
    seasons = [length / number for length in lengths]
    return [int(season) for season in seasons if season >= 2 and season == int(season)]


def find_season(series: Sequence[np.ndarray], freq: str) -> int:
    """Return after how many periods series repeat themselves; 1 = they do not.

    A day, a week, a year are tried first, then any other length.
    """
    correlation, periods = mean_autocorrelation(series)
    last = min(len(correlation) - 2, periods // 2)

    def is_season(m: int, least: float, deviations: float) -> bool:
        if m > last or correlation[m] < max(least, deviations / np.sqrt(periods)):
            return False
        near = correlation[m - 1] < correlation[m] > correlation[m + 1]
        return bool(near and correlation[m] - correlation[1:m].min(initial=1.0) > (0.1 if m > 2 else 0.0))

    usual = [m for m in usual_seasons(freq) if is_season(m, _SEASONAL, 2)]
    if usual:
        return max(usual, key=lambda m: correlation[m])
    # Among many lengths one is correlated by chance.
    others = [m for m in range(2, max(2, min(last, periods // 3) + 1)) if is_season(m, _UNUSUAL, 4)]
    return max(others, key=lambda m: correlation[m], default=1)


def find_lags(series: Sequence[np.ndarray], season: int) -> list[int]:
    """Return how many periods ago the values lie that tell most: by partial autocorrelation, and a season."""
    correlation, periods = mean_autocorrelation(series)
    far = min(len(correlation) - 1, max(12, min(season + 1, 60)), periods // 3)
    partial = _partial(correlation, far)
    strong = [k for k in range(1, far + 1) if abs(partial[k]) > 1.96 / np.sqrt(periods)]
    lags = set(sorted(strong, key=lambda k: -abs(partial[k]))[:_LAGS])
    if season > 1:
        lags.add(season)
    return sorted(lags) or [1]


def _partial(correlation: np.ndarray, far: int) -> np.ndarray:
    """Return partial autocorrelations at 0 to *far* (Durbin and Levinson's recursion)."""
    partial = np.zeros(far + 1)
    before: Any = np.empty(0)
    for k in range(1, far + 1):
        past = correlation[k - 1 : 0 : -1] if k > 1 else np.empty(0)
        below = 1.0 - float(before @ correlation[1:k]) if k > 1 else 1.0
        if below <= 1e-9:
            break
        partial[k] = (correlation[k] - float(before @ past)) / below
        before = np.append(before - partial[k] * before[::-1], partial[k])
    return partial
