"""``AutoMLConfig``: what is searched for, and on what terms. All that needs no data is checked when it is made."""

from __future__ import annotations

import json
import logging
import re
from typing import Any, Mapping, Sequence

from stepwell.runtime import automl, automl_conflicts, automl_forecasting
from stepwell.runtime import automl_checks as check
from stepwell.runtime.automl_featurization import FeaturizationConfig
from stepwell.runtime.automl_forecasting import ForecastingParameters
from stepwell.runtime.errors import UserErrorException

__all__ = ["AutoMLConfig", "FeaturizationConfig", "ForecastingParameters"]

MAX_ITERATIONS = 1000
MAX_FOLDS = 1000
MAX_ITERATION_MINUTES = 43200
MAX_EXPERIMENT_HOURS = 8760
DEFAULT_EXPERIMENT_HOURS = 144
#: The arguments that are data.
DATA = "training_data validation_data test_data X y sample_weight X_valid y_valid sample_weight_valid".split()

#: Old name → (the new one, by what the value is divided).
_RENAMED: dict[str, tuple[str, float]] = {
    "concurrent_iterations": ("max_concurrent_iterations", 1),
    "blacklist_models": ("blocked_models", 1),
    "blacklist_algos": ("blocked_models", 1),
    "whitelist_models": ("allowed_models", 1),
    "exit_score": ("experiment_exit_score", 1),
    "max_time_sec": ("iteration_timeout_minutes", 60),
    "exit_time_sec": ("experiment_timeout_hours", 3600),
    "experiment_timeout_minutes": ("experiment_timeout_hours", 60),
}
#: Accepted, and without effect.
_WITHOUT_EFFECT = (
    "auto_blacklist enable_cache enable_subsampling subsample_seed show_deprecate_warnings enable_feature_sweeping "
    "cost_mode debug_flag enable_nimbusml enable_streaming"
).split()
#: Parameters of v1 that are not built → (what they may be, what to do instead).
_NOT_BUILT: dict[str, tuple[tuple[Any, ...], str]] = {
    "cv_splits_indices": ((None,), "Put the split into columns of 0 and 1 and name them in cv_split_column_names"),
    "enable_dnn": ((None, False), "There are no neural networks among the models"),
    "enable_tf": ((False, None), "There are no TensorFlow models (v1 has given them up too)"),
    "enable_onnx_compatible_models": ((False,), "The model is kept as an MLflow model"),
    "enable_local_managed": ((False,), "The environment is the step's: environment= of the operator"),
    "mem_in_mb": ((None,), "Give the limit to the compute target"),
    "ensemble_iterations": ((None,), "Ensembles choose among all fitted pipelines"),
    "stack_meta_learner_type": ((None,), "The learner on top of a stack is the engine's choice"),
    "stack_meta_learner_kwargs": ((None, {}), "The learner on top of a stack is the engine's choice"),
    "stack_meta_learner_train_percentage": ((None,), "The learner on top of a stack learns from the folds"),
    "track_child_runs": ((True,), "Child runs are always recorded"),
    "data_script": ((None,), "Give the data as training_data"),
    "use_distributed": ((False, None), "A search on Spark runs whole trials in parallel"),
    "force_text_dnn": ((False, None), "There are no neural networks among the models"),
}


