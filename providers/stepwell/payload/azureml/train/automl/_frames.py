"""The data of an ``AutoMLConfig`` as the frames that a search takes."""

from __future__ import annotations

from typing import Any, Mapping

from stepwell.runtime.errors import UserErrorException

#: Argument of the configuration → what a search calls it.
TABLES = {"training_data": "training", "validation_data": "validation", "test_data": "test"}


def frames(settings: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings and the frames of a search; X and y become one frame, and its label gets a name.

    :param settings: of the configuration.
    :param given: its data arguments.
    :raises UserErrorException: an argument is no table, or X and y do not fit together.
    """
    if "X" not in given:
        if "training_data" not in given:
            raise UserErrorException(
                "The AutoMLConfig has no training_data", hint="AutoMLConfig(…, training_data=dataset)"
            )
        return dict(settings), {TABLES[name]: table(name, value) for name, value in given.items()}
    features = _features("X", given["X"], None)
    label = _name_of(given["y"], features, "label")
    weight = _free("sample_weight", [*features, label]) if "sample_weight" in given else None
    data = {"training": _together(features, given, "y", label, "sample_weight", weight)}
    if "X_valid" in given:
        features = _features("X_valid", given["X_valid"], list(features))
        data["validation"] = _together(features, given, "y_valid", label, "sample_weight_valid", weight)
    return {**settings, "label_column_name": label, "weight_column_name": weight}, data


def table(name: str, value: Any) -> Any:
    """Return a table as a pandas frame.

    :raises UserErrorException: it is none.
    """
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return value
    if hasattr(value, "to_pandas_dataframe") and hasattr(value, "files"):
        if any("://" in f and not f.startswith("file:") for f in value.files()):
            return value.to_spark_dataframe().toPandas()
        return value.to_pandas_dataframe()
    if type(value).__module__.split(".")[0] == "pyspark" and hasattr(value, "toPandas"):
        return value.toPandas()
    hint = None
    if hasattr(value, "to_path"):
        hint = "A FileDataset has no columns: read its files with Dataset.Tabular"
    raise UserErrorException(
        f"{name} is a {type(value).__name__}", allowed=["a TabularDataset", "a pandas or Spark DataFrame"], hint=hint
    )


def _features(name: str, value: Any, columns: list[Any] | None) -> Any:
    import numpy as np
    import pandas as pd

    if isinstance(value, pd.Series):
        value = value.to_frame()
    if isinstance(value, (np.ndarray, list, tuple)):
        array = np.asarray(value)
        array = array.reshape(-1, 1) if array.ndim == 1 else array
        if array.ndim != 2:
            raise UserErrorException(f"{name} has {array.ndim} dimensions", allowed=["rows and columns"])
        if columns is not None and len(columns) != array.shape[1]:
            raise UserErrorException(f"{name} has {array.shape[1]} columns, X has {len(columns)}")
        return pd.DataFrame(array, columns=columns or [f"C{n + 1}" for n in range(array.shape[1])])
    return table(name, value)


def _values(name: str, value: Any) -> Any:
    """Return one column: of a label, or of weights."""
    import numpy as np
    import pandas as pd

    if not isinstance(value, (pd.Series, np.ndarray, list, tuple)):
        value = table(name, value)
    array = value.to_numpy() if isinstance(value, (pd.Series, pd.DataFrame)) else np.asarray(value)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise UserErrorException(f"{name} has the shape {array.shape}", allowed=["one column"])
    return array


def _together(
    features: Any, given: Mapping[str, Any], label_from: str, label: str, weight_from: str, weight: str | None
) -> Any:
    added = {label: _values(label_from, given[label_from])}
    if weight is not None and weight_from in given:
        added[weight] = _values(weight_from, given[weight_from])
    for name, values in added.items():
        if len(values) != len(features):
            origin = label_from if name == label else weight_from
            raise UserErrorException(f"{origin} has {len(values)} values, and there are {len(features)} rows")
    return features.assign(**added)


def _name_of(value: Any, features: Any, otherwise: str) -> str:
    columns = getattr(value, "columns", None)
    name = columns[0] if columns is not None and len(columns) == 1 else getattr(value, "name", None)
    return _free(name if isinstance(name, str) and name else otherwise, list(features))


def _free(name: str, taken: list[Any]) -> str:
    while name in taken:
        name += "_"
    return name
