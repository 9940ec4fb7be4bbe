"""Steps as operators: v1's parameters, what they refuse, their assets, and what they become as plain data."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, AssetAlias
from airflow.sdk.exceptions import AirflowFailException

from stepwell import (
    CondaDependencies,
    Dataset,
    Environment,
    HDFSOutputDatasetConfig,
    OutputFileDatasetConfig,
    RunConfiguration,
)
from stepwell.assets import dataset_asset
from stepwell.errors import GateFailedException, UserErrorException
from stepwell.links import RunLink, ValidationReportLink
from stepwell.operators import (
    AttachComputeTargetOperator,
    CommandStepOperator,
    PythonScriptStepOperator,
    SynapseSparkStepOperator,
    ValidateDatasetOperator,
)
from stepwell.operators.base import StepOperator
from stepwell.step.spec import StepResult

SIZES: dict[str, Any] = {
    "driver_memory": "7g",
    "driver_cores": 4,
    "executor_memory": "7g",
    "executor_cores": 4,
    "num_executors": 1,
}


def step(**kwargs: Any) -> PythonScriptStepOperator:
    return PythonScriptStepOperator(**{"task_id": "s", "script_name": "s.py", "source_directory": "src", **kwargs})


def spark(**kwargs: Any) -> SynapseSparkStepOperator:
    given = {
        "task_id": "spark",
        "file": "dataprep.py",
        "source_directory": "code",
        "compute_target": "link1-spark01",
        **SIZES,
        **kwargs,
    }
    return SynapseSparkStepOperator(**given)


def file(path: str = "a.csv") -> Any:
    return Dataset.File.from_files(("store", path))


# -- parameters --------------------------------------------------------------------------------------------------------


def test_the_tasks_name_comes_from_name_or_script_when_it_has_no_id() -> None:
    assert PythonScriptStepOperator(name="train", script_name="t.py", source_directory="src").task_id == "train"
    assert PythonScriptStepOperator(script_name="t.py", source_directory=".").task_id == "t.py"
    assert SynapseSparkStepOperator(file="p.py", source_directory=".", compute_target="x", **SIZES).task_id == "p.py"
    both = step(name="v1 name")
    assert (both.task_id, both.step_name) == ("s", "v1 name")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "local"),
        ("cpu", "cpu"),
        (("cpu", "AmlCompute"), "cpu"),
        (SimpleNamespace(name="cpu"), "cpu"),
        ("{{ params.where }}", "{{ params.where }}"),
    ],
)
def test_a_compute_target_is_given_by_name_object_or_v1s_pair(given: Any, name: str) -> None:
    assert step(compute_target=given).compute_target == name


def test_what_is_no_compute_target_is_refused() -> None:
    with pytest.raises(UserErrorException, match="3 is not a compute target.*Allowed: a name, a ComputeTarget"):
        step(compute_target=3)


def test_a_run_configuration_counts_where_the_step_says_nothing() -> None:
    configuration = RunConfiguration()
    configuration.target = "cpu"
    configuration.environment_variables = {"A": "1", "B": "2"}
    configuration.environment.python.conda_dependencies = CondaDependencies.create(pip_packages=["six"])
    made = step(runconfig=configuration, environment_variables={"B": "3"})
    assert made.compute_target == "cpu"
    assert made.environment_variables == {"A": "1", "B": "3"}
    assert "six" in str(made.environment)
    assert step(runconfig=configuration, compute_target="other").compute_target == "other"


def test_an_environment_is_a_path_dependencies_or_an_environment_and_plain_data_at_once() -> None:
    dependencies = CondaDependencies.create(pip_packages=["six"])
    declared = Environment("e")
    declared.python.conda_dependencies = dependencies
    assert "six" in str(step(environment=dependencies).environment)
    assert step(environment=declared).environment == declared.serialize()
    assert step(environment="no/such/file.yml").environment == "no/such/file.yml"  # read when the step runs
    with pytest.raises(UserErrorException, match="3 is not an environment.*Allowed: Environment"):
        step(environment=3)


@pytest.mark.parametrize("parameter", ["runconfig_pipeline_params", "hash_paths", "side_inputs"])
def test_what_is_not_built_is_refused_by_name(parameter: str) -> None:
    with pytest.raises(UserErrorException, match=f"{parameter} is not built yet"):
        step(**{parameter: ["x"]})
    assert step(**{parameter: None}).task_id == "s"


@pytest.mark.parametrize("missing", ["script_name", "source_directory"])
def test_script_and_source_directory_of_a_python_step_are_required(missing: str) -> None:
    with pytest.raises(UserErrorException, match=f"{missing}=None.* are both needed"):
        step(**{missing: None})


def test_an_unknown_parameter_is_refused_by_airflow() -> None:
    with pytest.raises(TypeError, match="alow_reuse"):
        step(alow_reuse=False)


# -- Spark steps: A7 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [*SIZES, "file", "source_directory", "compute_target"])
def test_sizes_file_directory_and_target_of_a_spark_step_are_required(missing: str) -> None:
    given = {"file": "p.py", "source_directory": ".", "compute_target": "x", **SIZES}
    del given[missing]
    with pytest.raises((TypeError, UserErrorException), match=missing):
        SynapseSparkStepOperator(task_id="s", **given)


@pytest.mark.parametrize(
    ("size", "value", "allowed"),
    [
        ("driver_memory", 7, "a number and a unit"),
        ("driver_memory", "7", "a number and a unit"),
        ("executor_memory", None, "a number and a unit"),
        ("driver_cores", "4", "whole number of at least 1"),
        ("executor_cores", 0, "whole number of at least 1"),
        ("num_executors", True, "whole number of at least 1"),
        ("num_executors", 1.5, "whole number of at least 1"),
    ],
)
def test_a_size_of_the_wrong_type_says_which_value_and_what_is_allowed(size: str, value: Any, allowed: str) -> None:
    with pytest.raises(UserErrorException) as caught:
        spark(**{size: value})
    message = str(caught.value)
    assert message.startswith(f"{size} is required" if value is None else f"{size}={value!r}")
    assert allowed in message


def test_a_setting_that_contradicts_a_size_is_refused() -> None:
    with pytest.raises(UserErrorException, match=r"spark\.driver\.memory have conflict.*7g.*8g"):
        spark(conf={"spark.driver.memory": "8g"})


def test_spark_steps_take_inputs_directly_or_by_hdfs_and_write_hdfs_outputs() -> None:
    made = spark(inputs=[file().as_named_input("a"), file("b").as_named_input("b").as_hdfs()])
    assert [item["mode"] for item in made.inputs.values()] == ["direct", "hdfs"]
    with pytest.raises(UserErrorException, match="'a' is by download.*Allowed: direct, hdfs"):
        spark(inputs=[file().as_named_input("a").as_download()])
    with pytest.raises(UserErrorException, match="'o' is no HDFSOutputDatasetConfig"):
        spark(outputs=[OutputFileDatasetConfig("o")])
    with pytest.raises(UserErrorException, match="cannot run on 'local'.*Attach a Spark"):
        spark(compute_target="local")


# -- validating --------------------------------------------------------------------------------------------------------


def test_a_validation_takes_a_dataset_and_a_suite_and_nothing_else() -> None:
    made = ValidateDatasetOperator(task_id="v", dataset=Dataset.get_by_name(None, "raw"), suite="s.json")
    assert made.inputs["dataset"]["source"] == {"name": "raw", "version": "latest"}
    assert made.specification({}).validations["dataset"]["on_failure"] == "fail"  # type: ignore[typeddict-item]
    for bad in ("quarantine", "ignore"):
        with pytest.raises(UserErrorException, match=f"on_failure='{bad}'.*Allowed: fail, warn"):
            ValidateDatasetOperator(task_id="v", dataset=file(), suite="s.json", on_failure=bad)
    with pytest.raises(UserErrorException, match="no outputs"):
        ValidateDatasetOperator(task_id="v", dataset=file(), suite="s", outputs=[OutputFileDatasetConfig("o")])
    with pytest.raises(UserErrorException, match=r"'\.\./judged' is not a valid dataset name"):
        ValidateDatasetOperator(task_id="v", dataset=file(), suite="s", promote_as="../judged")


def test_a_task_that_would_have_to_keep_a_password_is_refused_while_the_dag_is_parsed() -> None:
    from stepwell import RemoteCompute

    inline = RemoteCompute.attach_configuration("ml", address="gpu", password="hush-hush")
    with pytest.raises(UserErrorException, match="it may only read connections.*ssh_conn_id") as caught:
        AttachComputeTargetOperator(task_id="a", name="gpu", attach_configuration=inline)
    assert "hush-hush" not in str(caught.value)
    named = RemoteCompute.attach_configuration(ssh_conn_id="gpu")
    AttachComputeTargetOperator(task_id="a", name="gpu", attach_configuration=named)


def test_a_compute_target_to_attach_has_a_good_name() -> None:
    attach = AttachComputeTargetOperator(task_id="a", name="a/../b", attach_configuration=None)  # a template, perhaps
    with pytest.raises(AirflowFailException, match=r"'a/\.\./b' is not a valid compute target name.*Use letters"):
        type(attach).execute.__wrapped__(attach, {})  # type: ignore[attr-defined]


# -- assets ------------------------------------------------------------------------------------------------------------


def uris(assets: list[Any]) -> list[str]:
    return [a.uri for a in assets if not isinstance(a, AssetAlias)]


def test_the_asset_graph_shows_what_is_read_by_name_and_what_is_registered() -> None:
    registered = OutputFileDatasetConfig("o").register_on_complete("model")
    named, unnamed = Dataset.get_by_name(None, "people").as_named_input("p"), file().as_named_input("f")
    made = step(inputs=[named, unnamed], outputs=[registered, OutputFileDatasetConfig("unregistered")])
    assert uris(made.inlets) == ["stepwell://default/people"]
    assert uris(made.outlets) == ["stepwell://default/model"]
    other = step(task_id="t", outputs=[OutputFileDatasetConfig("o").register_on_complete("model")], workspace="lab")
    assert uris(other.outlets) == ["stepwell://lab/model"]
    assert [a.name for a in other.outlets if not isinstance(a, AssetAlias)] == ["lab/model"]
    judged = ValidateDatasetOperator(task_id="v", dataset=file(), suite="s", promote_as="judged")
    assert uris(judged.outlets) == ["stepwell://default/judged"]


def test_a_dataset_made_from_a_registered_one_shows_where_it_comes_from() -> None:
    made = step(inputs=[{"id": "x"}])
    assert made.inlets == []
    source = {"definition": {}, "base": {"name": "people", "version": 1}}
    made = step(inputs={"a": {"mode": "direct", "path_on_compute": None, "source": source}})
    assert uris(made.inlets) == ["stepwell://default/people"]


def test_an_asset_keeps_its_uri_and_refuses_a_bad_name() -> None:
    assert dataset_asset("a").uri == "stepwell://default/a"
    assert dataset_asset(Dataset.get_by_name(None, "a"), "lab").uri == "stepwell://lab/a"
    both = dataset_asset("a") & dataset_asset("b")
    assert [a.uri for a in both.objects] == ["stepwell://default/a", "stepwell://default/b"]  # type: ignore[union-attr]
    with pytest.raises(UserErrorException, match="dataset name"):
        dataset_asset("../a")


# -- running, without a life -------------------------------------------------------------------------------------------


class Task:
    """Stands in for Airflow's task instance."""

    dag_id, run_id, task_id, map_index, try_number = "d", "r", "s", None, 1

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


