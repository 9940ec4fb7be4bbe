"""The engine of a search: who proposes pipelines and fits them. FLAML is one; a second one implements these two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

if TYPE_CHECKING:
    import numpy as np

    from stepwell.payload.automl.problem import Problem


class SearchOver(BaseException):
    """No more trials are wanted. Not an ``Exception``: libraries must let it pass."""


class Reporter(ABC):
    """Whom an engine tells of its trials, one at a time."""

    @abstractmethod
    def begin(self, learner: str, parameters: Mapping[str, Any], rows: int) -> None:
        """A trial begins.

        :raises SearchOver: it must not: the search is over.
        """

    @abstractmethod
    def completed(
        self, metrics: Mapping[str, float], predictions: np.ndarray | None, parameters: Mapping[str, Any]
    ) -> None:
        """The trial that has begun is over.

        :param metrics: v1's names, means over the folds.
        :param predictions: for the judged rows of all folds in their order: numbers, or a row of probabilities each;
            None if it has seen a sample only.
        :param parameters: as it was fitted in truth, where a limit has cut it short.
        """

    @abstractmethod
    def failed(self, reason: str) -> None:
        """The trial that has begun has failed; the search goes on."""


class Engine(ABC):
    """Searches for pipelines on one core or more of one process."""

    #: Its name in ``AutoMLConfig(engine=…)``.
    name: str

    @abstractmethod
    def words(self, learner: str, task: str) -> str:
        """Return the pipeline of a learner in words: "StandardScaler, LogisticRegression"."""

    @abstractmethod
    def search(
        self,
        problem: Problem,
        learners: Sequence[str],
        reporter: Reporter,
        *,
        seed: int,
        cores: int,
        seconds: float,
        trial_seconds: float | None,
        starts: Mapping[str, Sequence[Mapping[str, Any]]],
        say: Callable[[str], None],
    ) -> None:
        """Try pipelines one after another until the reporter raises :class:`SearchOver`, or *seconds* are over.

        A trial that fails is reported as failed, and the search goes on.

        :param trial_seconds: end a trial softly after so long, if the learner can; None = no limit.
        :param starts: learner → parameters to begin with, of an earlier search on the same data.
        """

    @abstractmethod
    def fit(
        self, problem: Problem, learner: str, parameters: Mapping[str, Any], rows: Any = None, cores: int = 1
    ) -> Any:
        """Return a pipeline fitted to the problem's rows at the positions *rows* (None = all).

        It needs nothing of the engine any more: it has ``predict`` (codes of classes, or numbers), for a classification
        ``predict_proba``, for frames like ``problem.X``, and consists of scikit-learn's, LightGBM's and XGBoost's
        classes and of those of :mod:`stepwell.payload.automl.steps`.
        """
