"""When a search is over: iterations, time, a score that is good enough, no more progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepwell.payload.automl import scores

#: v1's: the first iterations say where the search begins, then so many without progress end it.
LANDMARKS = 20
WINDOW = 10


@dataclass(frozen=True)
class Limits:
    """The limits of a search.

    :param iterations: trials, failed ones too.
    :param seconds: of the whole search.
    :param trial_seconds: of one trial; None = no limit.
    :param exit_score: end the search as soon as the primary metric has reached it.
    :param early_stopping: end it when there is no more progress.
    """

    metric: str
    iterations: int
    seconds: float
    trial_seconds: float | None
    exit_score: float | None
    early_stopping: bool

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Limits:
        """Return the limits that an ``AutoMLConfig`` has set."""
        minutes, hours = settings.get("iteration_timeout_minutes"), settings.get("experiment_timeout_hours")
        exit_score = settings.get("experiment_exit_score")
        return cls(
            settings["primary_metric"],
            int(settings.get("iterations") or 1000),
            float(hours or 144) * 3600,
            None if minutes is None else float(minutes) * 60,
            None if exit_score is None else float(exit_score),
            bool(settings.get("enable_early_stopping", True)),
        )

    def __str__(self) -> str:
        parts = [f"{self.iterations} iterations", f"{duration(self.seconds)} at most"]
        if self.trial_seconds is not None:
            parts.append(f"{duration(self.trial_seconds)} for each")
        if self.exit_score is not None:
            parts.append(f"until {self.metric} reaches {self.exit_score:g}")
        return ", ".join([*parts, *(["early stopping"] if self.early_stopping else [])])

    def reached(self, progress: Progress, begun: int, spent: float) -> str | None:
        """Return why no more trials may begin, or None.

        :param begun: how many have begun.
        :param spent: seconds so far.
        """
        best = progress.best
        if spent >= self.seconds:
            return f"experiment_timeout_hours: {duration(self.seconds)} are over"
        if self.exit_score is not None and best is not None and not scores.better(self.metric, self.exit_score, best):
            return f"experiment_exit_score: {self.metric} {best:.5g} has reached {self.exit_score:g}"
        if begun >= self.iterations:
            return f"iterations: all {self.iterations} are done"
        if self.early_stopping and progress.done > LANDMARKS + WINDOW and progress.since >= WINDOW:
            return f"enable_early_stopping: no progress in the last {progress.since} of {progress.done} iterations"
        return None


@dataclass
class Progress:
    """How far a search has come.

    :param done: trials that have a score.
    :param best: the best score.
    :param since: how many trials have ended since that one.
    """

    metric: str
    done: int = 0
    best: float | None = None
    since: int = 0

    def add(self, score: float) -> bool:
        """Count a trial; return whether it is the best so far."""
        self.done += 1
        better = self.best is None or scores.better(self.metric, score, self.best)
        self.best, self.since = (score, 0) if better else (self.best, self.since + 1)
        return better


def duration(seconds: float) -> str:
    """Return seconds in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
