"""What snippets and example DAGs need: Airflow's database, and a project folder of their own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.support.scratch import scratch as scratch

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Airflow's database, in the home that tests/conftest.py has made."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def folder(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with a workspace of its own, as the current directory, with the examples' data and sources."""
    monkeypatch.setenv("STEPWELL_ROOT", str(tmp_path / "workspace"))
    monkeypatch.setenv("STEPWELL_SCRATCH", str(scratch))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PROJECT / "include", tmp_path / "include", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "dags").mkdir()
    uv = PROJECT / ".tools" / "bin" / "uv"
    if "STEPWELL_UV" not in os.environ and uv.exists():
        monkeypatch.setenv("STEPWELL_UV", str(uv))
    return tmp_path
