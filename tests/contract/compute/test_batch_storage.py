"""Shared storage as job directories need it: the same on a mounted disk and on a real HDFS."""

from __future__ import annotations

import asyncio
import io
import time
import uuid
import zipfile
from pathlib import Path

import pytest
from tests.clusters.hdfs import hdfs  # noqa: F401

from hdfs.hdfs_cluster import HdfsCluster
from stepwell.compute import portal
from stepwell.compute.batch.hdfs import HdfsFiles
from stepwell.compute.batch.storage import StorageFiles
from stepwell.compute.contract import Unreachable
from stepwell.compute.disk import DiskFiles

pytestmark = pytest.mark.integration


@pytest.fixture(params=["disk", "hdfs"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[StorageFiles, str]:
    if request.param == "disk":
        return StorageFiles(DiskFiles()), str(tmp_path / "storage")
    cluster: HdfsCluster = request.getfixturevalue("hdfs")
    return StorageFiles(HdfsFiles.at(cluster.webhdfs)), f"/{uuid.uuid4().hex}"


def test_of_many_one_creates_a_file(storage: tuple[StorageFiles, str]) -> None:
    files, root = storage

    async def race() -> list[bool]:
        await files.make(root)
        return await asyncio.gather(*(files.create(f"{root}/final.json", b"%d" % n) for n in range(8)))

    won = portal.call(race())
    assert won.count(True) == 1
    assert portal.call(files.read(f"{root}/final.json")) == b"%d" % won.index(True)
    assert portal.call(files.names(root)) == ["final.json"]


def test_a_log_in_segments_reads_as_one_file(storage: tuple[StorageFiles, str], tmp_path: Path) -> None:
    files, root = storage
    log, whole = f"{root}/logs/step.log", b"0123456789" * 3

    async def write() -> None:
        await files.make(f"{log}.parts")
        for start in (0, 10, 20):
            await files.write(f"{log}.parts/{start:015d}", whole[start : start + 10])

    portal.call(write())
    for offset in (0, 1, 9, 10, 15, 29, 30, 99):
        for limit in (-1, 1, 10, 12, 100):
            expected = whole[offset:] if limit < 0 else whole[offset : offset + limit]
            assert portal.call(files.read(log, offset, limit)) == expected, (offset, limit)
    assert portal.call(files.sizes(f"{root}/logs")) == {"step.log": 30}
    portal.call(files.fetch(f"{root}/logs", tmp_path / "logs"))
    assert [p.name for p in (tmp_path / "logs").iterdir()] == ["step.log"]
    assert (tmp_path / "logs/step.log").read_bytes() == whole
    assert (tmp_path / "logs/step.log").stat().st_mode & 0o777 == 0o600


def test_files_are_written_replaced_and_removed(storage: tuple[StorageFiles, str]) -> None:
    files, root = storage

    async def live() -> None:
        await files.make(f"{root}/jobs/j", 0o700)
        assert await files.modified(f"{root}/jobs/j/owner") is None
        await files.write(f"{root}/jobs/j/owner", b"one")
        await files.write(f"{root}/jobs/j/owner", b"another", 0o600)
        assert await files.read(f"{root}/jobs/j/owner") == b"another"
        assert await files.read(f"{root}/jobs/j/owner", 3, 2) == b"th"
        await files.put(io.BytesIO(b"x" * 3_000_000), f"{root}/jobs/j/inputs/deep/é b.csv", f"{root}/jobs/j/.drafts")
        sizes = await files.sizes(f"{root}/jobs/j")
        assert sizes == {"owner": 7, "inputs/deep/é b.csv": 3_000_000}
        before = await files.modified(f"{root}/jobs/j/lease")
        await files.touch(f"{root}/jobs/j/lease")
        touched = await files.modified(f"{root}/jobs/j/lease")
        assert before is None
        assert touched is not None
        assert abs(await files.now() - touched) < 30
        assert abs(time.time() - touched) < 60
        await files.remove(f"{root}/jobs/j")
        await files.remove(f"{root}/jobs/j")
        assert await files.names(f"{root}/jobs") == []
        assert await files.names(f"{root}/nowhere") == []
        assert await files.sizes(f"{root}/nowhere") == {}
        with pytest.raises(FileNotFoundError):
            await files.read(f"{root}/nowhere")

    portal.call(live())


def test_a_snapshot_stays_packed(storage: tuple[StorageFiles, str], tmp_path: Path) -> None:
    files, root = storage
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as packed:
        for n in range(300):
            packed.writestr(f"a/{n}.py", "pass")
    portal.call(files.unpack(tmp_path / "code.zip", f"{root}/code"))
    assert portal.call(files.sizes(f"{root}/code")) == {".stepwell.zip": (tmp_path / "code.zip").stat().st_size}


def test_what_is_taken_stays_and_the_rest_comes_apart(storage: tuple[StorageFiles, str], tmp_path: Path) -> None:
    files, root = storage

    async def live() -> None:
        await files.make(f"{root}/logs/azureml")
        for name in ("own.txt", "step.txt", "azureml/x"):
            await files.write(f"{root}/logs/{name}", b"mine")
        await files.fetch(f"{root}/logs", tmp_path / "logs", frozenset({"step.txt", "azureml/driver/stdout"}), "script")

    portal.call(live())
    found = sorted(p.relative_to(tmp_path / "logs").as_posix() for p in (tmp_path / "logs").rglob("*") if p.is_file())
    assert found == ["azureml/x", "own.txt", "script/step.txt"]


def test_an_hdfs_that_does_not_answer_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        portal.call(HdfsFiles.at("http://127.0.0.1:1").names("/"))


def test_private_is_private_on_hdfs(hdfs: HdfsCluster) -> None:  # noqa: F811
    files, root = HdfsFiles.at(hdfs.webhdfs), f"/{uuid.uuid4().hex}"
    portal.call(files.make(root, 0o700))
    portal.call(files.write(f"{root}/job.json", b"{}", 0o600))
    assert files.fs.info(root)["permission"] == "700"
    assert files.fs.info(f"{root}/job.json")["permission"] == "600"
    stranger = HdfsFiles.at(hdfs.webhdfs, "stranger")
    with pytest.raises(Exception, match="forbids"):
        portal.call(stranger.read(f"{root}/job.json"))