class AutoMLConfig:
    """What is searched for, and on what terms: v1's parameters with v1's defaults.

    The table of all parameters stands in ``docs/automl.md``. Deprecated names give a ``DeprecationWarning``.

    :param seed: decides splits, samples and the engine's draws.
    :param engine: of :data:`stepwell.runtime.automl.ENGINES`, or ``module:Class`` of a package of the step.
    :raises UserErrorException: a value is out of range, a name unknown, two parameters contradict each other, or one is
        not built.
    """

    def __init__(
        self,
        task: str,
        path: str | None = None,
        iterations: int | None = None,
        primary_metric: str | None = None,
        positive_label: Any = None,
        compute_target: Any = None,
        spark_context: Any = None,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        X_valid: Any = None,
        y_valid: Any = None,
        sample_weight_valid: Any = None,
        cv_splits_indices: Any = None,
        validation_size: float | None = None,
        n_cross_validations: int | str | None = None,
        y_min: float | None = None,
        y_max: float | None = None,
        num_classes: int | None = None,
        featurization: str | FeaturizationConfig | Mapping[str, Any] = "auto",
        max_cores_per_iteration: int = 1,
        max_concurrent_iterations: int = 1,
        iteration_timeout_minutes: float | None = None,
        mem_in_mb: int | None = None,
        enforce_time_on_windows: bool | None = None,
        experiment_timeout_hours: float | None = None,
        experiment_exit_score: float | None = None,
        enable_early_stopping: bool = True,
        blocked_models: Sequence[str] | None = None,
        blacklist_models: Sequence[str] | None = None,
        exclude_nan_labels: bool = True,
        verbosity: int | str = logging.INFO,
        enable_tf: bool = False,
        model_explainability: bool = True,
        allowed_models: Sequence[str] | None = None,
        whitelist_models: Sequence[str] | None = None,
        enable_onnx_compatible_models: bool = False,
        enable_voting_ensemble: bool = True,
        enable_stack_ensemble: bool | None = None,
        debug_log: str | None = "automl.log",
        training_data: Any = None,
        validation_data: Any = None,
        test_data: Any = None,
        test_size: float | None = None,
        label_column_name: str | None = None,
        weight_column_name: str | None = None,
        cv_split_column_names: Sequence[str] | None = None,
        enable_local_managed: bool = False,
        enable_dnn: bool | None = None,
        forecasting_parameters: ForecastingParameters | Mapping[str, Any] | None = None,
        seed: int = 1,
        engine: str = "flaml",
        **kwargs: Any,
    ) -> None:
        given: dict[str, Any] = {k: v for k, v in locals().items() if k not in ("self", "kwargs", "__class__")}
        old = {**kwargs, "blacklist_models": blacklist_models, "whitelist_models": whitelist_models}
        old = {k: v for k, v in old.items() if v is not None}
        for name in ("y_min", "y_max", "num_classes"):
            if given[name] is not None:
                check.deprecated(f"{name}= (it is taken from the data)", stacklevel=3)
        _take_old(given, old)
        _refuse_not_built(given, old)
        times = _take_forecasting(given, old)
        check.unknown("AutoMLConfig", list(old), _known())
        self.task = automl.check_task(task)
        self.compute_target = compute_target
        self.spark_context = spark_context
        self.data: dict[str, Any] = {name: given[name] for name in DATA if given[name] is not None}
        self.forecasting_parameters = _forecasting(self.task, times)
        self.featurization = _featurization(given["featurization"])
        self._settings = self._checked(given)
        automl_conflicts.check_data(self.data, given, spark_context)
        automl_conflicts.check_validation(self.task, given)
        automl_conflicts.check_columns(self._settings)

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        task, number, flag = self.task, check.number, check.flag
        allowed = _models(task, "allowed_models", given)
        blocked = _models(task, "blocked_models", given)
        automl.models_of(task, allowed, blocked)
        stack = flag("enable_stack_ensemble", given["enable_stack_ensemble"], optional=True)
        combined = task != automl.FORECASTING  # forecasts have no ensembles
        times, features = self.forecasting_parameters, self.featurization
        return {
            "task": task,
            "primary_metric": automl.check_primary_metric(task, given["primary_metric"]),
            "label_column_name": check.column("label_column_name", given["label_column_name"]),
            "weight_column_name": check.column("weight_column_name", given["weight_column_name"]),
            "positive_label": _positive(task, given["positive_label"]),
            "iterations": number("iterations", given["iterations"], least=1, most=MAX_ITERATIONS, whole=True)
            or MAX_ITERATIONS,
            "max_concurrent_iterations": number(
                "max_concurrent_iterations", given["max_concurrent_iterations"], least=1, whole=True, optional=False
            ),
            "max_cores_per_iteration": _cores(given["max_cores_per_iteration"]),
            "iteration_timeout_minutes": number(
                "iteration_timeout_minutes", given["iteration_timeout_minutes"], above=0, most=MAX_ITERATION_MINUTES
            ),
            "experiment_timeout_hours": _experiment_hours(given),
            "experiment_exit_score": number("experiment_exit_score", given["experiment_exit_score"]),
            "enable_early_stopping": flag("enable_early_stopping", given["enable_early_stopping"]),
            "allowed_models": allowed,
            "blocked_models": blocked,
            "n_cross_validations": number(
                "n_cross_validations", given["n_cross_validations"], least=2, most=MAX_FOLDS, whole=True, words=["auto"]
            ),
            "validation_size": number("validation_size", given["validation_size"], above=0, below=1),
            "cv_split_column_names": check.columns("cv_split_column_names", given["cv_split_column_names"]),
            "test_size": number("test_size", given["test_size"], above=0, below=1),
            "featurization": features.to_dict() if isinstance(features, FeaturizationConfig) else features,
            "enable_voting_ensemble": flag("enable_voting_ensemble", given["enable_voting_ensemble"]) and combined,
            "enable_stack_ensemble": combined if stack is None else stack and combined,
            "model_explainability": flag("model_explainability", given["model_explainability"]),
            "exclude_nan_labels": flag("exclude_nan_labels", given["exclude_nan_labels"]),
            "verbosity": _verbosity(given["verbosity"]),
            "forecasting_parameters": times.to_dict() if times else None,
            "seed": number("seed", given["seed"], least=0, most=2**31 - 1, whole=True, optional=False),
            "engine": _engine(given["engine"]),
        }

    @property
    def settings(self) -> dict[str, Any]:
        """All but the data, as plain JSON data under v1's names; what v1 leaves to a default is filled in."""
        return json.loads(json.dumps(self._settings))  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        shown = {k: v for k, v in self._settings.items() if v is not None}
        data = "".join(f", {name}=…" for name in self.data)
        return f"AutoMLConfig({', '.join(f'{k}={v!r}' for k, v in shown.items())}{data})"


