from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepwell.workspace import Workspace, connections


@pytest.fixture(autouse=True)
def _environment_connections() -> Iterator[None]:
    connections.set_connection_source(connections.EnvironmentConnections())
    yield
    connections.set_connection_source(None)


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(root=tmp_path / "root")
