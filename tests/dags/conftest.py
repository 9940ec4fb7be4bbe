"""The example DAGs on Airflow, all in this process: Airflow boots once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.scratch import scratch as scratch

from stepwell import Workspace


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Iterator[Workspace]:
    """A workspace of the module's own, as the default one, and Airflow's database."""
    from airflow.utils.db import initdb

    initdb()
    root = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPWELL_ROOT", str(root))
        patch.chdir(root)
        yield Workspace()


@pytest.fixture(scope="module")
def more_dags(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for DAG files of a test, beside the examples."""
    folder = tmp_path_factory.mktemp("dags")
    bundle = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [
        {"name": "dags-folder", "classpath": bundle, "kwargs": {}},
        {"name": "tests", "classpath": bundle, "kwargs": {"path": str(folder)}},
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
        yield folder


@pytest.fixture(autouse=True, scope="session")
def _quiet_java() -> None:
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
