"""A step that runs a module of the payload: the same on any target that runs Python or Spark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.steps import Bench
from tests.support.steps import bench as new_bench

from stepwell import AmlCompute, ComputeTarget, Dataset, OutputFileDatasetConfig, SparkCompute
from stepwell.compute.contract import EnvironmentRef
from stepwell.errors import UserErrorException
from stepwell.operators import PythonScriptStepOperator
from stepwell.step import explain, job, reuse
from stepwell.step.fingerprint import Fingerprint, fingerprint
from stepwell.step.life import Life
from stepwell.step.spec import StepSpec

ENVIRONMENT = EnvironmentRef("k", "/env/bin/python", "/env", variables={"SPARK_HOME": "/spark", "JAVA_HOME": "/java"})
SIZES: dict[str, Any] = {
    "driver_memory": "1g", "driver_cores": 1, "executor_memory": "2g", "executor_cores": 2, "num_executors": 3,
}  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("STEPWELL_SCRATCH", str(tmp_path / "scratch"))
    made = new_bench(tmp_path)
    ComputeTarget.create(made.ws, "cpu", AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=1))
    ComputeTarget.attach(made.ws, "link1-spark01", SparkCompute.attach_configuration(master="local[2]"))
    made.put({"people.csv": "a,b\n1,2\n"})
    return made


def life(bench: Bench, target: str, **more: Any) -> Life:
    """Return a try of a step that runs a module, planned."""
    people = Dataset.Tabular.from_delimited_files((bench.datastore, "people.csv"))
    step = PythonScriptStepOperator(
        task_id="s",
        script_name="none.py",
        source_directory="none",
        inputs=[people.as_named_input("people")],
        outputs=[OutputFileDatasetConfig("out").read_parquet_files().validate_with(SUITE)],
        compute_target=target,
        workspace=bench.ws,
    )
    found = bench.life(step)
    found.spec = replace(
        found.spec,
        kind="search",
        script=None,
        source_directory=None,
        module="stepwell.payload.automl.main",
        settings={"settings": {"iterations": 3}},
        packages=("six==1.17.0",),
        spark=SIZES,
        **more,
    )
    found._begin()
    found._plan()
    return found


SUITE = {"name": "s", "expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "a"}}]}


def document(one: Life, at: str | None = None) -> dict[str, Any]:
    owner, number = one.state.owner, one.try_number
    plan = job.Blueprint(one.ws, one.spec, one.key, one.state.run_id, owner, number, one._resolve(), one.outputs, at)
    return job.document(plan, one.target, one.layout, ENVIRONMENT, ENVIRONMENT)


@pytest.mark.parametrize("target", ["local", "cpu"])
def test_on_python_targets_it_is_a_process(bench: Bench, target: str) -> None:
    one = life(bench, target)
    found, root = document(one), one.layout.root
    step, gate = found["phases"]
    assert step["argv"] == ["/env/bin/python", "-m", "stepwell.payload.automl.main", root]
    assert step["cwd"] == f"{root}/code"
    assert step["variables"]["STEPWELL_JOB_DIR"] == root
    assert step["variables"]["PYTHONPATH"].startswith(one.layout.payload)
    assert gate["name"] == "gate"
    assert found["automl"] == {"settings": {"iterations": 3}, "resume": None}
    assert found["main"] == {"script": None, "module": "stepwell.payload.automl.main", "arguments": [root]}


def test_on_spark_it_is_the_driver_that_runs_it(bench: Bench) -> None:
    one = life(bench, "link1-spark01")
    found = document(one, "resume")
    (step,) = found["phases"]
    assert step["argv"][0] == "/spark/bin/spark-submit"
    assert step["argv"][-1] == one.layout.root
    assert "spark.executor.instances=3" in step["files"]["spark.properties"]
    assert found["main"]["module"] == "stepwell.payload.automl.main"
    assert found["automl"]["resume"] == "resume"


@pytest.mark.parametrize("target", ["local", "link1-spark01"])
def test_what_is_uploaded_is_judged_where_it_was_written(bench: Bench, target: str) -> None:
    (gate,) = document(life(bench, target))["gates"]
    assert gate["engine"] == "pandas", "executors elsewhere do not see the driver's files"


def test_packages_of_the_module_are_added_to_the_environment(bench: Bench) -> None:
    one = life(bench, "link1-spark01", environment={"pip": ["attrs==25.3.0"]})
    pip = one._packages()["pip"]
    assert {"six==1.17.0", "attrs==25.3.0"} <= {*pip}
    assert any(p.startswith("pyspark") for p in pip)
    assert life(bench, "local", environment=None)._packages()["pip"] == ["six==1.17.0"]
    own = {"user_managed": True, "interpreter": "/usr/bin/python3"}
    assert life(bench, "local", environment=own)._packages()["pip"] == []


def test_a_step_without_a_module_runs_where_it_ran(bench: Bench) -> None:
    step = PythonScriptStepOperator(
        task_id="p", script_name="s.py", source_directory="src", compute_target="link1-spark01", workspace=bench.ws
    )
    with pytest.raises(UserErrorException, match="does not run python steps. Allowed: spark"):
        bench.run(step)


# -- by content --------------------------------------------------------------------------------------------------------


def made_of(**more: Any) -> Fingerprint:
    spec = StepSpec("s", "automl", "local", **{"module": "stepwell.payload.automl.main", **more})
    return fingerprint(
        spec,
        [],
        None,
        environment_key="key",
        environment={"variables": {}, "python": None, "conda": [], "pip": []},
        target={"kind": "local"},
        default_datastore="store",
        mask=lambda value: value,
    )


def test_module_and_settings_decide_what_is_made() -> None:
    settings = {"settings": {"iterations": 3, "seed": 1}, "outputs": {"model": {}}}
    then = made_of(settings=settings)
    assert then.digest == made_of(settings=settings).digest
    assert then.digest != made_of(settings=settings, module="stepwell.payload.gate").digest
    now = made_of(settings={**settings, "settings": {"iterations": 4, "seed": 1}})
    assert now.digest != then.digest
    assert explain.changes(now, then, {}, {}, lambda _: (None, None)) == ["the setting iterations is 4, was 3"]
    more = made_of(settings={**settings, "outputs": {"model": {}, "model_accuracy": {}}})
    assert explain.changes(more, then, {}, {}, lambda _: (None, None)) == ["the setting model_accuracy is new"]


def test_a_step_without_a_module_is_what_it_was() -> None:
    """Settings are no part of other steps: what was made before there were modules is still reused."""
    assert {"module", "settings"} & {*made_of(module=None).parts} == set()


def test_what_only_judges_runs_no_module() -> None:
    spec = StepSpec("s", "automl", "local", module="m.n", settings={"a": {}}, packages=("six",), resumes="outputs/x")
    earlier = reuse.Earlier("r", {"outputs": {}}, {}, ())
    judging = reuse.judging(spec, earlier)
    assert (judging.kind, judging.module, judging.packages, judging.resumes) == ("none", None, (), None)
