"""A search that a script submits, in a step and by hand: what it is given, what it records, what it hands back."""

from __future__ import annotations

import json
import logging
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from payload_support import Job

from stepwell.runtime.errors import UserErrorException

pytestmark = pytest.mark.usefixtures("azureml")


def rows(count: int = 120) -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=count), "b": random.normal(size=count)})
    return frame.assign(label=np.where(frame["a"] + frame["b"] / 4 > 0, "yes", "no"))


def config(**given: Any) -> Any:
    from azureml.train.automl import AutoMLConfig

    settings = {"task": "classification", "label_column_name": "label", "training_data": rows(), "iterations": 3}
    return AutoMLConfig(**{**settings, **given})


@pytest.fixture
def by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("STEPWELL_JOB_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- imports -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "from azureml.train.automl import AutoMLConfig",
        "from azureml.train.automl.automlconfig import AutoMLConfig",
        "from azureml.train.automl.run import AutoMLRun",
        "from azureml.train.automl.exceptions import ConfigException",
        "from azureml.train.automl.utilities import get_primary_metrics",
        "from azureml.train.automl import constants",
        "from azureml.automl.core import FeaturizationConfig",
        "from azureml.automl.core.featurization import FeaturizationConfig",
        "from azureml.automl.core.featurization.featurizationconfig import FeaturizationConfig",
        "from azureml.automl.core.forecasting_parameters import ForecastingParameters",
    ],
)
def test_v1s_import_places(line: str) -> None:
    exec(line)


def test_a_part_that_is_not_there_says_so() -> None:
    with pytest.raises(ImportError, match="azureml.train.automl.AutoMLStep is not available.*import it from stepwell"):
        exec("from azureml.train.automl import AutoMLStep")
    with pytest.raises(ImportError, match="is not part of Stepwell's layer.*azureml.train.automl"):
        exec("import azureml.train.hyperdrive")


def test_names_of_tasks_models_and_metrics() -> None:
    from azureml.train.automl import constants
    from azureml.train.automl.utilities import get_primary_metrics

    assert constants.Tasks.FORECASTING == "forecasting"
    assert constants.SupportedModels.Classification.LightGBM == "LightGBM"
    assert "AUC_weighted" in get_primary_metrics("classification")


# -- what may be submitted ---------------------------------------------------------------------------------------------


def test_only_an_automl_config_can_be_submitted(in_job: Job) -> None:
    from azureml.core import Run
    from azureml.exceptions import NotBuiltError

    with pytest.raises(NotBuiltError, match="submit of a int is not built yet inside a step"):
        Run.get_context().experiment.submit(1)


class _Context:
    """Looks like a SparkContext."""

    def parallelize(self) -> None: ...


@pytest.mark.filterwarnings("ignore:AutoML")
@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"training_data": None}, "has no training_data"),
        ({"training_data": "data.csv"}, "training_data is a str. Allowed: a TabularDataset"),
        ({"training_data": np.ones((3, 2))}, "training_data is a ndarray"),
        ({"compute_target": "cluster"}, "compute_target='cluster': inside a step a search runs where the step runs"),
        ({"spark_context": _Context()}, "training_data is a frame of pandas, which is not possible with spark_context"),
        ({"spark_context": object(), "training_data": object()}, "spark_context is a object. Allowed: a SparkContext"),
        ({"X": [[1], [2]], "y": [1]}, "y has 1 values, and there are 2 rows"),
        ({"X": [[1], [2]], "y": [[1, 2], [1, 2]]}, r"y has the shape \(2, 2\). Allowed: one column"),
        ({"X": np.ones((2, 2, 2)), "y": [1, 2]}, "X has 3 dimensions"),
        ({"X": [[1]], "y": [1], "X_valid": [[1, 2]], "y_valid": [1]}, "X_valid has 2 columns, X has 1"),
        ({"X": [[1]], "y": [1], "sample_weight": [1, 2]}, "sample_weight has 2 values, and there are 1 rows"),
    ],
)
def test_what_is_refused_before_anything_starts(by_hand: Path, given: dict[str, Any], match: str) -> None:
    from azureml.core import Experiment, Workspace

    if "X" in given:
        given = {"training_data": None, "label_column_name": None, **given}
    experiment = Experiment(Workspace(), "e")
    with pytest.raises(UserErrorException, match=match):
        experiment.submit(config(**given))
    assert list(by_hand.iterdir()) == []


