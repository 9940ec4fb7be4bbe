from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stepwell.data import registry
from stepwell.data.consumption import DatasetConsumptionConfig
from stepwell.data.dataset import Dataset, FileDataset, TabularDataset
from stepwell.data.datastore import Datastore
from stepwell.data.options import DataType, PromoteHeadersBehavior
from stepwell.data.output import HDFSOutputDatasetConfig
from stepwell.errors import DatasetChangedError, DatasetError, UserErrorException, WorkspaceError
from stepwell.workspace import Workspace


@pytest.fixture
def store(ws: Workspace) -> Datastore:
    return ws.get_default_datastore()


def write(store: Datastore, path: str, text: str = "Age,Name\n1,a\n40,b\n") -> Path:
    place = store.backend.local_path(path)
    assert place is not None
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def table(ws: Workspace, store: Datastore, path: str = "in/x.csv") -> TabularDataset:
    dataset = Dataset.Tabular.from_delimited_files(path=[(store, path)])
    assert dataset.workspace is ws
    return dataset


def test_making_datasets_touches_nothing(ws: Workspace, store: Datastore, tmp_path: Path) -> None:
    dataset = table(ws, store, "no/such.csv")
    changed = dataset.keep_columns("Age").filter(dataset["Age"] > 30).take(3)
    source = Dataset.get_by_name(ws, "titanic").as_named_input("x").source()
    assert source == {"name": "titanic", "version": "latest", "workspace": {"name": "default", "root": ws.root}}
    assert [o["op"] for o in changed.definition["plan"]] == ["keep_columns", "filter", "take"]
    assert dataset.definition["plan"] == []
    assert list(tmp_path.iterdir()) == [], "nothing was written either"


def test_options_are_normalised(ws: Workspace, store: Datastore) -> None:
    options = Dataset.Tabular.from_delimited_files(
        (store, "x.csv"),
        header=PromoteHeadersBehavior.NO_HEADERS,
        encoding="UTF-8",
        set_column_types={"a": DataType.to_float(","), "b": DataType.to_datetime("%Y")},
    ).definition["options"]
    assert options["header"] == "no_headers"
    assert options["encoding"] == "utf8"
    assert options["set_column_types"] == {
        "a": {"type": "float", "decimal_mark": ","},
        "b": {"type": "datetime", "formats": ["%Y"]},
    }
    assert json.dumps(options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: Dataset.File.from_files("local/file.csv"), r"'local/file.csv' is not the path.*upload_files"),
        (lambda s: Dataset.File.from_files((s, "../x")), "leaves its root"),
        (lambda s: Dataset.File.from_files([(s, "x"), "https://h/x"]), "cannot be mixed"),
        (lambda s: Dataset.File.from_files([]), "at least one path"),
        (lambda s: Dataset.Tabular.from_delimited_files((s, "x"), header="maybe"), "header='maybe'.*NO_HEADERS"),
        (lambda s: Dataset.Tabular.from_delimited_files((s, "x"), encoding="klingon"), "encoding='klingon'.*utf8"),
        (lambda s: Dataset.Tabular.from_delimited_files((s, "x"), separator=""), "separator=''"),
        (
            lambda s: Dataset.Tabular.from_delimited_files((s, "x"), set_column_types={"a": "int"}),
            "'int' of column 'a'",
        ),
        (
            lambda s: Dataset.Tabular.from_json_lines_files((s, "x"), invalid_lines="skip"),
            "invalid_lines='skip'.*error, drop",
        ),
        (lambda s: Dataset.get_by_name(None, "../x"), "is not a valid dataset name"),
    ],
)
def test_bad_definitions(store: Datastore, make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserErrorException, match=message):
        make(store)


def test_versions_pin_their_files(ws: Workspace, store: Datastore) -> None:
    place = write(store, "in/x.csv")
    first = table(ws, store).register(ws, "titanic", description="d", tags={"k": "v"})
    assert (first.name, first.version, first.tags, first.description) == ("titanic", 1, {"k": "v"}, "d")
    place.write_text("Age,Name\n2,a\n40,b\n")  # same size, other content
    with pytest.raises(
        DatasetChangedError, match=r"in/x\.csv of titanic version 1 has the checksum sha256:\w+ and had"
    ):
        first.pinned()
    place.write_text("longer than it was, by some bytes")
    with pytest.raises(DatasetChangedError, match="has 33 bytes and had 18"):
        first.pinned()
    place.unlink()
    with pytest.raises(DatasetChangedError, match="is gone"):
        first.pinned()


