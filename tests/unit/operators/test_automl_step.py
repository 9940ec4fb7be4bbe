"""``AutoMLStepOperator``: what it takes and refuses while a DAG is parsed, its outputs, and what becomes of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, AssetAlias

from stepwell import (
    AutoMLConfig,
    Dataset,
    DatasetConsumptionConfig,
    HDFSOutputDatasetConfig,
    OutputFileDatasetConfig,
)
from stepwell.errors import UserErrorException
from stepwell.links import AutoMLReportLink, RunLink, ValidationReportLink
from stepwell.operators import AutoMLStepOperator, PythonScriptStepOperator

BEST = {"iteration": None, "metric": None}


def table(path: str = "a.csv") -> Any:
    return Dataset.Tabular.from_delimited_files(("store", path))


def config(**more: Any) -> AutoMLConfig:
    return AutoMLConfig(**{"task": "classification", "label_column_name": "y", **more})


def search(**more: Any) -> AutoMLStepOperator:
    given: dict[str, Any] = {"task_id": "automl", "automl_config": config(), **more}
    if "inputs" not in more and not given["automl_config"].data:
        given["inputs"] = [table().as_named_input("training_data")]
    return AutoMLStepOperator(**given)


def script(task_id: str, **more: Any) -> PythonScriptStepOperator:
    return PythonScriptStepOperator(task_id=task_id, script_name="s.py", source_directory="src", **more)


# -- data --------------------------------------------------------------------------------------------------------------


def test_data_comes_by_inputs_or_with_the_configuration() -> None:
    by_inputs = search(inputs=[table().as_named_input("training_data"), table("t").as_named_input("test_data")])
    assert list(by_inputs.inputs) == ["training_data", "test_data"]
    prepared = HDFSOutputDatasetConfig("out").read_parquet_files()
    for data in (table(), table().as_named_input("whatever"), (None, "people"), prepared, prepared.as_input("x")):
        made = search(automl_config=config(training_data=data))
        assert list(made.inputs) == ["training_data"], data
        assert made.inputs["training_data"]["mode"] == "direct"
    files = Dataset.File.from_files(("store", "x.parquet"))
    made = search(automl_config=config(training_data=files.as_named_input("x").as_download(), validation_data=files))
    assert [item["mode"] for item in made.inputs.values()] == ["download", "direct"]


def test_data_of_an_earlier_step_draws_the_edge() -> None:
    with DAG("d", schedule=None):
        prepared = HDFSOutputDatasetConfig("out").read_parquet_files()
        before = script("prepare", outputs=[prepared])
        one = search(inputs=[prepared.as_input("training_data")])
        two = search(task_id="two", automl_config=config(training_data=prepared))
    assert before.downstream_task_ids == {one.task_id, two.task_id}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"inputs": []}, "has no training data.*training_data"),
        ({"inputs": [table().as_named_input("test_data")]}, "has no training data"),
        ({"inputs": [table().as_named_input("train")]}, "named 'train'.*Allowed: training_data, validation_data"),
        ({"inputs": [OutputFileDatasetConfig("o").as_input()]}, "has no name.*Allowed: training_data"),
        ({"inputs": [OutputFileDatasetConfig("o")]}, "has no name"),
        ({"inputs": [table()]}, "has no name"),
        ({"inputs": table()}, "is not a list of inputs"),
        ({"inputs": [table().as_named_input("training_data")] * 2}, "Two inputs are named 'training_data'"),
        (
            {"inputs": [table().as_named_input("training_data")], "automl_config": config(training_data=table())},
            r"in inputs= and in AutoMLConfig\(training_data=…\). Give it once",
        ),
        ({"automl_config": SimpleNamespace(settings={}, data={"X": 1})}, r"AutoMLConfig\(X=…\) is for .* script"),
        ({"automl_config": SimpleNamespace(settings={}, data={"training_data": [1]})}, "is a list, which is nowhere"),
        ({"automl_config": {"task": "classification"}}, "is not a configuration. Allowed: an AutoMLConfig"),
        ({"automl_config": None}, "is not a configuration"),
        ({"outputs": [OutputFileDatasetConfig("o")]}, "takes no outputs=.*model_output="),
        ({"script_name": "s.py"}, "takes no script_name="),
        ({"arguments": ["x"]}, "takes no arguments="),
        ({"script_repl_params": {"a": 1}}, "script_repl_params is not built yet"),
        ({"hash_paths": ["x"], "inputs": [table().as_named_input("training_data")]}, "hash_paths is not built yet"),
    ],
)
def test_what_is_wrong_is_said_while_the_dag_is_parsed(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserErrorException, match=words):
        AutoMLStepOperator(**{"task_id": "a", "automl_config": config(), **given})


def test_a_frame_is_no_data_of_a_step() -> None:
    frame = type("DataFrame", (), {"__module__": "pandas.core.frame"})()
    with pytest.raises(UserErrorException, match=r"is a DataFrame.*Allowed: a Dataset"):
        AutoMLStepOperator(task_id="a", automl_config=SimpleNamespace(settings={}, data={"training_data": frame}))


# -- outputs -----------------------------------------------------------------------------------------------------------


def test_the_outputs_are_a_folder_a_table_and_a_document() -> None:
    made = search()
    assert list(made.outputs) == ["model", "leaderboard", "metrics"]
    assert [bool(o["read"]) for o in made.outputs.values()] == [False, True, False]
    assert {o["mode"] for o in made.outputs.values()} == {"upload"}
    assert made.automl["outputs"] == {"model": BEST}
    assert [o.name for o in (made.model, made.leaderboard, made.metrics) if o] == ["model", "leaderboard", "metrics"]


def test_given_outputs_stand_in_for_the_default_ones_under_the_same_names() -> None:
    suite = {"expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "score"}}]}
    made = search(
        model_output=OutputFileDatasetConfig("anything").register_on_complete("income_model"),
        leaderboard_output=OutputFileDatasetConfig().validate_with(suite).register_on_complete("board"),
        metrics_output=OutputFileDatasetConfig("m", destination=("store", "metrics")),
    )
    assert list(made.outputs) == ["model", "leaderboard", "metrics"]
    assert made.outputs["model"]["registration"]["name"] == "income_model"
    assert made.outputs["leaderboard"]["read"]["format"] == "parquet"
    assert made.outputs["leaderboard"]["gate"]["suite"] == suite
    assert made.outputs["metrics"]["destination"] == {"datastore": "store", "path": "metrics"}
    assert [a.uri for a in made.outlets if not isinstance(a, AssetAlias)] == [
        "stepwell://default/income_model",
        "stepwell://default/board",
    ]
    assert [type(link) for link in made.operator_extra_links] == [RunLink, ValidationReportLink, AutoMLReportLink]


def test_default_outputs_can_be_left_out() -> None:
    made = search(enable_default_model_output=False, enable_default_metrics_output=False)
    assert list(made.outputs) == ["leaderboard"]
    assert (made.model, made.metrics, made.automl["outputs"]) == (None, None, {})
    with pytest.raises(UserErrorException, match="has no output 'model'"):
        made.get_output()
    given = search(enable_default_model_output=False, model_output=OutputFileDatasetConfig())
    assert list(given.outputs) == ["model", "leaderboard", "metrics"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model_output": HDFSOutputDatasetConfig("o")}, "model_output=.*no output by upload.*OutputFileDatasetConfig"),
        ({"metrics_output": "metrics"}, "metrics_output='metrics' is no output by upload"),
        ({"model_output": OutputFileDatasetConfig("o").read_parquet_files()}, "a folder of files, not a table"),
        ({"leaderboard_output": OutputFileDatasetConfig().read_delimited_files()}, "is written as parquet"),
    ],
)
def test_an_output_that_the_search_does_not_write_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserErrorException, match=words):
        search(**given)


def test_an_output_of_another_step_is_refused_and_keeps_its_name() -> None:
    other = OutputFileDatasetConfig("mine")
    script("other", outputs=[other])
    with pytest.raises(UserErrorException, match="already an output of the step 'other'"):
        search(model_output=other)
    assert other.name == "mine"


# -- get_output --------------------------------------------------------------------------------------------------------


def test_another_model_is_one_more_output_with_an_edge() -> None:
    with DAG("d", schedule=None):
        made = search(automl_config=config(iterations=10, primary_metric="accuracy"))
        best = made.get_output()
        by_auc = made.get_output(metric="AUC_weighted")
        third = made.get_output(iteration=3)
        consumer = script("score", inputs=[by_auc.as_input("model").as_download(), third.as_input("third")])
        other = script("report", inputs=[made.leaderboard.as_input("board")])  # type: ignore[union-attr]
    assert best is made.model
    assert made.get_output(metric="accuracy") is made.model, "the primary metric: not fitted twice"
    assert made.get_output(metric="AUC_weighted") is by_auc
    assert list(made.outputs) == ["model", "leaderboard", "metrics", "model_AUC_weighted", "model_3"]
    assert made.automl["outputs"] == {
        "model": BEST,
        "model_AUC_weighted": {"iteration": None, "metric": "AUC_weighted"},
        "model_3": {"iteration": 3, "metric": None},
    }
    assert made.downstream_task_ids == {consumer.task_id, other.task_id}
    assert consumer.inputs["model"]["source"]["reference"].key == "model_AUC_weighted"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"metric": "AUC_wieghted"}, "No metric 'AUC_wieghted'.*Allowed: AUC_weighted"),
        ({"metric": "r2_score"}, "No metric 'r2_score' is recorded for classification"),
        ({"iteration": 12}, "iteration=12 .* Allowed: 0 to 11"),  # 10 and two ensembles
        ({"iteration": -1}, "iteration=-1"),
        ({"iteration": "3"}, "iteration='3'"),
        ({"iteration": True}, "iteration=True"),
        ({"iteration": 1, "metric": "accuracy"}, "Give one of them"),
    ],
)
def test_a_model_that_there_will_not_be(given: dict[str, Any], words: str) -> None:
    made = search(automl_config=config(iterations=10))
    with pytest.raises(UserErrorException, match=words):
        made.get_output(**given)
    assert list(made.outputs) == ["model", "leaderboard", "metrics"]


# -- where it runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "configured", "target"),
    [(None, None, "local"), (None, "cpu", "cpu"), ("link1-spark01", "cpu", "link1-spark01")],
)
def test_the_compute_target_is_the_steps_else_the_configurations(step: Any, configured: Any, target: str) -> None:
    made = search(automl_config=config(compute_target=configured), compute_target=step)
    assert made.compute_target == target


def test_sizes_on_spark_follow_the_configuration() -> None:
    made = search(automl_config=config(max_concurrent_iterations=3, max_cores_per_iteration=2))
    assert (made.spark["num_executors"], made.spark["executor_cores"]) == (3, 2)
    every = search(automl_config=config(max_cores_per_iteration=-1), num_executors=5, conf={"spark.ui.enabled": True})
    assert (every.spark["num_executors"], every.spark["executor_cores"]) == (5, 1)
    for bad in ({"driver_memory": 4}, {"num_executors": 0}, {"conf": {"spark.executor.memory": "9g"}}):
        with pytest.raises(UserErrorException, match=next(iter(bad)).replace("conf", "conflict")):
            search(**bad)


def test_the_step_as_plain_data() -> None:
    made = search(automl_config=config(iterations=7), environment={"pip": ["six"]}, version="2")
    made.get_output(iteration=2)
    spec = made.specification({"params": {}})
    assert (spec.kind, spec.module) == ("automl", "stepwell.payload.automl.main")
    assert spec.resumes == "outputs/automl/trials.jsonl"
    assert (spec.source_directory, spec.script, spec.version) == (None, None, "2")
    assert spec.settings["settings"]["iterations"] == 7
    assert spec.settings["outputs"] == {"model": BEST, "model_2": {"iteration": 2, "metric": None}}
    assert any(p.startswith("flaml") for p in spec.packages)
    assert not any("pyspark" in p for p in spec.packages), "a Spark target brings its own"
    json.dumps(spec.settings)


def test_two_parses_give_the_same_serialised_dag() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    def parsed() -> str:
        with DAG("d", schedule=None) as dag:
            made = search(automl_config=config(training_data=table()), model_output=OutputFileDatasetConfig())
            script("score", inputs=[made.get_output(metric="log_loss").as_input("model").as_download()])
        return json.dumps(DagSerialization.to_dict(dag), sort_keys=True)

    assert parsed() == parsed()
    assert "model_log_loss" in parsed()


def test_settings_are_templates_and_a_change_of_the_configuration_does_not_reach_the_step() -> None:
    from airflow.sdk.definitions._internal.templater import Templater

    given = config()
    made = search(automl_config=given)
    given.settings["iterations"] = 1
    assert made.automl["settings"]["iterations"] != 1
    assert isinstance(made, Templater)
    made.automl["settings"]["label_column_name"] = "{{ params.label }}"
    made.render_template_fields({"params": {"label": "income"}})  # type: ignore[typeddict-item]
    assert made.specification({"params": {}}).settings["settings"]["label_column_name"] == "income"


def test_the_report_is_that_of_the_run_that_has_searched() -> None:
    def link(**summary: Any) -> str:
        one: Any = SimpleNamespace(_life=SimpleNamespace(summary=lambda: summary))
        return AutoMLReportLink().get_link(one, ti_key=None)  # type: ignore[arg-type]

    run = {"workspace": "default", "run_id": "r-g2", "verdicts": {}}
    assert link(**run) == "/stepwell/default/runs/r-g2/automl"
    assert link(**run, reused_from="r-g1") == "/stepwell/default/runs/r-g1/automl"
    assert link() == ""


def test_a_consumption_config_keeps_its_own_name() -> None:
    mine = DatasetConsumptionConfig("mine", table())
    search(automl_config=config(training_data=mine))
    assert mine.name == "mine"
