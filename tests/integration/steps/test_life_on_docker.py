"""The life of a step in a container: the same as on this machine, by one word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.machines.docker import DockerDaemon, base_image, dockerd
from tests.support.steps import Bench

from stepwell import (
    ComputeTarget,
    Dataset,
    DockerCompute,
    Environment,
    HDFSOutputDatasetConfig,
    OutputFileDatasetConfig,
)
from stepwell.compute.aml_compute import AmlCompute
from stepwell.errors import ComputeTargetException, GateFailedException
from stepwell.operators import PythonScriptStepOperator, SynapseSparkStepOperator

__all__ = ["base_image", "dockerd"]

pytestmark = pytest.mark.integration

SUITE = {
    "name": "ages",
    "expectations": [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "age", "min_value": 0, "max_value": 120}}
    ],
}


@pytest.fixture
def docker(bench: Bench, dockerd: DockerDaemon, base_image: str) -> Any:
    configuration = DockerCompute.attach_configuration(base_image, network="host", docker_host=dockerd.host)
    return ComputeTarget.attach(bench.ws, "box", configuration)


def python(bench: Bench, script: str, **more: Any) -> PythonScriptStepOperator:
    source = bench.source({"main.py": script})
    chosen = {"compute_target": "box", **more}
    return PythonScriptStepOperator(task_id="inside", script_name="main.py", source_directory=source, **chosen)


def test_data_go_in_and_come_out_and_are_registered(bench: Bench, docker: Any, dockerd: DockerDaemon) -> None:
    assert docker.report["facts"]["docker"]
    bench.put({"raw/a.csv": "1\n"})
    data = Dataset.File.from_files((bench.datastore, "raw/**")).as_named_input("raw").as_download()
    output = OutputFileDatasetConfig(name="sums").register_on_complete("sums")
    script = (
        "import os, sys\nprint('in a container:', os.path.exists('/.dockerenv'), os.listdir(sys.argv[1]), flush=True)\n"
        "open(os.path.join(sys.argv[2], 'o.txt'), 'w').write('done')\n"
        "from azureml.core import Run\nRun.get_context().log('accuracy', 0.5)\n"
    )
    result = bench.run(python(bench, script, arguments=[data, output], inputs=[data], outputs=[output]))
    folder = Path(result.references["sums"]["uri"].removeprefix("file://"))
    assert (folder / "o.txt").read_text() == "done"
    assert "in a container: True ['a.csv']" in bench.log.text
    assert bench.record()["metrics"]["accuracy"]
    mine = f"label=stepwell.job={bench.record()['run_id']}"
    assert not dockerd.docker("ps", "--all", "--quiet", "--filter", mine), "containers are left"


def test_a_cluster_on_docker_is_made_and_deleted(bench: Bench, docker: Any) -> None:
    cluster = ComputeTarget.create(
        bench.ws, "cpucluster", AmlCompute.provisioning_configuration("small", max_nodes=1, backing="box")
    )
    bench.run(python(bench, "import os; print(os.path.exists('/.dockerenv'))", compute_target="cpucluster"))
    assert "True" in bench.log.lines
    status = cluster.get_status()
    assert (status.current_node_count, status.node_state_counts["running"]) == (0, 0)
    with pytest.raises(ComputeTargetException, match="cpucluster runs its jobs there"):
        docker.detach()
    cluster.update(max_nodes=2)
    assert cluster.scale_settings["max_nodes"] == 2
    cluster.delete()
    docker.detach()
    with pytest.raises(ComputeTargetException, match="cannot work.*stands on .*not there"):
        ComputeTarget.create(bench.ws, "other", AmlCompute.provisioning_configuration(max_nodes=1, backing="box"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_gate_judges_in_the_same_container(bench: Bench, docker: Any, dockerd: DockerDaemon) -> None:
    environment = Environment("six")
    environment.python.conda_dependencies.add_pip_package("six==1.17.0")
    script = (
        "import os, six, sys, importlib.util as u\n"
        "print('alone:', u.find_spec('great_expectations') is None)\n"
        "open(os.path.join(sys.argv[1], 'p.csv'), 'w').write('name,age\\nAnn,%s\\n' % sys.argv[2])\n"
    )

    def step(age: int) -> PythonScriptStepOperator:
        gated = OutputFileDatasetConfig("people").register_on_complete("people").validate_with(SUITE)
        return python(bench, script, arguments=[gated, age], outputs=[gated], environment=environment)

    assert bench.run(step(30)).references["people"]["verdict"] == "passed"
    assert "alone: True" in bench.log.text
    with pytest.raises(GateFailedException, match="did not pass"):
        bench.run(step(300), dag_run_id="run 2")


@pytest.mark.slow
def test_a_pyspark_step_runs_in_a_container(
    bench: Bench, docker: Any, dockerd: DockerDaemon, payload_python: Path
) -> None:
    """With Java from the image, and Spark, too: so that nothing large is fetched."""
    (spark,) = payload_python.parent.parent.glob("lib/python*/site-packages/pyspark")
    parts = (str(spark), str(spark.parent / "py4j"))
    image = dockerd.make_image("stepwell-spark:test", ("openjdk-17-jre-headless",), parts)
    text = f"FROM {image}\nENV SPARK_HOME={spark} PYTHONPATH={spark.parent}\n"
    environment = Environment.from_dockerfile("spark", text)
    output = HDFSOutputDatasetConfig("table").register_on_complete("table")
    bench.put({"raw/a.csv": "a,1\n", "raw/b.csv": "b,2\n"})
    data = Dataset.File.from_files((bench.datastore, "raw/**")).as_named_input("raw").as_hdfs()
    script = (
        "import sys\nfrom pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.appName('x').getOrCreate()\n"
        "print('master', spark.sparkContext.master, flush=True)\n"
        "spark.read.csv(sys.argv[1]).coalesce(1).sort('_c0').write.mode('overwrite').csv(sys.argv[2])\n"
    )
    step = SynapseSparkStepOperator(
        task_id="spark",
        file="main.py",
        source_directory=bench.source({"main.py": script}),
        compute_target="box",
        environment=environment,
        arguments=[data, output],
        inputs=[data],
        outputs=[output],
        driver_memory="512m", driver_cores=1, executor_memory="512m", executor_cores=1, num_executors=1,
    )  # fmt: skip
    result = bench.run(step)
    folder = Path(result.references["table"]["uri"].removeprefix("file://"))
    rows = [line for file in folder.glob("*.csv") for line in file.read_text().split()]
    assert rows == ["a,1", "b,2"]
    assert "master local[*]" in bench.log.text
    assert json.loads(json.dumps(bench.record()))["status"] == "completed"


@pytest.mark.slow
def test_a_pyspark_step_needs_java_in_its_image(bench: Bench, docker: Any) -> None:
    environment = Environment("none")
    environment.python.user_managed_dependencies = True
    step = SynapseSparkStepOperator(
        task_id="spark", file="main.py", source_directory=bench.source({"main.py": ""}), compute_target="box",
        environment=environment, driver_memory="512m", driver_cores=1, executor_memory="512m", executor_cores=1,
        num_executors=1,
    )  # fmt: skip
    with pytest.raises(ComputeTargetException, match="has no Java.*base_image"):
        bench.run(step)