# -- old names, and what is not built ----------------------------------------------------------------------------------


def _known() -> list[str]:
    import inspect

    taken = [n for n in inspect.signature(AutoMLConfig).parameters if n != "kwargs"]
    forecasting = [*automl_forecasting.NAMES, *automl_forecasting.RENAMED]
    return sorted({*taken, *_RENAMED, *_WITHOUT_EFFECT, *_NOT_BUILT, *forecasting, "preprocess", "lag_length"})


def _take_old(given: dict[str, Any], old: dict[str, Any]) -> None:
    """Move what stands in *old* under names that v1 has replaced to its new name in *given*."""
    for name in [n for n in old if n in _RENAMED]:
        new, divisor = _RENAMED[name]
        value = old.pop(name)
        check.deprecated(name, new)
        if divisor != 1:
            value = check.number(name, value, above=0) / divisor
        standing = given[new]
        if standing not in (None, 1 if new == "max_concurrent_iterations" else None) and standing != value:
            raise UserErrorException(f"{name} and {new} are both given, and differ", hint=f"Leave {name} out")
        given[new] = value
    for name in [n for n in old if n in _WITHOUT_EFFECT]:
        check.deprecated(f"{name}={old.pop(name)!r}")
    if "preprocess" in old:
        check.deprecated("preprocess", "featurization='auto' or 'off'")
        if not check.flag("preprocess", old.pop("preprocess")) and given["featurization"] == "auto":
            given["featurization"] = "off"


def _refuse_not_built(given: Mapping[str, Any], old: dict[str, Any]) -> None:
    for name, (fine, hint) in _NOT_BUILT.items():
        value = old.pop(name, fine[0]) if name not in given else given[name]
        if not any(value is f or (isinstance(f, dict) and value == f) for f in fine):
            check.not_built(name, value, hint)


def _take_forecasting(given: dict[str, Any], old: dict[str, Any]) -> Any:
    """Return ``forecasting_parameters``, or a dict of those that were given to the configuration itself."""
    times: dict[str, Any] = {}
    if "lag_length" in old:
        check.deprecated("lag_length", "ForecastingParameters(target_lags=…)")
        lag = check.number("lag_length", old.pop("lag_length"), least=0, most=2000, whole=True)
        if lag:
            times["target_lags"] = lag
    if "drop_column_names" in old:
        check.deprecated("drop_column_names", "FeaturizationConfig(drop_columns=…)")
        _drop(given, old.pop("drop_column_names"))
    for name in [n for n in old if n in automl_forecasting.NAMES or n in automl_forecasting.RENAMED]:
        times[name] = old.pop(name)
    standing = given["forecasting_parameters"]
    if not times:
        return standing
    names = ", ".join(sorted(times))
    if standing is not None:
        raise UserErrorException(
            f"{names} and forecasting_parameters are both given", hint="Put all of them into ForecastingParameters(…)"
        )
    if given["task"] == automl.FORECASTING:
        check.deprecated(names, "forecasting_parameters=ForecastingParameters(…)")
    return times


