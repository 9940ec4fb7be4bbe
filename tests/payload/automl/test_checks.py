"""Bad input is told before a search begins; what can be put right is put right and said."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stepwell.payload.automl.checks import check, featurize
from stepwell.payload.automl.errors import AutoMLError


def settings(task: str = "classification", **more: Any) -> dict[str, Any]:
    return {"task": task, "label_column_name": "label", "exclude_nan_labels": True, **more}


def frame(rows: int = 60, **columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    data = {"a": rng.normal(size=rows), "b": rng.choice(["x", "y", "z"], rows), "label": np.arange(rows) % 3}
    return pd.DataFrame({**data, **columns})


def refused(data: pd.DataFrame, given: dict[str, Any], **more: Any) -> str:
    with pytest.raises(AutoMLError) as info:
        check(data, given, **more)
    return str(info.value)


def test_good_data_pass_and_the_frame_given_stays_as_it_is() -> None:
    data = frame(weight=1.0)
    before = data.copy()
    checked = check(data, settings(weight_column_name="weight", positive_label="1"))
    assert list(checked.X.columns) == ["a", "b"]
    assert checked.classes == [0, 1, 2]
    assert checked.positive == 1
    assert checked.notes == []
    np.testing.assert_array_equal(checked.target, np.arange(60) % 3)
    assert checked.weight is not None
    assert checked.weight.sum() == 60
    pd.testing.assert_frame_equal(data, before)
    assert np.shares_memory(checked.X["a"].to_numpy(), data["a"].to_numpy())


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["no", "yes"] * 30, ["no", "yes"]),
        ([0.0, 1.0] * 30, [0, 1]),
        ([True, False] * 30, [False, True]),
        ([Decimal(1), Decimal(2)] * 30, [1, 2]),
        (pd.Categorical(["b", "a"] * 30), ["a", "b"]),
        ([0.5, 1.5] * 30, [0.5, 1.5]),
        ([1, "a"] * 30, ["1", "a"]),
        ([dt.date(2020, 1, 1), dt.date(2021, 1, 1)] * 30, ["2020-01-01", "2021-01-01"]),
    ],
)
def test_labels_of_every_type_become_classes_that_json_knows(labels: Any, classes: list[Any]) -> None:
    checked = check(frame(label=labels), settings())
    assert checked.classes == classes
    assert json.loads(json.dumps(checked.classes)) == classes
    assert sorted(set(checked.target)) == [0, 1]


BAD_LABELS: list[tuple[str, Any, str]] = [
    ("classification", 1, "same value in every row: 1"),
    ("regression", 1.5, "same value in every row: 1.5"),
    ("classification", None, "has no values at all"),
    ("regression", np.nan, "has no values at all"),
    ("regression", np.inf, "has no values that can be learnt from"),
    ("classification", [0, 1] * 29 + [0, 7], "The class 7 of the label 'label' has one row only"),
    ("classification", np.linspace(0, 1, 60), "fractions with 60 different values.*task='regression'"),
    ("classification", [f"id {n}" for n in range(60)], "60 different values, 60 of them in one row only"),
    ("regression", ["low", "high"] * 30, r"holds text \(such as 'low'\).*classification"),
    ("regression", [True, False] * 30, "holds true and false"),
    ("forecasting", pd.date_range("2020-01-01", periods=60), "holds dates.*forecasting cannot predict"),
    ("classification", [[1], [2]] * 30, "holds lists"),
]


@pytest.mark.parametrize(("task", "labels", "message"), BAD_LABELS)
def test_a_label_that_cannot_be_learnt_is_refused(task: str, labels: Any, message: str) -> None:
    text = refused(frame(label=labels), settings(task))
    assert re.search(message, text), text


def test_a_missing_label_column_names_the_nearest() -> None:
    text = refused(frame().rename(columns={"label": "Label_"}), settings())
    assert "no column 'label'. Allowed: Label_" in text


@pytest.mark.parametrize(("task", "bad"), [("classification", np.nan), ("regression", np.nan), ("regression", np.inf)])
def test_rows_without_a_label_are_left_out_or_refused(task: str, bad: float) -> None:
    data = frame(label=[bad] * 4 + [1.0, 2.0] * 28)
    checked = check(data, settings(task))
    assert len(checked.X) == len(checked.target) == 56
    assert checked.facts["unlabelled"] == 4
    assert "4 rows of the training data are left out" in checked.notes[0]
    assert checked.X["a"].tolist() == data["a"][4:].tolist()
    assert "in 4 rows" in refused(data, settings(task, exclude_nan_labels=False))


@pytest.mark.parametrize(
    ("rows", "message"), [(0, "have no rows"), (2, "have 2 rows; a search needs at least 20"), (19, "at least 20")]
)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_too_few_rows(rows: int, message: str, task: str) -> None:
    data = pd.concat([frame(), frame()]).sort_values("label", kind="stable").head(rows)
    data["label"] = [0, 1] * (rows // 2) + [1] * (rows % 2)
    assert message in refused(data, settings(task))


def test_no_columns_to_learn_from() -> None:
    assert "no columns to learn from" in refused(frame()[["label"]], settings())
    assert "None of the columns" in refused(frame(a=[[1]] * 60, b=[b"x"] * 60), settings())


def test_duplicate_column_names_are_named() -> None:
    data = frame()
    data.columns = ["a", "a", "label"]
    assert "several columns with the name 'a'" in refused(data, settings())


def test_names_with_special_characters_are_fine() -> None:
    data = frame().rename(columns={"a": '{"a": [1, 2]}', "b": "b,\n: ü"})
    assert list(check(data, settings()).X.columns) == ['{"a": [1, 2]}', "b,\n: ü"]


def test_columns_of_several_types_become_text_and_structures_go() -> None:
    data = frame(
        mixed=[1, "a", 2.5, None] * 15,
        lists=[[1, 2], None] * 30,
        dicts=[{"k": 1}] * 60,
        raw=[b"\x00"] * 60,
        infinite=[np.inf, -np.inf, 1.0] * 20,
    )
    checked = check(data, settings())
    assert list(checked.X.columns) == ["a", "b", "mixed", "infinite"]
    assert checked.X["mixed"].tolist()[:4] == ["1", "a", "2.5", None]
    assert checked.facts["mixed"] == ["mixed"]
    assert checked.facts["unusable"] == ["lists", "dicts", "raw"]
    assert checked.facts["infinite"] == {"infinite": 40}
    assert len(checked.notes) == 5
    assert data["mixed"].tolist()[0] == 1


@pytest.mark.parametrize(
    ("weights", "message"),
    [(-1.0, "60 weights.*negative"), ([1.0] * 59 + [np.nan], "missing or infinite, the first in row 59"),
     ("heavy", "no numbers"), (0, "All weights")],
)  # fmt: skip
def test_weights_that_are_none(weights: Any, message: str) -> None:
    assert re.search(message, refused(frame(weight=weights), settings(weight_column_name="weight")))


def test_a_missing_weight_column_names_the_nearest() -> None:
    assert "Allowed: weight" in refused(frame(weight=1), settings(weight_column_name="weigth"))


def test_given_splits() -> None:
    names = ["s1", "s2"]
    checked = check(frame(s1=[0, 1] * 30, s2=[True, False] * 30), settings(cv_split_column_names=names))
    assert list(checked.X.columns) == ["a", "b"]
    assert checked.splits is not None
    assert checked.splits["s2"].tolist() == [1, 0] * 30
    assert "0 and 1" in refused(frame(s1=2), settings(cv_split_column_names=["s1"]))
    assert "is 1 in every row" in refused(frame(s1=1), settings(cv_split_column_names=["s1"]))
    assert "no column 's3'" in refused(frame(s1=1), settings(cv_split_column_names=["s3"]))


def test_further_data_must_look_like_the_training_data() -> None:
    train, good = frame(), frame(30, extra=1).sample(frac=1, random_state=1)[["b", "extra", "label", "a"]]
    checked = check(train, settings(), validation=good, test=good.drop(columns="extra"))
    assert checked.validation is not None
    assert list(checked.validation.X.columns) == ["a", "b"]
    assert "extra" in checked.notes[0]
    assert "lack the columns 'a'" in refused(train, settings(), validation=good.drop(columns="a"))
    assert "validation data have no column 'label'" in refused(train, settings(), validation=good.drop(columns="label"))
    assert "labels that the training data have not: 9" in refused(train, settings(), test=good.assign(label=9))
    assert "holds texts in the test data, but numbers" in refused(train, settings(), test=good.assign(a="?"))
    assert "have no rows" in refused(train, settings(), validation=good.head(0))


def test_labels_of_further_data_are_the_same_in_another_type() -> None:
    checked = check(frame(), settings(), validation=frame(30).astype({"label": str}))
    assert checked.validation is not None
    np.testing.assert_array_equal(checked.validation.target, np.arange(30) % 3)


def test_validation_data_without_one_of_the_classes_are_noted() -> None:
    validation = frame(30)
    checked = check(frame(), settings(), validation=validation[validation.label != 1])
    assert checked.validation is not None
    assert checked.validation.facts["unjudged"] == [1]
    assert set(checked.validation.target) == {0, 2}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"positive_label": 9}, "positive_label 9 is not among the labels. Allowed: 0, 1, 2"),
        ({"n_cross_validations": 61}, "n_cross_validations=61 is more than the training data have rows (60)"),
        ({"featurization": {"column_purposes": {"A": "Numeric"}}}, "column_purposes: there is no column 'A'"),
        ({"featurization": {"column_purposes": {"a": "Number"}}}, "'Number' ('a') is not a purpose. Allowed: Numeric"),
        ({"featurization": {"drop_columns": ["a", "b"]}}, "names every column"),
        ({"featurization": {"transformer_params": {"Imputer": [[["c"], {}]]}}}, "there is no column 'c'"),
    ],
)
def test_settings_that_do_not_fit_the_data(given: dict[str, Any], message: str) -> None:
    assert message in refused(frame(), settings(**given))


def test_many_cells_in_an_hour_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.payload.automl.checks.CELLS_PER_HOUR", 100)
    checked = check(frame(), settings(experiment_timeout_hours=1))
    assert checked.facts["cells_for_an_hour"] == 120
    assert check(frame(), settings(experiment_timeout_hours=2)).notes == []


def test_no_column_that_says_anything() -> None:
    data = frame()[["label"]].assign(same=1, id=range(60), code=[f"{n:x}" for n in range(60)])
    checked = check(data, settings())
    with pytest.raises(AutoMLError, match="No column is left to learn from.*'id' counts the rows"):
        featurize(checked.X, settings())
    with pytest.raises(AutoMLError, match="featurization is 'off'"):
        featurize(checked.X, settings(featurization="off"))
    assert featurize(frame()[["a"]], settings(seed=7)).seed == 7
