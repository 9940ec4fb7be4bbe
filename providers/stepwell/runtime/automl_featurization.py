"""``FeaturizationConfig``: how columns become features, where that shall not be decided automatically."""

from __future__ import annotations

import math
from typing import Any, Mapping, Sequence

from stepwell.runtime import automl_checks as check
from stepwell.runtime.errors import UserErrorException

#: v1's purposes of columns.
PURPOSES = ("Numeric", "DateTime", "Categorical", "CategoricalHash", "Text", "Hashes", "Ignore", "AllNan")
#: v1's transformers that may be blocked.
BLOCKABLE = (
    "CatTargetEncoder CountVectorizer HashOneHotEncoder LabelEncoder NaiveBayes OneHotEncoder TextTargetEncoder TfIdf "
    "TimeIndexFeaturizer WoETargetEncoder WordEmbedding"
).split()
#: v1's transformers whose parameters may be given.
CUSTOMIZABLE = ("HashOneHotEncoder", "Imputer", "TfIdf")
#: How an Imputer may fill.
STRATEGIES = ("mean", "median", "most_frequent", "constant")


class FeaturizationConfig:
    """Which columns are what, which are left out, how gaps are filled, and what must not be done to any.

    :param blocked_transformers: v1's names of transformers that must not be used, such as ``"TfIdf"``.
    :param column_purposes: column → purpose, such as ``"Categorical"``, where it must not be guessed.
    :param transformer_params: transformer → list of (columns, parameters); no columns mean all.
    :param drop_columns: columns to leave out.
    :param dataset_language: only English (``"eng"``) is built.
    :param prediction_transform_type: not built.
    :raises UserErrorException: a name is unknown, a column is both dropped and used, a parameter is not built.
    """

    def __init__(
        self,
        blocked_transformers: Sequence[str] | str | None = None,
        column_purposes: Mapping[str, str] | None = None,
        transformer_params: Mapping[str, Sequence[Any]] | None = None,
        drop_columns: Sequence[str] | str | None = None,
        dataset_language: str | None = None,
        prediction_transform_type: str | None = None,
    ) -> None:
        if dataset_language not in (None, "eng"):
            check.not_built("dataset_language", dataset_language, "Texts are split into words as English ones are")
        if prediction_transform_type is not None:
            check.not_built("prediction_transform_type", prediction_transform_type, "Round the predictions")
        self._blocked: list[str] = []
        self._purposes: dict[str, str] = {}
        self._params: dict[str, list[tuple[list[str], dict[str, Any]]]] = {}
        self._dropped: list[str] = []
        self.add_blocked_transformers(blocked_transformers or [])
        for name, purpose in dict(column_purposes or {}).items():
            self.add_column_purpose(name, purpose)
        for transformer, entries in dict(transformer_params or {}).items():
            for entry in entries:
                if not isinstance(entry, (list, tuple)) or len(entry) != 2:
                    raise UserErrorException(
                        f"transformer_params[{transformer!r}] has {entry!r}", allowed=["([columns], {parameters})"]
                    )
                self.add_transformer_params(transformer, entry[0], entry[1])
        self.add_drop_columns(drop_columns or [])

    @property
    def blocked_transformers(self) -> list[str]:
        """What must not be used."""
        return list(self._blocked)

    @blocked_transformers.setter
    def blocked_transformers(self, transformers: Sequence[str] | str | None) -> None:
        self._blocked = []
        self.add_blocked_transformers(transformers or [])

    @property
    def column_purposes(self) -> dict[str, str]:
        """Column → purpose."""
        return dict(self._purposes)

    @column_purposes.setter
    def column_purposes(self, purposes: Mapping[str, str] | None) -> None:
        self._purposes = {}
        for name, purpose in dict(purposes or {}).items():
            self.add_column_purpose(name, purpose)

    @property
    def transformer_params(self) -> dict[str, list[tuple[list[str], dict[str, Any]]]]:
        """Transformer → list of (columns, parameters)."""
        return {name: list(entries) for name, entries in self._params.items()}

    @property
    def drop_columns(self) -> list[str]:
        """Columns to leave out."""
        return list(self._dropped)

    @drop_columns.setter
    def drop_columns(self, columns: Sequence[str] | str | None) -> None:
        self._dropped = []
        self.add_drop_columns(columns or [])

    def add_column_purpose(self, column_name: str, feature_type: str) -> None:
        """Say what a column is: one of :data:`PURPOSES`."""
        name = str(check.column("The column of a purpose", column_name, optional=False))
        check.choice(f"The purpose of the column {name!r}", feature_type, PURPOSES)
        self._not_dropped(name)
        self._purposes[name] = feature_type

    def remove_column_purpose(self, column_name: str) -> None:
        """Let the purpose of a column be guessed again."""
        self._purposes.pop(column_name, None)

    def add_blocked_transformers(self, transformers: Sequence[str] | str) -> None:
        """Add transformers that must not be used: of :data:`BLOCKABLE`."""
        for name in [transformers] if isinstance(transformers, str) else transformers:
            check.choice("A blocked transformer", name, BLOCKABLE)
            if name not in self._blocked:
                self._blocked.append(name)

    def add_drop_columns(self, drop_columns: Sequence[str] | str) -> None:
        """Add columns to leave out."""
        for name in check.columns("drop_columns", drop_columns) or []:
            if self._is_used(name):
                raise _both(name)
            if name not in self._dropped:
                self._dropped.append(name)

    def add_transformer_params(self, transformer: str, cols: Sequence[str], params: Mapping[str, Any]) -> None:
        """Set parameters of a transformer of :data:`CUSTOMIZABLE` for columns; for all, if *cols* is empty."""
        check.choice("A transformer with parameters", transformer, CUSTOMIZABLE)
        names = check.columns(f"The columns of {transformer}", cols) or []
        if not isinstance(params, Mapping):
            raise UserErrorException(f"The parameters of {transformer} are {params!r}", allowed=["a dict"])
        if transformer == "Imputer":
            _check_imputer(params)
        for name in names:
            self._not_dropped(name)
        self.remove_transformer_params(transformer, names)
        self._params.setdefault(transformer, []).append((names, {str(k): check.plain(v) for k, v in params.items()}))

    def get_transformer_params(self, transformer: str, cols: Sequence[str]) -> dict[str, Any]:
        """Return the parameters that were set for exactly these columns."""
        for names, params in self._params.get(transformer, []):
            if names == list(cols):
                return dict(params)
        return {}

    def remove_transformer_params(self, transformer: str, cols: Sequence[str] | None = None) -> None:
        """Forget the parameters of a transformer for exactly these columns; without *cols*, all of them."""
        left = [e for e in self._params.get(transformer, []) if cols is not None and e[0] != list(cols)]
        self._params.pop(transformer, None)
        if left:
            self._params[transformer] = left

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data; ``FeaturizationConfig(**document)`` is the way back."""
        return {
            "blocked_transformers": list(self._blocked),
            "column_purposes": dict(self._purposes),
            "transformer_params": {n: [[list(c), dict(p)] for c, p in e] for n, e in self._params.items()},
            "drop_columns": list(self._dropped),
        }

    def _not_dropped(self, name: str) -> None:
        if name in self._dropped:
            raise _both(name)

    def _is_used(self, name: str) -> bool:
        return name in self._purposes or any(name in cols for e in self._params.values() for cols, _ in e)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeaturizationConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v!r}" for k, v in self.to_dict().items() if v)
        return f"FeaturizationConfig({given})"


def _both(name: str) -> UserErrorException:
    return UserErrorException(
        f"The column {name!r} is in drop_columns and is given a purpose or parameters", hint="Leave one of the two out"
    )


def _check_imputer(params: Mapping[str, Any]) -> None:
    strategy = check.choice("The strategy of an Imputer", params.get("strategy", "mean"), STRATEGIES)
    fill = check.plain(params.get("fill_value"))
    if strategy == "constant" and fill is None:
        raise UserErrorException(
            "An Imputer with strategy='constant' has no fill_value", hint="Give fill_value=…, a number or a text"
        )
    if isinstance(fill, float) and not math.isfinite(fill):
        raise UserErrorException(f"The fill_value of an Imputer is {fill!r}", allowed=["a finite number", "a text"])
    if fill is not None and not isinstance(fill, (int, float, str, bool)):
        raise UserErrorException(f"The fill_value of an Imputer is {fill!r}", allowed=["a finite number", "a text"])
