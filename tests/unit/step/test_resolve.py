"""Which version an input is: the explicit reference, else the triggering event, else the latest version."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.steps import Bench
from tests.support.steps import bench as new_bench

from stepwell import Dataset
from stepwell.compute.contract import Layout
from stepwell.data import registry
from stepwell.data.datastore import Datastore
from stepwell.errors import DatasetError, UserErrorException
from stepwell.step import fingerprint
from stepwell.step.resolve import ResolvedInput, resolve_inputs

LAYOUT = Layout("/jobs/j", "/payload")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = new_bench(tmp_path)
    for version in (1, 2, 3):
        bench.put({f"v{version}/a.csv": f"a\n{version}\n"})
        Dataset.File.from_files((bench.datastore, f"v{version}/a.csv")).register(
            bench.ws, "data", create_new_version=True
        )
    return bench


def resolve(
    bench: Bench, source: Any, triggering: Any = (), mode: str = "download", reads: Any = (), mounts: Any = ()
) -> ResolvedInput:
    item = {"mode": mode, "path_on_compute": None, "source": source}
    target = SimpleNamespace(
        name="there",
        kind="livy",
        mounts=frozenset(mounts),
        mountable=lambda found: found if found["kind"] in mounts else None,
    )
    (one,) = resolve_inputs(bench.ws, {"in": item}, LAYOUT, frozenset(reads or {"file"}), triggering, bench.log, target)
    return one


def event(bench: Bench, version: int, name: str = "data") -> dict[str, Any]:
    return registry.get(bench.ws, name, version).reference()


def test_an_explicit_reference_wins_over_the_event_and_the_event_over_the_latest(bench: Bench) -> None:
    latest = {"name": "data", "version": "latest"}
    assert resolve(bench, latest).version.version == 3
    assert resolve(bench, latest, [event(bench, 2)]).version.version == 2
    assert resolve(bench, {"reference": event(bench, 1)}, [event(bench, 2)]).version.version == 1
    assert resolve(bench, {"name": "data", "version": 1}, [event(bench, 2)]).version.version == 1


def test_of_several_events_the_newest_counts_and_the_others_are_named(bench: Bench) -> None:
    events = [event(bench, 2), {**event(bench, 1), "dataset": "other", "version": 9}, event(bench, 1)]
    assert resolve(bench, {"name": "data"}, events).version.version == 2
    assert "Input in: of 2 events the newest counts; left: version 1" in bench.log.text


def test_what_the_target_cannot_read_itself_is_copied_there(bench: Bench) -> None:
    here = resolve(bench, {"name": "data"}, mode="direct")
    assert here.transfers == ()
    assert here.files == (f"file://{bench.data}/v3/a.csv",)
    there = resolve(bench, {"name": "data"}, mode="direct", reads={"hdfs"})
    assert there.files == ("file:///jobs/j/inputs/in/a.csv",)
    assert there.value == there.version.id
    assert list(there.transfers[0].source.files()) == [("a.csv", 4)]
    with there.transfers[0].source.open("a.csv") as reader:
        assert reader.read() == b"a\n3\n"
    with pytest.raises(DatasetError, match="'in' is on file, which the compute target cannot read itself.*hdfs"):
        resolve(bench, {"name": "data"}, mode="hdfs", reads={"hdfs"})


def test_a_registered_table_cannot_be_downloaded(bench: Bench) -> None:
    Dataset.Tabular.from_delimited_files((bench.datastore, "v1/a.csv")).register(bench.ws, "table")
    with pytest.raises(UserErrorException, match=r"'in' is a tabular dataset.*download.*as_direct\(\)"):
        resolve(bench, {"name": "table"})


def test_a_mount_shows_what_a_download_would_copy_and_moves_nothing(bench: Bench) -> None:
    bench.put({"many/a.csv": "a\n1\n", "many/deep/b.csv": "", "many/later.txt": ""})
    Dataset.File.from_files((bench.datastore, "many/**/*.csv")).register(bench.ws, "many")
    by_mount = resolve(bench, {"name": "many"}, mode="mount", mounts={"local", "hdfs"})
    by_download = resolve(bench, {"name": "many"})
    assert by_mount.transfers == ()
    assert (by_mount.value, by_mount.files) == (by_download.value, by_download.files)
    (mount,) = by_mount.port()["mounts"]
    assert mount["files"] == [name for name, _ in by_download.transfers[0].source.files()]
    assert mount["source"] == {"kind": "local", "folder": f"{bench.data}/many"}
    assert mount["probe"] == [("a.csv", 4)], "an empty file tells nothing about a store that is dead"
    single = resolve(bench, {"name": "data"}, mode="mount", mounts={"local"})
    assert single.value == "/jobs/j/inputs/in/a.csv"
    item = {"path_on_compute": None}
    assert fingerprint._input(by_mount, item) == fingerprint._input(by_download, item)


def test_files_of_two_datastores_are_two_mounts_and_one_folder(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "b.csv").write_text("b\n")
    bench.put({"a.csv": "a\n"})
    second = Datastore.register_local(bench.ws, "second", tmp_path / "second")
    Dataset.File.from_files([(bench.datastore, "a.csv"), (second, "b.csv")]).register(bench.ws, "both")
    mounts = resolve(bench, {"name": "both"}, mode="mount", mounts={"local"}).port()["mounts"]
    assert [(mount["at"], mount["files"]) for mount in mounts] == [("inputs/in", ["a.csv"]), ("inputs/in", ["b.csv"])]


def test_what_a_target_cannot_mount_is_refused_and_a_download_offered(bench: Bench) -> None:
    with pytest.raises(UserErrorException, match=r"'there' \(livy\) cannot mount files of a local.*as_download\(\)"):
        resolve(bench, {"name": "data"}, mode="mount", mounts={"hdfs"})
    with pytest.raises(UserErrorException, match=r"no mounts at all.*as_download\(\).*as_hdfs\(\)"):
        resolve(bench, {"name": "data"}, mode="mount", reads={"hdfs"})


def test_two_files_that_would_get_the_same_place_are_refused_by_their_names(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "second" / "v1").mkdir(parents=True)
    (tmp_path / "second" / "v1" / "a.csv").write_text("b\n")
    second = Datastore.register_local(bench.ws, "second", tmp_path / "second")
    both = Dataset.File.from_files([(bench.datastore, "v1/a.csv"), (second, "v1/a.csv")])
    both.register(bench.ws, "both")
    with pytest.raises(DatasetError, match=rf"'a.csv'.*{bench.datastore.name}:v1/a.csv and second:v1/a.csv"):
        resolve(bench, {"name": "both"})


def test_opening_many_files_names_them_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from stepwell.step import resolve as module

    version = registry.get(bench.ws, "data", 1)
    real, asked = module.relative_names, []
    monkeypatch.setattr(module, "relative_names", lambda v: asked.append(v) or real(v))
    source = module.VersionFiles(bench.ws, version)
    for _ in range(5):
        for name, _size in source.files():
            source.open(name).close()
    assert len(asked) == 1
    other = module.VersionFiles(bench.ws, registry.get(bench.ws, "data", 2))
    assert other.files() == source.files()
    assert other.digest != source.digest
