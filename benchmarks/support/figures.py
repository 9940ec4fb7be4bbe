"""What is measured: a sample is what one round gave, a figure is made of all rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What one round gave: side → seconds (or MB), every side measured once, one after the other.
Sample = Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """A row of the table.

    :param what: the row's text.
    :param of: makes the figure of one round.
    :param unit: ``s``, ``ms`` (given in seconds), ``×``, ``MB``, ``%``, ``trials``; nothing for a score.
    :param at_most: what is to be reached, in the unit of *of*; ``None``: it only stands beside another figure.
    :param reach: how the table says what is to be reached; default: from *at_most* or *at_least*.
    :param at_least: what is to be reached, where more is better.
    """

    what: str
    of: Callable[[Sample], float]
    unit: str
    at_most: float | None = None
    reach: str = ""
    at_least: float | None = None

    def made_of(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Return the figure as plain data: the median over the rounds, and the least and the largest."""
        values = [self.of(sample) for sample in samples]
        return self.plain(statistics.median(values), values)

    def plain(self, reached: float, values: Sequence[float], met: bool | None = None) -> dict[str, Any]:
        """Return the figure as plain data.

        :param met: decided by other means than a limit.
        """
        reach = self.reach
        if self.at_most is not None:
            reach, met = reach or f"≤ {said(self.at_most, self.unit)}", reached <= self.at_most
        if self.at_least is not None:
            reach, met = reach or f"≥ {said(self.at_least, self.unit)}", reached >= self.at_least
        return {
            "what": self.what,
            "unit": self.unit,
            "to_reach": reach,
            "at_most": self.at_most,
            "at_least": self.at_least,
            "reached": reached,
            "least": min(values),
            "largest": max(values),
            "met": met,
        }


@dataclass(frozen=True)
class Bench:
    """Where a benchmark may write.

    :param project: the project's folder.
    :param cache: what stays from run to run (peers, data, environments).
    :param scratch: a folder of this benchmark's own, removed afterwards.
    :param quick: smaller data: to see whether a benchmark works, not for figures.
    """

    project: Path
    cache: Path
    scratch: Path
    quick: bool = False

    @property
    def programs(self) -> Path:
        """What runs in processes of its own."""
        return self.project / "benchmarks" / "programs"


def said(value: float, unit: str) -> str:
    """Return a value with its unit, in as many digits as it deserves."""
    if unit == "ms":
        return f"{value * 1000:.1f} ms"
    if unit == "s":
        return f"{value:.2f} s"
    if unit == "×":
        return f"{value:.2f} ×"
    if not unit:
        return f"{value:.4f}"
    if unit == "MB" and value < 10:
        return f"{value:.2f} MB"
    return f"{value:.0f} {unit}"
