"""The last steps of fitted pipelines: ensembles, and what turns codes into labels. They travel inside a saved model.

Like :mod:`stepwell.payload.automl.steps`, they import nothing of Stepwell: whoever loads the model needs none.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if

_TINY = 1e-6


def in_columns(probabilities: np.ndarray, codes: Any, classes: int) -> np.ndarray:
    """Return *probabilities* with a column for each class, also for those that a model has never seen.

    :param codes: the class of each column there is.
    :param classes: how many there are.
    """
    if probabilities.shape[1] == classes:
        return probabilities
    whole = np.zeros((len(probabilities), classes))
    whole[:, np.asarray(codes, dtype=int)] = probabilities
    return whole


def as_features(predictions: Sequence[np.ndarray]) -> np.ndarray:
    """Return what a meta learner learns from: the members' predictions side by side, probabilities as log-odds."""
    columns = []
    for values in predictions:
        if values.ndim == 1:
            columns.append(values[:, None])
            continue
        inner = np.clip(values[:, 1:] if values.shape[1] == 2 else values, _TINY, 1 - _TINY)
        columns.append(np.log(inner / (1 - inner)))
    return np.hstack(columns)


class _Ensemble(BaseEstimator):  # type: ignore[misc]
    """Several fitted models as one.

    :param members: (name, fitted estimator, weight).
    :param classes: how many classes; 0 = it predicts numbers.
    """

    def __init__(self, members: Any = (), classes: int = 0) -> None:
        self.members = members
        self.classes = classes
        self.classes_ = np.arange(classes) if classes else None

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None) -> _Ensemble:
        """Do nothing: the members are fitted already."""
        return self

    def _predictions(self, X: pd.DataFrame) -> list[np.ndarray]:
        if not self.classes:
            return [np.asarray(model.predict(X), dtype=float).ravel() for _, model, _ in self.members]
        return [
            in_columns(np.asarray(model.predict_proba(X), dtype=float), model.classes_, self.classes)
            for _, model, _ in self.members
        ]

    def _combined(self, X: pd.DataFrame) -> np.ndarray:
        raise NotImplementedError

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return codes of classes, or numbers."""
        combined = self._combined(X)
        return np.asarray(combined.argmax(axis=1) if self.classes else combined)

    @available_if(lambda self: self.classes > 0)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return a probability of each class for each row."""
        return self._combined(X)


class VotingEnsemble(_Ensemble):
    """The weighted mean of its members' predictions."""

    def _combined(self, X: pd.DataFrame) -> np.ndarray:
        weights = np.array([weight for _, _, weight in self.members], dtype=float)
        return np.asarray(np.tensordot(weights / weights.sum(), np.stack(self._predictions(X)), axes=1))


class StackEnsemble(_Ensemble):
    """A model of its members' predictions.

    :param meta: the fitted meta learner.
    """

    def __init__(self, members: Any = (), classes: int = 0, meta: Any = None) -> None:
        super().__init__(members, classes)
        self.meta = meta

    def _combined(self, X: pd.DataFrame) -> np.ndarray:
        features = as_features(self._predictions(X))
        if not self.classes:
            return np.asarray(self.meta.predict(features))
        return in_columns(self.meta.predict_proba(features), self.meta.classes_, self.classes)


class LabelledClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier of codes that predicts the labels they stand for.

    :param estimator: predicts codes from 0.
    :param classes: the labels by code.
    """

    def __init__(self, estimator: Any = None, classes: Sequence[Any] = ()) -> None:
        self.estimator = estimator
        self.classes = classes
        self.classes_ = _array(classes)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None) -> LabelledClassifier:
        """Do nothing: the estimator is fitted already."""
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return labels."""
        codes = np.asarray(self.estimator.predict(X)).ravel().astype(int)
        return np.asarray(self.classes_[codes])

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return a probability of each label for each row, in the order of ``classes_``."""
        probabilities = np.asarray(self.estimator.predict_proba(X), dtype=float)
        codes = getattr(self.estimator, "classes_", None)
        return in_columns(probabilities, codes, len(self.classes_))


def _array(labels: Sequence[Any]) -> np.ndarray:
    """Return labels as an array that keeps what they are: NumPy makes text of 1 beside "a", and 1 of True beside 1."""
    if len({type(label) for label in labels}) == 1:
        return np.asarray(labels)
    array = np.empty(len(labels), dtype=object)
    array[:] = list(labels)
    return array
