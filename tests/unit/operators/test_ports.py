"""Inputs, outputs and arguments of steps: their names, what of them is refused, and the edges that they draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.serialization.serialized_objects import DagSerialization

from stepwell import Dataset, DatasetConsumptionConfig, HDFSOutputDatasetConfig, OutputFileDatasetConfig, Workspace
from stepwell.errors import UserErrorException
from stepwell.operators import CommandStepOperator, PythonScriptStepOperator


def step(task_id: str = "s", **kwargs: Any) -> PythonScriptStepOperator:
    return PythonScriptStepOperator(**{"task_id": task_id, "script_name": "s.py", "source_directory": "src", **kwargs})


def file(path: str = "a.csv") -> Any:
    return Dataset.File.from_files(("store", path))


# -- names -------------------------------------------------------------------------------------------------------------


def test_unnamed_inputs_are_named_by_position_and_named_ones_keep_theirs() -> None:
    unnamed = [DatasetConsumptionConfig(None, file(name)) for name in ("a", "b")]
    made = step(inputs=[unnamed[0], file().as_named_input("mine"), unnamed[1]], arguments=[unnamed[1], unnamed[0]])
    assert list(made.inputs) == ["input_1", "mine", "input_3"]
    assert made.arguments == [{"input": "input_3"}, {"input": "input_1"}]


def test_an_unnamed_input_that_two_steps_take_keeps_its_name_and_is_in_nobodys_way() -> None:
    shared, other = DatasetConsumptionConfig(None, file("shared")), DatasetConsumptionConfig(None, file("other"))
    step("first", inputs=[shared])
    second = step("second", inputs=[other, shared], arguments=[other, shared])
    assert list(second.inputs) == ["input_2", "input_1"]
    assert second.arguments == [{"input": "input_2"}, {"input": "input_1"}]


@pytest.mark.parametrize(
    ("output", "name"),
    [
        (OutputFileDatasetConfig(), "output_1"),
        (OutputFileDatasetConfig("mine"), "mine"),
        (OutputFileDatasetConfig("mine").register_on_complete("other"), "mine"),
        (OutputFileDatasetConfig().register_on_complete("titanic_model"), "titanic_model"),
        (OutputFileDatasetConfig().register_on_complete("titanic-model.v2"), "titanic_model_v2"),
        (OutputFileDatasetConfig().register_on_complete("2nd"), "output_1"),
    ],
)
def test_outputs_are_named_by_hand_by_registration_or_by_position(output: Any, name: str) -> None:
    assert list(step(outputs=[output]).outputs) == [name]


def test_copies_of_an_output_are_the_same_output() -> None:
    plain = HDFSOutputDatasetConfig(destination=("store", "test"))
    registered = plain.register_on_complete("data").read_delimited_files()
    made = step(outputs=[registered], arguments=["--out", plain])
    assert made.arguments == ["--out", {"output": "data"}]
    assert plain.registration is None, "a method returns a changed copy"


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"inputs": [file().as_named_input("x"), file("b").as_named_input("x")]}, "Two inputs are named 'x'"),
        ({"outputs": [OutputFileDatasetConfig("x"), OutputFileDatasetConfig("x")]}, "Two outputs are named 'x'"),
        ({"outputs": ["x"]}, "'x' is not an output.*OutputFileDatasetConfig, HDFSOutputDatasetConfig"),
        ({"inputs": [file()]}, r"has no name.*as_named_input\('name'\)"),
        ({"inputs": [3]}, "An input cannot be made of 3.*Allowed: a Dataset"),
        ({"arguments": [object]}, "arguments holds <class 'object'>.*Allowed: str, int"),
        ({"arguments": [None]}, "arguments holds None"),
        ({"arguments": [file().as_named_input("x")]}, "the input 'x', which is not in inputs.*Add it to inputs="),
        ({"arguments": [OutputFileDatasetConfig("y")]}, "the output 'y', which is not in outputs"),
    ],
)
def test_what_is_no_port_is_refused_where_the_dag_is_written(kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(UserErrorException, match=words):
        step(**kwargs)


def test_numbers_paths_and_templates_are_arguments() -> None:
    made = step(arguments=["--n", 3, 0.5, True, Path("/tmp/x"), "{{ ds }}"])
    assert made.arguments == ["--n", "3", "0.5", "True", "/tmp/x", "{{ ds }}"]


def test_a_command_is_split_as_a_shell_would_and_given_to_none() -> None:
    assert CommandStepOperator(task_id="c", command="cp 'a b' \"c;d\" $HOME").command == ["cp", "a b", "c;d", "$HOME"]
    with pytest.raises(UserErrorException, match="needs a command"):
        CommandStepOperator(task_id="c", command=[])
    with pytest.raises(UserErrorException, match="no script_name and no arguments.*Put them into command="):
        CommandStepOperator(task_id="c", command="x", arguments=["y"])


# -- edges -------------------------------------------------------------------------------------------------------------


def pipeline(consumer_first: bool) -> DAG:
    with DAG("d", schedule=None) as dag:
        output = OutputFileDatasetConfig("out")

        def produce() -> None:
            step("producer", outputs=[output], arguments=[output])

        def consume() -> None:
            taken = output.as_input("taken").as_download()
            step("consumer", inputs=[taken], arguments=[taken])

        for build in (consume, produce) if consumer_first else (produce, consume):
            build()
    return dag


@pytest.mark.parametrize("consumer_first", [False, True])
def test_passing_an_output_draws_the_edge_whichever_step_is_built_first(consumer_first: bool) -> None:
    dag = pipeline(consumer_first)
    consumer = dag.get_task("consumer")
    assert consumer.upstream_task_ids == {"producer"}
    assert dag.get_task("producer").downstream_task_ids == {"consumer"}
    source = consumer.inputs["taken"]["source"]["reference"]  # type: ignore[attr-defined]
    assert (source.operator.task_id, source.key) == ("producer", "out")
    assert consumer.arguments == [{"input": "taken"}]  # type: ignore[attr-defined]


def test_both_orders_of_building_mean_the_same_dag() -> None:
    tasks = [DagSerialization.to_dict(pipeline(first))["dag"]["tasks"] for first in (False, True)]
    assert sorted(map(json.dumps, tasks[0])) == sorted(map(json.dumps, tasks[1]))


def test_a_reference_from_any_task_is_an_input_and_draws_the_edge() -> None:
    with DAG("d", schedule=None) as dag:

        @task
        def find() -> dict[str, str]:
            return {}

        found = find()
        step("s", inputs=[found, DatasetConsumptionConfig("named", found).as_download()])
    assert dag.get_task("s").upstream_task_ids == {"find"}
    assert list(dag.get_task("s").inputs) == ["input_1", "named"]  # type: ignore[attr-defined]


def test_an_output_has_one_producer() -> None:
    output = OutputFileDatasetConfig("out")
    step("one", outputs=[output])
    with pytest.raises(UserErrorException, match="'out'.*already an output of the step 'one'"):
        step("two", outputs=[output])


def test_a_mapped_step_is_built_with_the_same_ports() -> None:
    with DAG("d", schedule=None) as dag:
        data = file().as_named_input("data").as_download()
        PythonScriptStepOperator.partial(
            task_id="m", script_name="s.py", source_directory="code", inputs=[data]
        ).expand(arguments=[[data, "1"], [data, "2"]])
    serialised = DagSerialization.to_dict(dag)["dag"]["tasks"][0]["__var"]
    assert "object at 0x" not in json.dumps(serialised)
    unmapped = dag.get_task("m").unmap({"arguments": [data, "2"], "inputs": [data]})  # type: ignore[attr-defined]
    assert unmapped.arguments == [{"input": "data"}, "2"]
    again = step("again", inputs=unmapped.inputs, outputs=unmapped.outputs, arguments=unmapped.arguments)
    assert (again.inputs, again.arguments) == (unmapped.inputs, unmapped.arguments)


def test_a_step_is_of_the_workspace_of_its_inputs_and_outputs() -> None:
    other, rooted = Workspace("other"), Workspace("default", root="/somewhere")
    assert step().workspace is None
    data = Dataset.get_by_name(other, "d").as_named_input("data").as_download()
    assert step(inputs=[data]).workspace == "other"
    written = OutputFileDatasetConfig("o", (rooted.get_default_datastore(), "x"))
    assert step(outputs=[written]).workspace == {"name": "default", "root": "file:///somewhere"}
    assert step(workspace=rooted).workspace == {"name": "default", "root": "file:///somewhere"}
    with pytest.raises(
        UserErrorException, match="'o' is of the workspace 'default' at file:///somewhere, and .* 'other'"
    ):
        step(inputs=[data], outputs=[OutputFileDatasetConfig("o", (rooted.get_default_datastore(), "x"))])
    with pytest.raises(UserErrorException, match="'data' is of the workspace 'other', and the step is of 'third'"):
        step(inputs=[data], workspace="third")
