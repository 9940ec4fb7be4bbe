"""Names of AutoML: tasks, models and metrics of v1, which of them there are here, and the engine's names for models."""

from __future__ import annotations

import difflib
from typing import Dict, Iterable, List, Sequence

from stepwell.runtime.errors import UserErrorException

CLASSIFICATION, REGRESSION, FORECASTING = "classification", "regression", "forecasting"
TASKS = (CLASSIFICATION, REGRESSION, FORECASTING)
#: v1's tasks that there are not.
_OTHER_TASKS = (
    "image-classification image-classification-multilabel image-object-detection image-instance-segmentation "
    "image-multi-labeling text-classification text-classification-multilabel text-ner"
).split()
#: What ``AutoMLConfig(engine=…)`` may name.
ENGINES = ("flaml",)

Models = Dict[str, List[str]]

_TREES: Models = {
    "LightGBM": ["lgbm"],
    "RandomForest": ["rf"],
    "ExtremeRandomTrees": ["extra_tree"],
    "DecisionTree": ["decision_tree"],
    "GradientBoosting": ["gradient_boosting"],
}
_XGBOOST = ["xgboost", "xgb_limitdepth"]
_CLASSIFICATION: Models = {
    **_TREES,
    "XGBoostClassifier": _XGBOOST,
    "LogisticRegression": ["lrl1"],
    "SGD": ["sgd"],
    "KNN": ["kneighbor"],
    "LinearSVM": ["svc"],
    "SVM": ["svm"],
    "MultinomialNaiveBayes": ["multinomial_nb"],
    "BernoulliNaiveBayes": ["bernoulli_nb"],
    "AveragedPerceptronClassifier": ["perceptron"],
}
_REGRESSION: Models = {
    **_TREES,
    "XGBoostRegressor": _XGBOOST,
    "ElasticNet": ["enet"],
    "LassoLars": ["lassolars"],
    "SGD": ["sgd"],
    "KNN": ["kneighbor"],
    "OnlineGradientDescentRegressor": ["sgd"],
}
_BASELINES: Models = {
    "Naive": ["naive"],
    "SeasonalNaive": ["seasonal_naive"],
    "Average": ["average"],
    "SeasonalAverage": ["seasonal_average"],
}
#: task → v1's model → the learners that stand for it.
MODELS: dict[str, Models] = {
    CLASSIFICATION: _CLASSIFICATION,
    REGRESSION: _REGRESSION,
    FORECASTING: {**_REGRESSION, **_BASELINES},
}
#: task → the models that are tried if nothing is said.
DEFAULT_MODELS: dict[str, list[str]] = {
    CLASSIFICATION: "LightGBM RandomForest XGBoostClassifier ExtremeRandomTrees SGD LogisticRegression".split(),
    REGRESSION: "LightGBM RandomForest XGBoostRegressor ExtremeRandomTrees SGD".split(),
    FORECASTING: "LightGBM RandomForest XGBoostRegressor ExtremeRandomTrees ElasticNet".split() + list(_BASELINES),
}
#: task → models of v1 that there are not.
NOT_AVAILABLE: dict[str, list[str]] = {
    CLASSIFICATION: "TabnetClassifier TensorFlowDNN TensorFlowLinearClassifier".split(),
    REGRESSION: "FastLinearRegressor TabnetRegressor TensorFlowDNN TensorFlowLinearRegressor".split(),
    FORECASTING: (
        "Arimax AutoArima ExponentialSmoothing Prophet TCNForecaster FastLinearRegressor TabnetRegressor "
        "TensorFlowDNN TensorFlowLinearRegressor"
    ).split(),
}

_AVERAGES = ("binary", "macro", "micro", "weighted")
_AVERAGED = ("AUC", "average_precision_score", "f1_score", "precision_score", "recall_score")
_CLASSIFICATION_METRICS: dict[str, str] = {
    "accuracy": "max",
    **{f"{metric}_{average}": "max" for metric in _AVERAGED for average in _AVERAGES},
    "balanced_accuracy": "max",
    "log_loss": "min",
    "matthews_correlation": "max",
    "norm_macro_recall": "max",
    "weighted_accuracy": "max",
}
_REGRESSION_METRICS: dict[str, str] = {
    "explained_variance": "max",
    "mean_absolute_error": "min",
    "mean_absolute_percentage_error": "min",
    "median_absolute_error": "min",
    "normalized_mean_absolute_error": "min",
    "normalized_median_absolute_error": "min",
    "normalized_root_mean_squared_error": "min",
    "normalized_root_mean_squared_log_error": "min",
    "r2_score": "max",
    "root_mean_squared_error": "min",
    "root_mean_squared_log_error": "min",
    "spearman_correlation": "max",
}
#: task → v1's scalar metrics, and whether "max" or "min" is best. The ``…_binary`` ones are of two classes only.
METRICS: dict[str, dict[str, str]] = {
    CLASSIFICATION: _CLASSIFICATION_METRICS,
    REGRESSION: _REGRESSION_METRICS,
    FORECASTING: _REGRESSION_METRICS,
}
#: Metrics that exist for two classes only.
BINARY_METRICS = tuple(f"{metric}_binary" for metric in _AVERAGED)
_REGRESSION_PRIMARY = (
    "normalized_root_mean_squared_error spearman_correlation r2_score normalized_mean_absolute_error".split()
)
#: task → what can be optimised.
PRIMARY_METRICS: dict[str, list[str]] = {
    CLASSIFICATION: (
        "accuracy AUC_weighted norm_macro_recall average_precision_score_weighted precision_score_weighted"
    ).split(),
    REGRESSION: _REGRESSION_PRIMARY,
    FORECASTING: _REGRESSION_PRIMARY,
}
#: task → what is optimised if nothing is said.
DEFAULT_METRIC: dict[str, str] = {task: names[0] for task, names in PRIMARY_METRICS.items()}


