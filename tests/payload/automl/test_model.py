"""The saved model: loaded where there is no Stepwell, it says what it said before."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from stepwell.payload.automl import forecasting
from stepwell.payload.automl import model as models
from stepwell.payload.automl.ensemble_steps import StackEnsemble, VotingEnsemble, as_features
from stepwell.payload.automl.errors import AutoMLError
from stepwell.payload.automl.featurizer import Featurizer
from stepwell.payload.automl.steps import CategoryCodes, OneColumn

#: Loads a model and predicts, with neither the project nor FLAML: an import of either fails, and so does a connection.
CONSUMER = """
import sys, socket
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("stepwell", "flaml"):
            raise ModuleNotFoundError("not here: " + name)
sys.meta_path.insert(0, Refuse())
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise OSError("no network here")
sys.addaudithook(watch)
import json, mlflow.sklearn, mlflow.pyfunc, pandas as pd
rows = pd.read_parquet(sys.argv[2])
model = mlflow.sklearn.load_model(sys.argv[1])
said = {"predict": model.predict(rows).tolist(), "steps": [name for name, _ in getattr(model, "steps", ())]}
if hasattr(model, "predict_proba"):
    said["classes"], said["chances"] = model.classes_.tolist(), model.predict_proba(rows).tolist()
said["pyfunc"] = mlflow.pyfunc.load_model(sys.argv[1]).predict(rows).tolist()
print(json.dumps(said))
"""


def frame(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": rng.normal(size=rows),
            "count": rng.integers(0, 9, rows),
            'name: "odd" {ü}': rng.choice(["red", "green", "blue", None], rows),
            "shop": pd.Categorical(rng.choice(["a", "b"], rows)),
            "note": [f"the {n % 7} quick brown fox {n}" for n in range(rows)],
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), unit="D"),
            "flag": rng.random(rows) < 0.5,
        }
    )


X = frame()
CODES = ((X["size"] + X["count"] / 4 + (X.iloc[:, 2] == "red")) > 1.2).to_numpy().astype(int)
FEATURIZER = Featurizer().fit(X)
FEATURES = FEATURIZER.transform(X)


def save(model: Any, folder: Path, task: str = "classification", **more: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"label": "y", "example": X, "metric": "accuracy", "score": 0.9, **more}
    return models.save(model, str(folder), task=task, **settings)


def consumed(folder: Path, rows: pd.DataFrame) -> dict[str, Any]:
    """What a process says that has the model and its libraries only."""
    rows.to_parquet(folder.parent / "rows.parquet")
    done = subprocess.run(
        [sys.executable, "-c", CONSUMER, str(folder), str(folder.parent / "rows.parquet")],
        env={n: v for n, v in os.environ.items() if n != "PYTHONPATH"} | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder.parent,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def fitted(estimator: Any) -> Any:
    return make_pipeline(CategoryCodes(), MaxAbsScaler(), estimator).fit(FEATURES, CODES)


def logistic() -> Any:
    return fitted(LogisticRegression())


def boosting() -> Any:
    return fitted(HistGradientBoostingClassifier(max_iter=5))


def lightgbm() -> Any:
    return pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=5, verbose=-1).fit(FEATURES, CODES)


def xgboost() -> Any:
    return fitted(pytest.importorskip("xgboost").XGBClassifier(n_estimators=5))


def voting() -> Any:
    members = [logistic(), fitted(RandomForestClassifier(5))]
    return VotingEnsemble([(str(i), m, 0.5) for i, m in enumerate(members)], 2)


def stacked() -> Any:
    members = [logistic(), lightgbm()]
    meta = LogisticRegression().fit(as_features([m.predict_proba(FEATURES) for m in members]), CODES)
    return StackEnsemble([(str(i), m, 1.0) for i, m in enumerate(members)], 2, meta)


@pytest.mark.parametrize("make", [logistic, boosting, lightgbm, xgboost, voting, stacked])
def test_it_needs_no_stepwell_and_says_the_labels(make: Any, tmp_path: Path) -> None:
    model = models.build(FEATURIZER, make(), "classification", ["<=50K", ">50K"], "Some Model")
    before, chances = model.predict(X), model.predict_proba(X)
    assert set(before) == {"<=50K", ">50K"}
    save(model, tmp_path / "model")
    said = consumed(tmp_path / "model", X)
    assert said["steps"] == ["datatransformer", "Some Model"]
    assert said["predict"] == said["pyfunc"] == before.tolist()
    assert said["classes"] == ["<=50K", ">50K"]
    assert np.allclose(said["chances"], chances)
    assert (models.load(str(tmp_path / "model")).predict(X) == before).all(), "and it is loaded beside Stepwell as well"


def test_numbers_of_a_regression(tmp_path: Path) -> None:
    estimator = make_pipeline(CategoryCodes(), Ridge()).fit(FEATURES, X["size"] * 2)
    model = models.build(FEATURIZER, estimator, "regression", None, "Name")
    document = save(model, tmp_path / "model", "regression", metric="r2_score")
    said = consumed(tmp_path / "model", X)
    assert np.allclose(said["predict"], model.predict(X))
    assert "chances" not in said
    assert document["classes"] is None


@pytest.mark.parametrize("baseline", [False, True])
def test_forecasts(baseline: bool, tmp_path: Path) -> None:
    days = pd.date_range("2023-01-02", periods=120)
    past = pd.DataFrame({"day": days, "shop": "a", "sales": 50 + 10 * np.sin(np.arange(120) / 7 * 2 * np.pi)})
    past = pd.concat([past, past.assign(shop="b", sales=past["sales"] * 3)])
    parameters = {"time_column_name": "day", "time_series_id_column_names": ["shop"], "forecast_horizon": 7}
    prepared = forecasting.prepare(past, {"label_column_name": "sales", "forecasting_parameters": parameters})
    regressor = make_pipeline(CategoryCodes(), SimpleImputer(), Ridge())
    if baseline:
        regressor = OneColumn(prepared.facts["baselines"]["seasonal_naive"])
    regressor.fit(prepared.X, prepared.y)
    made = prepared.model(regressor, regressor.predict(prepared.X.iloc[prepared.judged]))
    model = models.build(prepared.featurizer, made, "forecasting", None, "SeasonalNaive")
    future = pd.DataFrame({"day": pd.date_range("2023-05-02", periods=7), "shop": "b"})
    expected = model.predict(future)
    save(model, tmp_path / "model", "forecasting", label="sales", example=past.drop(columns="sales"))
    said = consumed(tmp_path / "model", future)
    assert np.allclose(said["predict"], expected)
    assert np.allclose(said["pyfunc"], expected)


def requirements(folder: Path) -> dict[str, str]:
    lines = (folder / "requirements.txt").read_text().split()
    return dict(line.split("==") for line in lines)


def test_it_says_what_it_is_and_exactly_what_it_needs(tmp_path: Path) -> None:
    plain = models.build(FEATURIZER, logistic(), "classification", [0, 1])
    nested = models.build(FEATURIZER, VotingEnsemble([("0", lightgbm(), 1.0)], 2), "classification", [0, 1])
    begun = time.monotonic()
    document = save(
        plain,
        tmp_path / "plain",
        metrics={"accuracy": 0.9, "AUC_weighted": float("nan")},
        iteration=7,
        name="LogisticRegression",
        run_id="run_7",
        rows=200,
        more={"weight": None},
    )
    assert time.monotonic() - begun < 10, "it asks nothing of the network"
    assert json.loads((tmp_path / "plain" / "stepwell.json").read_text()) == document
    assert document["features"][1] == {"name": "count", "dtype": "int64"}
    wanted = {"task": "classification", "label": "y", "classes": [0, 1], "metric": "accuracy", "score": 0.9}
    wanted.update(iteration=7, model="LogisticRegression", run_id="run_7", rows=200)
    assert {name: document[name] for name in wanted} == wanted
    assert document["metrics"] == {"accuracy": 0.9, "AUC_weighted": None}, "JSON has no NaN"
    save(nested, tmp_path / "nested")
    few = {"cloudpickle", "numpy", "pandas", "scikit-learn", "scipy"}
    for folder, more in (("plain", set()), ("nested", {"lightgbm"})):
        found = requirements(tmp_path / folder)
        assert found.keys() - {"mlflow", "mlflow-skinny"} == few | more
        assert len(found) == len(few | more) + 1, "MLflow adds nothing of its own"
        assert found["pandas"] == pd.__version__
    about = (tmp_path / "plain" / "MLmodel").read_text()
    assert re.search(r"metadata:\n(  .*\n)*  run_id: run_7\n", about)
    assert "serialization_format: cloudpickle" in about
    assert str(tmp_path) not in about
    assert len(json.loads((tmp_path / "plain" / "input_example.json").read_text())["data"]) == 5


def test_odd_columns_do_not_hinder(tmp_path: Path) -> None:
    """What the featurizer leaves out is still there when a frame is scored."""
    odd = X.assign(
        mixed=[1, "a", None, 2.5] * 50,
        lists=[[1, 2], None] * 100,
        when=pd.Timestamp("2020-01-01", tz="UTC"),
        date=pd.Timestamp("2020-01-01").date(),
        empty=None,
        gone=pd.Categorical(["a", None] * 100),
    )

    featurizer = Featurizer().fit(odd)
    estimator = make_pipeline(CategoryCodes(), LogisticRegression()).fit(featurizer.transform(odd), CODES)
    model = models.build(featurizer, estimator, "classification", [False, True])
    document = save(model, tmp_path / "model", example=odd)
    assert [f["name"] for f in document["features"]][7:] == ["mixed", "lists", "when", "date", "empty", "gone"]
    assert models.load(str(tmp_path / "model")).predict(odd).tolist() == model.predict(odd).tolist()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs.txt").write_text("theirs")
    model = models.build(FEATURIZER, logistic(), "classification", [0, 1])
    with pytest.raises(AutoMLError, match="is not empty"):
        save(model, tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["theirs.txt"]
    with pytest.raises(AutoMLError, match="There is no model in"):
        models.load(str(tmp_path))
