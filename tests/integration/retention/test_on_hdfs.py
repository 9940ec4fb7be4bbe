"""Pruning a workspace that is on a real HDFS, with its default datastore."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.clusters.hdfs import hdfs as hdfs
from tests.integration.retention.conftest import HERE, Attic, paths
from tests.support.steps import Bench

from hdfs.hdfs_cluster import HdfsCluster
from stepwell import Workspace
from stepwell.data import registry
from stepwell.errors import WorkspaceError
from stepwell.retention import plan, sweep
from stepwell.retention.alone import alone
from stepwell.retention.rules import DAY, Rules

pytestmark = pytest.mark.integration


@pytest.fixture
def attic(hdfs: HdfsCluster, tmp_path: Path, scratch: Path) -> Attic:
    return Attic(Bench(tmp_path, Workspace("default", f"{hdfs.rpc}/{tmp_path.name}?webhdfs_url={hdfs.webhdfs}")))


@pytest.mark.slow
def test_what_nothing_refers_to_goes_and_the_rest_stays(attic: Attic) -> None:
    ws, backend = attic.bench.ws, attic.bench.datastore.backend
    source = attic.bench.source({"a.txt": "1"})
    old, last = attic.lived("a", source=source, reuse=True), attic.lived("b", reuse=True)
    kept = [attic.lived(c, task="registers", registered="data") for c in "cd"]
    (attic.bench.folder / "left").write_text("123")
    backend.put(attic.bench.folder / "left", f".stepwell/staging/{old['run_id']}/out/x")
    backend.put(attic.bench.folder / "left", ".stepwell/staging/another.0123456789-g1/out/x")
    ws.store.create(".tmp/grave/run.json", b"{}")
    rules = Rules(keep=0, now=time.time() + 40 * DAY, what=HERE)
    found, _ = plan.make(ws, rules)
    assert paths(found, "outputs") == [old["outputs"]["out"]["path"].rpartition("/")[0]]
    assert found.totals()["outputs"] == {"count": 1, "bytes": 2}
    with alone(ws, attic.said.append), pytest.raises(WorkspaceError, match="Another process"):
        sweep.sweep(ws, found)
    done = sweep.sweep(ws, found)
    assert not done.left
    assert ws.store.list("runs") == sorted([last["run_id"], kept[1]["run_id"]])
    assert not backend.exists(old["outputs"]["out"]["path"])
    assert backend.exists(last["outputs"]["out"]["path"])
    assert ws.store.list("snapshots") == []
    assert [f.path for f in backend.list(".stepwell/staging")] == [".stepwell/staging/another.0123456789-g1/out/x"]
    assert not ws.store.exists(".tmp/grave")
    for version in registry.versions(ws, "data"):
        registry.verify(ws, version)
    assert plan.make(ws, rules)[0].items == []