class Events(dict[Any, Any]):
    def __missing__(self, key: Any) -> Any:
        self[key] = SimpleNamespace(extra={}, added=[])
        self[key].add = lambda asset, extra: self[key].added.append((asset.uri, extra))
        return self[key]


def execute(made: StepOperator, monkeypatch: pytest.MonkeyPatch, live: Any) -> tuple[Task, Events, Any]:
    from stepwell.step import life

    class Life:
        def __init__(self, ws: Any, spec: Any, key: Any, **more: Any) -> None:
            self.key, self.more = key, more

        def start(self, **_: Any) -> StepResult:
            return live(self)  # type: ignore[no-any-return]

        def summary(self) -> dict[str, Any]:
            return {"workspace": "default", "run_id": "r-g1", "verdicts": {"out": {}}}

    monkeypatch.setattr(life, "Life", Life)
    task, events = Task(), Events()
    event = SimpleNamespace(extra={"dataset": "people", "version": 3})
    triggering = {"x": [SimpleNamespace(extra={"unrelated": 1}), event]}
    context: Any = {"ti": task, "outlet_events": events, "params": {}, "triggering_asset_events": triggering}
    try:
        return task, events, made.execute(context)
    except AirflowFailException as error:
        return task, events, error


def test_references_go_to_xcom_and_into_the_events_of_what_was_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    references = {
        "o": {"dataset": "model", "version": 1, "uri": "file:///x"},
        "p": {"dataset": None, "version": None, "uri": "file:///y"},
    }
    by_script = [{"dataset": "extra", "version": 2}]
    lives = []

    def live(life: Any) -> StepResult:
        lives.append(life)
        return StepResult(references, by_script)

    task, events, returned = execute(step(), monkeypatch, live)
    assert returned == references
    assert {k: task.pushed[k] for k in ("o", "p")} == references
    assert events.pop(dataset_asset("model")).extra == references["o"]
    (alias,) = events
    assert isinstance(alias, AssetAlias)
    assert events[alias].added == [("stepwell://default/extra", by_script[0])]
    assert lives[0].key.map_index == -1
    assert lives[0].more["triggering"] == [{"dataset": "people", "version": 3}]


