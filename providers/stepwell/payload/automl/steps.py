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
