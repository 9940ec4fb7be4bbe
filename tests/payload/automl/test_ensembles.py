"""Ensembles: which members, judged how, and that what is fitted predicts what was promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from stepwell.payload.automl import ensembles
from stepwell.payload.automl.ensemble_steps import LabelledClassifier, StackEnsemble, VotingEnsemble
from stepwell.payload.automl.ensembles import Judged, candidates, stack, voting
from stepwell.payload.automl.problem import Problem
from stepwell.payload.automl.trial import Trial


def problem(classes: int, rows: int = 400, folds: int = 1) -> Problem:
    if classes:
        X, y = make_classification(rows, 8, n_informative=5, n_classes=classes, flip_y=0.1, random_state=0)
    else:
        X, y = make_regression(rows, 8, noise=20, random_state=0)
        y = y + 150 * (X[:, 0] > 0) * X[:, 1]
    parts = list(KFold(max(2, folds)).split(X))[:folds]
    return Problem(
        "classification" if classes else "regression",
        pd.DataFrame(X, columns=[f"f{i}" for i in range(8)]),
        y,
        parts if folds > 1 else [(np.arange(rows // 2), np.arange(rows // 2, rows))],
        "AUC_weighted" if classes else "r2_score",
        classes=[f"class {i}" for i in range(classes)] or None,
        facts={} if classes else {"y_min": float(y.min()), "y_max": float(y.max())},
    )


def models(of: Problem) -> dict[int, Any]:
    if of.classes:
        return {4: LogisticRegression(), 9: GaussianNB(), 2: DecisionTreeClassifier(max_depth=5, random_state=0)}
    return {4: LinearRegression(), 9: KNeighborsRegressor(), 2: DecisionTreeRegressor(max_depth=5, random_state=0)}


def predictions(of: Problem) -> dict[int, np.ndarray]:
    """What each model predicts for the judged rows, fitted to the others."""
    found = {}
    for iteration, model in models(of).items():
        parts = []
        for learn, judge in of.folds:
            model.fit(of.X.iloc[learn], of.y[learn])
            rows = of.X.iloc[judge]
            parts.append(model.predict_proba(rows) if of.classes else model.predict(rows))
        found[iteration] = np.concatenate(parts)
    return found


def trial(iteration: int, learner: str, score: float | None, status: str = "Completed") -> Trial:
    return Trial(iteration, f"run_{iteration}", learner.title(), learner=learner, score=score, status=status)


def test_the_best_trial_of_each_learner_may_become_a_member() -> None:
    trials = [trial(0, "lgbm", 0.8), trial(1, "lgbm", 0.9), trial(2, "rf", 0.85), trial(3, "sgd", None, "Failed")]
    trials += [trial(4, "sgd", 0.7), trial(5, "rf", 0.84), trial(6, "lrl1", float("nan"))]
    assert candidates(trials, "AUC_weighted") == [1, 2, 4]
    assert candidates(trials, "AUC_weighted", limit=2) == [1, 2]
    assert candidates(trials, "normalized_root_mean_squared_error") == [4, 0, 5], "there, less is better"
    only = [trial(i, "lgbm", 0.5 + i / 10) for i in range(5)]
    assert candidates(only, "accuracy") == [4, 3, 2], "of a single learner, several"
    assert candidates([], "accuracy") == []


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("classes", [0, 2, 4])
def test_what_is_fitted_predicts_as_it_was_judged(classes: int, folds: int) -> None:
    of = problem(classes, folds=folds)
    judged, predicted = Judged.of(of), predictions(problem(classes, folds=folds))
    for find, kind in ((voting, VotingEnsemble), (stack, StackEnsemble)):
        found = find(judged, predicted)
        assert found is not None
        alone = {i: judged.metrics(p)[of.primary_metric] for i, p in predicted.items()}
        assert found.score > max(alone.values()) - 0.02, (find, alone)
        assert found.score == found.metrics[of.primary_metric] == judged.metrics(found.predictions)[of.primary_metric]
        fitted = {i: m.fit(of.X, of.y) for i, m in models(of).items()}
        ensemble = found.estimator(fitted)
        assert isinstance(ensemble, kind)
        if classes:
            chances = ensemble.predict_proba(of.X)
            assert chances.shape == (len(of.X), classes)
            assert np.allclose(chances.sum(axis=1), 1)
            assert (ensemble.predict(of.X) == chances.argmax(axis=1)).all()
            assert (ensemble.predict(of.X) == of.y).mean() > 0.7
        else:
            assert not hasattr(ensemble, "predict_proba")
            assert np.corrcoef(ensemble.predict(of.X), of.y)[0, 1] > 0.85


def test_weights_are_a_mean_and_leave_out_who_does_not_help() -> None:
    of = problem(2, 1000)
    judged, predicted = Judged.of(of), predictions(problem(2, 1000))
    rng = np.random.default_rng(0)
    noise = rng.random(len(judged.y))
    found = voting(judged, {**predicted, 7: np.column_stack([noise, 1 - noise])})
    assert found is not None
    assert sum(found.weights.values()) == pytest.approx(1)
    assert found.weights.get(7, 0) < 0.1
    assert list(found.weights.values()) == sorted(found.weights.values(), reverse=True)
    members = {i: m.fit(of.X, of.y) for i, m in models(of).items()}
    members[7] = members[4]
    expected = sum(w * members[i].predict_proba(of.X) for i, w in found.weights.items())
    assert np.allclose(found.estimator(members).predict_proba(of.X), expected)


def test_an_ensemble_is_not_ahead_by_being_judged_on_what_it_was_fitted_to() -> None:
    """Twenty members that only guess: fitted to the rows they are judged on, their mean would look useful."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 120)
    judged = Judged(y, [len(y)], 2, "accuracy")
    chances = {i: rng.random((len(y), 1)) for i in range(10)}
    guesses = {i: np.hstack([c, 1 - c]) for i, c in chances.items()}
    best = max(judged.metrics(p)["accuracy"] for p in guesses.values())
    for find in (voting, stack):
        found = find(judged, guesses)
        assert found is None or found.score <= best + 0.02
    assert found is not None
    assert found.score < 0.6


