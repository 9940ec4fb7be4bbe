"""AutoMLConfig: v1's parameters, defaults and conflicts."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from stepwell import AutoMLConfig, FeaturizationConfig, ForecastingParameters
from stepwell.runtime import automl
from stepwell.runtime.errors import UserErrorException

pytestmark = pytest.mark.filterwarnings("error")


def config(task: str = "classification", **given: Any) -> AutoMLConfig:
    return AutoMLConfig(task, **{"label_column_name": "label", **given})


def refused(match: str, task: str = "classification", **given: Any) -> None:
    with pytest.raises(UserErrorException, match=match):
        config(task, **given)


TIME = {"time_column_name": "day", "forecast_horizon": 7}


# -- what is left to defaults ------------------------------------------------------------------------------------------


def test_the_settings_are_plain_json_with_v1s_defaults_filled_in() -> None:
    settings = config().settings
    assert json.loads(json.dumps(settings)) == settings
    expected = {
        "primary_metric": "accuracy", "iterations": 1000, "experiment_timeout_hours": 144,
        "max_concurrent_iterations": 1, "max_cores_per_iteration": 1, "n_cross_validations": None,
        "enable_early_stopping": True, "enable_voting_ensemble": True, "enable_stack_ensemble": True,
        "model_explainability": True, "exclude_nan_labels": True, "featurization": "auto", "verbosity": 20, "seed": 1,
    }  # fmt: skip
    assert {k: settings[k] for k in expected} == expected
    assert config("regression").settings["primary_metric"] == "normalized_root_mean_squared_error"
    assert config("forecasting", forecasting_parameters=ForecastingParameters(**TIME)).settings[
        "enable_stack_ensemble"
    ] is False  # fmt: skip


def test_settings_handed_out_cannot_be_changed_from_outside() -> None:
    one = config(allowed_models=["LightGBM"])
    one.settings["allowed_models"].append("SVM")
    assert one.settings["allowed_models"] == ["LightGBM"]


def test_the_settings_make_the_same_configuration_again() -> None:
    features = FeaturizationConfig(
        blocked_transformers=["TfIdf"],
        column_purposes={"a": "Text"},
        transformer_params={"Imputer": [(["b"], {"strategy": "constant", "fill_value": 0})]},
        drop_columns="c",
    )
    one = config("forecasting", forecasting_parameters=ForecastingParameters(**TIME), featurization=features)
    again = AutoMLConfig(**one.settings)
    assert again.settings == one.settings
    assert again.featurization == features


def test_data_is_kept_as_it_was_given_and_not_in_the_settings() -> None:
    rows, later = object(), object()
    one = config(training_data=rows, validation_data=later)
    assert one.data == {"training_data": rows, "validation_data": later}
    assert "training_data" not in one.settings


# -- tables ------------------------------------------------------------------------------------------------------------


def test_the_tables_have_v1s_numbers_of_metrics_and_fit_together() -> None:
    assert [len(automl.METRICS[t]) for t in automl.TASKS] == [26, 12, 12]
    for task in automl.TASKS:
        assert set(automl.PRIMARY_METRICS[task]) < set(automl.METRICS[task])
        assert set(automl.DEFAULT_MODELS[task]) <= set(automl.MODELS[task])
        assert not set(automl.NOT_AVAILABLE[task]) & set(automl.MODELS[task])
        assert set(automl.METRICS[task].values()) == {"max", "min"}
    assert {m for m, d in automl.METRICS["classification"].items() if d == "min"} == {"log_loss"}


def test_better_knows_the_direction_and_that_nan_is_worst() -> None:
    nan = float("nan")
    assert automl.better("r2_score", 0.9, 0.1)
    assert automl.better("log_loss", 0.1, 0.9)
    assert automl.better("accuracy", 0.0, nan)
    assert not automl.better("accuracy", nan, 0.0)


@pytest.mark.parametrize(
    ("allowed", "blocked", "left"),
    [
        (["SVM", "KNN"], ["KNN"], ["SVM"]),
        (None, [m for m in automl.DEFAULT_MODELS["classification"] if m != "SGD"] + ["SVM"], ["SGD"]),
    ],
)
def test_blocked_models_are_taken_from_the_allowed_ones_or_the_defaults(
    allowed: list[str] | None, blocked: list[str], left: list[str]
) -> None:
    assert automl.models_of("classification", allowed, blocked) == left


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"task": "clasification"}, r"no task 'clasification'. Allowed: classification,"),
        ({"task": "image-classification"}, "'image-classification' of v1 is not built"),
        ({"task": None}, "no task None"),
        ({"primary_metric": "auc_weighted"}, r"no metric 'auc_weighted'.* Allowed: AUC_weighted, "),
        ({"primary_metric": "f1_score_weighted"}, "'f1_score_weighted' cannot be optimised.*recorded for each trial"),
        ({"primary_metric": "r2_score"}, "is one of regression and forecasting, not of classification"),
        ({"primary_metric": 3}, "no metric 3"),
        ({"task": "regression", "primary_metric": "accuracy"}, "one of classification, not of regression"),
        ({"allowed_models": ["lightgbm"]}, "no model 'lightgbm' for classification. Allowed: LightGBM, "),
        ({"allowed_models": ["TabnetClassifier"]}, "'TabnetClassifier' of v1 is not available here"),
        ({"allowed_models": ["XGBoostRegressor"]}, r"it is one for regression and forecasting\)"),
        ({"blocked_models": ["Nonsense"]}, "blocked_models: there is no model 'Nonsense'"),
        ({"allowed_models": "LightGBM"}, "allowed_models is 'LightGBM'. Allowed: a list"),
        ({"allowed_models": []}, "allowed_models is empty"),
        ({"allowed_models": [1]}, "no model 1"),
        ({"iteratoins": 3}, r"no parameter 'iteratoins'. Allowed: iterations,"),
        ({"engine": "autogluon"}, "engine is 'autogluon'. Allowed: flaml"),
        ({"featurization": "none"}, "featurization is 'none'. Allowed: 'auto', 'off'"),
        ({"featurization": {"drop_column": ["a"]}}, "no parameter 'drop_column'. Allowed: drop_columns"),
        ({"verbosity": "LOUD"}, "verbosity is 'LOUD'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest_ones(given: dict[str, Any], match: str) -> None:
    refused(match, **given)


def test_a_model_that_is_not_available_may_be_blocked() -> None:
    assert config(blocked_models=["TabnetClassifier"]).settings["blocked_models"] == ["TabnetClassifier"]


# -- ranges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("iterations", [0, -1, 1001, 2.5, "10", True, float("nan")], [1, 1000]),
        ("n_cross_validations", [0, 1, 1001, "all", 3.5], [2, 1000, "auto"]),
        ("validation_size", [0, 1, 1.5, -0.1, "0.2"], [0.1]),
        ("test_size", [0, 1, float("inf")], [0.5]),
        ("max_concurrent_iterations", [0, -1, 1.5, None], [8]),
        ("max_cores_per_iteration", [0, -2, None], [-1, 4]),
        ("iteration_timeout_minutes", [0, -5, 43201], [0.05, 43200]),
        ("experiment_timeout_hours", [0, -1, float("nan"), float("inf")], [0.1]),
        ("experiment_exit_score", ["high", float("nan")], [0.95, -1]),
        ("enable_early_stopping", ["yes", 1, None], [False]),
        ("enable_stack_ensemble", ["yes"], [True, False]),
        ("exclude_nan_labels", [None], [False]),
        ("label_column_name", ["", 3, ["a"]], ["x"]),
        ("weight_column_name", ["", 3], ["w"]),
        ("positive_label", [["a"], {}], ["yes", 1, False]),
        ("cv_split_column_names", [["a", "a"], 3, [1]], [["a", "b"]]),
        ("seed", [-1, None, 1.5], [0]),
    ],
)
def test_ranges(name: str, bad: list[Any], good: list[Any]) -> None:
    for value in bad:
        refused(f"{name}.*", **{name: value})
    for value in good:
        assert config(**{name: value}).settings[name] == value


# -- conflicts ---------------------------------------------------------------------------------------------------------

FRAME = type("DataFrame", (), {"__module__": "pandas.core.frame"})()
SPARK_FRAME = type("DataFrame", (), {"__module__": "pyspark.sql.dataframe"})()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"label_column_name": None}, "label_column_name is missing"),
        ({"label_column_name": None, "training_data": 1}, "label_column_name is missing"),
        ({"validation_data": 1}, "validation_data is given without training_data"),
        ({"X": 1}, "X is given without y"),
        ({"y": 1}, "y is given without X"),
        ({"X_valid": 1}, "X_valid is given without y_valid"),
        ({"X_valid": 1, "y_valid": 1}, "X_valid is given without X"),
        ({"sample_weight": 1}, "sample_weight is given without X"),
        ({"training_data": 1, "test_data": 1, "test_size": 0.2}, "test_data and test_size are both given"),
        ({"spark_context": 1, "test_size": 0.2}, "test_size is not possible with spark_context"),
        ({"spark_context": 1, "training_data": 1, "test_data": 1}, "test_data is not possible with spark_context"),
        ({"spark_context": 1, "training_data": FRAME}, "training_data is a frame of pandas"),
        ({"spark_context": 1, "training_data": SPARK_FRAME}, "training_data is a frame of pyspark"),
        ({"training_data": 1, "validation_data": 1, "n_cross_validations": 3}, "validation_data and n_cross_"),
        ({"training_data": 1, "validation_data": 1, "validation_size": 0.3}, "validation_data and validation_size"),
        ({"cv_split_column_names": ["a"], "n_cross_validations": 3}, "cv_split_column_names and n_cross_validations"),
        ({"allowed_models": ["SVM"], "blocked_models": ["SVM", "KNN"]}, "cancel out: each of SVM is blocked"),
        ({"blocked_models": automl.DEFAULT_MODELS["classification"]}, "blocked_models leaves nothing to try"),
        ({"experiment_timeout_hours": 0.1, "iteration_timeout_minutes": 7}, r"\(6 minutes\) is shorter than iteration"),
        ({"weight_column_name": "label"}, "'label' is label_column_name and weight_column_name"),
        ({"cv_split_column_names": ["label"]}, "'label' is label_column_name and cv_split_column_names"),
        ({"featurization": {"drop_columns": ["label"]}}, "'label' is label_column_name and in drop_columns"),
        ({"featurization": {"drop_columns": ["w"]}, "weight_column_name": "w"}, "'w' is weight_column_name and in"),
        ({"task": "regression", "positive_label": 1}, "positive_label=1 is of classification only"),
        ({"forecasting_parameters": ForecastingParameters(**TIME)}, "of forecasting only, the task is"),
        ({"task": "forecasting"}, "A forecast needs forecasting_parameters"),
    ],
)  # fmt: skip
def test_conflicts(given: dict[str, Any], match: str) -> None:
    refused(match, **given)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"validation_size": 0.2}, "validation_size is not possible for a forecast"),
        ({"test_size": 0.2}, "test_size is not possible for a forecast"),
        ({"cv_split_column_names": ["a"]}, "cv_split_column_names is not possible"),
        ({"label_column_name": "day"}, "'day' is label_column_name and time_column_name"),
        ({"featurization": {"drop_columns": ["day"]}}, "'day' is time_column_name and in drop_columns"),
        ({"time_column_name": "day"}, "time_column_name and forecasting_parameters are both given"),
        ({"positive_label": 1}, "positive_label=1 is of classification only"),
    ],
)
def test_conflicts_of_a_forecast(given: dict[str, Any], match: str) -> None:
    refused(match, "forecasting", forecasting_parameters=ForecastingParameters(**TIME), **given)


def test_a_fold_count_with_a_size_is_v1s_repeated_hold_out() -> None:
    settings = config(n_cross_validations=3, validation_size=0.2).settings
    assert (settings["n_cross_validations"], settings["validation_size"]) == (3, 0.2)


@pytest.mark.parametrize(
    "given",
    [
        {"enable_dnn": True}, {"enable_tf": True}, {"enable_onnx_compatible_models": True}, {"mem_in_mb": 100},
        {"enable_local_managed": True}, {"cv_splits_indices": [[1]]}, {"ensemble_iterations": 5},
        {"track_child_runs": False}, {"stack_meta_learner_type": "LightGBMClassifier"}, {"data_script": "get_data.py"},
    ],
    ids=lambda g: next(iter(g)),
)  # fmt: skip
def test_what_is_not_built_is_refused_and_its_default_is_not(given: dict[str, Any]) -> None:
    ((name, value),) = given.items()
    with pytest.raises(UserErrorException, match=f"^{name}=") as caught:
        config(**given)
    assert "is not built" in str(caught.value)
    assert caught.value.hint


def test_the_defaults_of_v1_written_out_are_taken() -> None:
    config(
        enable_dnn=False, enable_tf=False, enable_onnx_compatible_models=False, mem_in_mb=None, track_child_runs=True,
        path=".", debug_log="automl_errors.log", enforce_time_on_windows=True,
    )  # fmt: skip


# -- old names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "setting", "value"),
    [
        ({"concurrent_iterations": 3}, "max_concurrent_iterations", 3),
        ({"blacklist_models": ["KNN"]}, "blocked_models", ["KNN"]),
        ({"whitelist_models": ["KNN"]}, "allowed_models", ["KNN"]),
        ({"experiment_timeout_minutes": 30}, "experiment_timeout_hours", 0.5),
        ({"exit_time_sec": 1800}, "experiment_timeout_hours", 0.5),
        ({"max_time_sec": 90}, "iteration_timeout_minutes", 1.5),
        ({"exit_score": 0.9}, "experiment_exit_score", 0.9),
        ({"preprocess": False}, "featurization", "off"),
        ({"preprocess": True}, "featurization", "auto"),
        ({"auto_blacklist": True}, "blocked_models", None),
        ({"enable_cache": True}, "seed", 1),
        ({"lag_length": 0}, "forecasting_parameters", None),
        ({"num_classes": 2}, "seed", 1),
        ({"drop_column_names": ["a"]}, "featurization", FeaturizationConfig(drop_columns=["a"]).to_dict()),
    ],
)
def test_old_names_are_taken_with_a_warning_that_names_the_old_and_points_here(
    old: dict[str, Any], setting: str, value: Any
) -> None:
    with pytest.warns(DeprecationWarning, match=next(iter(old))) as warned:
        assert AutoMLConfig("classification", label_column_name="label", **old).settings[setting] == value
    assert [w.filename for w in warned] == [__file__]  # where Python shows it to the author of a script


def test_the_warning_names_the_new_parameter() -> None:
    with pytest.warns(DeprecationWarning, match="concurrent_iterations is deprecated: use max_concurrent_iterations"):
        config(concurrent_iterations=2)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"concurrent_iterations": 2, "max_concurrent_iterations": 3}, "are both given, and differ"),
        ({"blacklist_models": ["KNN"], "blocked_models": ["SVM"]}, "are both given, and differ"),
        ({"experiment_timeout_minutes": 30, "experiment_timeout_hours": 1}, "are both given, and differ"),
        ({"experiment_timeout_minutes": -3}, "experiment_timeout_minutes is -3"),
        ({"concurrent_iterations": 0}, "max_concurrent_iterations is 0"),
        ({"time_column_name": "day"}, "time_column_name: these are of forecasting only"),
        ({"lag_length": 3}, "target_lags: these are of forecasting only"),
        ({"drop_column_names": ["a"], "featurization": "off"}, "contradict each other"),
    ],
)
def test_old_and_new_names_that_contradict_each_other(given: dict[str, Any], match: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(match, **given)


def test_the_first_form_of_all_with_X_and_y() -> None:
    with pytest.warns(DeprecationWarning, match="X and y is deprecated: use training_data"):
        one = AutoMLConfig("classification", X=[[1]], y=[1], iterations=100, debug_log="x.log")
    assert (one.settings["label_column_name"], set(one.data)) == (None, {"X", "y"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused("label_column_name and X are both given", X=1, y=1)


def test_v1s_forecasting_keywords_outside_of_forecasting_parameters() -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        one = config("forecasting", time_column_name="day", max_horizon=12, grain_column_names=["store"])
    times = one.settings["forecasting_parameters"]
    found = (times["time_column_name"], times["forecast_horizon"], times["time_series_id_column_names"])
    assert found == ("day", 12, ["store"])
    assert "max_horizon is deprecated: use forecast_horizon" in " ".join(str(w.message) for w in warned)
    assert {w.filename for w in warned} == {__file__}


# -- featurization and forecasting -------------------------------------------------------------------------------------


def test_a_featurization_is_built_up_and_taken_apart() -> None:
    one = FeaturizationConfig()
    one.blocked_transformers = ["LabelEncoder"]
    one.add_blocked_transformers("TfIdf")
    one.add_column_purpose("a", "Numeric")
    one.add_transformer_params("Imputer", ["b"], {"strategy": "median"})
    one.add_transformer_params("Imputer", ["b"], {"strategy": "mean"})
    assert one.get_transformer_params("Imputer", ["b"]) == {"strategy": "mean"}
    one.remove_transformer_params("Imputer", ["b"])
    one.remove_column_purpose("a")
    one.add_drop_columns(["a", "b"])
    assert one.to_dict() == {
        "blocked_transformers": ["LabelEncoder", "TfIdf"],
        "column_purposes": {},
        "transformer_params": {},
        "drop_columns": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"blocked_transformers": ["tfidf"]}, "A blocked transformer is 'tfidf'. Allowed: TfIdf"),
        ({"column_purposes": {"a": "numeric"}}, "purpose of the column 'a' is 'numeric'. Allowed: Numeric"),
        ({"column_purposes": {"a": "Text"}, "drop_columns": ["a"]}, "'a' is in drop_columns and is given a purpose"),
        ({"transformer_params": {"Imputer": [(["a"], {"strategy": "knn"})]}}, "strategy of an Imputer is 'knn'"),
        ({"transformer_params": {"Imputer": [(["a"], {"strategy": "constant"})]}}, "has no fill_value"),
        (
            {"transformer_params": {"Imputer": [([], {"strategy": "constant", "fill_value": float("nan")})]}},
            "fill_value of an Imputer is nan",
        ),
        ({"transformer_params": {"Imputer": ["a"]}}, r"has 'a'. Allowed: \(\[columns\]"),
        ({"transformer_params": {"OneHotEncoder": []}}, None),
        ({"transformer_params": {"OneHotEncoder": [([], {})]}}, "A transformer with parameters is 'OneHotEncoder'"),
        ({"dataset_language": "deu"}, "dataset_language='deu' is not built"),
        ({"prediction_transform_type": "Integer"}, "prediction_transform_type='Integer' is not built"),
    ],
)
def test_what_a_featurization_refuses(given: dict[str, Any], match: str | None) -> None:
    if match is None:
        FeaturizationConfig(**given)
        return
    with pytest.raises(UserErrorException, match=match):
        FeaturizationConfig(**given)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"time_column_name": None}, "has no time_column_name"),
        ({"forecast_horizon": 0}, "forecast_horizon is 0"),
        ({"forecast_horizon": None}, "forecast_horizon is None"),
        ({"target_lags": [1, 2001]}, "target_lags is 2001"),
        ({"target_lags": "all"}, "target_lags is 'all'"),
        ({"target_rolling_window_size": 1}, "target_rolling_window_size is 1"),
        ({"seasonality": 0}, "seasonality is 0"),
        ({"use_stl": "season"}, "use_stl=.season. is not built"),
        ({"country_or_region_for_holidays": "US"}, "country_or_region_for_holidays=.US. is not built"),
        ({"short_series_handling_configuration": "cut"}, "Allowed: .*pad.*None"),
        ({"target_aggregation_function": "sum"}, "needs freq"),
        ({"time_series_id_column_names": ["day"]}, "'day' is time_column_name and in time_series_id"),
        ({"group_column_names": ["a"]}, r"group_column_names=\['a'\] is not built"),
        ({"horizon": 3}, "no parameter 'horizon'. Allowed: "),
        ({"freq": 3}, "freq is 3"),
    ],
)
def test_what_forecasting_parameters_refuse(given: dict[str, Any], match: str) -> None:
    with pytest.raises(UserErrorException, match=match):
        ForecastingParameters(**{**TIME, **given})


def test_forecasting_parameters_come_back_from_their_settings() -> None:
    one = ForecastingParameters(
        **TIME, target_lags=[1, 7], seasonality=None, freq="D", target_aggregation_function="sum"
    )
    assert ForecastingParameters(**one.to_dict()) == one
    assert (one.seasonality, one.to_dict()["target_lags"]) == (1, [1, 7])
    with pytest.warns(DeprecationWarning, match="short_series_handling is deprecated"):
        assert ForecastingParameters(**TIME, short_series_handling=False).short_series_handling_configuration is None
