"""FLAML as the engine: its search, its gradient boosting and forests, our metrics, and a watch over each trial.

Only what FLAML documents is used: learners of one's own, a metric of one's own, an aggregation of folds of one's own.
Through these three it tells when a trial begins and ends, and a learner that fails costs its trial only.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stepwell.payload.automl import scores
from stepwell.payload.automl.engine import Engine, Reporter, SearchOver
from stepwell.payload.automl.engines import BASELINES, model_of
from stepwell.payload.automl.errors import AutoMLError
from stepwell.payload.automl.learning import metrics_of, predict
from stepwell.payload.automl.problem import Problem

try:
    ctypes.CDLL("libgomp.so.1")
except OSError as missing:
    if sys.platform.startswith("linux"):
        raise AutoMLError(
            "LightGBM needs the OpenMP library libgomp.so.1, which this machine has not",
            hint="Install it there: apt-get install libgomp1, or yum install libgomp",
        ) from missing

# Importing FLAML starts a Spark session wherever PySpark is found. A worker of a search wants none.
sys.modules.setdefault("pyspark", None)  # type: ignore[arg-type]

from flaml import AutoML  # noqa: E402
from flaml.automl.task.factory import task_factory  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402

from stepwell.payload.automl.learners import TABLE, learner_class, words  # noqa: E402
from stepwell.payload.automl.steps import CategoryCodes  # noqa: E402

#: A learner that fails so often in a row is tried no more.
FAILURES = 3
#: The loss of a trial that has failed: worse than any, and finite, for FLAML reckons with it.
BAD = 1e9


class _LearnerDone(BaseException):
    """Go on without this learner."""


class Watch:
    """Sees each trial of FLAML's begin and end."""

    def __init__(self, problem: Problem, reporter: Reporter, rows: int) -> None:
        self.problem = problem
        self.reporter = reporter
        self.rows = rows
        self.failures: dict[str, int] = {}
        self.begun = 0
        self.best: dict[str, tuple[float, dict[str, Any]]] = {}
        self._broken: str | None = None
        self._folds: list[tuple[dict[str, float], np.ndarray]] = []

    def begin(self, learner: str, parameters: Mapping[str, Any], rows: int) -> None:
        """A trial begins."""
        if self.failures.get(learner, 0) >= FAILURES:
            raise _LearnerDone(learner)
        self.begun += 1
        self._broken, self._folds = None, []
        self.learner, self._sample, self.parameters = learner, rows, dict(parameters)
        self.reporter.begin(learner, parameters, rows)

    def fitted(self, model: Any) -> None:
        """The learner has fitted one fold: it may have grown fewer trees than it should, within its time."""
        trees = model.get_params().get("n_estimators") if "n_estimators" in self.parameters else None
        if isinstance(trees, int):
            self.parameters["n_estimators"] = trees

    def broke(self, error: Exception) -> None:
        """The learner has failed."""
        if self._broken is None:
            self._broken = f"{type(error).__name__}: {error}"

    def judge(self, X: Any, y: Any, estimator: Any, weight: Any) -> float:
        """Judge one fold, and return its loss."""
        if self._broken is None:
            try:
                predictions = predict(estimator, X, self.problem)
                self._folds.append((metrics_of(self.problem, y, predictions, weight, X), predictions))
            except Exception as error:
                self.broke(error)
        if self._broken is not None:
            return BAD
        return scores.loss(self.problem.primary_metric, self._folds[-1][0][self.problem.primary_metric])

    def end(self) -> float:
        """All folds have been judged; return the trial's loss."""
        if self._broken is None:
            metrics = scores.mean([fold for fold, _ in self._folds])
            loss = scores.loss(self.problem.primary_metric, metrics[self.problem.primary_metric])
            if np.isfinite(loss):
                self.failures[self.learner] = 0
                if loss < self.best.get(self.learner, (BAD, {}))[0]:
                    self.best[self.learner] = (loss, self.parameters)
                whole = self._sample >= self.rows
                predictions = np.concatenate([p for _, p in self._folds]) if whole else None
                self.reporter.completed(metrics, predictions, self.parameters)
                return float(loss)
            self._broken = (
                f"{self.problem.primary_metric} has no value: predictions are not finite, or the labels to judge by are"
                " all the same"
            )
        self.failures[self.learner] = self.failures.get(self.learner, 0) + 1
        self.reporter.failed(self._broken)
        return BAD