@pytest.mark.parametrize("error", [GateFailedException("bad data"), UserErrorException("bad step")])
def test_what_no_retry_would_help_fails_for_good_and_the_run_is_linked_all_the_same(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def live(_: Any) -> StepResult:
        raise error

    made = step()
    task, events, raised = execute(made, monkeypatch, live)
    assert isinstance(raised, AirflowFailException)
    assert str(error) in str(raised)
    assert events == {}
    assert task.pushed["stepwell_run"]["run_id"] == "r-g1"
    key: Any = None
    assert RunLink().get_link(made, ti_key=key) == "/stepwell/default/runs/r-g1"
    assert ValidationReportLink().get_link(made, ti_key=key) == "/stepwell/default/runs/r-g1/reports/out"


def test_links_and_kills_before_anything_has_begun_do_nothing() -> None:
    key: Any = None
    assert RunLink().get_link(step(), ti_key=key) == ""
    assert ValidationReportLink().get_link(step(), ti_key=key) == ""
    step().on_kill()


def test_templates_are_rendered_in_paths_arguments_and_variables() -> None:
    output = HDFSOutputDatasetConfig("o", destination=("store", "x/{run-id}"))
    with DAG("d", schedule=None):
        made = step(
            source_directory="{{ where }}/code",
            arguments=["--day", "{{ ds }}", output],
            outputs=[output],
            environment_variables={"DAY": "{{ ds }}"},
        )
        command = CommandStepOperator(task_id="c", command=["echo", "{{ ds }}"])
        prepare = spark(driver_memory="{{ size }}g")
    context: Any = {"ds": "2021-03-04", "where": "/src", "size": 2}
    for one in (made, command, prepare):
        one.render_template_fields(context)
    assert made.source_directory == "/src/code"
    assert made.arguments == ["--day", "2021-03-04", {"output": "o"}]
    assert made.environment_variables == {"DAY": "2021-03-04"}
    assert made.outputs["o"]["destination"] == {"datastore": "store", "path": "x/{run-id}"}
    assert command.command == ["echo", "2021-03-04"]
    assert prepare.spark["driver_memory"] == "2g"
