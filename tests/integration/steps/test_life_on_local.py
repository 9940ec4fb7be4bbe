"""The life of a step on ``local``: what the script gets, and what becomes of what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.steps import Bench

from stepwell import Dataset, HDFSOutputDatasetConfig, OutputFileDatasetConfig
from stepwell.data import registry
from stepwell.errors import ActivityFailedException, UserErrorException
from stepwell.operators import CommandStepOperator, PythonScriptStepOperator

pytestmark = pytest.mark.integration

TELL = """
import json, os, sys
names = ["step2_input", "STEP2_INPUT", "AZURE_ML_INPUT_step2_input"]
with open(os.path.join(sys.argv[2], "seen.json"), "w") as file:
    path = sys.argv[1]
    below = sorted(os.path.relpath(os.path.join(d, f), path) for d, _, fs in os.walk(path) for f in fs)
    json.dump({"argv": path, "environ": [os.environ.get(n) for n in names], "is_file": os.path.isfile(path),
               "below": below, "cwd": os.getcwd(), "here": sorted(os.listdir("."))}, file)
"""


def seen(bench: Bench, reference: dict[str, Any]) -> dict[str, Any]:
    folder = Path(reference["uri"].removeprefix("file://"))
    return dict(json.loads((folder / "seen.json").read_text()))


def tell(bench: Bench, step2_input: Any) -> dict[str, Any]:
    """Run a script that says how it got *step2_input*."""
    output = OutputFileDatasetConfig(name="told")
    step = PythonScriptStepOperator(
        task_id="tell",
        script_name="tell.py",
        source_directory=bench.source({"tell.py": TELL}),
        arguments=[step2_input, output],
        inputs=[step2_input],
        outputs=[output],
    )
    return seen(bench, bench.run(step).references["told"])


def test_a_download_of_one_file_is_that_file_in_argv_and_in_the_environment(bench: Bench) -> None:
    bench.put({"raw/titanic.csv": "a,b\n1,2\n", "raw/other.csv": "x\n"})
    data = Dataset.File.from_files((bench.datastore, "raw/titanic.csv"))
    told = tell(bench, data.as_named_input("step2_input").as_download())
    assert told["argv"].endswith("/inputs/step2_input/titanic.csv")
    assert told["environ"] == [told["argv"]] * 3
    assert told["is_file"]
    assert told["here"] == ["tell.py"], "the working directory is the source directory"


@pytest.mark.parametrize("path", ["raw", "raw/**", "raw/*.csv"])
def test_a_download_of_a_folder_or_pattern_is_a_folder_even_if_it_holds_one_file(bench: Bench, path: str) -> None:
    bench.put({"raw/titanic.csv": "a,b\n1,2\n"})
    data = Dataset.File.from_files((bench.datastore, path))
    told = tell(bench, data.as_named_input("step2_input").as_download())
    assert not told["is_file"]
    assert told["argv"].endswith("/inputs/step2_input")
    assert told["environ"] == [told["argv"]] * 3
    assert told["below"] == ["titanic.csv"]


def test_sub_folders_of_a_download_stay(bench: Bench) -> None:
    bench.put({"raw/a/1.csv": "1\n", "raw/b/1.csv": "2\n"})
    data = Dataset.File.from_files((bench.datastore, "raw/**"))
    assert tell(bench, data.as_named_input("step2_input").as_download())["below"] == ["a/1.csv", "b/1.csv"]


def test_path_on_compute_is_relative_to_the_scripts_working_directory(bench: Bench) -> None:
    bench.put({"raw/titanic.csv": "a,b\n1,2\n"})
    data = Dataset.File.from_files((bench.datastore, "raw/titanic.csv"))
    told = tell(bench, data.as_named_input("step2_input").as_download("in/here"))
    assert told["argv"] == told["cwd"] + "/in/here/titanic.csv"
    assert told["is_file"]


def test_hdfs_mode_is_a_url_that_spark_reads_where_the_data_is(bench: Bench) -> None:
    bench.put({"raw/titanic.csv": "a,b\n1,2\n"})
    data = Dataset.File.from_files((bench.datastore, "raw/titanic.csv"))
    told = tell(bench, data.as_named_input("step2_input").as_hdfs())
    assert told["argv"] == f"file://{bench.data}/raw/titanic.csv"
    assert told["environ"] == [told["argv"]] * 3


def test_an_earlier_steps_output_is_always_a_folder(bench: Bench) -> None:
    made = OutputFileDatasetConfig(name="made").register_on_complete("made")
    write = "import sys; open(sys.argv[1] + '/only.csv', 'w').write('a\\n1\\n')"
    producer = PythonScriptStepOperator(
        task_id="make",
        script_name="make.py",
        source_directory=bench.source({"make.py": write}),
        arguments=[made],
        outputs=[made],
    )
    reference = bench.run(producer).references["made"]
    from stepwell import DatasetConsumptionConfig

    told = tell(bench, DatasetConsumptionConfig("step2_input", reference).as_download())
    assert not told["is_file"]
    assert told["below"] == ["only.csv"]


def test_a_tabular_input_is_an_id_that_get_by_id_reads_with_pandas(bench: Bench, pandas_environment: Any) -> None:
    bench.put({"raw/1.csv": "name,age\nAnn,1\nBob,22\n", "raw/2.csv": "name,age\nCid,33\n"})
    data = Dataset.Tabular.from_delimited_files((bench.datastore, "raw/*.csv"))
    people = data.filter(data["age"] > 10).keep_columns(["age"]).as_named_input("people")
    script = """
