"""What can be wrong with a step: the message says what was wrong, which value, what is allowed, what to do.

Nothing is registered in any of these cases, and nothing is left half-written.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.steps import Bench, until
from tests.support.steps import bench as new_bench

from stepwell import (
    AmlCompute,
    ComputeTarget,
    Dataset,
    DatasetConsumptionConfig,
    HDFSOutputDatasetConfig,
    OutputFileDatasetConfig,
)
from stepwell.errors import (
    ActivityFailedException,
    ComputeTargetException,
    DatasetChangedError,
    DatasetError,
    EnvironmentException,
    GateFailedException,
    StepwellError,
    UserErrorException,
    WorkspaceError,
)
from stepwell.operators import CommandStepOperator, PythonScriptStepOperator


@pytest.fixture
def nothing_left(bench: Bench, scratch: Path) -> Iterator[None]:
    """After the test: nothing registered, nothing published, nothing aside, no job on the target."""
    (scratch / "jobs").mkdir(exist_ok=True)
    before = set(os.listdir(scratch / "jobs"))
    yield
    assert not {"out", "first", "second"} & set(bench.registered())
    assert bench.staged() == []
    assert [p for p in (bench.data / "dataset").rglob("*") if p.is_file()] == []
    assert set(os.listdir(scratch / "jobs")) == before
    assert all(r["status"] == "failed" and r["error"] for r in _records(bench))


def _records(bench: Bench) -> list[dict[str, Any]]:
    from stepwell.tracking import history

    return [r for r in history.runs(bench.ws) if r["task_id"] == "bad"]


def refused(bench: Bench, step: Any, error: type[StepwellError], *words: str) -> str:
    """Run *step*, which must fail with *error* and a message that holds *words*, before its process starts."""
    with pytest.raises(error) as caught:
        bench.run(step)
    message = str(caught.value)
    for word in words:
        assert word in message
    assert not any(line.startswith("RAN") for line in bench.log.lines)
    return message


def step(bench: Bench, *inputs: Any, **more: Any) -> PythonScriptStepOperator:
    output = OutputFileDatasetConfig("out").register_on_complete("out")
    return PythonScriptStepOperator(
        **{
            "task_id": "bad",
            "script_name": "run.py",
            "source_directory": bench.source({"run.py": "print('RAN')", "helper.py": ""}),
            "arguments": [*inputs, output],
            "inputs": inputs,
            "outputs": [output],
            **more,
        }
    )


pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]


def test_a_script_outside_the_source_directory(bench: Bench) -> None:
    refused(bench, step(bench, script_name="../run.py"), UserErrorException, "should be inside", "../run.py")


def test_a_script_that_is_not_there_names_the_nearest(bench: Bench) -> None:
    refused(bench, step(bench, script_name="rum.py"), UserErrorException, "rum.py", "run.py")


def test_a_source_directory_that_is_not_there(bench: Bench) -> None:
    refused(bench, step(bench, source_directory="/no/such/folder"), UserErrorException, "/no/such/folder")


def test_a_snapshot_with_a_link_out_of_its_directory(bench: Bench) -> None:
    source = bench.source({"run.py": "print('RAN')"})
    os.symlink("/etc/passwd", f"{source}/passwd")
    refused(bench, step(bench, source_directory=source), UserErrorException, "passwd")


def test_an_unknown_compute_target_names_the_nearest(bench: Bench) -> None:
    ComputeTarget.create(
        bench.ws, "cpucluster", AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=1)
    )
    bad = step(bench, compute_target="cpucluter")
    refused(bench, bad, ComputeTargetException, "ComputeTargetNotFound", "cpucluter", "Allowed: cpucluster", "Attach")


def test_a_target_that_does_not_run_such_steps(bench: Bench) -> None:
    from stepwell.operators import SynapseSparkStepOperator

    bad = SynapseSparkStepOperator(
        task_id="bad",
        file="run.py",
        source_directory=bench.source({"run.py": "print('RAN')"}),
        compute_target="cpu",
        driver_memory="1g",
        driver_cores=1,
        executor_memory="1g",
        executor_cores=1,
        num_executors=1,
    )
    ComputeTarget.create(bench.ws, "cpu", AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=1))
    refused(bench, bad, UserErrorException, "'cpu'", "amlcompute", "spark steps", "Allowed: command, python")


def test_a_path_that_does_not_exist_names_the_nearest(bench: Bench) -> None:
    bench.put({"raw/titanic.csv": "a\n1\n"})
    data = Dataset.File.from_files((bench.datastore, "raw/titanik.csv")).as_named_input("data").as_download()
    words = ("'raw/titanik.csv' does not exist", "workspaceblobstore", "raw/titanic.csv", "upload_files")
    refused(bench, step(bench, data), DatasetError, *words)


def test_a_pattern_that_matches_nothing_says_what_is_there(bench: Bench) -> None:
    bench.put({"raw/titanic.csv": "a\n1\n"})
    data = Dataset.File.from_files((bench.datastore, "raw/*.parquet")).as_named_input("data").as_download()
    refused(bench, step(bench, data), DatasetError, "'raw/*.parquet' matches no file", "raw/titanic.csv")


def test_a_dataset_that_is_not_registered_names_the_nearest(bench: Bench) -> None:
    bench.put({"a.csv": "a\n1\n"})
    Dataset.File.from_files((bench.datastore, "a.csv")).register(bench.ws, "titanic")
    data = Dataset.get_by_name(bench.ws, "titanik").as_named_input("data")
    refused(bench, step(bench, data), DatasetError, "'titanik'", "Allowed: titanic", "Register it")


def test_a_version_that_does_not_exist_names_those_that_do(bench: Bench) -> None:
    bench.put({"a.csv": "a\n1\n"})
    Dataset.File.from_files((bench.datastore, "a.csv")).register(bench.ws, "titanic")
    data = Dataset.get_by_name(bench.ws, "titanic", 7).as_named_input("data")
    refused(bench, step(bench, data), DatasetError, "no version 7", "Allowed: 1, latest")


@pytest.mark.parametrize("change", ["content", "length", "gone"])
def test_a_dataset_that_changed_under_its_version(bench: Bench, change: str) -> None:
    bench.put({"a/1.csv": "a\n1\n", "a/2.csv": "a\n2\n"})
    Dataset.File.from_files((bench.datastore, "a")).register(bench.ws, "titanic")
    if change == "gone":
        (bench.data / "a/2.csv").unlink()
    else:
        bench.put({"a/2.csv": "a\n3\n" if change == "content" else "a\n33\n"})
    data = Dataset.get_by_name(bench.ws, "titanic").as_named_input("data").as_download()
    said = {"content": "has the checksum sha256:", "length": "has 5 bytes and had 4", "gone": "is gone"}[change]
    words = ("a/2.csv of titanic version 1", said, "register the changed data as a new version")
    refused(bench, step(bench, data), DatasetChangedError, *words)


def test_an_unregistered_output_that_changed_after_its_step(bench: Bench) -> None:
    made = OutputFileDatasetConfig("made", destination=(bench.datastore, "made"))
    script = 'echo 1 > "$AZURE_ML_OUTPUT_made/x"'
    maker = CommandStepOperator(task_id="make", command=["sh", "-c", script], outputs=[made])
    reference = bench.run(maker).references["made"]
    assert reference["dataset"] is None
    bench.put({f"{reference['path']}/x": "2\n"})
    data = DatasetConsumptionConfig("data", reference)
    refused(bench, step(bench, data), DatasetChangedError, reference["uri"], reference["digest"], "Run the producing")


def test_a_reference_of_another_workspace(bench: Bench, tmp_path: Path) -> None:
    other = new_bench(tmp_path / "other")
    other.put({"a.csv": "a\n1\n"})
    Dataset.File.from_files((other.datastore, "a.csv")).register(other.ws, "a")
    from stepwell.data import registry

    data = DatasetConsumptionConfig("data", registry.get(other.ws, "a").reference())
    refused(bench, step(bench, data), WorkspaceError, "another workspace", other.ws.uuid, bench.ws.uuid)


def test_an_input_that_was_never_handed_over(bench: Bench) -> None:
    bad = step(bench, DatasetConsumptionConfig("data", {"id": "x"}))
    bad.inputs = {"data": {"mode": "direct", "path_on_compute": None, "source": {"reference": None}}}
    refused(bench, bad, UserErrorException, "'data'", "None", "dataset reference was expected", "has not run")


def test_a_secret_without_a_connection(bench: Bench) -> None:
    bad = step(bench, secrets={"TOKEN": "no_such_connection"})
    refused(bench, bad, UserErrorException, "TOKEN", "'no_such_connection'", "Create the connection")


def test_a_step_that_writes_nothing(bench: Bench) -> None:
    with pytest.raises(DatasetError, match=r"'out' is empty.*Write at least one file"):
        bench.run(step(bench))
    assert "RAN" in bench.log.lines


def test_an_output_that_holds_nothing_of_what_it_is_read_as(bench: Bench) -> None:
    first = OutputFileDatasetConfig("first").register_on_complete("first")
    second = OutputFileDatasetConfig("second").read_parquet_files(path_glob="*.parquet").register_on_complete("second")
    script = 'echo 1 > "$AZURE_ML_OUTPUT_first/x"; echo 1 > "$AZURE_ML_OUTPUT_second/x.csv"'
    bad = CommandStepOperator(task_id="bad", command=["sh", "-c", script], outputs=[first, second])
    with pytest.raises(DatasetError, match=r"\*\.parquet' matches no file.*x\.csv"):
        bench.run(bad)


def test_a_program_that_is_not_there(bench: Bench) -> None:
    bad = CommandStepOperator(task_id="bad", command=["no-such-program", "x"])
    with pytest.raises(ActivityFailedException, match="no-such-program"):
        bench.run(bad)


def test_a_mapped_step_cannot_register_a_fixed_name(bench: Bench) -> None:
    with pytest.raises(UserErrorException, match="mapped step.*fixed name.*Leave register_on_complete out"):
        bench.run(step(bench), map_index=3)


# -- environments ------------------------------------------------------------------------------------------------------

TABBED = "name: training\ndependencies:\n\t- six==1.17.0\n"
BOMB = """\
a: &a [six, six, six, six, six, six, six, six, six, six]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
dependencies: [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
"""


@pytest.fixture
def nothing_half_built(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the test a target of its own; after it: no job there, no environment, and none under way."""
    folder = tmp_path / "scratch"
    monkeypatch.setenv("STEPWELL_SCRATCH", str(folder))
    yield
    assert list(folder.glob("jobs/*")) == []
    assert list(folder.glob("environments/[!.]*")) == []
    assert list(folder.glob("environments/.building/*")) == []


@pytest.mark.usefixtures("nothing_half_built")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\ndependancies:\n- six\n", ["line 2", "unknown key 'dependancies'", "Allowed:", "Did you mean 'dep"]),
        (TABBED, ["line 3", "a tab cannot indent YAML", "Allowed: spaces", "Replace the tab with spaces"]),
        (BOMB, ["line 2", "the alias *a is not accepted", "Write the value out", "expand without end"]),
    ],
    ids=["unknown key", "tab", "alias bomb"],
)
def test_a_malformed_conda_specification(bench: Bench, text: str, words: list[str]) -> None:
    file = Path(bench.source({"conda_dependencies.yml": text}), "conda_dependencies.yml")
    refused(bench, step(bench, environment=str(file)), UserErrorException, str(file), *words)


