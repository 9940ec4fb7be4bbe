"""The life of a step on a machine behind SSH: the same as on this one, by one word."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.machines.vm import Vm
from tests.machines.vm import mortal_vm as mortal_vm
from tests.machines.vm import vm as vm
from tests.support.connections import Kept
from tests.support.steps import Bench

from stepwell import ComputeTarget, Dataset, Datastore, Environment, OutputFileDatasetConfig, RemoteCompute
from stepwell.errors import (
    ActivityFailedException,
    ComputeTargetException,
    DatasetError,
    EnvironmentException,
    UserErrorException,
)
from stepwell.operators import CommandStepOperator, PythonScriptStepOperator, SynapseSparkStepOperator
from stepwell.workspace.connections import set_connection_source

pytestmark = pytest.mark.integration


@pytest.fixture
def kept() -> Iterator[Kept]:
    store = Kept()
    set_connection_source(store)
    yield store
    set_connection_source(None)


def attached(bench: Bench, vm: Vm) -> Any:
    root = f"/home/{vm.login}/{bench.instance[:8]}"
    configuration = RemoteCompute.attach_configuration(
        username=vm.login, address=vm.address, password=vm.password, host_key=vm.host_key, root=root
    )
    return ComputeTarget.attach(bench.ws, "gpu-box", configuration)


@pytest.fixture
def remote(bench: Bench, vm: Vm, kept: Kept) -> Iterator[Any]:
    yield attached(bench, vm)
    left = vm.run("sh", "-c", f"ls /home/{vm.login}/{bench.instance[:8]}/jobs").stdout.split()
    assert left == [], "jobs were left there"
    vm.run("rm", "-rf", f"/home/{vm.login}/{bench.instance[:8]}")


def step(bench: Bench, script: str, **more: Any) -> PythonScriptStepOperator:
    return PythonScriptStepOperator(
        task_id="far",
        script_name="main.py",
        source_directory=bench.source({"main.py": script}),
        compute_target="gpu-box",
        **more,
    )


def test_data_go_there_and_come_back_and_are_registered(bench: Bench, remote: Any) -> None:
    bench.put({"raw/a.csv": "1\n", "raw/deep/b.csv": "2\n"})
    data = Dataset.File.from_files((bench.datastore, "raw/**")).as_named_input("raw")
    output = OutputFileDatasetConfig(name="sums").register_on_complete("sums")
    script = (
        "import json, os, socket, sys\n"
        "print('on', socket.gethostname(), flush=True)\n"
        "top = sys.argv[1]\n"
        "found = sorted(os.path.relpath(os.path.join(d, f), top) for d, _, fs in os.walk(top) for f in fs)\n"
        "json.dump([socket.gethostname(), found], open(os.path.join(sys.argv[2], 'o.json'), 'w'))\n"
        "from azureml.core import Run\nRun.get_context().log('accuracy', 0.5)\n"
        "os.makedirs('outputs'); open('outputs/model', 'w').write('w' * 3_000_000)\n"
    )
    result = bench.run(step(bench, script, arguments=[data.as_download(), output], inputs=[data.as_download()],
                            outputs=[output]))  # fmt: skip
    folder = Path(result.references["sums"]["uri"].removeprefix("file://"))
    assert json.loads((folder / "o.json").read_text()) == ["vm", ["a.csv", "deep/b.csv"]]
    assert bench.versions("sums") == [1]
    assert "on vm" in bench.log.text
    assert (bench.run_folder() / "outputs/model").stat().st_size == 3_000_000
    assert bench.record()["status"] == "completed"


def test_data_of_the_machine_itself_are_mounted_there_and_brought_elsewhere(bench: Bench, remote: Any, vm: Vm) -> None:
    folder = f"/home/{vm.login}/{bench.instance[:8]}/own"
    for name, text in {"raw/a.csv": "1\n", "raw/deep/b.csv": "2\n", "notes.txt": "nobody's input"}.items():
        vm.path(f"{folder}/{name}").parent.mkdir(parents=True, exist_ok=True)
        vm.path(f"{folder}/{name}").write_text(text)
    store = Datastore.register_machine(bench.ws, "box-data", "gpu-box", folder)
    data = Dataset.File.from_files((store, "raw/**")).as_named_input("raw")
    script = (
        "import os, socket, sys\ntop = sys.argv[1]\n"
        "found = sorted(os.path.relpath(os.path.join(d, f), top) for d, _, fs in os.walk(top) for f in fs)\n"
        "print('on', socket.gethostname(), found, open(top + '/deep/b.csv').read().strip(), flush=True)\n"
    )
    bench.run(step(bench, script, inputs=[data.as_mount()], arguments=[data.as_mount()]))
    assert "on vm ['a.csv', 'deep/b.csv'] 2" in bench.log.text
    assert f"input raw: ssh://{vm.address}{folder}/raw is mounted by a link" in bench.log.text
    here = {"inputs": [data.as_download()], "arguments": [data.as_download()]}
    bench.run(local(bench, script, **here))
    assert f"on {socket.gethostname()} ['a.csv', 'deep/b.csv'] 2" in bench.log.text
    with pytest.raises(UserErrorException, match=r"cannot mount files of a machine datastore.*as_download"):
        bench.run(local(bench, script, inputs=[data.as_mount()], arguments=[data.as_mount()]))
    output = OutputFileDatasetConfig(name="sums", destination=(store, "sums"))
    with pytest.raises(DatasetError, match="goes to the datastore 'box-data', whose data can only be read"):
        bench.run(step(bench, "print('ran')", outputs=[output]))
    assert sorted(p.name for p in vm.path(folder).iterdir()) == ["notes.txt", "raw"]


def local(bench: Bench, script: str, **more: Any) -> PythonScriptStepOperator:
    source = bench.source({"main.py": script})
    return PythonScriptStepOperator(task_id="near", script_name="main.py", source_directory=source, **more)


def test_an_environment_is_built_there(bench: Bench, remote: Any) -> None:
    environment = Environment("six")
    environment.python.conda_dependencies.add_pip_package("six==1.17.0")
    script = "import six, socket; print('six', six.__version__, 'on', socket.gethostname())"
    bench.run(step(bench, script, environment=environment))
    assert "six 1.17.0 on vm" in bench.log.text
    assert "six==1.17.0" in bench.log.text
    bench.run(step(bench, script, environment=environment), dag_run_id="run 2")
    assert "is there (Python" in bench.log.text


def test_what_cannot_be_built_there_fails_the_step_and_leaves_nothing(bench: Bench, remote: Any) -> None:
    environment = Environment("none")
    environment.python.conda_dependencies.add_pip_package("six==99")
    with pytest.raises(EnvironmentException, match="cannot be resolved"):
        bench.run(step(bench, "pass", environment=environment))


def test_a_failed_script_says_why(bench: Bench, remote: Any) -> None:
    with pytest.raises(ActivityFailedException, match="exit code 3"):
        bench.run(step(bench, "import sys; print('the reason', file=sys.stderr); sys.exit(3)"))
    assert "the reason" in bench.log.text


def test_a_command_runs_there(bench: Bench, remote: Any) -> None:
    words = ["echo", "$HOME", "; id", "ü'\n\""]
    source = bench.source({"x": ""})
    bench.run(CommandStepOperator(task_id="c", command=words, source_directory=source, compute_target="gpu-box"))
    assert "$HOME ; id ü'" in bench.log.text


def test_a_killed_worker_starts_no_second_job(bench: Bench, remote: Any, vm: Vm) -> None:
    script = (
        "import os, time\nprint('started', flush=True)\nopen(os.path.expanduser('~/ran'), 'a').write('x')\n"
        "while not os.path.exists(os.path.expanduser('~/go')): time.sleep(0.05)"
    )
    far = step(bench, script)
    vm.run("rm", "-f", "/home/ml/ran", "/home/ml/go")
    with bench.elsewhere(far) as worker:
        wait(lambda: vm.path("/home/ml/ran").exists())
        worker.kill()
    vm.exec("touch", "/home/ml/go", user=vm.login)
    bench.run(far, try_number=2)
    assert vm.path("/home/ml/ran").read_text() == "x"
    assert "started" in bench.log.text


def test_a_cancel_ends_all_of_it_there(bench: Bench, remote: Any, vm: Vm) -> None:
    script = (
        "import subprocess\nsubprocess.Popen(['sleep', '4719'], start_new_session=True)\nprint('up', flush=True)\n"
        "subprocess.run(['sleep', '4719'])"
    )
    far = step(bench, script)
    with bench.elsewhere(far) as worker:
        wait(lambda: len(vm.run("pgrep", "-f", "^sleep 4719").stdout.split()) == 2)
        began = time.monotonic()
        worker.terminate()
    wait(lambda: not vm.run("pgrep", "-f", "^sleep 4719").stdout)
    assert time.monotonic() - began < 10


SIZES: dict[str, Any] = {
    "driver_memory": "512m",
    "driver_cores": 1,
    "executor_memory": "512m",
    "executor_cores": 1,
    "num_executors": 1,
}


@pytest.mark.slow
def test_a_pyspark_step_runs_there(bench: Bench, remote: Any, vm: Vm, payload_python: Path) -> None:
    vm.exec("chmod", "711", "/root")  # its links to this machine's interpreter lead there
    environment = Environment.from_existing_interpreter("payload", str(payload_python))
    bench.put({"raw/a.csv": "n\n1\n", "raw/b.csv": "n\n41\n"})
    data = Dataset.Tabular.from_delimited_files((bench.datastore, "raw/**")).as_named_input("raw")
    script = (
        "import socket\nfrom azureml.core import Run\nfrom pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.appName('x').getOrCreate()\n"
        "print('master', spark.sparkContext.master, 'on', socket.gethostname(), flush=True)\n"
        "rows = Run.get_context().input_datasets['raw'].to_spark_dataframe()\n"
        "print('sum', rows.groupBy().sum('n').collect()[0][0])\n"
    )
    far = SynapseSparkStepOperator(
        task_id="spark",
        file="main.py",
        source_directory=bench.source({"main.py": script}),
        compute_target="gpu-box",
        environment=environment,
        inputs=[data],
        **SIZES,
    )
    bench.run(far)
    assert "master local[*] on vm" in bench.log.text
    assert "sum 42" in bench.log.text


def test_a_pyspark_step_needs_pyspark_there(bench: Bench, remote: Any, vm: Vm) -> None:
    environment = Environment.from_existing_interpreter("bare", "/usr/bin/python3")
    far = SynapseSparkStepOperator(
        task_id="spark", file="main.py", source_directory=bench.source({"main.py": ""}), compute_target="gpu-box",
        environment=environment, **SIZES,
    )  # fmt: skip
    with pytest.raises(ComputeTargetException, match="no PySpark in the environment on ml@"):
        bench.run(far)


@pytest.mark.slow
def test_a_network_that_is_away_for_twenty_seconds_costs_twenty_seconds(
    bench: Bench, mortal_vm: Vm, kept: Kept
) -> None:
    attached(bench, mortal_vm)
    far = step(bench, "import time\nfor n in range(100): print('line', n, flush=True); time.sleep(0.1)")
    bench.log.when["line 20"] = mortal_vm.cut
    threading.Timer(25.0, mortal_vm.restore).start()
    bench.run(far)
    whole = (bench.run_folder() / "logs/step.log").read_text().splitlines()
    assert [line for line in whole if line.startswith("line ")] == [f"line {n}" for n in range(100)]


def wait(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)
