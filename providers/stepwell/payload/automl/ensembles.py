"""Ensembles of a search's best trials, found from what these predicted for the rows that they were judged on.

Both kinds are judged as honestly as a trial: what a row is predicted comes from weights, or from a meta learner, that
have not seen the row. So an ensemble is not ahead of its members because it was fitted to the rows it is judged on.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from stepwell.payload.automl import scores
from stepwell.payload.automl.ensemble_steps import StackEnsemble, VotingEnsemble, as_features, in_columns
from stepwell.payload.automl.problem import Problem
from stepwell.payload.automl.trial import COMPLETED, Trial

#: v1's names of the two models.
VOTING, STACK = "VotingEnsemble", "StackEnsemble"
MEMBERS = 10
_ROUNDS = 15
_PARTS = 5
#: Members are chosen for so long; what is chosen by then is the ensemble.
_SECONDS = 5.0
#: So many rows say which weights are good; more would only take longer.
_ROWS = 10_000
#: Of the optimiser of a meta learner; it has converged well before, but for many classes.
_STEPS = 200
#: Of the rarest class, for a meta learner to be fitted and judged.
_FEWEST = 2 * _PARTS
_STRENGTHS = (0.01, 0.1, 1.0, 10.0)
#: With more columns than that, a meta learner is regularised strongly without a search, which would take long.
_COLUMNS = 24

Combiner = Callable[[Sequence[np.ndarray]], np.ndarray]


@dataclass
class Judged:
    """The rows that trials are judged on, in the order of the folds, and how.

    :param y: codes of classes, or numbers.
    :param sizes: how many rows each fold has.
    :param classes: how many; 0 = numbers.
    :param metric: v1's name of the primary metric.
    :param weight: of each row; ``None`` = all the same.
    :param options: of the functions of :mod:`~stepwell.payload.automl.scores`: ``positive``; ``y_min``, ``y_max``.
    """

    y: np.ndarray
    sizes: Sequence[int]
    classes: int
    metric: str
    weight: np.ndarray | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem) -> Judged:
        """Return the judged rows of a problem."""
        rows = np.concatenate([judge for _, judge in problem.folds])
        classes = len(problem.classes or ()) if problem.task == "classification" else 0
        names = ("positive",) if classes else ("y_min", "y_max")
        return cls(
            np.asarray(problem.y)[rows],
            [len(judge) for _, judge in problem.folds],
            classes,
            problem.primary_metric,
            None if problem.weight is None else np.asarray(problem.weight)[rows],
            {name: problem.facts[name] for name in names if name in problem.facts},
        )

    def metrics(self, predictions: np.ndarray) -> dict[str, float]:
        """Return all metrics of the task, as a trial has them: means over the folds."""
        ends = np.cumsum(self.sizes)
        return scores.mean(self._metrics(predictions, slice(e - n, e)) for e, n in zip(ends, self.sizes))

    def loss(self, predictions: np.ndarray, rows: Any) -> float:
        """Return what is minimised, for the rows *rows* of *predictions*."""
        return scores.loss(self.metric, self._metrics(predictions, rows).get(self.metric))

    def fits(self, predictions: np.ndarray) -> bool:
        """Return whether *predictions* are numbers or probabilities for each of the rows."""
        shape = (len(self.y), self.classes) if self.classes else (len(self.y),)
        return predictions.shape == shape and bool(np.isfinite(predictions).all())

    def parts(self) -> np.ndarray:
        """Return which of a few parts each row belongs to: folds stay whole; one fold is divided, class by class."""
        if len(self.sizes) > 1:
            return np.repeat(np.arange(len(self.sizes)) % _PARTS, self.sizes)
        parts = np.empty(len(self.y), dtype=int)
        if self.classes:
            parts[np.argsort(self.y, kind="stable")] = np.arange(len(self.y)) % _PARTS
        else:
            parts[:] = np.arange(len(self.y)) * _PARTS // max(1, len(self.y))
        return parts

    def _metrics(self, predictions: np.ndarray, rows: Any) -> dict[str, float]:
        weight = None if self.weight is None else self.weight[rows]
        judge = scores.classification if self.classes else scores.regression
        return judge(self.y[rows], predictions[rows], weight=weight, **self.options)


@dataclass
class Ensemble:
    """An ensemble that is worth fitting.

    :param name: :data:`VOTING` or :data:`STACK`.
    :param weights: iteration → weight in the mean, heaviest first; of a stack, each 1: the meta learner weighs.
    :param predictions: for the judged rows, from weights or a meta learner that have not seen them.
    :param metrics: of these predictions, all of the task.
    :param score: the primary one.
    :param meta: of a stack: the fitted meta learner.
    """

    name: str
    weights: dict[int, float]
    predictions: np.ndarray
    metrics: dict[str, float]
    score: float
    classes: int
    meta: Any = None

    def estimator(self, fitted: Mapping[int, Any]) -> Any:
        """Return it as one model.

        :param fitted: iteration → the fitted model; all members are wanted.
        """
        members = [(str(i), fitted[i], weight) for i, weight in self.weights.items()]
        if self.meta is None:
            return VotingEnsemble(members, self.classes)
        return StackEnsemble(members, self.classes, self.meta)


def candidates(trials: Sequence[Trial], metric: str, limit: int = MEMBERS) -> list[int]:
    """Return the iterations that may become members, the best first: the best trial of each learner.

    If there are fewer than three learners, their next best trials come in as well.
    """
    ranked = sorted((t for t in trials if t.status == COMPLETED), key=lambda t: scores.loss(metric, t.score))
    ranked = [t for t in ranked if math.isfinite(scores.loss(metric, t.score))]
    first: dict[str, Trial] = {}
    for trial in ranked:
        first.setdefault(trial.learner, trial)
    chosen = list(first.values())
    chosen += [t for t in ranked if t not in chosen][: max(0, 3 - len(chosen))]
    return [t.iteration for t in sorted(chosen, key=ranked.index)[:limit]]


def voting(judged: Judged, predictions: Mapping[int, np.ndarray]) -> Ensemble | None:
    """Return the weighted mean that is best on the judged rows: members are chosen greedily, some more than once.

    That is the ensemble selection of Caruana and others (2004).

    :param predictions: iteration → what it predicted for the judged rows, the best iteration first.
    :return: ``None``: nothing is better than a single member.
    """
    usable = {i: p for i, p in predictions.items() if judged.fits(p)}
    if len(usable) < 2:
        return None
    values = list(usable.values())
    weights = _chosen(judged, values, _some(np.arange(len(judged.y))))
    if np.count_nonzero(weights) < 2:
        return None

    def fit(rows: np.ndarray) -> Combiner:
        found = _chosen(judged, values, rows)
        return lambda several: np.asarray(np.tensordot(found, np.stack(list(several)), axes=1))

    heaviest = sorted(zip(weights.tolist(), usable), key=lambda pair: -pair[0])
    return _judged(VOTING, judged, {i: w for w, i in heaviest if w}, _across(judged, values, fit))


def stack(judged: Judged, predictions: Mapping[int, np.ndarray]) -> Ensemble | None:
    """Return a meta learner over its members' predictions: a logistic or a ridge regression.

    How strongly it is regularised is found by cross-validation inside the judged rows.

    :param predictions: iteration → what it predicted for the judged rows, from fits that have not seen them.
    :return: ``None``: there are less than two members, or too few rows, or rows of a class.
    """
    usable = {i: p for i, p in list(predictions.items())[:MEMBERS] if judged.fits(p)}
    counts = np.unique(judged.y, return_counts=True)[1] if judged.classes else np.array([len(judged.y)])
    if len(usable) < 2 or counts.min() < _FEWEST or (judged.classes and len(counts) < 2):
        return None
    features = as_features(list(usable.values()))
    strength = _strength(judged, features, _some(np.arange(len(judged.y)))) if judged.classes else None

    def fit(rows: np.ndarray) -> Combiner:
        meta = _meta(judged, features, rows, strength)
        return lambda several: _predicted(judged, meta, as_features(several))

    across = _across(judged, list(usable.values()), fit)
    made = _judged(STACK, judged, dict.fromkeys(usable, 1.0), across)
    if made is not None:
        made.meta = _meta(judged, features, _some(np.arange(len(judged.y))), strength)
    return made


def gains(judged: Judged, ensemble: Ensemble, single: np.ndarray) -> bool:
    """Whether an ensemble is better than a single model by more than chance: on few rows it seldom is.

    The gain is that in each of a few parts of the judged rows; it must be larger than its standard error.

    :param single: what the best single trial predicted for the judged rows.
    """
    parts = judged.parts()
    rows = [parts == part for part in np.unique(parts)]
    each = np.array([judged.loss(single, r) - judged.loss(ensemble.predictions, r) for r in rows])
    each = each[np.isfinite(each)]
    if len(each) < 2:
        return False
    return bool(each.mean() > each.std(ddof=1) / math.sqrt(len(each)))


def _judged(name: str, judged: Judged, weights: dict[int, float], predictions: np.ndarray) -> Ensemble | None:
    metrics = judged.metrics(predictions)
    score = metrics.get(judged.metric, math.nan)
    return None if math.isnan(score) else Ensemble(name, weights, predictions, metrics, score, judged.classes)


def _across(judged: Judged, predictions: Sequence[np.ndarray], fit: Callable[[np.ndarray], Combiner]) -> np.ndarray:
    """Return combined predictions, those of each part by what was fitted to the other parts."""
    parts = judged.parts()
    whole = np.empty_like(predictions[0], dtype=float)
    for part in np.unique(parts):
        inside = parts == part
        whole[inside] = fit(_some(np.flatnonzero(~inside)))([p[inside] for p in predictions])
    return whole


def _some(rows: np.ndarray) -> np.ndarray:
    return rows[:: -(-len(rows) // _ROWS)] if len(rows) > _ROWS else rows


def _chosen(judged: Judged, predictions: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return the weights of the mean: again and again the member is added that makes the mean best."""
    total = np.zeros_like(predictions[0], dtype=float)
    counts, kept, best = np.zeros(len(predictions)), np.zeros(len(predictions)), math.inf
    deadline = time.monotonic() + _SECONDS
    for number in range(1, _ROUNDS + 1):
        full = np.count_nonzero(counts) >= MEMBERS
        if time.monotonic() > deadline:
            break
        losses = [
            math.inf if full and not counts[i] else judged.loss((total + p) / number, rows)
            for i, p in enumerate(predictions)
        ]
        chosen = int(np.argmin(losses))
        counts[chosen] += 1
        total += predictions[chosen]
        if losses[chosen] < best - 1e-12:
            best, kept = losses[chosen], counts.copy()
    if not kept.any():
        kept[0] = 1  # no member has a value of the metric
    return np.asarray(kept / kept.sum())


