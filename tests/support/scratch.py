"""The folder in which test jobs run: its own in each session, with environments that stay from session to session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ENVIRONMENTS = Path(__file__).resolve().parents[2] / ".cache" / "test-environments"


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``STEPWELL_SCRATCH`` for the session. An environment is built when the first test needs it, then never again."""
    folder = tmp_path_factory.mktemp("scratch")
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    (folder / "environments").symlink_to(ENVIRONMENTS)
    before = os.environ.get("STEPWELL_SCRATCH")
    os.environ["STEPWELL_SCRATCH"] = str(folder)
    yield folder
    if before is None:
        del os.environ["STEPWELL_SCRATCH"]
    else:
        os.environ["STEPWELL_SCRATCH"] = before