def test_at_most_ten_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensembles, "_ROUNDS", 40)
    rng = np.random.default_rng(2)
    y = rng.normal(size=300)
    judged = Judged(y, [300], 0, "r2_score", options={"y_min": -3.0, "y_max": 3.0})
    several = {i: y + rng.normal(size=300) for i in range(14)}
    mean, meta = voting(judged, several), stack(judged, several)
    assert mean is not None
    assert meta is not None
    assert 5 < len(mean.weights) <= 10
    assert len(meta.weights) == 10


def test_nothing_is_made_of_what_cannot_be_combined() -> None:
    of = problem(2)
    judged, predicted = Judged.of(of), predictions(problem(2))
    one = {4: predicted[4]}
    broken = {4: predicted[4], 9: np.full_like(predicted[9], np.nan), 2: predicted[2][:-1]}
    for few in ({}, one, broken):
        assert voting(judged, few) is None
        assert stack(judged, few) is None
    assert voting(judged, {4: predicted[4], 9: predicted[4]}) is None, "a second one that says the same is of no use"
    y = np.zeros(len(judged.y), dtype=int)
    y[:3] = 1
    assert stack(Judged(y, [len(y)], 2, "AUC_weighted"), predicted) is None, "three rows of a class"
    assert stack(Judged(np.zeros_like(y), [len(y)], 2, "AUC_weighted"), predicted) is None, "a single class"


def test_members_and_rows_may_lack_a_class() -> None:
    of = problem(3)
    few = of.y != 2
    fitted = {1: LogisticRegression().fit(of.X[few], of.y[few]), 2: GaussianNB().fit(of.X, of.y)}
    voted = VotingEnsemble([("1", fitted[1], 0.5), ("2", fitted[2], 0.5)], 3)
    assert voted.predict_proba(of.X).shape == (400, 3)
    judged = of.y != 1  # the rows to judge have no class 1
    chances = {4: LogisticRegression().fit(of.X, of.y), 2: fitted[2]}
    found = stack(
        Judged(of.y[judged], [int(judged.sum())], 3, "accuracy"),
        {i: m.predict_proba(of.X[judged]) for i, m in chances.items()},
    )
    assert found is not None
    assert found.estimator(chances).predict_proba(of.X).shape == (400, 3)


def test_weights_of_rows_count() -> None:
    of = problem(0, 600)
    of.weight = np.where(of.X["f0"] > 0, 1.0, 1e-6)
    judged = Judged.of(of)
    rows = np.concatenate([judge for _, judge in of.folds])
    right = of.X["f0"].to_numpy()[rows] > 0
    good = {1: np.where(right, judged.y, 0), 2: np.where(right, 0, judged.y)}
    found = stack(judged, good)
    assert found is not None
    assert found.score > 0.99


def test_labels_stay_what_they_are() -> None:
    of = problem(2)
    model = LogisticRegression().fit(of.X, of.y)
    for labels in (["no", "yes"], [3, 7], [False, True], [1, "a"], [None, True]):
        named = LabelledClassifier(model, labels)
        assert named.classes_.tolist() == labels
        assert set(named.predict(of.X).tolist()) == set(labels)
        assert np.allclose(named.predict_proba(of.X), model.predict_proba(of.X))


def test_the_mean_is_judged_as_its_members_are() -> None:
    """Over several folds a trial's metrics are means over the folds, and so are an ensemble's."""
    of = problem(2, folds=4)
    predicted = cross_val_predict(GaussianNB(), of.X, of.y, cv=KFold(4), method="predict_proba")
    judged = Judged.of(of)
    accuracies = [(predicted[j].argmax(axis=1) == of.y[j]).mean() for _, j in of.folds]
    assert judged.metrics(predicted)["accuracy"] == pytest.approx(np.mean(accuracies))


def test_a_gain_that_may_be_chance_does_not_count() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=500)
    judged = Judged(y, [500], 0, "r2_score", options={"y_min": float(y.min()), "y_max": float(y.max())})
    single = y + rng.normal(scale=0.5, size=500)

    def ensemble(predicted: np.ndarray) -> ensembles.Ensemble:
        return ensembles.Ensemble(ensembles.VOTING, {0: 1.0}, predicted, {}, 0.0, 0)

    assert ensembles.gains(judged, ensemble((single + y) / 2), single)
    assert not ensembles.gains(judged, ensemble(single), single)
    assert not ensembles.gains(judged, ensemble(single + rng.normal(scale=0.02, size=500)), single)
    assert not ensembles.gains(judged, ensemble(y + rng.normal(scale=2.0, size=500)), single)
