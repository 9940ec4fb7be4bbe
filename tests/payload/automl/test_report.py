"""The report of a search: whole, safe and small, whatever the search was like."""

from __future__ import annotations

import copy
import time
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stepwell.payload.automl import charts, charts_axes, report, scores
from stepwell.payload.automl.charts_classification import Judged, confusion, roc
from stepwell.payload.automl.report_markup import Safe, duration, number, tag
from stepwell.payload.automl.report_trials import plain

EVIL = "</title><script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """A page that was read: its elements, their attributes, its text; closed as it was opened."""

    VOID = {"meta", "link", "img", "br", "wbr", "input", "hr"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def count(self, name: str) -> int:
        return sum(1 for tag, _ in self.elements if tag == name)

    def titles(self) -> list[str]:
        return [str(a.get("id")) for t, a in self.elements if t == "title" and a.get("id")]


def trials(count: int, metric: str, metrics: dict[str, float], seed: int = 0) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    models = ["LightGBM", "RandomForest", "SGD", "XGBoostClassifier", "ExtremeRandomTrees", "LogisticRegression"]
    found = []
    for n in range(count):
        score = float(np.clip(0.8 + random.normal(0, 0.05), 0.01, 0.99))
        failed = n % 17 == 5
        found.append(
            {
                "iteration": n,
                "id": f"AutoML_1_{n}",
                "model": models[n % 6],
                "pipeline": f"StandardScaler, {models[n % 6]}",
                "parameters": {f"parameter_{k}": float(random.random()) for k in range(8)},
                "learner": "lgbm",
                "rows": 500,
                "status": "Failed" if failed else "Completed",
                "reason": "It was over its limit of 60 seconds." if failed else None,
                "metrics": {} if failed else {**metrics, metric: score},
                "score": None if failed else score,
                "started": 1.79e9 + 2 * n,
                "seconds": float(random.exponential(2)),
                "worker": n % 2,
            }
        )
    return found


def results(count: int = 12, metric: str = "AUC_weighted", task: str = "classification", **more: Any) -> dict[str, Any]:
    random = np.random.default_rng(1)
    y = random.integers(0, 2, 300)
    strength = np.clip(0.5 + 0.3 * (y - 0.5) + random.normal(0, 0.2, 300), 0, 1)
    p = np.column_stack([1 - strength, strength])
    tried = trials(count, metric, scores.classification(y, p) if task == "classification" else {})
    scored = [t for t in tried if t["score"] is not None]
    best = min(scored, key=lambda t: scores.loss(metric, t["score"]))["iteration"] if scored else None
    return {
        "title": "Who survives",
        "run_id": "AutoML_1",
        "settings": {"task": task, "primary_metric": metric, "iterations": count, "allowed_models": None},
        "task": task,
        "primary_metric": metric,
        "classes": ["no", "yes"] if task == "classification" else None,
        "started": 1.79e9,
        "seconds": 61.0,
        "data": {"rows": 300, "columns": 4, "validation": "10-fold cross-validation", "test_rows": 60},
        "trials": tried,
        "best": best,
        "ended_because": "all iterations were done",
        "guardrails": [
            {"name": "Leakage", "status": "warning", "description": "fare", "details": ["0.99"], "action": "none"},
            {"name": "Missing values", "status": "done", "description": "age", "details": [], "action": "median"},
        ],
        "importances": [{"column": f"c{n}", "importance": 0.1 / (n + 1), "std": 0.01} for n in range(25)],
        "featurization": [
            {"column": "age", "purpose": "Numeric", "steps": ["Imputer"], "features": 1, "dropped": False},
            {"column": "id", "purpose": "Ignore", "steps": [], "features": 0, "dropped": True},
        ],
        "evaluation": {"source": "test", "y_true": y, "probabilities": p} if task == "classification" else None,
        "test_metrics": scores.classification(y, p) if task == "classification" else None,
        "environment": {"flaml": "2.7.0"},
        **more,
    }


def forecast(series: int) -> dict[str, Any]:
    random = np.random.default_rng(2)
    times = pd.date_range("2026-01-01", periods=50, freq="D")
    y = random.normal(100, 10, (series, 50))
    later = np.tile(times[40:], series)
    names = None if series == 1 else np.repeat([f"store {n}" for n in range(series)], 10)
    before = None if series == 1 else np.repeat([f"store {n}" for n in range(series)], 40)
    predicted = y[:, 40:].ravel() + 1
    return {
        "source": "validation",
        "y_true": y[:, 40:].ravel(),
        "predictions": predicted,
        "time": later,
        "series": names,
        "lower": predicted - 5,
        "upper": predicted + 5,
        "history": {"time": np.tile(times[:40], series), "series": before, "y": y[:, :40].ravel()},
    }


def test_a_page_tells_what_came_of_a_classification() -> None:
    page = Page(report.render(results()))
    assert page.titles() == [
        f"{name}-title"
        for name in ("progress", "models", "times", "confusion", "roc", "pr", "calibration", "importance")
    ]
    for said in ("Who survives", "All iterations were done.", "10-fold cross-validation", "held-out test rows"):
        assert said in page.text
    for said in ("It was over its limit of 60 seconds.", "5 more columns", "dropped", "Not set: allowed_models."):
        assert said in page.text
    assert "could not be drawn" not in page.text
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for element, attributes in page.elements:
        if element == "svg":
            assert attributes["role"] == "img"
            assert set(str(attributes["aria-labelledby"]).split()) <= set(map(str, ids))


@pytest.mark.parametrize("rows", [400, 5000], ids=["points", "squares"])
def test_a_page_of_a_regression(rows: int) -> None:
    y = np.random.default_rng(0).gamma(2, 10, rows)
    y[0] = 1e4  # far out
    evaluation = {"source": "validation", "y_true": y, "predictions": y * 0.9}
    page = Page(report.render(results(metric="r2_score", task="regression", evaluation=evaluation)))
    assert {"predicted-title", "residuals-title"} <= set(page.titles())
    assert "could not be drawn" not in page.text
    assert "far out" in page.text


@pytest.mark.parametrize("series", [1, 3, 9])
def test_a_page_of_a_forecast(series: int) -> None:
    found = results(metric="normalized_root_mean_squared_error", task="forecasting", evaluation=forecast(series))
    page = Page(report.render(found))
    drawn = [t for t in page.titles() if t.startswith("forecast")]
    assert len(drawn) == min(series, 6)
    assert ("6 of 9 series are shown." in page.text) == (series == 9)
    assert "interval" in page.text
    assert "could not be drawn" not in page.text


def test_a_forecast_without_intervals_history_and_some_values() -> None:
    evaluation = {**forecast(2), "lower": None, "upper": None, "history": None}
    evaluation["time"] = [str(t) for t in pd.to_datetime(evaluation["time"])]
    evaluation["y_true"] = evaluation["y_true"].copy()
    evaluation["y_true"][3:6] = np.nan
    page = Page(report.render(results(metric="r2_score", task="forecasting", evaluation=evaluation)))
    assert "could not be drawn" not in page.text
    assert len([t for t in page.titles() if t.startswith("forecast")]) == 2


def test_nothing_of_the_data_is_markup() -> None:
    def spoil(value: Any) -> Any:
        if isinstance(value, str):
            return EVIL
        if isinstance(value, dict):
            return {(EVIL + k if k == "iterations" else k): spoil(v) for k, v in value.items()}
        return [spoil(v) for v in value] if isinstance(value, list) else value

    found = results()
    spoilt = spoil({**copy.deepcopy(found), "trials": []})
    spoilt["trials"] = [
        {**spoil(t), "status": t["status"], "parameters": {EVIL: EVIL}, "metrics": {EVIL: 1.0, **t["metrics"]}}
        for t in found["trials"]
    ]
    text = report.render(spoilt)
    page = Page(text)
    assert page.count("script") == 0
    assert page.count("img") == 0
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert EVIL in page.text


def test_a_page_needs_nothing_but_itself() -> None:
    text = report.render(results())
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "image", "use"} & {tag for tag, _ in page.elements}
    assert not [a for _, attributes in page.elements for a in attributes if a in ("src", "data", "srcset")]
    assert all(str(a["href"]).startswith("#") for _, a in page.elements if "href" in a)
    assert "url(" not in text
    assert "@import" not in text
    policies = [a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert report.render(results()) == text, "the same search has the same page"


@pytest.mark.parametrize(("count", "shown"), [(200, 188), (1000, 200)])
def test_a_page_of_many_trials_is_small_and_quick(count: int, shown: int) -> None:
    found = results(count)
    began = time.perf_counter()
    text = report.render(found)
    assert time.perf_counter() - began < 2
    assert len(text.encode()) < 3_000_000
    page = Page(text)
    assert sum(1 for t, a in page.elements if t == "div" and a.get("class") == "inner") == shown
    assert ("the best 200 of 941 trials" in page.text) == (count == 1000)


def test_a_page_of_a_search_in_which_all_trials_failed() -> None:
    found = results(6)
    for trial in found["trials"]:
        trial.update(status="Failed", score=None, metrics={}, reason="MemoryError")
    found.update(best=None, evaluation=None, test_metrics=None, importances=[])
    page = Page(report.render(found))
    assert "No trial was completed, so there is no model. Most often: MemoryError" in page.text
    assert "progress-title" not in page.titles()


PARTS = [name for name in results(3) if name not in ("trials", "task")]


@pytest.mark.parametrize("missing", [*PARTS, PARTS])
def test_a_page_without_some_parts(missing: Any) -> None:
    found = results(6)
    for name in [missing] if isinstance(missing, str) else missing:
        found.pop(name)
    assert "could not be drawn" not in Page(report.render(found)).text
    for name in [missing] if isinstance(missing, str) else missing:
        found[name] = None
    assert "could not be drawn" not in Page(report.render(found)).text


def test_a_page_of_nothing() -> None:
    assert "No trial was run" in Page(report.render({"trials": []})).text


def test_a_chart_that_cannot_be_drawn_costs_only_itself() -> None:
    found = results()
    found["evaluation"] = {"source": "test", "y_true": ["a", "b"], "probabilities": np.zeros((2, 2))}
    page = Page(report.render(found))
    assert "A chart could not be drawn: ValueError" in page.text
    assert "Leaderboard" in page.text


def test_odd_predictions_of_a_classification() -> None:
    y, p = np.zeros(5, dtype=int), np.full((5, 3), 1 / 3)
    p[0] = np.nan
    page = Page(report.render(results(classes=["a"], evaluation={"source": "test", "y_true": y, "probabilities": p})))
    assert "could not be drawn" not in page.text
    assert "class 2" in page.text
    p[:] = np.nan
    page = Page(report.render(results(classes=["a"], evaluation={"source": "test", "y_true": y, "probabilities": p})))
    assert "confusion-title" not in page.titles()


def test_the_curves_of_two_classes_are_of_the_positive_one() -> None:
    found = results()
    found["settings"]["positive_label"] = "no"
    assert "no: AUC" in Page(report.render(found)).text
    found["settings"]["positive_label"] = None
    assert "yes: AUC" in Page(report.render(found)).text


def test_many_classes_stay_readable() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 200, 6000)
    p = random.random((6000, 200))
    p[np.arange(6000), y] += 0.5
    judged = Judged(y, p, [f"class number {n}" for n in range(200)])
    matrix, errors = confusion(judged)
    assert "161 other classes" in matrix
    assert len(matrix) < 400_000
    assert errors.count("<tr>") == 11
    drawn = roc(judged)
    assert drawn is not None
    assert "The 6 worst of 200 classes" in drawn
    assert len(drawn) < 600_000


def test_the_area_in_the_legend_is_the_metric() -> None:
    found = results()
    drawn = roc(Judged(found["evaluation"]["y_true"], found["evaluation"]["probabilities"], ["no", "yes"]))
    assert f"AUC {found['test_metrics']['AUC_binary']:.3f}" in str(drawn)


def test_a_hopeless_trial_does_not_press_the_others_together() -> None:
    tried = trials(30, "r2_score", {})
    tried[3].update(score=-1e9)
    drawn = str(charts.progress(tried, "r2_score", 0))
    assert "1 much worse one is a triangle" in drawn
    assert "-1e+09" not in drawn
    assert "Trial 3, XGBoostClassifier: -1,000,000,000" in drawn


def test_a_night_between_two_attempts_is_no_gap_in_the_chart() -> None:
    tried = trials(20, "r2_score", {})
    assert "seconds since the first trial began" in str(charts.progress(tried, "r2_score", 0))
    for trial in tried[10:]:
        trial["started"] += 8 * 3600
    assert "trials, as they ended" in str(charts.progress(tried, "r2_score", 0))


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.923, 0.958, ["0.93", "0.94", "0.95"]),
        (-3.0, 27.0, ["0", "10", "20"]),
        (0.0, 4_000_000.0, ["0", "1e+06", "2e+06", "3e+06", "4e+06"]),
        (5.0, 5.0, ["5"]),
    ],
)
def test_ticks_are_round(low: float, high: float, labels: list[str]) -> None:
    assert charts_axes.tick_labels(charts_axes.ticks(low, high)) == labels


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.93119, "0.9312"),
        (0.5, "0.5000"),
        (3, "3"),
        (12345.6, "12,346"),
        (1e12 + 0.5, "1e+12"),
        (0.000012345, "1.234e-05"),
        (float("nan"), "–"),
        (None, "–"),
        (float("inf"), "∞"),
        (np.float64(0.25), "0.2500"),
        ("x", "x"),
    ],
)
def test_numbers(value: Any, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8 s"), (12.3, "12 s"), (125, "2 min 5 s"), (3840, "1 h 4 min"), (7200, "2 h"), (None, "–")],
)
def test_durations(seconds: Any, text: str) -> None:
    assert duration(seconds) == text


def test_parameters() -> None:
    found = [plain(v) for v in (0.1, 1 / 3, 5, True, None, "auto", [{"weight": 0.5}], "x" * 500)]
    assert found == ["0.1", "0.333333", "5", "true", "null", "auto", '[{"weight": 0.5}]', "x" * 399 + "…"]


def test_elements() -> None:
    assert tag("p", "a < b", None, [tag("b", 1), False], cls='"x"') == '<p class="&quot;x&quot;">a &lt; b<b>1</b></p>'
    assert isinstance(tag("p"), Safe)
