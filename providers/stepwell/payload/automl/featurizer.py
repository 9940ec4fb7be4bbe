"""The featurizer: a frame as people have it becomes one that learners take. It is fitted once and saved in the model.

This module travels inside saved models: it imports nothing of Stepwell but what travels with it.
"""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from stepwell.payload.automl.columns import (
    ALL_NAN,
    CATEGORICAL,
    CATEGORICAL_HASH,
    DATETIME,
    HASHES,
    IGNORE,
    NUMERIC,
    TEXT,
    FeaturizationError,
    kind_of,
    purpose_of,
)
from stepwell.payload.automl.encoders import Categories, Dates, Encoder, ManyCategories, Numbers, Texts

_DROPPED = (IGNORE, ALL_NAN, HASHES)


class Featurizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Columns become features: ``f0``, ``f1``, … the numbers (floats) first, then the categories.

    :param featurization: ``auto``, ``off``, or a dict of v1's ``FeaturizationConfig``: ``column_purposes``,
        ``drop_columns``, ``blocked_transformers``, ``transformer_params``.
    :param seed: of what is random in it (the condensing of texts).

    After :meth:`fit`:

    * ``lineage``: feature → the column that it comes from;
    * ``described``: of each column ``column``, ``purpose``, ``why``, ``steps``, ``features`` (how many), ``dropped``.
    """

    def __init__(self, featurization: Any = "auto", seed: int = 1) -> None:
        self.featurization = featurization
        self.seed = seed

    def fit(self, frame: pd.DataFrame, y: Any = None) -> Featurizer:
        """Learn what the columns are and what becomes of them.

        :raises FeaturizationError: a column cannot be what the configuration says, or nothing is left.
        """
        self.encoders: dict[str, Encoder] = {}
        self.described: list[dict[str, Any]] = []
        self.feature_names_in_ = np.array([str(c) for c in frame.columns], dtype=object)
        self.n_features_in_ = frame.shape[1]
        for column in frame.columns:
            purpose, why = self._purpose(frame[column])
            encoder = None if purpose in _DROPPED else self._encoder(column, purpose, frame[column])
            steps = []
            if encoder is not None:
                encoder.fit(frame[column])
                steps = encoder.steps
                if encoder.width or encoder.categories:
                    self.encoders[column] = encoder
                else:
                    why = steps[0] if steps else "has the same value everywhere"
                    steps = []
            kept = column in self.encoders
            features = encoder.width + len(encoder.categories) if encoder is not None and kept else 0
            self.described.append(
                {"column": column, "purpose": purpose, "why": why, "steps": steps, "features": features}
            )
            self.described[-1]["dropped"] = not kept
        if not self.encoders:
            raise FeaturizationError(
                "No column is left to learn from: "
                + "; ".join(f"{d['column']!r} {d['why']}" for d in self.described[:20])
            )
        numbers = [c for c, e in self.encoders.items() for _ in range(e.width)]
        categories = [c for c, e in self.encoders.items() for _ in e.categories]
        self.lineage = {f"f{n}": column for n, column in enumerate([*numbers, *categories])}
        return self

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the features of *frame*, whose columns may be in any order, and may be more.

        :raises FeaturizationError: one is missing.
        """
        missing = [c for c in self.encoders if c not in frame.columns]
        if missing:
            raise FeaturizationError(
                f"The data lack the columns {', '.join(map(repr, missing))}, which the model was trained with."
                f" They have: {', '.join(map(repr, frame.columns))}"
            )
        width = sum(e.width for e in self.encoders.values())
        numbers = np.empty((len(frame), width))
        categories: list[pd.Categorical] = []
        start = 0
        for column, encoder in self.encoders.items():
            categories += encoder.transform(frame[column], numbers[:, start : start + encoder.width])
            start += encoder.width
        names = list(self.lineage)
        result = pd.DataFrame(numbers, columns=names[:width], index=frame.index, copy=False)
        if not categories:
            return result
        named = dict(zip(names[width:], categories))
        return pd.concat([result, pd.DataFrame(named, index=frame.index, copy=False)], axis=1, copy=False)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features."""
        return np.array(list(self.lineage), dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "lineage")

    # -- the configuration ------------------------------------------------------------------------------------------

    @property
    def _configuration(self) -> Mapping[str, Any]:
        return self.featurization if isinstance(self.featurization, Mapping) else {}

    def _purpose(self, series: pd.Series) -> tuple[str, str]:
        if self.featurization == "off":
            return self._as_it_is(series)
        configured = self._configuration
        if series.name in (configured.get("drop_columns") or ()):
            return IGNORE, "is dropped by the configuration"
        wanted = (configured.get("column_purposes") or {}).get(series.name)
        purpose, why = purpose_of(series)
        if wanted is not None and purpose != ALL_NAN:
            return wanted, "is said so by the configuration"
        if purpose == CATEGORICAL_HASH and "HashOneHotEncoder" in self._blocked:
            return CATEGORICAL, why
        if purpose == TEXT and "TfIdf" in self._blocked:
            return IGNORE, "is text, and TfIdf is blocked"
        return purpose, why

    @staticmethod
    def _as_it_is(series: pd.Series) -> tuple[str, str]:
        kind = kind_of(series)
        if kind not in ("number", "bool", "empty"):
            raise FeaturizationError(
                f"The column {series.name!r} holds no numbers (but {kind}), and featurization is 'off'. "
                "Make numbers of it, drop it, or set featurization='auto'"
            )
        return (ALL_NAN, "has no values") if kind == "empty" else (NUMERIC, "is taken as it is")

    @property
    def _blocked(self) -> Any:
        return self._configuration.get("blocked_transformers") or ()

    def _parameters(self, transformer: str, column: str) -> dict[str, Any]:
        """Return the configuration of a transformer for a column: what names it, else what names no column."""
        general: dict[str, Any] = {}
        for columns, parameters in (self._configuration.get("transformer_params") or {}).get(transformer) or ():
            if column in (columns or ()):
                return dict(parameters)
            if not columns:
                general = dict(parameters)
        return general

    def _encoder(self, column: str, purpose: str, series: pd.Series) -> Encoder:
        if purpose in (NUMERIC, DATETIME):
            return self._numbers(column, purpose, series)
        if purpose == TEXT:
            return Texts(self._parameters("TfIdf", column), self.seed)
        if purpose == CATEGORICAL_HASH:
            return ManyCategories(int(self._parameters("HashOneHotEncoder", column).get("number_of_bits", 8)))
        if purpose != CATEGORICAL:
            raise FeaturizationError(f"{purpose!r}, given for the column {column!r}, is not a purpose of a column")
        imputer = self._parameters("Imputer", column)
        strategy = imputer.get("strategy")
        fill = strategy if strategy in ("most_frequent", "constant") else None
        return Categories(fill, imputer.get("fill_value"))

    def _numbers(self, column: str, purpose: str, series: pd.Series) -> Encoder:
        if self.featurization == "off":
            return AsItIs()
        imputer = self._parameters("Imputer", column)
        strategy = None if "Imputer" in self._blocked else imputer.get("strategy", "median")
        mark = "ImputationMarker" not in self._blocked
        if purpose == NUMERIC:
            return Numbers(strategy, imputer.get("fill_value", 0), mark)
        if kind_of(series) in ("number", "bool"):
            raise FeaturizationError(
                f"The column {column!r} holds numbers, which are no dates. Convert it in the step before, or with"
                " set_column_types of the dataset"
            )
        calendar = not {"DateTimeTransformer", "DatetimeTransformer"} & set(self._blocked)
        # A date that stands for a constant would be a number of days: it is filled in by the median instead.
        return Dates(strategy if strategy != "constant" else "median", 0, mark, calendar)


class AsItIs(Numbers):
    """Numbers that stay what they are; what is missing stays missing."""

    def fit(self, series: pd.Series) -> None:
        self.fills = {"number": float("nan")}
        self.width = 1
