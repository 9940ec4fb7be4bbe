"""A standalone master and worker of Spark's own: the step's environment and variables reach executors."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.compute.case import Case, Runner, eventually
from tests.integration.compute.test_spark import PYTHON, SIZES

from stepwell.compute import portal
from stepwell.compute.contract import Entry, EnvironmentRef
from stepwell.compute.kinds.spark import SparkTarget
from stepwell.compute.process import inherited_environment

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: make test makes it")
    folder = tmp_path_factory.mktemp("standalone")
    (home,) = PYTHON.parent.parent.glob("lib/python*/site-packages/pyspark")
    port, web = free_port(), free_port()
    url, spark_class = f"spark://127.0.0.1:{port}", str(home / "bin" / "spark-class")
    environment = {**inherited_environment(), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_WORKER_DIR": str(folder / "work")}
    name = "org.apache.spark.deploy"
    commands = (
        [f"{name}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web)],
        [f"{name}.worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0", url],
    )
    with (folder / "log").open("wb") as log:
        running = [
            subprocess.Popen([spark_class, *command], env=environment, cwd=folder, stdout=log, stderr=log)
            for command in commands
        ]
        try:
            eventually(lambda: '"aliveworkers" : 1' in _page(f"http://127.0.0.1:{web}/json/"), 90)
            yield url
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(30)


def _page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own address
            return str(answer.read().decode())
    except OSError:
        return ""


class TestStandalone(Case):
    patience = 120.0

    @pytest.fixture
    def target(self, tmp_path: Path, master: str) -> SparkTarget:
        return SparkTarget("cluster", tmp_path / "scratch", master, ship_environment=True)

    @pytest.fixture
    def environment(self, target: SparkTarget, tmp_path: Path) -> EnvironmentRef:
        """An environment of its own: one module that is nowhere else, and PySpark by a link for the driver."""
        root = tmp_path / "environment"
        base = os.path.realpath(PYTHON)
        subprocess.run([base, "-m", "venv", "--without-pip", str(root)], check=True)
        (packages,) = root.glob("lib/python*/site-packages")
        (packages / "only_here.py").write_text("import sys\ndef where(): return sys.executable, __file__\n")
        (source,) = PYTHON.parent.parent.glob("lib/python*/site-packages")
        for name in ("pyspark", "py4j"):
            os.symlink(source / name, packages / name)
        ref = EnvironmentRef("only", str(root / "bin" / "python"), str(root))
        return portal.call(target.equip(ref, print))

    def entry(self, *arguments: str) -> Entry:
        return Entry("spark", script="main.py", arguments=arguments, spark=SIZES)

    def test_executors_have_the_environment_and_the_variables_and_not_the_secrets(self, run: Runner) -> None:
        assert sys.executable
        handle = run(
            "import os\nfrom pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\n"
            "def look(_):\n"
            "    import only_here\n"
            "    return only_here.where(), os.environ.get('COLOUR'), os.environ.get('TOKEN')\n"
            "python, file = (seen := spark.sparkContext.parallelize([0], 1).map(look).first())[0]\n"
            "print('colour', seen[1], 'token', seen[2])\n"
            "print('shipped', '/environment/bin/python' in python, '/work/app-' in file)\n",
            variables={"COLOUR": "blue"},
            secrets={"TOKEN": "open-sesame"},
        )
        log = run.log(handle)
        assert "colour blue token None" in log, log
        assert "shipped True True" in log, log
        assert run.status(handle).state == "succeeded"