def test_registering_as_v1_does(ws: Workspace, store: Datastore) -> None:
    place = write(store, "in/x.csv")
    dataset = table(ws, store)
    assert dataset.register(ws, "t").version == 1
    assert dataset.register(ws, "t").version == 1, "the same definition and data is the version that exists"
    assert dataset.register(ws, "t", create_new_version=True).version == 1
    with pytest.raises(UserErrorException, match=r"'t' exists already.*create_new_version=True"):
        dataset.take(1).register(ws, "t")
    assert dataset.take(1).register(ws, "t", create_new_version=True).version == 2
    place.write_text("Age,Name\n5,e\n")
    assert dataset.register(ws, "t", create_new_version=True).version == 3
    assert [v.version for v in registry.versions(ws, "t")] == [1, 2, 3]
    assert list(ws.datasets) == ["t"]


def test_an_operation_on_a_version_reads_the_files_pinned_there(ws: Workspace, store: Datastore) -> None:
    write(store, "in/x.csv")
    registered = table(ws, store, "in").register(ws, "t")
    write(store, "in/y.csv")
    found = Dataset.get_by_name(ws, "t")
    changed = found.filter(found["Age"] > 30)
    assert isinstance(changed, TabularDataset)
    assert [f.path for f in changed.pinned().files] == ["in/x.csv"]
    assert changed.as_named_input("x").source()["base"] == {"name": "t", "version": 1}
    assert registered.pinned().is_single_file is False


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("in/y.csv", r"'in/y.csv' does not exist in the datastore 'workspaceblobstore' \(file://.*Allowed: in/x.csv"),
        ("in/*.json", r"pattern 'in/\*.json' matches no file.*in/x.csv"),
        ("out/*.csv", "there are no files below 'out'"),
        ("spark", "'spark'.*holds no data"),
    ],
)
def test_inputs_that_do_not_exist(ws: Workspace, store: Datastore, path: str, message: str) -> None:
    write(store, "in/x.csv")
    write(store, "spark/_SUCCESS")
    with pytest.raises(DatasetError, match=message):
        table(ws, store, path).register(ws, "t")
    assert registry.names(ws) == []
    assert not ws.store.exists("manifests")


def test_what_counts_as_data(ws: Workspace, store: Datastore) -> None:
    for name in ("_SUCCESS", ".part-0.csv.crc", "part-0.csv", "_hidden/x.csv", ".h", "sub/part-1.csv"):
        write(store, f"out/{name}")
    assert [f.path for f in table(ws, store, "out").pinned().files] == ["out/part-0.csv", "out/sub/part-1.csv"]
    files = Dataset.File.from_files((store, "out")).pinned(ws).files
    assert {f.path for f in files} == {"out/.h", "out/_hidden/x.csv", "out/part-0.csv", "out/sub/part-1.csv"}
    assert len(table(ws, store, "out/_hidden/x.csv").pinned().files) == 1, "what is named is data"


def test_the_digest_is_of_the_content_alone(ws: Workspace, store: Datastore) -> None:
    for name in ("a/part-0-f00", "a/part-1-f00"):
        write(store, name, name[-5])
    for name in ("b/part-9-bar", "b/part-0-bar"):
        write(store, name, "1" if "9" in name else "-")
    write(store, "a/part-1-f00", "1")
    write(store, "a/part-0-f00", "-")
    a, b = (Dataset.File.from_files((store, n)).pinned(ws) for n in "ab")
    assert a.digest == b.digest
    write(store, "b/part-0-bar", "+")
    assert Dataset.File.from_files((store, "b")).pinned(ws).digest != a.digest


def test_references(ws: Workspace, store: Datastore, tmp_path: Path) -> None:
    write(store, "in/x.csv")
    version = table(ws, store).register(ws, "t").pinned()
    reference = json.loads(json.dumps(version.reference()))
    assert reference["uri"] == f"file://{tmp_path}/root/data/in/x.csv"
    assert reference["asset"] == "stepwell://default/t"
    assert registry.resolve_reference(ws, reference) == version
    folder = Dataset.File.from_files((store, "in")).pinned(ws).reference()
    assert (folder["uri"], folder["dataset"]) == (f"file://{tmp_path}/root/data/in", None)
    assert registry.resolve_reference(ws, folder).digest == folder["digest"]
    write(store, "in/new.csv")
    with pytest.raises(DatasetChangedError, match="is not what the reference means"):
        registry.resolve_reference(ws, folder)
    other = Workspace(root=tmp_path / "other")
    with pytest.raises(WorkspaceError, match="this worker sees another workspace|This worker sees another workspace"):
        registry.resolve_reference(other, reference)