@pytest.mark.usefixtures("nothing_half_built")
def test_an_environment_that_cannot_be(bench: Bench) -> None:
    file = Path(
        bench.source({"conda_dependencies.yml": "dependencies:\n- pip:\n  - six==999.0\n"}), "conda_dependencies.yml"
    )
    words = ("cannot be resolved", "pip: six==999.0", "there is no version of six==999.0")
    message = refused(bench, step(bench, environment=str(file)), EnvironmentException, *words)
    assert "cannot be resolved" in str(bench.record()["error"])
    assert message.count("\n") < 40


# -- rows that do not fit ----------------------------------------------------------------------------------------------

RAGGED = "name,age\nAnn,1\nBob,2,too much\nCid,3\n"

READ = """
import sys
from azureml.core import Dataset, Run
run = Run.get_context()
frame = Dataset.get_by_id(run.experiment.workspace, id=sys.argv[1]).to_pandas_dataframe()
open(sys.argv[2] + "/rows", "w").write(str(len(frame)))
"""


def test_a_ragged_file_that_the_script_reads(bench: Bench, pandas_environment: Any) -> None:
    bench.put({"raw/good.csv": "name,age\nZoe,9\n", "raw/people.csv": RAGGED})
    people = Dataset.Tabular.from_delimited_files((bench.datastore, "raw/*.csv")).as_named_input("people")
    output = OutputFileDatasetConfig("out").register_on_complete("out")
    bad = step(
        bench,
        people,
        source_directory=bench.source({"run.py": READ}),
        arguments=[people, output],
        outputs=[output],
        environment=pandas_environment,
    )
    with pytest.raises(ActivityFailedException) as caught:
        bench.run(bad)
    message = str(caught.value)
    assert "people.csv' line 3 has 3 fields where 2 are expected" in message
    assert "Correct the row, quote fields that hold the separator, or give the right separator=" in message
    assert "exit code 1" in message


