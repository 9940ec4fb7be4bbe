"""The kind ``spark`` keeps the contract, on a real ``spark-submit`` and a user-managed environment with PySpark."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.contract.compute.case import Case, Runner, eventually
from tests.contract.compute.contract import TargetContract

from stepwell.compute import portal
from stepwell.compute.contract import Entry, EnvironmentRef
from stepwell.compute.kinds.spark import SparkTarget
from stepwell.errors import ComputeTargetException
from stepwell.runtime import processes

pytestmark = pytest.mark.integration

PYTHON = Path(__file__).resolve().parents[3] / ".venv-payload" / "bin" / "python"
SIZES: dict[str, Any] = {
    "driver_memory": "512m",
    "driver_cores": 1,
    "executor_memory": "512m",
    "executor_cores": 1,
    "num_executors": 1,
    "app_name": "contract",
    "conf": {"spark.sql.shuffle.partitions": 1},
}


@pytest.fixture(scope="module")
def payload_python() -> str:
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: make test makes it")
    return str(PYTHON)


class Spark(Case):
    patience = 60.0
    quiet = False

    @pytest.fixture
    def target(self, tmp_path: Path) -> SparkTarget:
        return SparkTarget("link1-spark01", tmp_path / "scratch", "local[1]")

    @pytest.fixture
    def environment(self, target: SparkTarget, payload_python: str) -> EnvironmentRef:  # type: ignore[override]
        return portal.call(target.equip(EnvironmentRef("test", payload_python, None, user_managed=True), print))

    def entry(self, *arguments: str) -> Entry:
        return Entry("spark", script="main.py", arguments=arguments, spark=SIZES)

    def check_killed(self, final: dict[str, Any]) -> None:
        """It is spark-submit's Java that ends then, and it says so with an exit code."""
        assert final["exit_code"] not in (None, 0)


@pytest.mark.slow
class TestContract(Spark, TargetContract):
    """The whole contract; each job starts a Java."""


class TestSpark(Spark):
    """What is special about Spark, and so much of the contract as tells that it is kept."""

    test_exit_code = TargetContract.test_exit_code_and_last_lines_are_in_the_final_status
    test_secrets = TargetContract.test_secrets_reach_the_step_and_nothing_else

    def test_a_cancelled_session_leaves_neither_java_nor_python(self, run: Runner, target: SparkTarget) -> None:
        handle = run(
            "import os, sys, time\npath = sys.argv[1]\n"
            "from pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\n"
            "spark.sparkContext.parallelize([0], 1).foreach(\n"
            "    lambda _: (open(path, 'w').write(str(os.getpid())), time.sleep(300)))",
            f"{target.root}/worker",
        )
        worker = int(eventually(lambda: _text(Path(target.root, "worker")), self.patience))
        session = json.loads(run.read(handle, "pid") or "{}")["session"]
        assert worker in processes.session_members(session)
        assert portal.call(target.cancel(handle, None)) is True
        assert run.wait(handle).final["status"] == "cancelled"
        eventually(lambda: not processes.session_members(session), 5)
        assert not Path(f"/proc/{worker}").exists()

    @pytest.mark.slow
    def test_a_session_has_the_sizes_the_conf_and_the_variables(self, run: Runner) -> None:
        log = run.log(
            run(
                "import os\nfrom pyspark.sql import SparkSession\n"
                "spark = SparkSession.builder.getOrCreate()\nconf = spark.sparkContext.getConf()\n"
                "print('memory', conf.get('spark.driver.memory'), spark.conf.get('spark.sql.shuffle.partitions'))\n"
                "print('name', conf.get('spark.app.name'), conf.get('spark.master'))\n"
                "seen = spark.sparkContext.parallelize([0]).map(lambda _: os.environ.get('COLOUR')).collect()\n"
                "print('executor', seen, spark.range(10).count())\n",
                variables={"COLOUR": "blue"},
            )
        )
        assert "memory 512m 1" in log
        assert "name contract local[1]" in log
        assert "executor ['blue'] 10" in log

    def test_an_environment_without_pyspark_is_refused(self, target: SparkTarget, tmp_path: Path) -> None:
        python = tmp_path / "bare"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
        python.chmod(0o755)
        with pytest.raises(ComputeTargetException, match="has no PySpark"):
            portal.call(target.equip(EnvironmentRef("bare", str(python), None, user_managed=True), print))

    def test_without_java_it_cannot_work_and_says_what_to_do(
        self, target: SparkTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        report = portal.call(target.probe())
        assert not report.ok
        assert "there is no java on PATH" in report.problems[0]
        assert "openjdk-17" in report.problems[0]

    def test_an_old_java_is_refused(self, target: SparkTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "jdk" / "bin").mkdir(parents=True)
        (tmp_path / "jdk" / "bin" / "java").write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
        (tmp_path / "jdk" / "bin" / "java").chmod(0o755)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
        report = portal.call(target.probe())
        assert any("Java 11.0.2: too old for Spark 4" in problem for problem in report.problems)
        assert os.environ["JAVA_HOME"] == str(tmp_path / "jdk")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