def _strength(judged: Judged, features: np.ndarray, rows: np.ndarray) -> float:
    """Return the ``C`` with the smallest logarithmic loss on rows that were left out."""
    if features.shape[1] > _COLUMNS:
        return _STRENGTHS[0]
    search = GridSearchCV(
        LogisticRegression(max_iter=_STEPS), {"C": list(_STRENGTHS)}, scoring="neg_log_loss", cv=3, refit=False
    )
    scaled = StandardScaler().fit_transform(features[rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(scaled, judged.y[rows], **_weighted(judged, rows))
    return float(search.best_params_["C"])


def _meta(judged: Judged, features: np.ndarray, rows: np.ndarray, strength: float | None) -> Pipeline:
    scaler = StandardScaler().fit(features[rows])
    if judged.classes:
        learner: Any = LogisticRegression(C=strength, max_iter=_STEPS)
    else:
        learner = RidgeCV(alphas=np.logspace(-3, 3, 13))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        learner.fit(scaler.transform(features[rows]), judged.y[rows], **_weighted(judged, rows))
    return Pipeline([("scaler", scaler), ("meta", learner)])


def _predicted(judged: Judged, meta: Pipeline, features: np.ndarray) -> np.ndarray:
    if not judged.classes:
        return np.asarray(meta.predict(features), dtype=float)
    return in_columns(meta.predict_proba(features), meta.classes_, judged.classes)


def _weighted(judged: Judged, rows: np.ndarray) -> dict[str, Any]:
    return {} if judged.weight is None else {"sample_weight": judged.weight[rows]}
