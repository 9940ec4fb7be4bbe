"""v1's rules for splitting, and samples that are fair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stepwell.payload.automl.errors import AutoMLError
from stepwell.payload.automl.splits import fair_order, folds, hold_out


def classes(rows: int, *shares: float) -> np.ndarray:
    return np.sort(np.random.default_rng(0).choice(len(shares), rows, p=shares))


@pytest.mark.parametrize(
    ("rows", "given", "number", "judged", "text"),
    [
        (999, {}, 10, 100, "10-fold"),
        (999, {"n_cross_validations": "auto"}, 10, 100, "10-fold"),
        (1000, {}, 3, 333, "3-fold"),
        (20_000, {}, 3, 6667, "3-fold"),
        (20_001, {}, 1, 2000, "10% held out"),
        (100, {"n_cross_validations": 5}, 5, 20, "5-fold"),
        (100, {"validation_size": 0.25}, 1, 25, "25% held out"),
        (100, {"n_cross_validations": 4, "validation_size": 0.2}, 4, 20, "4 random splits with 20% held out"),
    ],
)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_rules(task: str, rows: int, given: dict[str, Any], number: int, judged: int, text: str) -> None:
    y = classes(rows, 0.7, 0.3) if task == "classification" else np.random.default_rng(0).normal(size=rows)
    made, words = folds(y, task, given)
    assert len(made) == number
    assert words.startswith(text)
    for learn, judge in made:
        assert abs(len(judge) - judged) <= 1
        assert sorted([*learn, *judge]) == list(range(rows))
        assert (np.diff(learn) > 0).all()
        assert (np.diff(judge) > 0).all()
        if task == "classification":
            assert abs(y[judge].mean() - y.mean()) <= 1 / len(judge)
    again, _ = folds(y, task, given)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(made, again, strict=True))
    other, _ = folds(y, task, {**given, "seed": 2})
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(made, other, strict=True))


def test_random_splits_differ() -> None:
    made, _ = folds(np.arange(100.0), "regression", {"n_cross_validations": 3, "validation_size": 0.2})
    assert len({tuple(judge) for _, judge in made}) == 3


@pytest.mark.parametrize("given", [{}, {"n_cross_validations": 5}, {"validation_size": 0.5}, {"validation_size": 0.9}])
def test_a_class_of_two_rows_can_always_be_learnt(given: dict[str, Any]) -> None:
    y = np.array([0] * 60 + [1] * 60 + [2] * 2)
    for seed in range(1, 6):
        made, _ = folds(y, "classification", {**given, "seed": seed})
        assert all(set(y[learn]) == {0, 1, 2} and len(judge) for learn, judge in made)


def test_fewer_rows_in_every_class_than_folds() -> None:
    made, text = folds(np.repeat(np.arange(5), 4), "classification", {"n_cross_validations": 10})
    assert len(made) == 4
    assert text.startswith("4-fold")


def test_more_folds_than_rows_are_refused() -> None:
    with pytest.raises(AutoMLError, match="n_cross_validations=21 is more than there are rows"):
        folds(np.arange(20.0), "regression", {"n_cross_validations": 21})


def test_validation_data_are_judged_by() -> None:
    made, text = folds(np.arange(50.0), "regression", {}, validation_rows=10)
    ((learn, judge),) = made
    assert list(learn) == list(range(40))
    assert list(judge) == list(range(40, 50))
    assert text == "validation data of 10 rows"


def test_given_splits_are_used() -> None:
    splits = pd.DataFrame({"one": [1, 1, 0, 0], "two": [0, 1, 1, 1]})
    made, text = folds(np.arange(4.0), "regression", {}, splits=splits)
    assert [(list(a), list(b)) for a, b in made] == [([0, 1], [2, 3]), ([1, 2, 3], [0])]
    assert text == "2 given splits (one, two)"


def test_held_out_rows_have_all_classes_in_proportion() -> None:
    y = classes(1000, 0.6, 0.3, 0.1)
    stay, held = hold_out(y, "classification", 0.2)
    assert len(held) == 200
    np.testing.assert_allclose(np.bincount(y[held]) / 200, np.bincount(y) / 1000, atol=0.01)
    assert not set(stay) & set(held)
    with pytest.raises(AutoMLError, match="not a share"):
        hold_out(y, "classification", 1.0)


def test_any_first_rows_are_a_fair_sample() -> None:
    y = classes(10_000, 0.9, 0.09, 0.01)
    order = fair_order(y, "classification")
    assert sorted(order) == list(range(10_000))
    assert set(y[order[:9]]) == {0, 1, 2}
    for n in (500, 2000, 5000):
        np.testing.assert_allclose(np.bincount(y[order[:n]]) / n, [0.9, 0.09, 0.01], atol=0.012)
    assert sorted(fair_order(np.arange(10.0), "regression")) == list(range(10))


def test_given_splits_must_learn_every_class() -> None:
    splits = pd.DataFrame({"one": [1, 1, 0, 0]})
    with pytest.raises(AutoMLError, match="split 'one' learns from lack a class"):
        folds(np.array([0, 0, 1, 1]), "classification", {}, splits=splits)
    with pytest.raises(AutoMLError, match="4 rows, the data 3"):
        folds(np.arange(3.0), "regression", {}, splits=splits)


def test_the_one_row_of_a_class_is_always_learnt() -> None:
    y = np.array([0] * 30 + [1] * 30 + [2])
    for given in ({"n_cross_validations": 5}, {"validation_size": 0.3}):
        made, _ = folds(y, "classification", given)
        assert all(60 in learn for learn, _ in made)
