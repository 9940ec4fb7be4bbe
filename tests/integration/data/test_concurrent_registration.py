"""8 processes register 50 versions each of one dataset: consecutive numbers, none lost, none given twice."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from stepwell.data import registry
from stepwell.workspace import Workspace

PROCESSES, EACH = 8, 50
_WRITER = """
import sys, time, pathlib
from stepwell.data import registry
from stepwell.data.version import PinnedFile
from stepwell.runtime import definition
from stepwell.workspace import Workspace

root, me, count, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4])
ws = Workspace(root=root)
plan = definition.make("file", None, [{"datastore": "d", "path": "x"}])
(folder / f"ready-{me}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
for i in range(count):
    file = PinnedFile("d", "x", "file:///x", me * 1000 + i, f"sha256:{me}-{i}")
    version = registry.register(ws, "shared", plan, [file], producer={"run": f"{me}-{i}"})
    print(version.version, f"{me}-{i}", flush=True)
"""


def _register_by_many(root: str, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, root, str(me), str(EACH), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in range(PROCESSES)
    ]
    try:
        while sum(1 for _ in folder.glob("ready-*")) < PROCESSES:
            assert all(w.poll() is None for w in writers), "a writer ended before the start"
        (folder / "go").touch()
        said = dict(line.split() for writer in writers for line in writer.communicate(timeout=280)[0].splitlines())
    finally:
        for writer in writers:
            writer.kill()
    assert [w.returncode for w in writers] == [0] * PROCESSES
    ws = Workspace(root=root)
    versions = registry.versions(ws, "shared")
    assert [v.version for v in versions] == list(range(1, PROCESSES * EACH + 1))
    found = {str(v.version): (v.producer or {})["run"] for v in versions}
    assert found == said, "each writer's registration is where it was told"
    assert len(set(found.values())) == PROCESSES * EACH
    assert len({v.workspace for v in versions}) == 1, "the workspace got one identity only"
    assert ws.store.list() == ["datasets", "manifests", "workspace.json"]


def test_on_disk(tmp_path: Path) -> None:
    _register_by_many(str(tmp_path / "root"), tmp_path)


@pytest.mark.slow
@pytest.mark.integration
def test_on_hdfs(hdfs, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    _register_by_many(f"{hdfs.rpc}/many/{uuid.uuid4().hex}?webhdfs_url={hdfs.webhdfs}", tmp_path)
