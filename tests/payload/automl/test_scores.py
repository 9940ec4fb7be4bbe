"""v1's metrics, against scikit-learn's where it has them, and where it has nothing to say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from stepwell.payload.automl import scores
from stepwell.runtime.automl import METRICS


def predicted(rows: int, classes: int, seed: int = 0, digits: int | None = 2) -> tuple[np.ndarray, np.ndarray]:
    """Labels of unequal classes, and probabilities that know something of them, with many equal ones among them."""
    random = np.random.default_rng(seed)
    shares = np.arange(1, classes + 1)
    y = random.choice(classes, rows, p=shares / shares.sum())
    strength = random.normal(size=(rows, classes))
    strength[np.arange(rows), y] += 1.0
    p = np.exp(strength)
    p /= p.sum(axis=1, keepdims=True)
    return y, p if digits is None else np.round(p, digits)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_a_classification_is_judged_as_scikit_learn_does(classes: int, weighted: bool) -> None:
    y, p = predicted(600, classes)
    w = np.random.default_rng(1).uniform(0.1, 3, len(y)) if weighted else None
    labels, hot = p.argmax(axis=1), np.eye(classes)[y]
    found = scores.classification(y, p, weight=w)

    for average in ("macro", "micro", "weighted"):
        more: dict[str, Any] = {"average": average, "sample_weight": w}
        assert found[f"AUC_{average}"] == pytest.approx(reference.roc_auc_score(hot, p, **more))
        assert found[f"average_precision_score_{average}"] == pytest.approx(
            reference.average_precision_score(hot, p, **more)
        )
        for name in ("precision_score", "recall_score", "f1_score"):
            assert found[f"{name}_{average}"] == pytest.approx(getattr(reference, name)(y, labels, **more))
    for name, function in {
        "accuracy": reference.accuracy_score,
        "balanced_accuracy": reference.balanced_accuracy_score,
        "matthews_correlation": reference.matthews_corrcoef,
    }.items():
        assert found[name] == pytest.approx(function(y, labels, sample_weight=w))
    assert found["norm_macro_recall"] == pytest.approx(
        reference.balanced_accuracy_score(y, labels, sample_weight=w, adjusted=True)
    )
    if not weighted:
        own = np.bincount(y)[y] / len(y)
        assert found["weighted_accuracy"] == pytest.approx(reference.accuracy_score(y, labels, sample_weight=own))


@pytest.mark.parametrize("classes", [2, 4])
def test_log_loss(classes: int) -> None:
    y, p = predicted(300, classes, digits=None)
    p[0] = 0.0
    p[0, (y[0] + 1) % classes] = 1.0  # sure, and wrong
    found = scores.classification(y, p)["log_loss"]
    assert found == pytest.approx(reference.log_loss(y, p, labels=range(classes)), rel=1e-6)


@pytest.mark.parametrize(("positive", "code"), [(None, 1), (0, 0), (1, 1)])
def test_binary_metrics_are_those_of_the_positive_class(positive: int | None, code: int) -> None:
    y, p = predicted(400, 2)
    found = scores.classification(y, p, positive=positive)
    labels = p.argmax(axis=1)
    assert found["AUC_binary"] == pytest.approx(reference.roc_auc_score(y == code, p[:, code]))
    assert found["average_precision_score_binary"] == pytest.approx(
        reference.average_precision_score(y == code, p[:, code])
    )
    for name in ("precision_score", "recall_score", "f1_score"):
        assert found[f"{name}_binary"] == pytest.approx(getattr(reference, name)(y, labels, pos_label=code))
    assert len(found) == 26, "v1's scalar metrics"


def test_binary_metrics_of_many_classes_need_a_positive_one() -> None:
    y, p = predicted(300, 3)
    assert not [name for name in scores.classification(y, p) if name.endswith("_binary")]
    assert scores.classification(y, p, positive=2)["AUC_binary"] == pytest.approx(
        reference.roc_auc_score(y == 2, p[:, 2])
    )


def test_a_fold_without_one_of_the_classes() -> None:
    y, p = predicted(300, 3)
    rest = y != 1
    found = scores.classification(y[rest], p[rest])
    areas = [reference.roc_auc_score(y[rest] == c, p[rest, c]) for c in (0, 2)]
    assert found["AUC_macro"] == pytest.approx(np.mean(areas))
    recalls = [(p[rest].argmax(axis=1) == y[rest])[y[rest] == c].mean() for c in (0, 2)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["norm_macro_recall"] == pytest.approx((np.mean(recalls) - 1 / 3) / (1 - 1 / 3))
    assert not [name for name, value in found.items() if math.isnan(value)]


def test_a_fold_of_one_class_has_no_area_but_an_accuracy() -> None:
    found = scores.classification(np.ones(3), np.array([[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]]))
    assert math.isnan(found["AUC_weighted"])
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["matthews_correlation"] == 0


def test_a_class_that_the_model_does_not_know_is_never_right() -> None:
    found = scores.classification(np.array([0, 1, 2]), np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]))
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["recall_score_macro"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_have_no_metrics(bad: float) -> None:
    y, p = predicted(50, 2)
    whole = scores.classification(y, p)
    p[3, 0] = bad
    found = scores.classification(y, p)
    assert set(found) == set(whole)
    assert all(math.isnan(value) for value in found.values())
    numbers = scores.regression(np.arange(3.0), np.array([0, bad, 2]))
    assert len(numbers) == 12
    assert all(math.isnan(value) for value in numbers.values())


def test_no_rows() -> None:
    assert all(math.isnan(v) for v in scores.classification(np.array([]), np.zeros((0, 2))).values())
    assert all(math.isnan(v) for v in scores.regression(np.array([]), np.array([])).values())


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_a_regression_is_judged_as_scikit_learn_does(weighted: bool) -> None:
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    y = random.gamma(2, 10, 500).round(1)
    p = np.maximum(y + random.normal(0, 5, 500), 0).round(1)
    w = random.uniform(0.1, 3, 500) if weighted else None
    found = scores.regression(y, p, y_min=-50, y_max=150, weight=w)
    rmse = reference.root_mean_squared_error(y, p, sample_weight=w)
    mae = reference.mean_absolute_error(y, p, sample_weight=w)
    rmsle = reference.root_mean_squared_log_error(y, p, sample_weight=w)
    some = y != 0
    percent = reference.mean_absolute_percentage_error(y[some], p[some], sample_weight=None if w is None else w[some])
    assert found == pytest.approx(
        {
            "explained_variance": reference.explained_variance_score(y, p, sample_weight=w),
            "mean_absolute_error": mae,
            "mean_absolute_percentage_error": 100 * percent,
            "median_absolute_error": reference.median_absolute_error(y, p),
            "normalized_mean_absolute_error": mae / 200,
            "normalized_median_absolute_error": reference.median_absolute_error(y, p) / 200,
            "normalized_root_mean_squared_error": rmse / 200,
            "normalized_root_mean_squared_log_error": rmsle / 200,
            "r2_score": reference.r2_score(y, p, sample_weight=w),
            "root_mean_squared_error": rmse,
            "root_mean_squared_log_error": rmsle,
            "spearman_correlation": spearmanr(y, p)[0],
        }
    )


def test_regressions_that_leave_metrics_without_a_value() -> None:
    constant = scores.regression(np.array([3.0, 3.0]), np.array([2.0, 4.0]))
    assert constant["root_mean_squared_error"] == 1
    assert math.isnan(constant["r2_score"])
    assert math.isnan(constant["normalized_root_mean_squared_error"])
    below = scores.regression(np.array([-1.0, 0.0, 2.0]), np.array([0.0, 0.0, 2.0]))
    assert math.isnan(below["root_mean_squared_log_error"])
    assert below["mean_absolute_percentage_error"] == 50
    assert scores.regression(np.arange(3.0), np.ones(3))["spearman_correlation"] == 0
    assert math.isnan(scores.regression(np.ones(3), np.arange(3.0))["spearman_correlation"])
    assert scores.regression(np.arange(3.0), np.array([50.0, -50.0, 50.0]))["r2_score"] == -1
    assert scores.regression(np.arange(3.0), np.array([-1.0, 1.0, 2.0]))["root_mean_squared_log_error"] == 0


def test_what_is_minimised() -> None:
    assert scores.loss("AUC_weighted", 0.75) == 0.25
    assert scores.loss("normalized_root_mean_squared_error", 0.75) == 0.75
    assert scores.loss("log_loss", 0.75) == 0.75
    assert scores.loss("accuracy", float("nan")) == scores.loss("accuracy", None) == math.inf
    assert scores.better("accuracy", 0.8, 0.7)
    assert not scores.better("accuracy", 0.7, 0.7)
    assert scores.better("root_mean_squared_error", 0.7, 0.8)
    assert scores.better("root_mean_squared_error", 0.7, float("nan"))
    assert not scores.better("accuracy", None, 0.1)


@pytest.mark.parametrize("task", ["classification", "regression", "forecasting"])
def test_the_metrics_and_their_directions_are_those_that_dags_are_checked_by(task: str) -> None:
    if task == "classification":
        found = scores.classification(np.array([0, 1]), np.array([[0.6, 0.4], [0.3, 0.7]]))
    else:
        found = scores.regression(np.arange(3.0), np.arange(3.0))
    assert {m: "min" if scores.is_loss(m) else "max" for m in found} == METRICS[task]


def test_means_of_folds() -> None:
    nan = float("nan")
    assert scores.mean([{"a": 1.0, "b": nan}, {"a": 0.0, "b": 0.5}]) == {"a": 0.5, "b": 0.5}
    spoilt = scores.mean([{"a": 1.0, "b": 1.0}, {"a": nan, "b": nan}])
    assert all(math.isnan(v) for v in spoilt.values())
    assert scores.mean([]) == {}


def test_it_is_quick_enough_for_every_fold_of_every_trial() -> None:
    import time

    for rows, classes, limit in ((3300, 2, 0.015), (30_000, 3, 0.06)):
        y, p = predicted(rows, classes, digits=None)
        best = math.inf
        for _ in range(5):
            began = time.perf_counter()
            scores.classification(y, p)
            best = min(best, time.perf_counter() - began)
        assert best < limit
