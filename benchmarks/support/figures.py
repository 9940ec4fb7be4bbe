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
    :param unit: ``s``, ``ms`` (given in seconds), ``×``, ``MB``.
    :param at_most: what is to be reached, in the unit of *of*; ``None``: it only stands beside another figure.
    :param reach: how the table says what is to be reached; default: from *at_most*.
    """

    what: str
    of: Callable[[Sample], float]
    unit: str
    at_most: float | None = None
    reach: str = ""

    def made_of(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Return the figure as plain data: the median over the rounds, and the least and the largest."""
        values = [self.of(sample) for sample in samples]
        reached = statistics.median(values)
        return {
            "what": self.what,
            "unit": self.unit,
            "to_reach": self.reach or (f"≤ {said(self.at_most, self.unit)}" if self.at_most is not None else ""),
            "at_most": self.at_most,
            "reached": reached,
            "least": min(values),
            "largest": max(values),
            "met": None if self.at_most is None else reached <= self.at_most,
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
    return f"{value:.0f} {unit}"
