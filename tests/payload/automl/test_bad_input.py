"""Bad data and strange data, each through the search's own process: one clear sentence, or a model that predicts."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import automl_engine
import numpy as np
import pandas as pd
import pytest

from stepwell.payload.automl import model
from stepwell.payload.automl.request import Request
from stepwell.runtime.automl_config import AutoMLConfig, ForecastingParameters
from stepwell.runtime.automl_featurization import FeaturizationConfig

ROWS = 60
QUICK: dict[str, Any] = {
    "task": "classification",
    "label_column_name": "y",
    "iterations": 2,
    "n_cross_validations": 2,
    "allowed_models": ["LightGBM"],
    "enable_voting_ensemble": False,
    "enable_stack_ensemble": False,
    "model_explainability": False,
    "experiment_timeout_hours": 0.05,
}
BY_VALIDATION = {"n_cross_validations": None}


class Ended:
    """A search that has ended."""

    def __init__(self, folder: Path, code: int, output: str, error: str) -> None:
        self.folder, self.code, self.output, self.error = folder, code, output, error

    def kept(self, name: str) -> Any:
        return json.loads((self.folder / "results" / name).read_text())

    @property
    def trials(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "results/trials.jsonl").read_text().splitlines()]

    @property
    def refusal(self) -> str:
        """The sentence that it was refused with."""
        assert self.code == 1, self.error
        assert not (self.folder / "out").exists(), "outputs are half done"
        assert "Traceback" not in self.error
        kind, _, text = self.error.strip().partition(": ")
        assert kind in ("AutoMLError", "SearchFailed", "ReadError"), self.error
        return text

    def model(self) -> Any:
        assert self.code == 0, self.error
        assert {p.name for p in (self.folder / "out").iterdir()} == {"model", "leaderboard", "metrics"}
        for file in (*(self.folder / "results").glob("*.json"), self.folder / "out/model/stepwell.json"):
            json.loads(file.read_text(), parse_constant=_refuse)  # JSON has no NaN
        return model.load(str(self.folder / "out/model"))


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


@pytest.fixture
def search(tmp_path: Path, forker: Any) -> Any:
    def run(
        training: pd.DataFrame, *, validation: Any = None, test: Any = None, engine: str | None = None, **settings: Any
    ) -> Ended:
        inputs = {}
        for name, frame in (("training", training), ("validation", validation), ("test", test)):
            if frame is not None:
                inputs[name] = str(tmp_path / f"{name}.parquet")
                frame.to_parquet(inputs[name])
        made = AutoMLConfig(**{**QUICK, **settings}).settings
        outputs = {name: str(tmp_path / "out" / name) for name in ("model", "leaderboard", "metrics")}
        best = {"model": {"iteration": None, "metric": None}}
        request = Request(
            "run", {**made, **({"engine": engine} if engine else {})}, str(tmp_path / "results"),
            str(tmp_path / "work"), outputs, best, inputs,
        )  # fmt: skip
        request.write(str(tmp_path / "request.json"))
        return go(forker, tmp_path, str(tmp_path / "request.json"))

    return run


@pytest.fixture(scope="session")
def forker() -> Iterator[Any]:
    """A process that has loaded the libraries, and forks one for each search."""
    path = os.pathsep.join([str(Path(automl_engine.__file__).parent), *(p for p in sys.path if p)])
    with subprocess.Popen(
        [sys.executable, "-m", "automl_forker"], env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process  # it ends when there is nothing more to read


def go(forker: Any, folder: Path, asked: str) -> Ended:
    """Search in a process of its own."""
    begun = folder / "begun"
    begun.mkdir()
    forker.stdin.write(json.dumps([asked, str(begun)]) + "\n")
    forker.stdin.flush()
    code = json.loads(forker.stdout.readline())
    return Ended(folder, code, *((begun / name).read_text() for name in ("stdout", "stderr")))


def frame(rows: int = ROWS, **columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a = rng.normal(size=rows)
    y = (a + rng.normal(size=rows) * 0.3 > 0).astype(int)
    found = pd.DataFrame({"a": a, "b": rng.integers(0, 5, rows), "c": rng.choice(list("xyz"), rows), "y": y})
    return found.assign(**columns)


def days(rows: int = 100, **columns: Any) -> pd.DataFrame:
    t = np.arange(rows)
    y = 100 + 10 * np.sin(2 * np.pi * t / 7) + np.random.default_rng(0).normal(size=rows)
    return pd.DataFrame({"day": pd.date_range("2024-01-01", periods=rows), "y": y}).assign(**columns)


def without(*columns: str) -> FeaturizationConfig:
    config = FeaturizationConfig()
    config.add_drop_columns(list(columns))
    return config


REGRESSION = {"task": "regression"}
FORECAST = {
    "task": "forecasting",
    "forecasting_parameters": ForecastingParameters(time_column_name="day", forecast_horizon=7),
}
ONE_CLASS = frame()[lambda f: f["y"] == 1]

REFUSED: dict[str, tuple[pd.DataFrame, dict[str, Any], str]] = {
    "no label": (frame(), {"label_column_name": "z"}, "the training data have no column 'z'. Allowed: a, b, c, y"),
    "a constant label": (frame(y=3), {}, "The label 'y' has the same value in every row: 3"),
    "a label of nulls": (frame(y=None), {}, "The label 'y' of the training data has no values at all"),
    "a class with one row": (frame(y=[7] + [0, 1] * 29 + [0]), {}, "The class 7 of the label 'y' has one row only"),
    "a label of fractions": (frame(y=frame()["a"]), {}, "fractions with 60 different values.*task='regression'"),
    "a label of text to regress": (frame(y="u"), REGRESSION, "'y' of the training data holds text \\(such as 'u'\\)"),
    "a label of dates to regress": (
        frame(y=pd.date_range("2024-01-01", periods=ROWS)), REGRESSION, "'y' of the training data holds dates"),
    "2 rows": (frame().head(2), {}, "The training data have 2 rows; a search needs at least 20"),
    "0 rows": (frame().head(0), {}, "The training data have no rows"),
    "a label and nothing else": (frame()[["y"]], {}, "no columns to learn from beside the label 'y'"),
    "the same rows": (frame()[["y"]].assign(a=1, b="x"), {}, "'a' has the same value everywhere; 'b' has"),
    "all columns left out": (frame(), {"featurization": without("a", "b", "c")}, "drop_columns names every column"),
    "weights of 0": (frame(w=0), {"weight_column_name": "w"}, "All weights in the column 'w' of the training data"),
    "weights below 0": (frame(w=-1), {"weight_column_name": "w"}, "60 weights in the column 'w'.*negative.*row 0"),
    "an unknown positive label": (frame(), {"positive_label": 7}, "positive_label 7 is not among.*Allowed: 0, 1"),
    "more folds than rows": (frame(), {"n_cross_validations": 99}, "n_cross_validations=99 is more than.*rows \\(60"),
    "validation with one class": (
        frame(), {**BY_VALIDATION, "primary_metric": "AUC_weighted", "validation": ONE_CLASS},
        "AUC_weighted cannot be told from the rows to judge by"),
    "validation with another class": (
        frame(), {**BY_VALIDATION, "validation": frame(y=7)}, "validation data have labels.*: 7. Allowed: 0, 1"),
    "validation without a column": (
        frame(), {**BY_VALIDATION, "validation": frame().drop(columns="a")}, "validation data lack the columns 'a'"),
    "validation of another type": (
        frame(), {**BY_VALIDATION, "validation": frame(a="x")}, "'a' holds texts in the validation data, but numbers"),
    "text and no featurization": (
        frame(), {"featurization": "off"}, "The column 'c' holds no numbers .but text., and featurization"),
    "two rows of one time": (pd.concat([days()] * 2), FORECAST, "100 rows have the time of another row.*2024-01-01"),
    "no time column": (days().drop(columns="day"), FORECAST, "The data have no column 'day'"),
    "a short past": (days(10), FORECAST, "10 periods; to judge forecasts of 7 periods it takes 12"),
    "a constant to forecast": (days(y=1.5), FORECAST, "The label 'y' has the same value in every row: 1.5"),
    "text to forecast": (days(y="u"), FORECAST, "The target 'y' is to be forecast and must be numbers, but 'u'"),
    "a forecast's test without label": (
        days(80), {**FORECAST, "test": days().tail(20).drop(columns="y")}, "the test data have no column 'y'"),
    "a forecast's test with text": (
        days(80), {**FORECAST, "test": days(y="u").tail(20)}, "The test data: .* must be numbers, but 'u' is none"),
    "no time at all": (frame(), {"experiment_timeout_hours": 1e-5}, "No trial was completed \\(0 failed; experiment"),
    "a longer trial than it may": (
        frame(),
        {"engine": automl_engine.NAME, "primary_metric": "AUC_weighted", "allowed_models": ["SGD"],
         "iteration_timeout_minutes": 0.001, "iterations": 1},
        "No trial was completed \\(1 failed.*\\n.*SGD: iteration_timeout_minutes"),
    "trials that all fail": (
        frame(),
        {"engine": automl_engine.NAME, "primary_metric": "AUC_weighted", "allowed_models": ["ExtremeRandomTrees"]},
        "No trial was completed \\(2 failed.*\\n.*ExtremeRandomTrees: it always fails"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_words_and_leaves_nothing(search: Any, case: str) -> None:
    training, settings, message = REFUSED[case]
    refusal = search(training, **settings).refusal
    assert re.search(message, refusal), refusal


def strange() -> pd.DataFrame:
    """Columns of every kind, with names of every kind."""
    n = range(ROWS)
    names = {"a": 'a"[]{}:,\\', "b": "x'\n\t<b>&", "c": "größe 🚢"}
    return frame().rename(columns=names).assign(**{
        "f0": [[np.nan, np.inf, -np.inf, 1.5, 2.5][i % 5] for i in n],
        "": pd.array([1, None] * 30, dtype="Int64"),
        "date": [datetime.date(2024, 1, 1 + i % 28) for i in n],
        "zone": pd.date_range("2024-01-01", periods=ROWS, tz="Europe/Berlin"),
        "while": pd.to_timedelta(n, unit="h"),
        "list": [[1, 2]] * ROWS,
        "map": [{"k": 1}] * ROWS,
        "bytes": [b"x"] * ROWS,
        "null": None,
        "decimal": [decimal.Decimal(i) / 4 for i in n],
        "huge": [10**18 + 10**6 * i for i in n],
        "larger": 1e300 * frame()["a"],
        "yes": pd.array([True, None, False] * 20, dtype="boolean"),
        "kind": pd.Categorical(["k", None, "l"] * 20),
        "text": pd.array(["u", None, "v"] * 20, dtype="string"),
    })  # fmt: skip


LABELS = {
    "dates": pd.to_datetime(["2024-01-01", "2024-01-02"] * 30),
    "names": ["ja", "não 🚢"] * 30,
    "large numbers": [2**62 + 1, 2**53 + 1] * 30,
    "nullable": pd.array([1, 0, None] * 20, dtype="Int64"),
}

FINISHED: dict[str, tuple[pd.DataFrame, dict[str, Any]]] = {
    "every kind of column": (strange(), {}),
    "one column": (frame()[["a", "y"]], {}),
    "nothing but categories": (frame()[["c", "y"]].assign(d=["p", "q", "r"] * 20), {"positive_label": 0}),
    "300 classes": (frame(600, y=np.arange(600) % 300), {"iterations": 1}),
    "a leak": (frame(copy=frame()["y"]), {"max_concurrent_iterations": 50}),
    "validation with one class": (frame(), {**BY_VALIDATION, "validation": ONE_CLASS}),
    "test with one class": (frame(), {"test": ONE_CLASS, "primary_metric": "AUC_weighted"}),
    "flat predictions": (frame(30, y=frame(30)["a"]), {**REGRESSION, "primary_metric": "spearman_correlation"}),
    "a forecast with gaps": (days().drop(index=[20, 21, 50]), {**FORECAST, "test": days(120).tail(20)}),
    **{f"labels: {name}": (frame(y=values), {}) for name, values in LABELS.items()},
}


@pytest.mark.parametrize("case", FINISHED)
def test_it_is_searched_on_and_the_model_predicts_from_raw_columns(search: Any, case: str) -> None:
    training, settings = FINISHED[case]
    ended = search(training, **settings)
    fitted = ended.model()
    raw = training.drop(columns="y")
    if settings.get("task") == "forecasting":
        raw = days(110).tail(10).drop(columns="y")
    predicted = pd.Series(np.asarray(fitted.predict(raw)))
    assert len(predicted) == len(raw)
    assert predicted.notna().all()
    if "task" not in settings:
        known = {str(v) for v in training["y"].dropna()} | {f"{v} 00:00:00" for v in training["y"].astype(str)}
        assert set(predicted.map(str)) <= known
    if case == "a leak":
        found = next(g for g in ended.kept("guardrails.json") if g["name"] == "Leakage detection")
        assert (found["status"], found["details"]) == ("warning", ["copy: it determines the label"])
        assert "warning: Leakage detection" in ended.output
        assert "max_concurrent_iterations=50 needs 50 cores" in ended.output
    if case == "every kind of column":
        left_out = {c["column"] for c in ended.kept("featurization.json") if c["dropped"]}
        assert {"null"} <= left_out
        assert "holds values of the type" in ended.output
    if case == "validation with one class":
        assert "The validation data have no row of the class 0" in ended.output


def of_job(forker: Any, folder: Path, file: Path, format: str, **settings: Any) -> Ended:
    """Search as a step does: its input is a file that a dataset names."""
    from payload_support import Job

    from stepwell.runtime.definition import content_id, make

    job = Job(folder / "job", file)
    definition = make("tabular", format, [{"datastore": "store", "path": file.name}])
    id = content_id(definition)
    job.document["datasets"][id] = {"name": "d", "version": 1, "definition": definition, "files": [file.as_uri()]}
    job.document["inputs"] = {"training_data": {"mode": "direct", "value": id, "id": id}}
    outputs = {n: {"mode": "upload", "value": str(folder / "out" / n)} for n in ("model", "leaderboard", "metrics")}
    job.document["outputs"] = outputs
    made = AutoMLConfig(**{**QUICK, **settings}).settings
    best = {"model": {"iteration": None, "metric": None}}
    job.document["automl"] = {"settings": made, "outputs": best, "resume": None}
    job.write()
    ended = go(forker, folder, str(job.directory))
    (folder / "results").symlink_to(job.directory / "code/outputs/automl")
    return ended


def test_columns_and_labels_of_several_types_become_text(tmp_path: Path, forker: Any) -> None:
    rows = frame().to_dict("records")
    mixed, listed, labels = [1, "x", 2.5, True], [1, "x", [1, 2], None], ["a", 1, True, "1"]
    text = "\n".join(
        json.dumps({**row, "mixed": mixed[n % 4], "listed": listed[n % 4], "y": labels[n % 4]})
        for n, row in enumerate(rows)
    )
    (tmp_path / "rows.jsonl").write_text(text)
    ended = of_job(forker, tmp_path, tmp_path / "rows.jsonl", "json_lines")
    fitted = ended.model()
    assert fitted.classes_.tolist() == ["1", "True", "a"]
    assert "The label 'y' has values of several types; they are taken as text" in ended.output
    assert "The column 'mixed' of the training data has values of several types" in ended.output
    assert "The column 'listed' of the training data holds values of the type list, and is left out" in ended.output
    assert len(fitted.predict(frame(mixed="x", listed=None).drop(columns="y"))) == ROWS


def test_a_name_that_two_columns_have_is_told(tmp_path: Path, forker: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame())
    double = pa.Table.from_arrays([*table.columns, table.column(0)], names=[*table.column_names, "a"])
    pq.write_table(double, tmp_path / "rows.parquet")
    ended = of_job(forker, tmp_path, tmp_path / "rows.parquet", "parquet")
    assert "several columns with the name 'a'" in ended.refusal


def test_learners_that_cannot_take_the_data_cost_their_trials_only(search: Any) -> None:
    ended = search(
        frame()[["a", "b", "y"]].assign(y=[0] * 58 + [1] * 2), featurization="off", iterations=4,
        allowed_models=["LightGBM", "SVM"],
    )  # fmt: skip
    ended.model()
    assert {t["status"] for t in ended.trials if t["model"] == "LightGBM"} == {"Completed"}