def test_a_retry_finds_what_the_first_try_registered(ws: Workspace, store: Datastore) -> None:
    write(store, "in/x.csv")
    pinned = table(ws, store).pinned()

    def publish(key: str) -> int | None:
        return registry.register(ws, "t", pinned.definition, pinned.files, producer={"key": key}).version

    assert [publish("run-1"), publish("run-2"), publish("run-1"), publish("run-2"), publish("run-3")] == [1, 2, 1, 2, 3]
    # The first try died between its note and the version: the retry makes the version.
    ws.store.delete("datasets/t/3.json")
    assert publish("run-3") == 3


def test_unknown_names_and_versions(ws: Workspace, store: Datastore) -> None:
    write(store, "in/x.csv")
    table(ws, store).register(ws, "titanic")
    with pytest.raises(DatasetError, match=r"no dataset 'titanik'.*Allowed: titanic\."):
        registry.get(ws, "titanik")
    with pytest.raises(DatasetError, match=r"has no version 7.*Allowed: 1, latest"):
        registry.get(ws, "titanic", 7)
    with pytest.raises(UserErrorException, match="'new' is not a version"):
        registry.get(ws, "titanic", "new")
    with pytest.raises(DatasetError, match="no dataset with the id 'x'"):
        Dataset.get_by_id(ws, "x")
    with pytest.raises(DatasetError, match="no dataset with the id"):
        Dataset.get_by_id(ws, "../workspace")


def test_by_id_registered_or_not(ws: Workspace, store: Datastore) -> None:
    write(store, "in/x.csv")
    pinned = table(ws, store).take(1).pinned()
    found = Dataset.get_by_id(ws, pinned.id)
    assert isinstance(found, TabularDataset)
    assert found.definition == pinned.definition


def test_file_datasets(ws: Workspace, store: Datastore, tmp_path: Path) -> None:
    write(store, "in/a/x", "1")
    write(store, "in/y", "2")
    dataset = Dataset.File.from_files((store, "in/**")).register(ws, "files")
    assert isinstance(dataset, FileDataset)
    assert dataset.to_path() == ["/a/x", "/y"]
    copies = dataset.download(str(tmp_path / "copy"))
    assert [os.path.relpath(c, tmp_path) for c in copies] == ["copy/a/x", "copy/y"]
    with pytest.raises(UserErrorException, match=r"exists already.*overwrite=True"):
        dataset.download(str(tmp_path / "copy"))


def test_random_split_is_the_same_at_each_parse(ws: Workspace, store: Datastore) -> None:
    left, right = table(ws, store).random_split(0.8)
    again, _ = table(ws, store).random_split(0.8)
    assert left.id == again.id != right.id
    assert left.definition["plan"][0]["seed"] == right.definition["plan"][0]["seed"]


def test_each_registered_version_has_an_id_of_its_own(ws: Workspace, store: Datastore) -> None:
    place = write(store, "in/x.csv")
    dataset = table(ws, store)
    first = dataset.register(ws, "t")
    place.write_text("Age,Name\n7,g\n")
    second = dataset.register(ws, "t", create_new_version=True)
    other = dataset.register(ws, "u")
    assert len({dataset.id, first.id, second.id, other.id}) == 4
    assert Dataset.get_by_name(ws, "t", 1).id == first.id
    assert registry.get(ws, "t", 2).definition_id == dataset.id
    found = Dataset.get_by_id(ws, second.id)
    assert (found.name, found.version, found.pinned()) == ("t", 2, second.pinned())
    with pytest.raises(DatasetChangedError, match="t version 1 has"):
        Dataset.get_by_id(ws, first.id).pinned()
    assert Dataset.get_by_id(ws, dataset.id).name is None, "a definition's id is the definition"
    assert registry.load_definition(ws, second.id) == dataset.definition


def test_the_id_of_what_is_made_from_a_version_says_which(ws: Workspace, store: Datastore) -> None:
    write(store, "in/x.csv")
    dataset = table(ws, store, "in")
    first = dataset.register(ws, "t")
    write(store, "in/y.csv")
    second = dataset.register(ws, "t", create_new_version=True)
    made = [d.take(1) for d in (dataset, first, second)]
    assert len({d.id for d in made}) == 3
    pinned = [d.pinned() for d in made]
    assert [p.id for p in pinned] == [d.id for d in made]
    assert [len(p.files) for p in pinned] == [2, 1, 2]
    again = Dataset.get_by_id(ws, made[1].id)
    assert again.pinned().files == first.pinned().files
    assert again.skip(0).as_named_input("x").source()["base"] == {"name": "t", "version": 1}
    assert registry.resolve_reference(ws, pinned[1].reference()).files == pinned[1].files