import os, sys
from azureml.core import Dataset, Run
run = Run.get_context()
assert os.environ["people"] == sys.argv[1], os.environ["people"]
frame = Dataset.get_by_id(run.experiment.workspace, id=sys.argv[1]).to_pandas_dataframe()
run.log("sum", int(frame["age"].sum()))
run.log_list("columns", list(frame.columns))
run.log("same", run.input_datasets["people"].to_pandas_dataframe().equals(frame))
"""
    step = PythonScriptStepOperator(
        task_id="read",
        script_name="read.py",
        source_directory=bench.source({"read.py": script}),
        arguments=[people],
        inputs=[people],
        environment=pandas_environment,
    )
    bench.run(step)
    assert bench.record()["metrics"] == {"sum": 55, "columns": ["age"], "same": True}


def test_an_operation_on_a_registered_version_reads_the_files_of_that_version(
    bench: Bench, pandas_environment: Any
) -> None:
    bench.put({"raw/1.csv": "age\n1\n2\n"})
    Dataset.Tabular.from_delimited_files((bench.datastore, "raw/*.csv")).register(bench.ws, "people")
    bench.put({"raw/2.csv": "age\n100\n"})  # not in version 1
    first = Dataset.get_by_name(bench.ws, "people", 1).take(10).as_named_input("people")
    script = """
import sys
from azureml.core import Dataset, Run
run = Run.get_context()
run.log("sum", int(Dataset.get_by_id(None, sys.argv[1]).to_pandas_dataframe()["age"].sum()))
"""
    step = PythonScriptStepOperator(
        task_id="read",
        script_name="read.py",
        source_directory=bench.source({"read.py": script}),
        arguments=[first],
        inputs=[first],
        environment=pandas_environment,
    )
    bench.run(step)
    assert bench.record()["metrics"] == {"sum": 3}


def test_a_command_gets_inputs_and_outputs_and_no_shell(bench: Bench) -> None:
    bench.put({"a.txt": "hello\n"})
    data = Dataset.File.from_files((bench.datastore, "a.txt")).as_named_input("text").as_download()
    output = OutputFileDatasetConfig(name="copied").register_on_complete("copied")
    step = CommandStepOperator(
        task_id="copy", command=["cp", data, output], inputs=[data], outputs=[output], name="copy $(touch x)"
    )
    reference = bench.run(step).references["copied"]
    assert Path(reference["uri"].removeprefix("file://"), "a.txt").read_text() == "hello\n"
    assert bench.versions("copied") == [1]

    echo = CommandStepOperator(task_id="echo", command="echo '$HOME;' \"a  b\" | true")
    bench.run(echo)
    assert "$HOME; a  b | true" in bench.log.lines


def test_two_runs_never_share_a_folder_though_the_destination_is_fixed(bench: Bench) -> None:
    output = OutputFileDatasetConfig("out", destination=(bench.datastore, "fixed/place")).register_on_complete("out")
    script = "import sys, os; open(sys.argv[1] + '/' + os.environ['AZUREML_RUN_ID'], 'w').write('x')"
    step = PythonScriptStepOperator(
        task_id="w",
        script_name="w.py",
        source_directory=bench.source({"w.py": script}),
        arguments=[output],
        outputs=[output],
    )
    first = bench.run(step, dag_run_id="1").references["out"]
    second = bench.run(step, dag_run_id="2").references["out"]
    assert bench.versions("out") == [1, 2]
    for reference in (first, second):
        assert reference["path"].startswith("fixed/place/")
        assert reference["files"] == 1
    assert registry.get(bench.ws, "out", 1).files[0].path != registry.get(bench.ws, "out", 2).files[0].path


def test_placeholders_of_a_destination(bench: Bench) -> None:
    where = (bench.datastore, "by/{run-id}/of/{output-name}/here")
    output = OutputFileDatasetConfig("out", destination=where).register_on_complete("out")
    step = CommandStepOperator(
        task_id="w", command=["touch", "x"], outputs=[output], environment_variables={"OUT": "unused"}
    )
    step.command = ["sh", "-c", 'echo 1 > "$AZURE_ML_OUTPUT_out/x"']
    reference = bench.run(step).references["out"]
    assert reference["path"] == f"by/{bench.record()['run_id']}/of/out/here"


def test_an_hdfs_output_is_written_aside_and_published_whole(bench: Bench) -> None:
    output = HDFSOutputDatasetConfig("out", destination=(bench.datastore, "test")).register_on_complete("out")
    script = """
