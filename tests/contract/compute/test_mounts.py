"""Inputs by mount on the kinds that can: files of the target's own machine, and HDFS."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.clusters.hdfs import hdfs as hdfs
from tests.clusters.hdfs import mortal_hdfs as mortal_hdfs
from tests.contract.compute.mounting import HdfsMountContract, LocalMountContract

from stepwell.compute.kinds.local import LocalTarget

pytestmark = pytest.mark.integration


class OnLocal:
    @pytest.fixture
    def target(self, tmp_path: Path) -> LocalTarget:
        return LocalTarget("local", tmp_path / "scratch")


class TestLocalFilesOnLocal(OnLocal, LocalMountContract):
    pass


class TestHdfsOnLocal(OnLocal, HdfsMountContract):
    pass