def test_an_id_finds_its_version_though_its_writer_died_before_noting_it(ws: Workspace, store: Datastore) -> None:
    write(store, "in/x.csv")
    registered = table(ws, store).register(ws, "t")
    ws.store.delete(f"manifests/{registered.id}.json")
    assert Dataset.get_by_id(ws, registered.id).name == "t"
    assert ws.store.read_json(f"manifests/{registered.id}.json") == {"registered": {"name": "t", "version": 1}}


def test_tags_and_description_change_and_the_version_does_not(ws: Workspace, store: Datastore) -> None:
    write(store, "in/x.csv")
    registered = table(ws, store).register(ws, "t", description="old", tags={"a": "1", "b": "2"})
    before = registry.get(ws, "t", 1)
    assert registered.add_tags({"b": "3", "c": "4"}).tags == {"a": "1", "b": "3", "c": "4"}
    assert registered.remove_tags(["a"]).tags == {"b": "3", "c": "4"}
    assert registered.update(description="new").description == "new"
    found = Dataset.get_by_name(ws, "t")
    assert (found.tags, found.description) == ({"b": "3", "c": "4"}, "new")
    assert found.update(tags={"d": "5"}).tags == {"d": "5"}
    assert found.description == "new"
    assert registry.get(ws, "t", 1) == before
    assert registry.names(ws) == ["t"]
    assert [v.version for v in registry.versions(ws, "t")] == [1]
    with pytest.raises(UserErrorException, match="are not tags"):
        found.add_tags({"n": 1})
    with pytest.raises(DatasetError, match="is not registered"):
        table(ws, store).add_tags({"a": "1"})


def test_a_dataset_is_of_the_workspace_of_its_datastore(ws: Workspace, store: Datastore, tmp_path: Path) -> None:
    write(store, "in/x.csv")
    team = Workspace("team")
    there = Dataset.File.from_files((Datastore(team, "store"), "x"))
    anywhere = Dataset.File.from_files((Datastore.named("store"), "x"))
    assert there.input_source()["workspace"] == "team"
    assert "workspace" not in anywhere.input_source()
    assert anywhere.workspace.name == "default"
    assert "workspace" not in anywhere.input_source(), "whatever was looked up"
    assert there.id == anywhere.id, "the id is of the definition"
    assert HDFSOutputDatasetConfig(destination=(Datastore(team, "s"), "x")).destination["workspace"] == "team"
    assert "workspace" not in HDFSOutputDatasetConfig(destination=("s", "x")).destination
    with pytest.raises(UserErrorException, match="paths of two workspaces, .*'default'.* and 'team'"):
        Dataset.File.from_files([(store, "x"), (Datastore(team, "store"), "x")])
    same = Workspace("team", root=ws.root)
    assert table(ws, store).register(same, "t").version == 1, "another name for the same place"
    with pytest.raises(UserErrorException, match=r"TabularDataset.* is of the workspace .* cannot be used in"):
        table(ws, store).register(Workspace(root=tmp_path / "other"), "t")


@pytest.mark.parametrize("mode", ["direct", "hdfs"])
def test_only_what_is_copied_has_a_path_on_the_compute(mode: str) -> None:
    data = Dataset.File.from_files((Datastore.named("store"), "x"))
    with pytest.raises(UserErrorException, match=f"'foo' has no meaning for an input by {mode}.*as_download"):
        DatasetConsumptionConfig("x", data, mode=mode, path_on_compute="foo")


def test_kept_columns_are_looked_for_when_asked_to(monkeypatch: pytest.MonkeyPatch, store: Datastore) -> None:
    read: list[TabularDataset] = []
    monkeypatch.setattr(TabularDataset, "to_pandas_dataframe", lambda self: read.append(self))
    data = Dataset.Tabular.from_delimited_files((store, "x.csv"))
    data.keep_columns("Age")
    assert read == []
    kept = data.keep_columns("Age", validate=True)
    assert [o["op"] for o in kept.definition["plan"]] == ["keep_columns"]
    assert [[o["op"] for o in r.definition["plan"]] for r in read] == [["keep_columns", "take"]]
