"""Batches as processes of this machine: what a cluster's service does, without a cluster; the real driver runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from stepwell.compute.batch.batches import Batch, Seen
from stepwell.compute.process import inherited_environment
from stepwell.errors import ComputeTargetException


class ProcessBatches:
    """A service that runs each batch as a process.

    :param folder: holds what the batches say.
    :param start: whether batches begin at once; else they are queued until :meth:`begin`.
    """

    def __init__(self, folder: Path, start: bool = True) -> None:
        self.folder = folder
        self.begins = start
        self.batches: dict[str, Batch] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.submitted: dict[str, float] = {}
        self.submissions: list[str] = []
        self.lists = 0
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    async def submit(self, batch: Batch) -> None:
        with self._lock:
            if batch.name in self.batches:
                return
            if batch.queue == "nowhere":
                raise ComputeTargetException("There is no queue 'nowhere'")
            json.dumps([*batch.arguments, *batch.conf.items()])
            self.batches[batch.name] = batch
            self.submitted[batch.name] = time.time()
            self.submissions.append(batch.name)
            if self.begins:
                self._begin(batch)

    def begin(self) -> None:
        """Start what is queued."""
        for name, batch in self.batches.items():
            if name not in self.running:
                self._begin(batch)

    def _begin(self, batch: Batch) -> None:
        python_path = os.pathsep.join(uri.removeprefix("file://") for uri in batch.py_files)
        work = self.folder / f"{batch.name}.work"
        work.mkdir()
        with (self.folder / f"{batch.name}.log").open("wb") as log:
            self.running[batch.name] = subprocess.Popen(
                [sys.executable, batch.file.removeprefix("file://"), *batch.arguments],
                cwd=work,
                env={**inherited_environment(), "PYTHONPATH": python_path, "TMPDIR": str(work)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def seen(self) -> dict[str, Seen]:
        self.lists += 1
        found = {}
        for name in list(self.batches):
            process = self.running.get(name)
            if process is None:
                found[name] = Seen("queued", "waiting", self.submitted[name])
            elif process.poll() is None:
                found[name] = Seen("running", "running", self.submitted[name])
            else:
                found[name] = Seen("ended", f"exit code {process.poll()}", self.submitted[name])
        return found

    async def lines(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    async def kill(self, name: str) -> None:
        process = self.running.get(name)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # as YARN does it
            process.wait(10)
        if process is None:
            await self.forget(name)

    async def forget(self, name: str) -> None:
        for known in (self.batches, self.running, self.submitted):
            known.pop(name, None)  # type: ignore[attr-defined]

    async def probe(self) -> tuple[dict[str, object], list[str]]:
        return {"service": "processes"}, []

    def left(self) -> list[str]:
        """Return what drivers have left in their folders."""
        return [str(p) for p in self.folder.glob("*.work/*")]
