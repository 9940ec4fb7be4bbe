"""Steps lived for real: processes on this machine, environments, gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.scratch import scratch as scratch
from tests.support.steps import Bench
from tests.support.steps import bench as new_bench

from stepwell import Environment


@pytest.fixture
def bench(tmp_path: Path, scratch: Path) -> Bench:
    return new_bench(tmp_path)


@pytest.fixture(scope="session")
def pandas_environment(payload_python: Path) -> Any:
    """An environment with pandas that is not ours to build."""
    environment = Environment("payload")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = str(payload_python)
    return environment
