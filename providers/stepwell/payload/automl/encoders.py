"""How a column of each purpose becomes features. Travels inside saved models: it imports nothing of Stepwell."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from stepwell.payload.automl.columns import FeaturizationError, as_dates, as_numbers, coded, days, text_of

#: The category of missing values and of those never seen, and the one of rare values.
MISSING, RARE = "(missing)", "(rare)"
#: Which share of a column must be missing before that is a feature of its own.
MARKED_FROM = 0.01
#: So many values of a column are remembered with their frequency and their place in the order.
_REMEMBERED = 10_000
_TEXTS_TO_LEARN = 50_000
#: A word that so large a share of the texts has (and as many have not) is a feature; so many words at most.
_COMMON, _WORDS = 0.02, 24
#: Texts of so many words on average also have topics, so many.
_LONG, _TOPICS = 8, 16
_DATE_PARTS = ("year", "month", "day", "hour", "minute", "second", "dayofweek", "dayofyear", "quarter")
STRATEGIES = ("mean", "median", "most_frequent", "constant")


class Encoder:
    """Makes features of one column: :meth:`fit`, then :meth:`transform` as often as wanted.

    :param steps: the transformers that were applied, in words.
    :param width: how many features are numbers.
    :param categories: of each feature that is a category, its values.
    """

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.width = 0
        self.categories: list[list[str]] = []

    def fit(self, series: pd.Series) -> None:
        """Learn from a column what its features are."""
        raise NotImplementedError

    def transform(self, series: pd.Series, numbers: np.ndarray) -> list[pd.Categorical]:
        """Write the features that are numbers into *numbers* (rows × width) and return the others."""
        raise NotImplementedError


class Numbers(Encoder):
    """Numbers: missing ones are filled in, and marked when they are many.

    :param strategy: ``mean``, ``median``, ``most_frequent``, ``constant``, or None = they stay missing.
    """

    def __init__(self, strategy: str | None = "median", fill_value: Any = 0, mark: bool = True) -> None:
        super().__init__()
        if strategy is not None and strategy not in STRATEGIES:
            raise FeaturizationError(f"{strategy!r} is not a strategy of the Imputer. Allowed: {', '.join(STRATEGIES)}")
        self.strategy, self.fill_value, self.mark = strategy, fill_value, mark
        self.fills: dict[str, float] = {}
        self.marked = False

    def parts(self, series: pd.Series, names: Any = None) -> dict[str, np.ndarray]:
        """Return the vectors of numbers that a column consists of, with NaN where it is missing."""
        return {"number": as_numbers(series)}

    def fit(self, series: pd.Series) -> None:
        missing = 0.0
        for name, values in self.parts(series).items():
            absent = np.isnan(values)
            missing = float(absent.mean())
            present = values[~absent] if missing else values
            if not len(present):
                raise FeaturizationError(f"The column {series.name!r} holds no numbers or dates, as its purpose says")
            fill = self._fill(present)
            low, high = float(present.min()), float(present.max())
            if low < high or (missing and not np.isnan(fill) and fill != low):
                self.fills[name] = fill
        self.marked = self.mark and MARKED_FROM < missing < 1
        self.width = len(self.fills) + self.marked
        if missing and self.fills:
            self.steps.append(f"Imputer ({self.strategy})" if self.strategy else "missing values stay missing")
        if self.marked:
            self.steps.append("ImputationMarker")

    def transform(self, series: pd.Series, numbers: np.ndarray) -> list[pd.Categorical]:
        values: np.ndarray | None = None
        # A column of which only the marker is left still has a vector to be looked at.
        for position, (name, values) in enumerate(self.parts(series, self.fills).items()):
            if name in self.fills:
                target = numbers[:, position]
                target[:] = values
                if not np.isnan(self.fills[name]):
                    np.copyto(target, self.fills[name], where=np.isnan(values))
        if self.marked and values is not None:
            numbers[:, -1] = np.isnan(values)
        return []

    def _fill(self, present: np.ndarray) -> float:
        if self.strategy is None:
            return float("nan")
        if self.strategy == "constant":
            return float(self.fill_value)
        if self.strategy == "most_frequent":
            values, counts = np.unique(present, return_counts=True)
            return float(values[counts.argmax()])
        return float(np.mean(present) if self.strategy == "mean" else np.median(present))


class Dates(Numbers):
    """Dates: days since 1970 and the calendar's parts, of which those that never change are left out.

    :param calendar: whether there are parts at all.
    """

    def __init__(self, strategy: str | None = "median", fill_value: Any = 0, mark: bool = True, calendar: bool = True):
        super().__init__(strategy, fill_value, mark)
        self.calendar = calendar

    def parts(self, series: pd.Series, names: Any = None) -> dict[str, np.ndarray]:
        dates = as_dates(series)
        wanted = [p for p in _DATE_PARTS if self.calendar and (names is None or p in names)]
        # Missing dates are NaN in every part.
        found = {part: getattr(dates.dt, part).to_numpy(dtype=float) for part in wanted}
        if names is None or "days" in names or not found:
            found["days"] = days(dates)
        return found

    def fit(self, series: pd.Series) -> None:
        super().fit(series)
        if self.fills:
            self.steps.insert(0, f"DateTimeTransformer ({', '.join(self.fills)})")


class Categories(Encoder):
    """Values that name something: a category each, and one for what is missing or was never seen.

    :param fill: what missing values become: ``most_frequent``, ``constant`` (*fill_value*), None = their own category.
    """

    def __init__(self, fill: str | None = None, fill_value: Any = MISSING) -> None:
        super().__init__()
        self.fill, self.fill_value = fill, fill_value

    def fit(self, series: pd.Series) -> None:
        codes, texts = coded(series)
        counts = np.bincount(codes[codes >= 0], minlength=len(texts))
        self._learn(self._chosen(texts, counts), texts, counts)
        missing = bool((codes < 0).any())
        if len(texts) + missing > 1:
            self.steps.append(f"{len(texts)} categories" + (", one for missing values" if missing else ""))
        else:
            self.categories = []

    def transform(self, series: pd.Series, numbers: np.ndarray) -> list[pd.Categorical]:
        codes, texts = coded(series)
        return self._categories(codes, texts)

    def _chosen(self, texts: list[str], counts: np.ndarray) -> list[str]:
        return texts

    def _learn(self, chosen: list[str], texts: list[str], counts: np.ndarray) -> None:
        named = _sorted([t for t in chosen if t not in (MISSING, RARE)])
        self.other = MISSING if len(chosen) == len(texts) else RARE
        self.categories = [[*named, *([RARE] if self.other == RARE else []), MISSING]]
        self.positions = {text: number for number, text in enumerate(self.categories[0])}
        default = MISSING
        if self.fill == "most_frequent" and len(texts):
            default = texts[int(counts.argmax())]
        elif self.fill == "constant":
            default = str(self.fill_value)
        self.default = self.positions.get(default, self.positions[MISSING])

    def _categories(self, codes: np.ndarray, texts: list[str]) -> list[pd.Categorical]:
        if not self.categories:
            return []
        other = self.positions[self.other]
        places = np.array([*(self.positions.get(t, other) for t in texts), self.default], dtype=np.int32)
        return [pd.Categorical.from_codes(places[codes], categories=self.categories[0])]


class ManyCategories(Categories):
    """Values of which there are many: the frequent ones are categories; how frequent a value is, and where it stands
    in the order of all, are numbers, which also rare and new values have.

    :param bits: 2 to the power of it categories at most.
    """

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        self.bits = bits

    def fit(self, series: pd.Series) -> None:
        super().fit(series)
        if self.categories:
            self.width = 2
            self.steps = [f"HashOneHotEncoder ({len(self.categories[0])} categories, rare ones grouped)"]
            self.steps += ["frequency", "place in the order"]

    def transform(self, series: pd.Series, numbers: np.ndarray) -> list[pd.Categorical]:
        codes, texts = coded(series)
        frequency = np.array([*(self.frequencies.get(t, self.rare) for t in texts), self.rare])
        places = np.searchsorted(self.order, np.array(texts, dtype=object)) if texts else np.empty(0)
        numbers[:, 0] = frequency[codes]
        numbers[:, 1] = np.append(places, -1)[codes]
        return self._categories(codes, texts)

    def _chosen(self, texts: list[str], counts: np.ndarray) -> list[str]:
        frequent = np.argsort(-counts, kind="stable")[: 2**self.bits - 2]
        return [texts[i] for i in frequent if counts[i] > 1]

    def _learn(self, chosen: list[str], texts: list[str], counts: np.ndarray) -> None:
        super()._learn(chosen, texts, counts)
        remembered = np.argsort(-counts, kind="stable")[:_REMEMBERED]
        self.frequencies = {texts[i]: float(np.log1p(counts[i])) for i in remembered if counts[i] > 1}
        self.rare = float(np.log1p(1))
        ordered = sorted(texts)
        self.order = np.array(ordered[:: max(1, len(ordered) // _REMEMBERED)], dtype=object)


class Texts(Encoder):
    """Texts: the words that many of them share; of longer texts also all words, condensed into a few topics.

    :param options: of scikit-learn's ``TfidfVectorizer``.
    """

    def __init__(self, options: Mapping[str, Any] | None = None, seed: int = 1) -> None:
        super().__init__()
        self.options, self.seed = dict(options or {}), seed

    def fit(self, series: pd.Series) -> None:
        texts = self._texts(series)
        if len(texts) > _TEXTS_TO_LEARN:
            texts = texts[:: -(-len(texts) // _TEXTS_TO_LEARN)]
        options = {"min_df": 2, "max_features": 5000, "sublinear_tf": True, "norm": None, "dtype": np.float32}
        options.update(self.options)
        if isinstance(options.get("ngram_range"), list):
            options["ngram_range"] = tuple(options["ngram_range"])
        self.vectorizer = TfidfVectorizer(**options)
        try:
            matrix = self.vectorizer.fit_transform(texts)
        except (ValueError, TypeError) as error:
            if "vocabulary" in str(error) or "no terms remain" in str(error):
                self.steps = ["no word occurs twice"]
                return
            raise FeaturizationError(f"TfIdf cannot be applied to the column {series.name!r}: {error}") from error
        share = np.bincount(matrix.indices, minlength=matrix.shape[1]) / len(texts)
        common = np.flatnonzero(np.minimum(share, 1 - share) >= _COMMON)
        self.words = np.sort(common[np.argsort(np.abs(share[common] - 0.5), kind="stable")[:_WORDS]])
        self.topics = None
        if matrix.nnz > _LONG * len(texts) and min(matrix.shape) > _TOPICS:
            self.topics = TruncatedSVD(_TOPICS, random_state=self.seed, n_iter=4).fit(normalize(matrix))
        self.width = len(self.words) + (0 if self.topics is None else _TOPICS) + 1
        self.steps = [f"TfIdf ({len(self.words)} of {matrix.shape[1]:,} words)", "length"]
        if self.topics is not None:
            self.steps.insert(1, f"TruncatedSVD ({_TOPICS} topics)")

    def transform(self, series: pd.Series, numbers: np.ndarray) -> list[pd.Categorical]:
        words = len(self.words)
        for start in range(0, len(series), _TEXTS_TO_LEARN):
            rows = slice(start, start + _TEXTS_TO_LEARN)
            texts = self._texts(series.iloc[rows])
            matrix = self.vectorizer.transform(texts)
            numbers[rows, :words] = matrix[:, self.words].toarray()
            if self.topics is not None:
                numbers[rows, words:-1] = self.topics.transform(normalize(matrix))
            numbers[rows, -1] = np.log1p([len(t) for t in texts])
        return []

    @staticmethod
    def _texts(series: pd.Series) -> list[str]:
        return [t if isinstance(t, str) else "" if pd.isna(t) else text_of(t) for t in series]


def _sorted(texts: list[str]) -> list[str]:
    """Return texts in order: of their numbers, if they all are numbers."""
    try:
        return sorted(texts, key=lambda t: (float(t), t))
    except ValueError:
        return sorted(texts)