def test_a_file_dataset_is_no_table(in_job: Job) -> None:
    from azureml.core import Dataset, Run

    files = Dataset.get_by_id(None, in_job.file_id)
    with pytest.raises(UserErrorException, match=r"training_data is a FileDataset.*Dataset\.Tabular"):
        Run.get_context().experiment.submit(config(training_data=files))
    assert in_job.events() == []


# -- frames ------------------------------------------------------------------------------------------------------------


def test_datasets_and_frames_become_frames(in_job: Job) -> None:
    from azureml.core import Dataset
    from azureml.train.automl._frames import frames

    given = {"training_data": Dataset.get_by_id(None, in_job.id), "test_data": rows()}
    settings, data = frames({"label_column_name": "Survived"}, given)
    assert (settings["label_column_name"], set(data)) == ("Survived", {"training", "test"})
    assert list(data["training"]["Survived"]) == [0, 1, 1, 0]
    assert data["test"] is given["test_data"]


def test_numbers_of_numpy_are_parameters() -> None:
    one = config(iterations=np.int64(3), experiment_timeout_hours=np.float32(0.5), positive_label=np.str_("yes"))
    settings = one.settings
    assert (settings["iterations"], settings["experiment_timeout_hours"], settings["positive_label"]) == (3, 0.5, "yes")


@pytest.mark.parametrize(
    ("X", "y", "columns"),
    [
        (np.ones((2, 2)), np.array([0, 1]), ["C1", "C2", "label"]),
        ([[1, 2], [3, 4]], [[0], [1]], ["C1", "C2", "label"]),
        (pd.DataFrame({"u": [1, 2]}), pd.Series([0, 1], name="target"), ["u", "target"]),
        (pd.DataFrame({"u": [1, 2]}), pd.DataFrame({"v": [0, 1]}), ["u", "v"]),
        (pd.DataFrame({"u": [1, 2]}, index=[7, 9]), pd.Series([0, 1], name="u"), ["u", "u_"]),
        (pd.DataFrame({"label": [1, 2]}), [0, 1], ["label", "label_"]),
    ],
)
def test_X_and_y_become_one_frame_row_by_row(X: Any, y: Any, columns: list[str]) -> None:
    from azureml.train.automl._frames import frames

    settings, data = frames({}, {"X": X, "y": y, "X_valid": X, "y_valid": y, "sample_weight": [1, 2]})
    assert list(data["training"]) == [*columns, "sample_weight"]
    assert list(data["validation"]) == columns
    assert (settings["label_column_name"], settings["weight_column_name"]) == (columns[-1], "sample_weight")
    assert list(data["training"][columns[-1]]) == [0, 1]


# -- the run -----------------------------------------------------------------------------------------------------------


def _write(folder: Path, run_id: str) -> None:
    """Leave behind what a search does: three trials, of which the last has failed; the second one is the best."""
    from stepwell.payload.automl.trial import Trial

    scores: list[dict[str, float]] = [{"accuracy": 0.7, "log_loss": 0.2}, {"accuracy": 0.9, "log_loss": 0.4}, {}]
    trials = [
        Trial(n, f"{run_id}_{n}", "SGD" if n else "LightGBM", status="Completed", metrics=m, score=m.get("accuracy"))
        for n, m in enumerate(scores)
    ]
    trials[2].status, trials[2].reason = "Failed", "it did not converge"
    with (folder / "trials.jsonl").open("w") as file:
        file.writelines(json.dumps(t.to_dict()) + "\n" for t in trials)
    guardrail = {"name": "Class balance", "status": "passed", "description": "Fine", "details": [], "action": None}
    (folder / "guardrails.json").write_text(json.dumps([guardrail]))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """In place of the search: one that notes what it was called with, and leaves the files of a search behind."""
    calls: list[dict[str, Any]] = []

    def search(settings: dict[str, Any], data: dict[str, Any], folder: str, **more: Any) -> dict[str, Any]:
        calls.append({"settings": settings, "data": data, "folder": folder, **more})
        if settings["seed"] == 666:
            raise RuntimeError("no trial has succeeded")
        _write(Path(folder), more["run_id"])
        return {"best": 1}

    engine = types.ModuleType("stepwell.payload.automl.in_script")
    engine.search, engine.fitted = search, lambda folder, iteration: ("fitted", iteration)  # type: ignore[attr-defined]
    model = types.ModuleType("stepwell.payload.automl.model")
    model.load = lambda folder: ("loaded", Path(folder).name)  # type: ignore[attr-defined]
    import stepwell.payload.automl as package

    for name, module in (("in_script", engine), ("model", model)):
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(package, name, module, raising=False)
    return calls