class Folds:
    """The problem's folds as a splitter of scikit-learn's form, also for a sample of its first rows."""

    shuffle = False

    def __init__(self, problem: Problem) -> None:
        self._folds = problem.folds

    def get_n_splits(self, *_: Any) -> int:
        """Return how many folds there are."""
        return len(self._folds)

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the positions to learn from and to judge by."""
        rows = len(X)
        for learn, judge in self._folds:
            yield (learn, judge) if rows > max(learn.max(), judge.max()) else (learn[learn < rows], judge[judge < rows])


class FlamlEngine(Engine):
    """FLAML 2.7."""

    name = "flaml"

    def words(self, learner: str, task: str) -> str:
        return words(learner, model_of(learner, task))

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
        deadline = time.monotonic() + seconds
        logging.getLogger("flaml").setLevel(logging.CRITICAL)
        warnings.simplefilter("ignore")  # of libraries, about what the author of the pipeline cannot change
        parts = _Parts(problem)
        watch = Watch(problem, reporter, len(problem.folds[0][0]))
        try:
            for name in [n for n in learners if n in BASELINES]:
                _one_trial(problem, name, watch)
            left = [n for n in learners if n not in BASELINES]
            while left and time.monotonic() < deadline:
                begun, known = watch.begun, {**starts, **{n: [p] for n, (_, p) in watch.best.items()}}
                try:
                    self._fit(parts, left, watch, seed, cores, deadline - time.monotonic(), trial_seconds, known)
                    if watch.begun == begun:
                        return
                    seed += 7919  # FLAML may end by itself, when its steps have become too small
                except _LearnerDone as done:
                    left.remove(str(done))
                    say(f"{model_of(str(done), _task(problem))} has failed {FAILURES} times in a row: left out")
        except SearchOver:
            return

    def _fit(
        self,
        parts: _Parts,
        learners: Sequence[str],
        watch: Watch,
        seed: int,
        cores: int,
        seconds: float,
        trial_seconds: float | None,
        starts: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> None:
        automl = AutoML()
        for name in learners:
            automl.add_learner(name, _watched(name, _base(name, watch.problem.facts), watch))

        def metric(
            X: Any, y: Any, estimator: Any, labels: Any, X_learn: Any, y_learn: Any, weight: Any, *_: Any
        ) -> Any:
            loss = watch.judge(X, y, estimator, weight)
            return (loss if parts.folded else watch.end()), {}

        given = {} if parts.weight is None else {"sample_weight": parts.weight}
        points = {name: [dict(p) for p in starts[name]] for name in learners if starts.get(name)}
        automl.fit(
            X_train=parts.X,
            y_train=parts.y,
            **parts.validation,
            task=watch.problem.task,
            metric=metric,
            cv_score_agg_func=lambda losses, logged: (watch.end(), {}),
            estimator_list=list(learners),
            time_budget=seconds,
            max_iter=1_000_000,
            n_jobs=cores,
            seed=seed,
            sample=not watch.problem.facts.get("baselines"),  # the first rows of a forecast are the oldest
            skip_transform=True,
            auto_augment=False,
            retrain_full=False,
            early_stop=False,
            ensemble=False,
            verbose=0,
            mlflow_logging=False,
            train_time_limit=trial_seconds,
            **({"starting_points": points} if points else {}),
            **given,
        )

    def fit(
        self, problem: Problem, learner: str, parameters: Mapping[str, Any], rows: Any = None, cores: int = 1
    ) -> Any:
        logging.getLogger("flaml").setLevel(logging.CRITICAL)
        X, y, weight = problem.X, problem.y, problem.weight
        if rows is not None:
            X, y, weight = X.iloc[rows], y[rows], None if weight is None else weight[rows]
        task = task_factory(problem.task, X, y)
        if problem.task == "classification":
            task.name = "binary" if len(problem.classes or ()) == 2 else "multiclass"
        made = _base(learner, problem.facts)(task=task, n_jobs=cores, **parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.fit(X, y, **({} if weight is None else {"sample_weight": weight}))
        if learner in TABLE or learner == "lgbm":
            return made.model
        return make_pipeline(CategoryCodes().fit(X), made.model)


class _Parts:
    """The problem as FLAML takes it: with folds, or cut into rows to learn from and rows to judge by."""

    def __init__(self, problem: Problem) -> None:
        self.folded = len(problem.folds) > 1
        if self.folded:
            self.X, self.y, self.weight = problem.X, problem.y, problem.weight
            self.validation: dict[str, Any] = {"eval_method": "cv", "split_type": Folds(problem)}
            return
        (learn, judge) = (_slice(part) for part in problem.folds[0])
        self.X, self.y = problem.X.iloc[learn], problem.y[learn]
        self.weight = None if problem.weight is None else problem.weight[learn]
        # In the order of time FLAML shuffles nothing, which would copy; the rows are in a fair order already.
        self.validation = {"eval_method": "holdout", "split_type": "time", "X_val": problem.X.iloc[judge]}
        self.validation["y_val"] = problem.y[judge]
        if problem.weight is not None:
            self.validation["sample_weight_val"] = problem.weight[judge]


def _slice(positions: np.ndarray) -> Any:
    """Return consecutive positions as a slice, which copies nothing."""
    if len(positions) and np.array_equal(positions, np.arange(positions[0], positions[0] + len(positions))):
        return slice(int(positions[0]), int(positions[0]) + len(positions))
    return positions


def _task(problem: Problem) -> str:
    return str(problem.facts.get("task", problem.task))


def _base(name: str, facts: Mapping[str, Any]) -> Any:
    if name in TABLE:
        return learner_class(name, facts)
    return task_factory("classification").estimator_class_from_str(name)


def _watched(name: str, base: Any, watch: Watch) -> Any:
    """Return the learner's class with a watch over its fits."""

    class Watched(base):  # type: ignore[misc]
        def __init__(self, task: Any = "binary", **config: Any) -> None:
            super().__init__(task=task, **config)
            self._given = {k: v for k, v in config.items() if k != "n_jobs"}
            self._begun = False

        def fit(
            self, X_train: Any, y_train: Any, budget: Any = None, free_mem_ratio: float = 0, **kwargs: Any
        ) -> float:
            if not self._begun:
                self._begun = True
                watch.begin(name, {k: _plain(v) for k, v in self._given.items()}, len(y_train))
            try:
                seconds = float(super().fit(X_train, y_train, budget, free_mem_ratio, **kwargs))
                watch.fitted(self.model)
                return seconds
            except Exception as error:
                watch.broke(error)
                return 0.0

    Watched.__name__ = Watched.__qualname__ = name
    return Watched


def _one_trial(problem: Problem, name: str, watch: Watch) -> None:
    """Try a baseline: it has nothing to search."""
    learner = learner_class(name, problem.facts)
    watch.begin(name, {}, watch.rows)
    for learn, judge in problem.folds:
        made = learner(task=problem.task)
        try:
            weight = {} if problem.weight is None else {"sample_weight": problem.weight[learn]}
            made.fit(problem.X.iloc[learn], problem.y[learn], **weight)
        except Exception as error:
            watch.broke(error)
        weights = None if problem.weight is None else problem.weight[judge]
        watch.judge(problem.X.iloc[judge], problem.y[judge], made, weights)
    watch.end()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
