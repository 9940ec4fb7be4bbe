"""Guardrails say what is remarkable about the data, and what was done about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from stepwell.payload.automl.checks import check
from stepwell.payload.automl.featurizer import Featurizer
from stepwell.payload.automl.guardrails import guardrails
from stepwell.payload.automl.splits import folds


def judged(frame: pd.DataFrame, label: str, task: str = "classification", **more: Any) -> dict[str, dict[str, Any]]:
    validation, test = more.pop("validation", None), more.pop("test", None)
    settings = {"task": task, "label_column_name": label, "featurization": "auto", **more}
    checked = check(frame, settings, validation, test)
    featurizer = Featurizer(settings["featurization"])
    X = featurizer.fit_transform(checked.X)
    _, text = folds(checked.target, task, settings, 0 if validation is None else len(validation))
    found = guardrails(checked, featurizer, X, checked.target, text, settings)
    assert json.loads(json.dumps(found)) == found
    assert all(set(g) == {"name", "status", "description", "details", "action"} for g in found)
    assert {g["status"] for g in found} <= {"passed", "done", "warning"}
    return {g["name"]: g for g in found}


def test_the_titanic(titanic: Path) -> None:
    found = judged(pd.read_csv(titanic), "Survived")
    statuses = {name: g["status"] for name, g in found.items()}
    assert statuses == {
        "Train-test data split": "done", "Class balancing detection": "passed",
        "Missing feature values imputation": "done", "High cardinality feature detection": "done",
        "Columns left out": "done", "Missing label values": "passed", "Unusual values": "passed",
        "Leakage detection": "passed", "Duplicate rows": "passed", "Memory and size": "passed",
    }  # fmt: skip
    missing = found["Missing feature values imputation"]["details"]
    assert missing[0] == "Age: 177 of 891 (19.9%): Imputer (median), ImputationMarker"
    assert "Cabin: 687 of 891 (77.1%): as a value of its own" in missing
    assert found["Columns left out"]["details"] == ["PassengerId: counts the rows"]
    assert "10-fold" in found["Train-test data split"]["description"]


@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_good_features_are_no_leakage(load: Any) -> None:
    assert judged(load(as_frame=True).frame, "target")["Leakage detection"]["status"] == "passed"


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_column_that_equals_the_label_is_warned_of(task: str) -> None:
    frame = (load_iris if task == "classification" else load_diabetes)(as_frame=True).frame
    frame["copy"] = frame["target"]
    frame["disguised"] = "k" + frame["target"].astype(int).astype(str) if task == "classification" else None
    frame["noisy"] = frame["target"] * 3.7 + np.random.default_rng(0).normal(scale=0.1, size=len(frame))
    found = judged(frame, "target", task)["Leakage detection"]
    assert found["status"] == "warning"
    wanted = {"copy", "noisy"} | ({"disguised"} if task == "classification" else set())
    assert {d.partition(":")[0] for d in found["details"]} == wanted


def test_unbalanced_classes_are_warned_of() -> None:
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=1000), "y": ["big"] * 970 + ["small"] * 30})
    found = judged(frame, "y")["Class balancing detection"]
    assert found["status"] == "warning"
    assert found["details"] == ["'small': 30 rows (3.00%)"]


def test_a_regression_on_few_values_is_warned_of() -> None:
    assert judged(load_iris(as_frame=True).frame, "target", "regression")["Label type detection"]["status"] == "warning"


def test_what_was_done_about_odd_data_is_told() -> None:
    frame = load_diabetes(as_frame=True).frame
    frame.loc[20:23, "bmi"] = np.inf
    frame["mixed"] = [1, "a"] * 221
    frame["lists"] = [[1]] * 442
    frame["day"] = pd.date_range("2020-01-01", periods=442)
    frame.loc[:9, "target"] = np.nan
    found = judged(frame, "target", "regression")
    assert found["Unusual values"]["details"] == [
        "bmi: 4 infinite values, taken as missing",
        "mixed: values of several types, taken as text",
    ]
    assert found["Missing label values"]["details"] == ["training data: 10 rows"]
    assert found["Missing label values"]["status"] == "done"
    assert "lists: holds lists, structures or bytes" in found["Columns left out"]["details"]
    assert found["Date and time features"]["details"][0].startswith("day: DateTimeTransformer")


def test_repeated_rows_are_warned_of() -> None:
    frame = load_iris(as_frame=True).frame.drop_duplicates()
    found = judged(pd.concat([frame, frame.head(10)]), "target", test=frame.head(20))["Duplicate rows"]
    assert found["status"] == "warning"
    assert found["details"] == [
        "training data: 10 rows (6.3%) repeat another one",
        "test data: 20 rows (100.0%) are in the training data, too",
    ]


def test_validation_data_without_a_class_are_warned_of() -> None:
    frame = load_iris(as_frame=True).frame
    found = judged(frame, "target", validation=frame[frame.target > 0])["Validation data"]
    assert found["status"] == "warning"
    assert found["details"] == ["no row of 0"]


def test_missing_values_with_featurization_off_are_warned_of() -> None:
    frame = load_iris(as_frame=True).frame
    frame.iloc[::5, 0] = np.nan
    assert judged(frame, "target", featurization="off")["Missing feature values imputation"]["status"] == "warning"
