"""What the kind ``spark`` asks of spark-submit; pure, nothing is started."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from stepwell.compute.contract import Entry, EnvironmentRef
from stepwell.compute.kinds.spark import SparkTarget
from stepwell.compute.packing import pack

SPARK: dict[str, Any] = {
    "driver_memory": "1g", "driver_cores": 1, "executor_memory": "2g", "executor_cores": 2, "num_executors": 3,
    "app_name": "prep", "conf": {"spark.ui.enabled": "true"}, "py_files": ["lib.zip"],
}  # fmt: skip
ENVIRONMENT = EnvironmentRef(
    "k", "/env/bin/python", "/env", variables={"SPARK_HOME": "/spark", "JAVA_HOME": "/java", "MINE": "1"}
)


def phase(target: SparkTarget, environment: EnvironmentRef = ENVIRONMENT, **more: Any) -> dict[str, Any]:
    entry = Entry("spark", script="prep.py", arguments=("--secret-looking", "x y"), spark=SPARK)
    (found,) = target.phases(entry, environment, target.layout("job"), variables={"COLOUR": "blue"}, **more)
    return found


def conf(found: dict[str, Any]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in found["files"]["spark.properties"].splitlines())


def test_one_spark_submit_with_its_settings_in_a_file(tmp_path: Path) -> None:
    target = SparkTarget("pool", tmp_path)
    found = phase(target)
    root, payload = target.layout("job").root, target.layout("job").payload
    assert found["argv"] == [
        "/spark/bin/spark-submit",
        "--properties-file",
        f"{root}/spark.properties",
        f"{payload}/stepwell/payload/spark_driver.py",
        root,
    ]
    assert found["variables"]["PYSPARK_PYTHON"] == "/env/bin/python"
    assert conf(found)["spark.master"] == "local[*]"
    assert conf(found)["spark.submit.pyFiles"] == f"{root}/code/lib.zip"


def test_a_steps_settings_go_before_the_targets_and_those_before_ours(tmp_path: Path) -> None:
    target = SparkTarget("pool", tmp_path, conf={"spark.log.level": "INFO", "spark.ui.enabled": "false"})
    found = conf(phase(target))
    assert found["spark.ui.enabled"] == "true"
    assert found["spark.log.level"] == "INFO"
    assert found["spark.ui.showConsoleProgress"] == "false"


def test_the_targets_lists_of_files_are_joined_with_the_steps(tmp_path: Path) -> None:
    target = SparkTarget(
        "pool", tmp_path, conf={"spark.submit.pyFiles": "/shared/a.zip, /shared/b.zip", "spark.jars": "/shared/x.jar"}
    )
    found = conf(phase(target))
    assert found["spark.submit.pyFiles"] == f"{target.layout('job').code}/lib.zip,/shared/a.zip,/shared/b.zip"
    assert found["spark.jars"] == "/shared/x.jar"
    assert "spark.files" not in found


def test_a_standalone_master_is_told_how_many_cores_and_what_executors_see(tmp_path: Path) -> None:
    found = conf(phase(SparkTarget("pool", tmp_path, "spark://127.0.0.1:7077")))
    assert found["spark.cores.max"] == "6"
    assert found["spark.executorEnv.COLOUR"] == "blue"
    assert found["spark.executorEnv.MINE"] == "1"
    assert "spark.executorEnv.JAVA_HOME" not in found
    assert "spark.archives" not in found, "the master is on this machine: the path is the same there"
    assert found["spark.pyspark.python"] == "/env/bin/python"


def test_to_executors_elsewhere_the_environment_is_sent(tmp_path: Path) -> None:
    target = SparkTarget("pool", tmp_path, "spark://head:7077")
    environment = EnvironmentRef(
        "k", "/env/bin/python", "/env", variables={**ENVIRONMENT.variables, "STEPWELL_SPARK_ARCHIVE": "/a/k.tar.gz"}
    )
    found = phase(target, environment)
    assert conf(found)["spark.archives"] == "/a/k.tar.gz#environment"
    assert conf(found)["spark.pyspark.python"] == "./environment/bin/python"
    assert conf(found)["spark.pyspark.driver.python"] == "/env/bin/python"
    assert "STEPWELL_SPARK_ARCHIVE" not in found["variables"]


def test_gates_without_a_script_are_a_spark_application_and_nothing_is_none(tmp_path: Path) -> None:
    target = SparkTarget("pool", tmp_path)
    layout = target.layout("job")
    assert target.phases(Entry("none"), ENVIRONMENT, layout) == []
    (found,) = target.phases(Entry("none"), ENVIRONMENT, layout, gates_in=ENVIRONMENT)
    assert found["argv"][-1] == layout.root


@pytest.mark.parametrize("again", [False, True])
def test_an_environment_is_packed_once_without_sparks_own_jars(tmp_path: Path, again: bool) -> None:
    root = tmp_path / "env"
    packages = root / "lib/python3.11/site-packages"
    for name in ("pyspark/jars/big.jar", "pyspark/sql/session.py", "mine/__init__.py", "mine/__pycache__/x.pyc"):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("x")
    said: list[str] = []
    archive = pack(str(root), tmp_path / "archives" / "k.tar.gz", said.append)
    if again:
        (packages / "later.py").write_text("x")
        pack(str(root), archive, said.append)
    with tarfile.open(archive) as opened:
        names = {name for name in opened.getnames() if name.endswith((".py", ".jar", ".pyc"))}
    assert names == {f"./lib/python3.11/site-packages/{n}" for n in ("pyspark/sql/session.py", "mine/__init__.py")}
    assert len(said) == 1
