"""One trial of a search: what is known of it, as the plain data that files, events and reports hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Mapping

RUNNING, COMPLETED, FAILED, CANCELED = "Running", "Completed", "Failed", "Canceled"
#: The learner of a trial that combines others.
ENSEMBLE = "ensemble"


@dataclass
class Trial:
    """A trial.

    :param iteration: its number in the search, from 0.
    :param id: of its child run: ``<run id>_<iteration>``, as in v1.
    :param model: v1's name of the model, "LightGBM".
    :param pipeline: what was fitted, in words: "StandardScaler, LogisticRegression".
    :param parameters: of the model, as the engine chose them; with them and the learner it can be fitted again.
    :param learner: the engine's own name of the model, "lgbm".
    :param rows: how many rows it learnt from; searches try cheap samples first.
    :param status: v1's words: ``Running``, ``Completed``, ``Failed``, ``Canceled``.
    :param reason: why it has failed or was cancelled.
    :param metrics: v1's metric names → values, all of the task; of several folds, their mean.
    :param score: the primary metric.
    :param started: seconds since the epoch.
    :param seconds: how long it took.
    :param worker: which of the search's workers ran it, from 0.
    """

    iteration: int
    id: str
    model: str
    pipeline: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    learner: str = ""
    rows: int = 0
    status: str = RUNNING
    reason: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    score: float | None = None
    started: float = 0.0
    seconds: float | None = None
    worker: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as a plain dict."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Trial:
        """Return the trial that :meth:`to_dict` wrote; keys of later versions are ignored."""
        return cls(**{f.name: document[f.name] for f in fields(cls) if f.name in document})