def _drop(given: dict[str, Any], columns: Any) -> None:
    featurization = given["featurization"]
    if featurization == "off":
        raise UserErrorException(
            "drop_column_names and featurization='off' contradict each other",
            hint="Drop the columns of the dataset: training_data.drop_columns([…])",
        )
    config = _featurization(featurization)
    config = (
        FeaturizationConfig(**config.to_dict()) if isinstance(config, FeaturizationConfig) else FeaturizationConfig()
    )
    config.add_drop_columns(columns)
    given["featurization"] = config


# -- single parameters -------------------------------------------------------------------------------------------------


def _forecasting(task: str, times: Any) -> ForecastingParameters | None:
    if task == automl.FORECASTING:
        if times is None:
            raise UserErrorException(
                "A forecast needs forecasting_parameters",
                hint="Give forecasting_parameters=ForecastingParameters(time_column_name=…, forecast_horizon=…)",
            )
        return automl_forecasting.from_any(times)
    if times is not None:
        names = ", ".join(sorted(times)) if isinstance(times, dict) else "forecasting_parameters"
        raise UserErrorException(f"{names}: these are of forecasting only, the task is {task!r}")
    return None


def _featurization(value: Any) -> str | FeaturizationConfig:
    if isinstance(value, FeaturizationConfig):
        return value
    if isinstance(value, Mapping):
        names = ("blocked_transformers", "column_purposes", "transformer_params", "drop_columns")
        check.unknown("featurization", [str(k) for k in value if k not in names], names)
        return FeaturizationConfig(**value)
    if value in ("auto", "off"):
        return str(value)
    raise UserErrorException(f"featurization is {value!r}", allowed=["'auto'", "'off'", "FeaturizationConfig(…)"])


def _models(task: str, name: str, given: Mapping[str, Any]) -> list[str] | None:
    value = given[name]
    if value is None:
        return None
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise UserErrorException(f"{name} is {value!r}", allowed=["a list of model names"])
    if name == "allowed_models" and not value:
        raise UserErrorException("allowed_models is empty", hint="Leave it out to try the task's default models")
    return automl.check_models(task, name, sorted(value, key=str) if isinstance(value, (set, frozenset)) else value)


def _positive(task: str, value: Any) -> Any:
    value = check.plain(value)
    if value is not None and task != automl.CLASSIFICATION:
        raise UserErrorException(f"positive_label={value!r} is of classification only, the task is {task!r}")
    if value is not None and not isinstance(value, (str, int, float, bool)):
        raise UserErrorException(f"positive_label is {value!r}", allowed=["one of the label's values"])
    return value


def _cores(value: Any) -> int:
    cores = check.number("max_cores_per_iteration", value, least=-1, whole=True, optional=False)
    if cores == 0:
        raise UserErrorException("max_cores_per_iteration is 0", allowed=["1 or more", "-1 (all there are)"])
    return int(cores)


def _experiment_hours(given: Mapping[str, Any]) -> float:
    hours = check.number(
        "experiment_timeout_hours", given["experiment_timeout_hours"], above=0, most=MAX_EXPERIMENT_HOURS
    )
    minutes = given["iteration_timeout_minutes"]
    limit = DEFAULT_EXPERIMENT_HOURS if hours is None else hours
    if isinstance(minutes, (int, float)) and hours is not None and limit * 60 < minutes:
        raise UserErrorException(
            f"experiment_timeout_hours={hours} ({limit * 60:g} minutes) is shorter than "
            f"iteration_timeout_minutes={minutes}",
            hint="The whole search must have time for one trial at least",
        )
    return float(limit)


def _engine(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
        return value
    return str(check.choice("engine", value, (*automl.ENGINES, "module:Class")))


def _verbosity(value: Any) -> int:
    if isinstance(value, str):
        names = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        return int(getattr(logging, check.choice("verbosity", value.upper(), names)))
    return int(check.number("verbosity", value, least=0, most=50, whole=True, optional=False))
