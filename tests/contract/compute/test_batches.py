"""Targets whose jobs are batches keep the contract: with the real driver, and processes in place of a cluster."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.contract.compute.contract import Case, TargetContract
from tests.contract.compute.guarantees import TargetGuarantees
from tests.support.batches import ProcessBatches

from stepwell.compute.batch.storage import Storage, StorageFiles
from stepwell.compute.batch.target import BatchTarget
from stepwell.compute.contract import Handle, Target
from stepwell.compute.disk import DiskFiles


class BatchCase(Case):
    @pytest.fixture
    def batches(self, tmp_path: Path) -> ProcessBatches:
        return ProcessBatches(tmp_path / "batches")

    @pytest.fixture
    def target(self, tmp_path: Path, batches: ProcessBatches) -> BatchTarget:
        self.folder = tmp_path
        storage = Storage(StorageFiles(DiskFiles()), str(tmp_path / "storage"), "file://")
        target = BatchTarget("cluster", tmp_path / "here", storage, batches)
        target.kind = "processes"  # type: ignore[misc]
        return target

    def desk(self, target: Target, job_id: str) -> str:
        folder = self.folder / "desks" / job_id
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def lose(self, handle: Handle) -> None:
        drivers = [
            pid for pid in _pids() if f"/jobs/{handle.job_id}\0" in _command(pid) and "stepwell_batch" in _command(pid)
        ]
        assert drivers
        for pid in [*drivers]:
            os.kill(pid, signal.SIGKILL)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


class TestBatches(BatchCase, TargetContract, TargetGuarantees):
    test_secrets_reach_the_step_and_nothing_else = None  # type: ignore[assignment]
