"""Jobs, data and one Spark session for all tests of this folder."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from payload_support import PASSENGERS, PROJECT, Job

PACKAGE = PROJECT / "providers" / "stepwell"


@pytest.fixture
def passengers(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "passengers.csv"
    path.parent.mkdir()
    path.write_text(PASSENGERS, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def titanic() -> Path:
    """The real file: the project's copy, or the one beside the project while that is not there."""
    for path in (PROJECT / "include" / "data" / "Titanic.csv", PROJECT.parent / "shared" / "data" / "Titanic.csv"):
        if path.is_file():
            return path
    raise FileNotFoundError("include/data/Titanic.csv")


@pytest.fixture(scope="session")
def payload_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The payload as it is unpacked on a target."""
    root = tmp_path_factory.mktemp("payload")
    (root / "stepwell").mkdir()
    (root / "stepwell" / "__init__.py").write_text("")
    for part in ("runtime", "payload"):
        shutil.copytree(PACKAGE / part, root / "stepwell" / part, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "v1").mkdir()
    shutil.copytree(root / "stepwell" / "payload" / "azureml", root / "v1" / "azureml")
    return root


@pytest.fixture
def job(tmp_path: Path, passengers: Path) -> Job:
    return Job(tmp_path / "job", passengers).write()


@pytest.fixture
def in_job(job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """This process is a step's."""
    monkeypatch.setenv("STEPWELL_JOB_DIR", str(job.directory))
    monkeypatch.chdir(job.directory / "code")
    return job


@pytest.fixture
def azureml(payload_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``azureml`` can be imported, as on a step's path; afterwards it is gone again."""
    monkeypatch.syspath_prepend(str(payload_root / "v1"))
    before, finders = set(sys.modules), list(sys.meta_path)
    yield
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "azureml":
            del sys.modules[name]
    sys.meta_path[:] = finders


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    if sys.modules.get("pyspark", True) is None:
        del sys.modules["pyspark"]  # which a module of AutoML has hidden from FLAML
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()