def by_likeness(name: object, known: Iterable[str]) -> list[str]:
    """Return all *known* names, those most like *name* first, letter case aside."""
    wanted = str(name).lower()
    return sorted(known, key=lambda k: -difflib.SequenceMatcher(None, wanted, k.lower()).ratio())


def check_task(task: object) -> str:
    """Return *task* if it is one.

    :raises UserErrorException: it is not; tasks of v1 that there are not are named as such.
    """
    if isinstance(task, str) and task in TASKS:
        return task
    what = f"There is no task {task!r}"
    if task in _OTHER_TASKS:
        what = f"The task {task!r} of v1 is not built: there are neural networks behind it"
    raise UserErrorException(what, allowed=by_likeness(task, TASKS))


def check_primary_metric(task: str, metric: object) -> str:
    """Return the metric to optimise; for ``None`` the task's default.

    :raises UserErrorException: it is unknown, is only recorded, or belongs to another task.
    """
    if metric is None:
        return DEFAULT_METRIC[task]
    if isinstance(metric, str) and metric in PRIMARY_METRICS[task]:
        return metric
    allowed = by_likeness(metric, PRIMARY_METRICS[task])
    if metric in METRICS[task]:
        raise UserErrorException(
            f"primary_metric={metric!r} cannot be optimised",
            allowed=allowed,
            hint="It is recorded for each trial: get_best_child(metric=…) finds the best by it",
        )
    others = [t for t in TASKS if metric in METRICS[t]]
    if others:
        raise UserErrorException(
            f"primary_metric={metric!r} is one of {' and '.join(others)}, not of {task}", allowed=allowed
        )
    raise UserErrorException(f"There is no metric {metric!r} to be the primary_metric", allowed=allowed)


def check_metric(task: str, metric: object) -> str:
    """Return *metric* if it is recorded for trials of *task*.

    :raises UserErrorException: it is not.
    """
    if isinstance(metric, str) and metric in METRICS[task]:
        return metric
    raise UserErrorException(f"No metric {metric!r} is recorded for {task}", allowed=by_likeness(metric, METRICS[task]))


def better(metric: str, one: float, other: float) -> bool:
    """Tell whether *one* is a better value of *metric* than *other*; NaN is worse than all."""
    if one != one or other != other:
        return one == one
    return one > other if direction(metric) == "max" else one < other


def direction(metric: str) -> str:
    """Return whether "max" or "min" is best."""
    for known in METRICS.values():
        if metric in known:
            return known[metric]
    raise UserErrorException(
        f"There is no metric {metric!r}", allowed=by_likeness(metric, {m for k in METRICS.values() for m in k})
    )


def check_models(task: str, parameter: str, models: Sequence[object]) -> list[str]:
    """Return *models*, each once, if they are models of *task*; blocked ones may be of those that there are not.

    :param parameter: ``allowed_models`` or ``blocked_models``.
    :raises UserErrorException: one is unknown, belongs to another task, or is not available here.
    """
    known = MODELS[task]
    result: list[str] = []
    for model in models:
        unavailable = model in NOT_AVAILABLE[task]
        if not isinstance(model, str) or (model not in known and not unavailable):
            others = [t for t in TASKS if model in MODELS[t] or model in NOT_AVAILABLE[t]]
            what = f"{parameter}: there is no model {model!r} for {task}"
            raise UserErrorException(
                what + (f" (it is one for {' and '.join(others)})" if others else ""),
                allowed=by_likeness(model, known),
            )
        if unavailable and parameter == "allowed_models":
            raise UserErrorException(
                f"{parameter}: the model {model!r} of v1 is not available here", allowed=by_likeness(model, known)
            )
        if model not in result:
            result.append(model)
    return result


def models_of(task: str, allowed: Sequence[str] | None = None, blocked: Sequence[str] | None = None) -> list[str]:
    """Return the models to try: the allowed ones, or else the task's defaults, without the blocked ones.

    :raises UserErrorException: none is left.
    """
    wanted = list(allowed) if allowed is not None else DEFAULT_MODELS[task]
    left = [model for model in wanted if model not in (blocked or ())]
    if left:
        return left
    if allowed is not None:
        raise UserErrorException(
            f"allowed_models and blocked_models cancel out: each of {', '.join(wanted) or 'no models'} is blocked",
            hint="Leave one of the two out",
        )
    raise UserErrorException(
        f"blocked_models leaves nothing to try: {', '.join(wanted)} are what is tried for {task}",
        hint="Name the models to try instead with allowed_models",
    )
