"""Faults at every call of the contract, on each kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.compute.faults import FaultContract

from stepwell.compute.kinds.local import LocalTarget


class TestLocal(FaultContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> LocalTarget:
        return LocalTarget("local", tmp_path / "scratch")