def test_a_ragged_file_that_a_gate_reads(bench: Bench) -> None:
    suite = {"name": "people", "expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "name"}}]}
    output = OutputFileDatasetConfig("out").read_delimited_files().register_on_complete("out")
    output = output.validate_with(suite)
    script = f'printf "{RAGGED}" > "$AZURE_ML_OUTPUT_out/people.csv"'.replace("\n", "\\n")
    bad = CommandStepOperator(task_id="bad", command=["sh", "-c", script], outputs=[output])
    with pytest.raises(GateFailedException) as caught:
        bench.run(bad)
    message = str(caught.value)
    assert "people.csv' line 3 has 3 fields where 2 are expected" in message
    assert "Correct the row" in message


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_a_secret_is_in_the_environment_and_nowhere_else(
    bench: Bench, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "s3cr3t-v4lue-of-the-test"
    monkeypatch.setenv("AIRFLOW_CONN_VAULT", f'{{"conn_type": "generic", "password": "{secret}"}}')
    script = """
import os, sys, time
print("the token is", os.environ["TOKEN"], os.environ, flush=True)
print("and on stderr", os.environ["TOKEN"], file=sys.stderr, flush=True)
open(sys.argv[1] + "/started", "w").close()
while not os.path.exists(sys.argv[1] + "/go"):
    time.sleep(0.01)
sys.exit("it was " + os.environ["TOKEN"])
"""
    bad = PythonScriptStepOperator(
        task_id="bad",
        script_name="s.py",
        source_directory=bench.source({"s.py": script}),
        arguments=[bench.folder],
        secrets={"TOKEN": "vault"},
    )
    with bench.meanwhile(bad) as end:
        until((bench.folder / "started").exists)
        until(lambda: "and on stderr" in bench.log.text)
        holding = [*files_with(scratch / "jobs", secret), *files_with(bench.folder, secret)]
        lines = [p.read_bytes() for p in command_lines()]
        (bench.folder / "go").touch()
    assert holding == []
    assert not any(secret.encode() in line for line in lines)
    (error,) = end
    assert isinstance(error, ActivityFailedException)
    assert "it was ***" in str(error)
    assert secret not in str(error)
    assert secret not in bench.log.text
    assert "the token is ***" in bench.log.text
    assert files_with(bench.folder, secret) == []


def files_with(folder: Path, text: str) -> list[Path]:
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(path)
        except FileNotFoundError:
            continue
    return found


def command_lines() -> Iterator[Path]:
    return (p for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists())


# -- a full disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(bench: Bench) -> Iterator[Path]:
    """Make the datastore of the workspace a disk of 2 MB."""
    bench.data.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(bench.data)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield bench.data
    subprocess.run(["umount", "--lazy", str(bench.data)], check=True)


BIG = """
import os, sys
path = sys.argv[1].removeprefix("file://")
os.makedirs(path, exist_ok=True)
for part in range(4):
    with open(f"{path}/part-{part}", "wb") as file:
        file.write(b"x" * (1 << 20))
"""


@pytest.mark.parametrize("kind", [OutputFileDatasetConfig, HDFSOutputDatasetConfig])
def test_a_full_disk_while_an_output_is_written(bench: Bench, small_disk: Path, kind: Any) -> None:
    output = kind("out").register_on_complete("out")
    bad = step(bench, source_directory=bench.source({"run.py": BIG}), arguments=[output], outputs=[output])
    with pytest.raises(StepwellError, match=r"(?i)no space left") as caught:
        bench.run(bad)
    if kind is OutputFileDatasetConfig:
        assert str(small_disk) in str(caught.value)
    used = sum(p.stat().st_size for p in small_disk.rglob("part-*"))
    assert used == 0, "what had been written is gone"