def test_in_a_step_the_search_is_a_child_run_with_its_trials_below_it(in_job: Job, recorded: list[Any]) -> None:
    from azureml.core import Run

    step = Run.get_context()
    run = step.experiment.submit(config(), tags={"k": 1}, show_output=True)
    (call,) = recorded
    assert (call["run_id"], call["show_output"], call["spark"]) == (run.id, True, None)
    assert call["settings"]["iterations"] == 3
    assert list(call["data"]) == ["training"]
    assert Path(call["folder"]) == in_job.directory / "code" / "outputs" / "automl" / run.id
    assert run.id.startswith("AutoML_")
    assert (run.type, run.get_status(), run.parent, run.get_tags()) == ("automl", "Completed", step, {"k": "1"})
    own = [e for e in in_job.events() if e["kind"] == "child"]
    assert [(e["state"], e["parent"]) for e in own] == [("Running", "run-1"), ("Completed", "run-1")]
    assert own[1]["metrics"]["accuracy"] == 0.9
    assert [r.id for r in step.get_children()] == [run.id]


def test_what_the_run_of_a_search_answers(in_job: Job, recorded: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    from azureml.core import Run
    from azureml.train.automl.run import AutoMLRun

    run = Run.get_context().experiment.submit(config())
    assert isinstance(run, AutoMLRun)
    assert isinstance(run, Run)
    best, fitted = run.get_output()
    assert (best.id, best.get_status(), fitted) == (f"{run.id}_1", "Completed", ("loaded", "model"))
    assert best.get_metrics() == {"accuracy": 0.9, "log_loss": 0.4}
    assert best.properties["run_algorithm"] == "SGD"
    best.log("after", 3)
    assert best.get_metrics("after") == {"after": 3}
    assert run.get_output(metric="log_loss")[0].id == f"{run.id}_0"
    assert run.get_output(iteration=0)[1] == ("fitted", 0)
    assert run.get_output(iteration=1)[1] == ("loaded", "model")
    assert run.get_best_child("log_loss").id == f"{run.id}_0"
    assert [(c.id[-1], c.status) for c in run.get_children()] == [
        ("2", "Failed"),
        ("1", "Completed"),
        ("0", "Completed"),
    ]
    assert run.get_metrics("accuracy") == {"accuracy": 0.9}
    assert run.get_metrics(recursive=True)[f"{run.id}_0"]["accuracy"] == 0.7
    assert run.summary() == [["LightGBM", 1, 0.7], ["SGD", 2, 0.9]]
    assert run.wait_for_completion(show_output=True)["status"] == "Completed"
    assert [f["name"] for f in run.get_guardrails()["faults"]] == ["Class balance"]
    assert "Class balance: passed. Fine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("run.get_output(iteration=0, metric='accuracy')", "both iteration and metric"),
        ("run.get_output(iteration=9)", "no iteration 9. Allowed: 0 to 2"),
        ("run.get_output(iteration=2)", "Iteration 2 has no model: it has failed .it did not converge.. Allowed: 0, 1"),
        ("run.get_output(metric='r2_score')", "No metric 'r2_score' is recorded for classification"),
        ("run.get_output(metric='AUC_macro')", "No trial of the search .* has the metric 'AUC_macro'"),
        ("run.get_output(return_onnx_model=True)", "return_onnx_model=True is not built"),
        ("run.register_model('m')", "run.register_model is not built.*register_on_complete"),
        ("run.continue_experiment()", "run.continue_experiment is not built"),
        ("run.cancel()", "is over and cannot be cancelled"),
    ],
)
@pytest.mark.parametrize("place", ["in_job", "by_hand"])
def test_what_the_run_of_a_search_refuses(
    request: pytest.FixtureRequest, recorded: list[Any], place: str, text: str, match: str
) -> None:
    request.getfixturevalue(place)
    from azureml.core import Experiment, Workspace

    run = Experiment(Workspace(), "e").submit(config())
    with pytest.raises(UserErrorException, match=match):
        eval(text, {"run": run})


