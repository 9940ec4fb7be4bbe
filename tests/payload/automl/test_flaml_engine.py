"""The real engine: every learner that an ``AutoMLConfig`` can name is tried, judged and fitted again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stepwell.payload.automl.engine import Reporter, SearchOver
from stepwell.payload.automl.engines import islands, learners, model_of
from stepwell.payload.automl.flaml_engine import FAILURES, FlamlEngine
from stepwell.payload.automl.problem import Problem
from stepwell.runtime.automl import MODELS

ROWS = 240


class Kept(Reporter):
    """Keeps what it is told, and ends the search after so many trials."""

    def __init__(self, trials: int) -> None:
        self.left = trials
        self.begun: list[tuple[str, dict[str, Any], int]] = []
        self.done: list[tuple[str, dict[str, float], Any, dict[str, Any]]] = []
        self.reasons: list[tuple[str, str]] = []

    def begin(self, learner: str, parameters: Mapping[str, Any], rows: int) -> None:
        if not self.left:
            raise SearchOver
        self.left -= 1
        self.begun.append((learner, dict(parameters), rows))

    def completed(self, metrics: Mapping[str, float], predictions: Any, parameters: Mapping[str, Any]) -> None:
        self.done.append((self.begun[-1][0], dict(metrics), predictions, dict(parameters)))

    def failed(self, reason: str) -> None:
        self.reasons.append((self.begun[-1][0], reason))


def frame(rows: int = ROWS, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Return features that explain a number."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({f"f{n}": rng.normal(size=rows) for n in range(4)})
    X["f4"] = pd.Categorical(rng.choice(["a", "b", "c"], rows), categories=["a", "b", "c", "d"])
    X.loc[rng.random(rows) < 0.1, "f4"] = np.nan
    return X, (2 * X.f0 - X.f1 + (X.f4 == "a") + rng.normal(scale=0.3, size=rows)).to_numpy()


def problem(task: str, *, folds: int = 1, classes: int = 2, weighted: bool = False, rows: int = ROWS) -> Problem:
    X, y = frame(rows)
    cut = int(rows * 0.75)
    made = [(np.arange(cut), np.arange(cut, rows))]
    if folds > 1:
        parts = np.array_split(np.arange(rows), folds)
        made = [(np.setdiff1d(np.arange(rows), part), part) for part in parts]
    weight = np.linspace(0.5, 1.5, rows) if weighted else None
    facts: dict[str, Any] = {"task": task, "known": rows}
    if task == "classification":
        codes = np.searchsorted(np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1]), y)
        facts["positive"] = 1 if classes == 2 else None
        return Problem(task, X, codes, made, "AUC_weighted", weight, list(range(classes)), facts)
    facts.update(y_min=float(y.min()), y_max=float(y.max()))
    return Problem("regression", X, y, made, "r2_score", weight, None, facts)


def search(one: Problem, names: list[str], trials: int, seconds: float = 60, **more: Any) -> Kept:
    kept = Kept(trials)
    given = {"seed": 1, "cores": 1, "trial_seconds": None, "starts": {}, "say": lambda text: None, **more}
    FlamlEngine().search(one, names, kept, seconds=seconds, **given)
    return kept


ALL = [
    (task, name)
    for task in ("classification", "regression")
    for name in dict.fromkeys(n for names in MODELS[task].values() for n in names)
]


@pytest.mark.parametrize(("task", "name"), ALL)
def test_each_learner_is_tried_and_fitted_again(task: str, name: str) -> None:
    one = problem(task)
    kept = search(one, [name], 2)
    assert kept.reasons == []
    assert len(kept.done) == 2
    learner, metrics, predictions, parameters = kept.done[0]
    assert metrics[one.primary_metric] > (0.6 if task == "classification" else 0.1) or name in ("lgbm", "bernoulli_nb")
    assert predictions is not None
    assert len(predictions) == ROWS // 4
    fitted = FlamlEngine().fit(one, learner, parameters, one.folds[0][0])
    again = fitted.predict_proba(one.X.iloc[180:]) if task == "classification" else fitted.predict(one.X.iloc[180:])
    np.testing.assert_allclose(again, predictions, atol=2e-2)  # the same model, fitted apart
    assert "flaml" not in type(fitted).__module__


@pytest.mark.parametrize("name", ["lgbm", "rf", "lrl1", "sgd", "kneighbor"])
def test_weights_and_folds(name: str) -> None:
    one = problem("classification", folds=3, classes=3, weighted=True)
    kept = search(one, [name], 2)
    assert kept.reasons == []
    predictions = kept.done[0][2]
    assert predictions.shape == (ROWS, 3)
    assert np.allclose(predictions.sum(axis=1), 1)


def test_metrics_are_those_of_the_folds() -> None:
    from stepwell.payload.automl import scores

    one = problem("classification", folds=3)
    _, metrics, predictions, _ = search(one, ["lgbm"], 1).done[0]
    ends = np.cumsum([len(judge) for _, judge in one.folds])[:-1]
    each = [
        scores.classification(one.y[judge], part, positive=1)
        for (_, judge), part in zip(one.folds, np.split(predictions, ends), strict=True)
    ]
    assert metrics["AUC_weighted"] == pytest.approx(np.mean([e["AUC_weighted"] for e in each]))


def test_a_learner_that_always_fails_is_left_out() -> None:
    one = problem("classification")
    one.X["f9"] = np.where(np.arange(ROWS) % 3, 1.0, -np.inf)  # scikit-learn takes no infinity
    said: list[str] = []
    kept = search(one, ["extra_tree", "lgbm"], 40)
    assert {name for name, _ in kept.reasons} == {"extra_tree"}
    assert "ValueError" in kept.reasons[0][1]
    assert len(kept.done) == 40 - len(kept.reasons)
    kept = search(one, ["extra_tree"], 40, say=said.append)
    assert len(kept.reasons) == FAILURES
    assert said == [f"ExtremeRandomTrees has failed {FAILURES} times in a row: left out"]


def test_large_data_are_tried_on_samples_first() -> None:
    one = problem("classification", rows=60_000)
    kept = search(one, ["lgbm"], 12)
    rows = [rows for _, _, rows in kept.begun]
    assert rows[0] == 10_000
    predictions = [p for _, _, p, _ in kept.done]
    assert predictions[0] is None  # what has seen a sample only is no member of an ensemble


def test_a_search_begins_where_an_earlier_one_was() -> None:
    one = problem("classification")
    first = search(one, ["lgbm"], 12)
    best = max(first.done, key=lambda d: d[1]["AUC_weighted"])
    second = search(one, ["lgbm"], 1, starts={"lgbm": [best[3]]})
    assert second.done[0][1]["AUC_weighted"] == pytest.approx(best[1]["AUC_weighted"], abs=0.02)


def test_the_same_seed_is_the_same_search() -> None:
    tried = [[p for _, p, _ in search(problem("regression"), ["lgbm"], 8).begun] for _ in range(2)]
    assert tried[0] == tried[1]


def test_the_time_ends_a_search() -> None:
    kept = search(problem("classification"), ["lgbm", "rf"], 100_000, seconds=2)
    assert 2 < len(kept.done) < 10_000


def test_baselines_predict_their_column_once() -> None:
    one = problem("regression")
    one.facts["baselines"] = {"naive": "f0", "seasonal_naive": "f1", "average": "f2", "seasonal_average": "f3"}
    kept = search(one, ["naive", "seasonal_naive", "lgbm"], 5)
    assert [name for name, _, _ in kept.begun] == ["naive", "seasonal_naive", "lgbm", "lgbm", "lgbm"]
    assert np.array_equal(kept.done[0][2], one.X.f0.to_numpy()[180:])
    assert logging.getLogger("flaml").level == logging.CRITICAL


def test_islands_share_the_learners() -> None:
    names = learners("classification", ["SGD", "LightGBM", "XGBoostClassifier", "KNN"])
    assert names == ["lgbm", "xgboost", "xgb_limitdepth", "sgd", "kneighbor"]
    assert islands(names, 2) == [["lgbm", "xgb_limitdepth", "kneighbor"], ["xgboost", "sgd"]]
    assert islands(["lgbm"], 3) == [["lgbm"]] * 3
    assert islands(["naive", "lgbm", "average"], 2) == [["naive", "average", "lgbm"], ["lgbm"]]
    assert islands(["naive"], 2) == [["naive"], []]
    assert model_of("xgb_limitdepth", "regression") == "XGBoostRegressor"