import os, sys
path = sys.argv[1].removeprefix("file://")
assert "/.stepwell/staging/" in path, path
os.makedirs(path)
open(path + "/part-0.csv", "w").write("a\\n1\\n")
open(path + "/_SUCCESS", "w").close()
"""
    step = PythonScriptStepOperator(
        task_id="w",
        script_name="w.py",
        source_directory=bench.source({"w.py": script}),
        arguments=[output],
        outputs=[output],
    )
    reference = bench.run(step).references["out"]
    assert reference["path"] == f"test/{bench.record()['run_id']}"
    assert reference["files"] == 1
    assert bench.staged() == []


def test_outputs_that_are_read_as_tables_are_tables_of_the_next_step(bench: Bench, pandas_environment: Any) -> None:
    made = (
        OutputFileDatasetConfig("made")
        .read_delimited_files(separator=";")
        .keep_columns("b")
        .register_on_complete("made", tags={"k": "v"}, description="d")
    )
    step = CommandStepOperator(
        task_id="w", command=["sh", "-c", 'printf "a;b\\n1;2\\n3;4\\n" > "$0/x.csv"', made], outputs=[made]
    )
    reference = bench.run(step).references["made"]
    assert (reference["kind"], reference["format"]) == ("tabular", "delimited")
    version = registry.get(bench.ws, "made")
    assert (version.tags, version.description) == ({"k": "v"}, "d")
    from stepwell import DatasetConsumptionConfig

    table = DatasetConsumptionConfig("table", reference)
    script = """
from azureml.core import Run
run = Run.get_context()
frame = run.input_datasets["table"].to_pandas_dataframe()
run.log_list("columns", list(frame.columns)); run.log("sum", int(frame.b.sum()))
"""
    read = PythonScriptStepOperator(
        task_id="r",
        script_name="r.py",
        source_directory=bench.source({"r.py": script}),
        inputs=[table],
        environment=pandas_environment,
    )
    bench.run(read)
    assert bench.record()["metrics"] == {"columns": ["b"], "sum": 6}


def test_logs_outputs_and_exit_code_are_kept_of_a_step_that_fails(bench: Bench) -> None:
    script = """
import os, sys
os.makedirs("outputs"); open("outputs/half.txt", "w").write("half")
os.makedirs("logs"); open("logs/own.log", "w").write("mine")
print("on stdout"); print("on stderr", file=sys.stderr)
sys.exit(3)
"""
    output = OutputFileDatasetConfig("out").register_on_complete("out")
    step = PythonScriptStepOperator(
        task_id="f", script_name="f.py", source_directory=bench.source({"f.py": script}), outputs=[output]
    )
    with pytest.raises(ActivityFailedException) as caught:
        bench.run(step)
    message = str(caught.value)
    assert "'f' failed on local" in message
    assert "exit code 3" in message
    assert "on stderr" in message
    folder = bench.run_folder()
    assert str(folder / "logs/step.log") in message
    assert (folder / "outputs/half.txt").read_text() == "half"
    assert (folder / "logs/own.log").read_text() == "mine"
    assert "on stdout" in (folder / "logs/azureml/driver/stdout").read_text()
    assert "on stderr" in (folder / "logs/azureml/driver/stderr").read_text()
    assert bench.record()["status"] == "failed"
    assert bench.registered() == []


def test_metrics_tags_and_parameters_reach_the_record(bench: Bench, pandas_environment: Any) -> None:
    script = """
