"""Steps of fitted pipelines that no library has. They travel inside a saved model: nothing of Stepwell is imported."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin


class CategoryCodes(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Categories become their codes (missing is -1), for learners that take numbers only."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> CategoryCodes:
        """Learn nothing: the codes are those of the frame's own categories."""
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with codes."""
        categories = X.select_dtypes(include=["category"]).columns
        if categories.empty:
            return X
        X = X.copy(deep=False)
        for column in categories:
            X[column] = X[column].cat.codes
        return X

    def __sklearn_is_fitted__(self) -> bool:
        return True


class Numbers:
    """Selects the columns that are no categories; where all are numbers, without a copy of them."""

    def __call__(self, X: pd.DataFrame) -> Any:
        """Return their names, or a slice."""
        numbers = [c for c, dtype in X.dtypes.items() if dtype.name != "category"]
        return slice(0, X.shape[1]) if len(numbers) == X.shape[1] else numbers


class ScaledNumbers(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Numbers become small numbers of single precision; what is missing becomes the column's mean.

    A part of the rows at a time: an imputer and a scaler of scikit-learn's hold three copies of all rows.

    :param unit: each column from 0 to 1, others than those learnt from are cut off; else to mean 0 and deviation 1.
    """

    def __init__(self, unit: bool = False) -> None:
        self.unit = unit

    def fit(self, X: pd.DataFrame, y: Any = None) -> ScaledNumbers:
        """Learn what is taken off of each column, and what it is divided by."""
        columns = self.n_features_in_ = X.shape[1]
        total, known, squares = np.zeros(columns), np.zeros(columns), np.zeros(columns)
        least, most = np.full(columns, np.inf), np.full(columns, -np.inf)
        for _, part in self._parts(X):
            there = ~np.isnan(part)
            known += there.sum(axis=0)
            total += np.where(there, part, 0.0).sum(axis=0)
            least, most = np.fmin(least, np.fmin.reduce(part)), np.fmax(most, np.fmax.reduce(part))
        self.mean_ = total / np.maximum(known, 1)
        for _, part in self._parts(X):
            squares += np.nan_to_num((part - self.mean_) ** 2).sum(axis=0)
        deviation = np.sqrt(squares / max(1, len(X)))
        self.from_ = np.where(known > 0, least, 0.0) if self.unit else self.mean_
        scale = np.where(known > 0, most - least, 0.0) if self.unit else deviation
        self.scale_ = np.where(scale > 1e-12 * np.maximum(1.0, np.abs(self.mean_)), scale, 1.0)
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return them scaled."""
        scaled = np.empty(X.shape, dtype=np.float32)
        for rows, part in self._parts(X):
            found = (np.where(np.isnan(part), self.mean_, part) - self.from_) / self.scale_
            scaled[rows] = np.clip(found, 0.0, 1.0) if self.unit else found
        return scaled

    @staticmethod
    def _parts(X: pd.DataFrame, size: int = 50_000) -> Any:
        for first in range(0, len(X), size):
            yield slice(first, first + size), X.iloc[first : first + size].to_numpy(dtype=float)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "scale_")


class OneColumn(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts what stands in one column: a baseline of forecasts, such as the value of a season ago.

    :param column: its name; where it is missing, the mean of the target.
    """

    def __init__(self, column: str = "") -> None:
        self.column = column

    def fit(self, X: pd.DataFrame, y: Any, sample_weight: Any = None) -> OneColumn:
        """Remember the mean."""
        self.mean_ = float(np.average(np.asarray(y, dtype=float), weights=sample_weight))
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Return the column."""
        return np.nan_to_num(X[self.column].to_numpy(dtype=float), nan=self.mean_)
