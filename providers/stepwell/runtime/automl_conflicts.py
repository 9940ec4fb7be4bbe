"""Parameters of an ``AutoMLConfig`` that contradict each other."""

from __future__ import annotations

from typing import Any, Mapping

from stepwell.runtime import automl
from stepwell.runtime import automl_checks as check
from stepwell.runtime.errors import UserErrorException

_OF_TABLES = ("label_column_name", "weight_column_name", "cv_split_column_names")


def _is_frame(value: Any) -> bool:
    return type(value).__name__ in ("DataFrame", "Series") and type(value).__module__.split(".")[0] in (
        "pandas",
        "pyspark",
    )


def check_data(data: Mapping[str, Any], given: Mapping[str, Any], spark_context: Any) -> None:
    """Refuse data arguments that need others, or exclude each other.

    :param data: those that are given.
    :param given: all parameters.
    :raises UserErrorException: there are such.
    """
    for name, needed in (
        ("X", "y"), ("y", "X"), ("X_valid", "y_valid"), ("y_valid", "X_valid"), ("X_valid", "X"),
        ("sample_weight", "X"), ("sample_weight_valid", "X_valid"), ("validation_data", "training_data"),
    ):  # fmt: skip
        if name in data and needed not in data:
            hint = "Give both here, or both as inputs of the step" if name == "validation_data" else None
            raise UserErrorException(f"{name} is given without {needed}", hint=hint)
    if "X" in data:
        check.deprecated("X and y", "training_data and label_column_name")
        for name in ("training_data", "validation_data", "test_data", *_OF_TABLES):
            if given[name] is not None:
                raise UserErrorException(f"{name} and X are both given", hint="Use training_data and label_column_name")
    elif given["label_column_name"] is None:
        raise UserErrorException("label_column_name is missing", hint="Name the column that is to be predicted")
    if "test_data" in data and given["test_size"] is not None:
        raise UserErrorException("test_data and test_size are both given", hint="Leave one of the two out")
    if spark_context is not None:
        _check_spark(data, given)


def _check_spark(data: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for name in ("test_data", "test_size"):
        if given[name] is not None:
            raise UserErrorException(
                f"{name} is not possible with spark_context", hint="Score the test data in a step of its own"
            )
    for name, value in data.items():
        if _is_frame(value):
            raise UserErrorException(
                f"{name} is a frame of {type(value).__module__.split('.')[0]}, which is not possible with "
                "spark_context: each worker reads the data itself",
                hint="Give a TabularDataset",
            )


def check_validation(task: str, given: Mapping[str, Any]) -> None:
    """Refuse two ways of judging trials at once, and ways that a forecast cannot be judged in.

    :raises UserErrorException: there are such.
    """
    named = [n for n in ("validation_data", "X_valid", "cv_split_column_names") if given[n] is not None]
    for own in named:
        for other in ("n_cross_validations", "validation_size", *named):
            if other != own and given[other] is not None:
                raise UserErrorException(
                    f"{own} and {other} are both given",
                    hint="Each says what trials are judged by: leave one of the two out",
                )
    if task == automl.FORECASTING:
        for name, hint in (
            ("validation_size", "Folds follow time: n_cross_validations"),
            ("cv_split_column_names", "Folds follow time: n_cross_validations"),
            ("test_size", "Give the later rows as test_data"),
        ):
            if given[name] is not None:
                raise UserErrorException(f"{name} is not possible for a forecast", hint=hint)


def check_columns(settings: Mapping[str, Any]) -> None:
    """Refuse a column that has two roles.

    :raises UserErrorException: there is one.
    """
    label = settings["label_column_name"]
    times = settings["forecasting_parameters"] or {}
    features = settings["featurization"]
    uses: list[tuple[str, str | None]] = [("weight_column_name", settings["weight_column_name"])]
    uses += [("cv_split_column_names", c) for c in settings["cv_split_column_names"] or []]
    uses += [("time_column_name", times.get("time_column_name"))]
    uses += [("time_series_id_column_names", c) for c in times.get("time_series_id_column_names") or []]
    dropped = features["drop_columns"] if isinstance(features, dict) else []
    for name, column in uses:
        if column is not None and column == label:
            raise UserErrorException(f"The column {column!r} is label_column_name and {name}")
        if column is not None and column in dropped:
            raise UserErrorException(f"The column {column!r} is {name} and in drop_columns")
    if label is not None and label in dropped:
        raise UserErrorException(f"The column {label!r} is label_column_name and in drop_columns")
