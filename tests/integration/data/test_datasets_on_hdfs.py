"""Datasets on a real HDFS: everything about a dataset is the same there, only its datastore's connection differs."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from hdfs.hdfs_cluster import HdfsCluster
from stepwell.data import registry
from stepwell.data.dataset import Dataset, local_files
from stepwell.errors import DatasetChangedError, DatasetError, DatastoreError
from stepwell.workspace import Workspace, connections

pytestmark = pytest.mark.integration


def workspace(cluster: HdfsCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    connection = cluster.connection(f"/datasets/{uuid.uuid4().hex}")
    monkeypatch.setenv("AIRFLOW_CONN_WORKSPACEBLOBSTORE", json.dumps(connection))
    monkeypatch.setattr(connections, "_source", connections.EnvironmentConnections())
    (tmp_path / "x.csv").write_text("Age\n1\n2\n")
    ws = Workspace(root=tmp_path / "root")
    ws.get_default_datastore().upload_files([str(tmp_path / "x.csv")], target_path="in")
    return ws


def test_from_upload_to_a_changed_file(hdfs: HdfsCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ws = workspace(hdfs, tmp_path, monkeypatch)
    store = ws.get_default_datastore()
    registered = Dataset.Tabular.from_delimited_files((store, "in/*.csv")).register(ws, "t")
    version = registered.pinned()
    assert version.reference()["uri"] == store.backend.uri("in")
    assert version.files[0].uri.startswith(hdfs.rpc + "/datasets/")
    assert version.files[0].checksum.startswith("hdfs-")
    (copy,) = local_files(ws, version, tmp_path / "copies")
    assert Path(copy).read_text() == "Age\n1\n2\n"
    (tmp_path / "x.csv").write_text("Age\n1\n3\n")  # the same size
    store.upload_files([str(tmp_path / "x.csv")], target_path="in", overwrite=True)
    with pytest.raises(DatasetChangedError, match="has the checksum hdfs-.* and had hdfs-"):
        registered.pinned()
    with pytest.raises(DatasetError, match=r"'in/y.csv' does not exist.*hdfs://.*in/x.csv"):
        Dataset.File.from_files((store, "in/y.csv")).pinned(ws)


def test_nothing_is_registered_without_a_namenode(
    mortal_hdfs: HdfsCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = workspace(mortal_hdfs, tmp_path, monkeypatch)
    dataset = Dataset.Tabular.from_delimited_files((ws.get_default_datastore(), "in"))
    mortal_hdfs.stop_daemon("namenode")
    with pytest.raises(DatastoreError, match=r"HDFS at 127.0.0.1:\d+ does not answer"):
        dataset.register(ws, "t")
    assert registry.names(ws) == []
    assert not ws.store.exists("manifests")
