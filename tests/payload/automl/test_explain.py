"""Importances of original columns."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from stepwell.payload.automl import explain


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "noise": random.normal(size=400),
            "kind": pd.Categorical(random.choice(["a", "b", "c"], 400)),
            "size": random.normal(size=400),
        }
    )


def fitted(model: Any, frame: pd.DataFrame, y: np.ndarray) -> Any:
    return make_pipeline(make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough"), model).fit(
        frame, y
    )


def test_of_a_classification_with_a_column_that_is_no_number(frame: pd.DataFrame) -> None:
    y = ((frame["kind"] == "a") * 2 + frame["size"] > 0.7).to_numpy().astype(int)
    before = frame.copy()
    found = explain.importances(
        fitted(LogisticRegression(), frame, y), frame, y, task="classification", metric="AUC_weighted"
    )
    assert [e["column"] for e in found] == ["kind", "size", "noise"] or [e["column"] for e in found] == [
        "size",
        "kind",
        "noise",
    ]
    assert found[1]["importance"] > 0.05
    assert abs(found[2]["importance"]) < 0.02
    assert all(e["std"] >= 0 for e in found)
    pd.testing.assert_frame_equal(frame, before)


def test_of_a_metric_that_should_be_small(frame: pd.DataFrame) -> None:
    y = 5 * frame["size"].to_numpy() + (frame["kind"] == "b")
    found = explain.importances(
        fitted(LinearRegression(), frame, y),
        frame,
        y,
        task="regression",
        metric="normalized_root_mean_squared_error",
        facts={"y_min": 0.0, "y_max": 10.0},
    )
    assert [e["column"] for e in found] == ["size", "kind", "noise"]
    assert 0.5 < found[0]["importance"] < 1, "5 * sqrt(2) of 10"


class Slow:
    """A pipeline that takes its time, and counts the rows it is given."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.rows = seconds, 0

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        time.sleep(self.seconds)
        self.rows = max(self.rows, len(frame))
        return frame["size"].to_numpy()


def test_it_ends_when_the_time_is_over_and_says_so(frame: pd.DataFrame) -> None:
    said: list[str] = []
    y = frame["size"].to_numpy()
    few = explain.importances(Slow(0.03), frame, y, task="regression", metric="r2_score", seconds=0.0, say=said.append)
    assert [e["column"] for e in few] == ["noise"]
    assert "1 of 3 columns" in said[0]
    began = time.monotonic()
    found = explain.importances(
        Slow(0.05), frame, y, task="regression", metric="r2_score", seconds=0.3, repeats=100, say=said.append
    )
    assert time.monotonic() - began < 2
    assert found[0]["column"] == "size"
    assert len(found) == 3
    assert "of 100 repeats" in said[1]


def test_at_most_so_many_rows_are_predicted(frame: pd.DataFrame) -> None:
    slow = Slow(0)
    explain.importances(slow, frame, frame["size"].to_numpy(), task="regression", metric="r2_score", rows=50)
    assert slow.rows == 50


def test_a_metric_without_a_value_has_no_importances(frame: pd.DataFrame) -> None:
    said: list[str] = []
    found = explain.importances(
        Slow(0), frame, np.ones(len(frame)), task="regression", metric="r2_score", say=said.append
    )
    assert found == []
    assert "r2_score" in said[0]
