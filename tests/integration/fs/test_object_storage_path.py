"""``ObjectStoragePath("hdfs://…")`` on a real HDFS: Airflow has no handler of its own, Stepwell brings it."""

from __future__ import annotations

import json
import uuid

import pytest

from hdfs.hdfs_cluster import HdfsCluster
from stepwell import fs
from stepwell.errors import DatastoreError

pytestmark = pytest.mark.integration


@pytest.fixture
def base(hdfs: HdfsCluster, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io.fs import has_fs

    if not has_fs("hdfs"):
        pytest.skip("the provider is not installed in this environment: `make environment` does it")
    conn_id = f"lake_{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(hdfs.connection()))
    return ObjectStoragePath(f"hdfs://{conn_id}@namenode/paths/{uuid.uuid4().hex}")


def test_read_write_and_walk(base) -> None:  # type: ignore[no-untyped-def]
    assert not base.exists()
    (base / "sub").mkdir(parents=True)
    (base / "sub" / "x.txt").write_text("hällo")
    assert (base / "sub" / "x.txt").read_text() == "hällo"
    assert (base / "sub" / "x.txt").stat().st_size == 6
    assert [p.name for p in base.iterdir()] == ["sub"]
    assert (base / "sub").is_dir()
    with (base / "large").open("wb") as file:
        for _ in range(12):
            file.write(b"z" * (1 << 20))
    with (base / "large").open("rb") as file:
        file.seek(11 << 20)
        assert len(file.read()) == 1 << 20
    (base / "large").unlink()
    assert not (base / "large").exists()


def test_exclusive_creation_and_checked_rename(base) -> None:  # type: ignore[no-untyped-def]
    base.mkdir(parents=True)
    with (base / "once").open("xb") as file:
        file.write(b"first")
    with pytest.raises(FileExistsError):
        (base / "once").open("xb").close()
    assert (base / "once").read_bytes() == b"first"
    (base / "other").write_bytes(b"other")
    with pytest.raises(FileExistsError):
        base.fs.mv((base / "other").path, (base / "once").path)
    assert (base / "once").read_bytes() == b"first"


def test_connections_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_NO_HDFS", '{"conn_type": "stepwell_datastore", "extra": {"kind": "local", "root": "/"}}'
    )
    with pytest.raises(DatastoreError, match="'no_hdfs'.*is not one of HDFS.*webhdfs"):
        fs.get_fs("no_hdfs")
    with pytest.raises(DatastoreError, match="Give 'webhdfs_url'"):
        fs.get_fs(None, {})
