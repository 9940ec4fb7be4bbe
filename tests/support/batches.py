"""Batches as processes of this machine: what a cluster's service does, without a cluster; the real driver runs.

Like a real service it lives on its own: whoever submits a batch may be killed at any point, and has submitted it or
not.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from stepwell.compute.batch.batches import Batch, Seen
from stepwell.compute.process import inherited_environment
from stepwell.errors import ComputeTargetException

#: Gives a batch its name, which of several only one can; starts it when it is let; notes how it ended.
_SERVICE = """
import json, os, subprocess, sys, time
draft, place = sys.argv[1:]
try:
    os.rename(draft, place)
except OSError:
    sys.exit(17)
at = lambda name: os.path.join(place, name)
while os.path.exists(at("hold")):
    time.sleep(0.02)
with open(at("batch.json")) as file:
    batch = json.load(file)
with open(at("log"), "wb") as log:
    child = subprocess.Popen(
        batch["argv"], cwd=at("work"), env=batch["env"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )
def note(name, value):
    try:
        with open(at(name + ".tmp"), "w") as file:
            file.write(str(value))
        os.rename(at(name + ".tmp"), at(name))
    except OSError:
        pass
note("pid", child.pid)
note("ended", child.wait())
"""


class ProcessBatches:
    """A service that runs each batch as a process.

    :param folder: holds what it knows.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begins = True  #: whether batches begin at once; else they are queued until :meth:`begin`
        self.lists = 0
        folder.mkdir(parents=True, exist_ok=True)

    async def submit(self, batch: Batch) -> None:
        if batch.queue == "nowhere":
            raise ComputeTargetException("There is no queue 'nowhere'")
        json.dumps(asdict(batch))
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.folder))
        (draft / "work").mkdir()
        variables = {**inherited_environment(), "TMPDIR": str(self._at(batch.name) / "work")}
        argv = [sys.executable, batch.file.removeprefix("file://"), *batch.arguments]
        (draft / "batch.json").write_text(json.dumps({"argv": argv, "env": variables}))
        if not self.begins:
            (draft / "hold").touch()
        service = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SERVICE, str(draft), str(self._at(batch.name))],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        while draft.exists() and service.poll() is None:
            time.sleep(0.005)
        shutil.rmtree(draft, ignore_errors=True)

    def _at(self, name: str) -> Path:
        return self.folder / name

    def names(self) -> list[str]:
        """Return the names of all batches."""
        return [p.name for p in self.folder.iterdir() if not p.name.startswith(".")]

    def begin(self) -> None:
        """Start what is queued."""
        for name in self.names():
            (self._at(name) / "hold").unlink(missing_ok=True)

    def pid(self, name: str) -> int | None:
        """Return the driver's pid."""
        try:
            return int((self._at(name) / "pid").read_text())
        except FileNotFoundError:
            return None

    async def seen(self) -> dict[str, Seen]:
        self.lists += 1
        found = {}
        for name in self.names():
            try:
                started = (self._at(name) / "batch.json").stat().st_mtime
                if (self._at(name) / "hold").exists():
                    found[name] = Seen("queued", "waiting", started)
                elif not (self._at(name) / "ended").exists():
                    found[name] = Seen("running", "running", started)
                else:
                    code = (self._at(name) / "ended").read_text()
                    found[name] = Seen("ended", f"exit code {code}", started)
            except FileNotFoundError:
                pass  # it has just been forgotten
        return found

    async def lines(self, name: str) -> str:
        try:
            return (self._at(name) / "log").read_text(errors="replace")[-2000:]
        except FileNotFoundError:
            return ""

    async def kill(self, name: str) -> None:
        if (self._at(name) / "hold").exists():
            return await self.forget(name)
        pid = self.pid(name)
        if pid is not None and not (self._at(name) / "ended").exists():
            try:
                os.killpg(pid, signal.SIGKILL)  # as YARN does it
            except ProcessLookupError:
                pass
        return None

    async def forget(self, name: str) -> None:
        aside = self.folder / f".{name}.{time.monotonic_ns()}"
        try:
            os.rename(self._at(name), aside)  # its service ends for want of its files
        except FileNotFoundError:
            return
        (aside / "hold").unlink(missing_ok=True)
        shutil.rmtree(aside / "work", ignore_errors=True)

    async def probe(self) -> tuple[dict[str, object], list[str]]:
        return {"service": "processes"}, []

    def left(self) -> list[str]:
        """Return what drivers have left in their folders."""
        return [str(p) for p in self.folder.glob("*/work/*")]