def test_a_search_that_fails_is_a_failed_child_run(in_job: Job, recorded: list[Any]) -> None:
    from azureml.core import Run

    with pytest.raises(RuntimeError, match="no trial has succeeded"):
        Run.get_context().experiment.submit(config(seed=666))
    last = in_job.events()[-1]
    assert (last["state"], last["error"]) == ("Failed", "RuntimeError: no trial has succeeded")


def test_by_hand_it_works_too_and_says_where_the_results_are(
    by_hand: Path, recorded: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    from azureml.core import Experiment, Run, Workspace
    from azureml.train.automl.run import AutoMLRun

    run = Experiment(Workspace(), "mine").submit(config(verbosity=logging.WARNING, compute_target="local"))
    assert isinstance(run, AutoMLRun)
    assert type(Run.get_context()).__name__ == "_OfflineRun"
    best, fitted = run.get_output()
    assert (best.get_metrics()["accuracy"], best.properties["score"], fitted) == (0.9, "0.9", ("loaded", "model"))
    assert (run.type, run.status, run.experiment.name) == ("automl", "Completed", "mine")
    assert f"The results are in {by_hand / 'outputs' / 'automl' / run.id}" in capsys.readouterr().out


# -- the search itself -------------------------------------------------------------------------------------------------


def test_a_search_of_a_step_from_the_script_to_the_model(in_job: Job) -> None:
    from azureml.core import Run

    data = rows()
    run = Run.get_context().experiment.submit(
        config(training_data=data, allowed_models=["LightGBM"], iterations=2, n_cross_validations=2)
    )
    children = [e for e in in_job.events() if e["kind"] == "child"]
    trials = [e for e in children if e["parent"] == run.id]
    assert {(e["id"], e["state"]) for e in trials} >= {
        (f"{run.id}_{n}", state) for n in range(2) for state in ("Running", "Completed")
    }
    assert [e["state"] for e in children if e["id"] == run.id] == ["Running", "Completed"]
    best, model = run.get_output()
    features = data.drop(columns="label")
    assert (model.predict(features) == data["label"]).mean() > 0.8
    assert best.get_metrics()["AUC_weighted"] > 0.8
    assert best.id == run.get_best_child("accuracy").id
    other = next(c for c in run.get_children() if c.status == "Completed" and c.id != best.id)
    again, model = run.get_output(iteration=int(other.properties["iteration"]))
    assert again.id == other.id
    assert set(model.predict(features)) <= {"yes", "no"}
    assert run.get_guardrails(to_console=False)["faults"]
    assert (in_job.directory / "code" / "outputs" / "automl" / run.id / "report.html").is_file()


def test_a_search_by_hand_on_arrays_and_one_that_its_data_does_not_allow(by_hand: Path) -> None:
    from azureml.core import Experiment, Workspace
    from azureml.train.automl import AutoMLConfig

    X = np.random.default_rng(1).normal(size=(60, 2))
    given: dict[str, Any] = {"iterations": 1, "allowed_models": ["SGD"], "enable_stack_ensemble": False}
    with pytest.warns(DeprecationWarning, match="X and y"):
        configured = AutoMLConfig("regression", X=X, y=X[:, 0] * 3, n_cross_validations=2, **given)
    experiment = Experiment(Workspace(), "by hand")
    best, model = experiment.submit(configured).get_output()
    assert best.get_metrics()["r2_score"] == best.get_metrics("r2_score")["r2_score"]
    assert len(model.predict(pd.DataFrame(X, columns=["C1", "C2"]))) == 60
    refused = config(training_data=rows().assign(label="yes"), **given)
    with pytest.raises(UserErrorException, match="label"):
        experiment.submit(refused)