import os
from azureml.core import Run
run = Run.get_context()
run.log("depth", int(os.environ["AML_PARAMETER_max_depth"]))
run.tag("kind", "tree")
run.parent.log("overall", 1.5)
"""
    step = PythonScriptStepOperator(
        task_id="p",
        script_name="p.py",
        source_directory=bench.source({"p.py": script}),
        environment=pandas_environment,
    )
    life = bench.life(step)
    life.spec.params["max_depth"] = 7  # type: ignore[index]
    life.live()
    record = bench.record()
    assert record["metrics"] == {"depth": 7}
    assert record["parent_metrics"] == {"overall": 1.5}
    assert record["tags"] == {"kind": "tree"}
    assert record["status"] == "completed"
    assert set(record["phases"]) == {
        *("resolve", "snapshot", "reuse", "environment", "submit", "run", "collect", "publish"),
    }


def test_dataset_register_in_a_script_is_registered_when_the_step_succeeds(
    bench: Bench, pandas_environment: Any
) -> None:
    bench.put({"raw/1.csv": "age\n1\n"})
    people = Dataset.Tabular.from_delimited_files((bench.datastore, "raw/1.csv")).as_named_input("people")
    script = """
import sys
from azureml.core import Run
run = Run.get_context()
data = run.input_datasets["people"]
data.register(run.experiment.workspace, "by_script", description="d", tags={"a": "b"})
sys.exit(int(sys.argv[1]))
"""

    def step(code: int) -> PythonScriptStepOperator:
        return PythonScriptStepOperator(
            task_id="s",
            script_name="s.py",
            source_directory=bench.source({"s.py": script}),
            arguments=[code],
            inputs=[people],
            environment=pandas_environment,
        )

    with pytest.raises(ActivityFailedException):
        bench.run(step(1))
    assert bench.registered() == []
    result = bench.run(step(0))
    assert [r["dataset"] for r in result.registered_by_script] == ["by_script"]
    version = registry.get(bench.ws, "by_script")
    assert (version.description, version.tags) == ("d", {"a": "b"})
    assert version.producer is not None
    assert version.producer["task_id"] == "s"
    bench.run(step(0), dag_run_id="another")
    assert bench.versions("by_script") == [1], "the same definition of the same data is the same version, as in v1"


def test_a_script_that_registers_a_name_of_another_definition_fails_and_nothing_is_registered(
    bench: Bench, pandas_environment: Any
) -> None:
    bench.put({"raw/1.csv": "age\n1\n", "raw/2.csv": "age\n2\n"})
    Dataset.Tabular.from_delimited_files((bench.datastore, "raw/2.csv")).register(bench.ws, "taken")
    people = Dataset.Tabular.from_delimited_files((bench.datastore, "raw/1.csv")).as_named_input("people")
    output = OutputFileDatasetConfig("out").register_on_complete("out")
    script = """
import sys
from azureml.core import Run
open(sys.argv[1] + "/x", "w").write("x")
Run.get_context().input_datasets["people"].register(None, "taken")
"""
    step = PythonScriptStepOperator(
        task_id="s",
        script_name="s.py",
        source_directory=bench.source({"s.py": script}),
        arguments=[output],
        inputs=[people],
        outputs=[output],
        environment=pandas_environment,
    )
    with pytest.raises(Exception, match=r"'taken'.*another definition.*create_new_version=True"):
        bench.run(step)
    assert bench.registered() == ["taken"]
    assert bench.versions("taken") == [1]
    assert bench.staged() == []
    assert not (bench.data / "dataset").exists()


def test_a_registered_environment_is_found_by_its_name(bench: Bench, pandas_environment: Any) -> None:
    pandas_environment.register(bench.ws)
    source = bench.source({"p.py": "import pandas; print('pandas', pandas.__version__)"})

    def step(environment: str) -> PythonScriptStepOperator:
        return PythonScriptStepOperator(
            task_id="p", script_name="p.py", source_directory=source, environment=environment
        )

    bench.run(step("payload:1"))
    assert "pandas 2" in bench.log.text
    with pytest.raises(UserErrorException, match="has no environment 'paylod'"):
        bench.run(step("paylod"))
