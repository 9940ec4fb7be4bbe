"""Inputs and outputs as v1 has them (``DatasetConsumptionConfig``, ``OutputFileDatasetConfig``, …): their rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepwell import Dataset, DatasetConsumptionConfig, HDFSOutputDatasetConfig, OutputFileDatasetConfig, Workspace
from stepwell.errors import UserErrorException


def file() -> Any:
    return Dataset.File.from_files(("store", "a.csv"))


def table() -> Any:
    return Dataset.Tabular.from_delimited_files(("store", "a.csv"))


# -- inputs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["1st", "a-b", "a b", "", "../a", "a.b", "ä"])
def test_an_inputs_name_becomes_a_variable(name: str) -> None:
    with pytest.raises(UserErrorException, match="is not a valid input name.*letters, digits and '_'"):
        file().as_named_input(name)


@pytest.mark.parametrize("name", ["PATH", "home", "PythonPath", "LD_LIBRARY_PATH"])
def test_an_input_does_not_take_the_place_of_a_variable_that_the_script_needs(name: str) -> None:
    with pytest.raises(UserErrorException, match=f"'{name}' would overwrite"):
        file().as_named_input(name)


def test_the_mode_is_direct_and_each_method_returns_another_config() -> None:
    one = file().as_named_input("x")
    assert (one.mode, one.as_download().mode, one.as_hdfs().mode) == ("direct", "download", "hdfs")
    assert (one.as_mount().mode, one.as_mount("here").path_on_compute) == ("mount", "here")
    assert one.mode == "direct"
    assert one.as_download("here").path_on_compute == "here"
    assert one.as_download("here").as_hdfs().path_on_compute is None


@pytest.mark.parametrize("how", ["as_download", "as_mount", "as_hdfs"])
def test_a_table_is_taken_by_its_id_only(how: str) -> None:
    with pytest.raises(UserErrorException, match=r"tabular dataset is handed over by its id.*Use as_direct\(\)"):
        getattr(table().as_named_input("x"), how)()
    with pytest.raises(UserErrorException, match="tabular dataset"):
        getattr(OutputFileDatasetConfig("o").read_delimited_files().as_input("x"), how)()


def test_what_is_unknown_is_refused_by_name() -> None:
    with pytest.raises(
        UserErrorException, match="'copy' is not a mode of an input. Allowed: direct, download, mount, hdfs"
    ):
        DatasetConsumptionConfig("x", file(), mode="copy")


@pytest.mark.parametrize(
    ("path", "words"), [("/abs", "absolute.*relative"), ("../up", "leaves its root"), ("a/../../b", "leaves")]
)
def test_a_path_on_compute_stays_in_the_jobs_folder(path: str, words: str) -> None:
    with pytest.raises(UserErrorException, match=words):
        file().as_named_input("x").as_download(path)
    with pytest.raises(UserErrorException, match=words):
        file().as_named_input("x").as_mount(path)


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ((Workspace(), "data"), {"name": "data", "version": "latest", "workspace": "default"}),
        ((Workspace("team"), "data", 3), {"name": "data", "version": 3, "workspace": "team"}),
        ((None, "data", 3), {"name": "data", "version": 3}),
        (Dataset.get_by_name(None, "data", 2), {"name": "data", "version": 2}),
        ({"id": "x", "dataset": None}, {"reference": {"id": "x", "dataset": None}}),
    ],
)
def test_an_input_is_made_of_a_dataset_a_name_or_a_reference(given: Any, source: Any) -> None:
    assert DatasetConsumptionConfig("x", given).source() == source


def test_an_unregistered_dataset_goes_by_its_definition() -> None:
    data = table()
    assert data.as_named_input("x").source() == {"definition": data.definition}
    with pytest.raises(UserErrorException, match=r"is not \(workspace, name\)"):
        DatasetConsumptionConfig("x", (1, 2, 3, 4)).source()


# -- outputs -----------------------------------------------------------------------------------------------------------


def test_the_default_destination_is_v1s() -> None:
    assert OutputFileDatasetConfig().destination == {"datastore": None, "path": "dataset/{run-id}/{output-name}"}
    assert HDFSOutputDatasetConfig(destination=("s", "/test/")).destination == {"datastore": "s", "path": "test"}


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ("path", r"is not \(datastore, path\)"),
        (("s", ""), "is empty"),
        (("s", "../up"), "leaves its root.*without '..'"),
        (("s", "a/{run-id}/../../../up"), "leaves its root"),
        ((3, "a"), "3 is not a datastore"),
        (("s", "{run_id}/x"), r"unknown placeholder \{run_id\}. Allowed: \{run-id\}, \{output-name\}"),
    ],
)
def test_a_destination_that_is_none(destination: Any, words: str) -> None:
    with pytest.raises(UserErrorException, match=words):
        OutputFileDatasetConfig("o", destination)


@pytest.mark.parametrize("name", ["../up", "a/b", "", "-a", "a" * 256, "a..b"])
def test_a_registered_name_is_a_good_name(name: str) -> None:
    with pytest.raises(UserErrorException, match="is not a valid dataset name.*Use letters, digits"):
        OutputFileDatasetConfig("o").register_on_complete(name)


@pytest.mark.parametrize(
    "make",
    [
        lambda: OutputFileDatasetConfig("o").as_mount(),
        lambda: OutputFileDatasetConfig("o", source="x"),
        lambda: OutputFileDatasetConfig("o", partition_format="x"),
        lambda: OutputFileDatasetConfig("o").as_upload(source_globs=["*.csv"]),
    ],
)
def test_what_is_not_built_of_outputs_is_refused_by_name(make: Any) -> None:
    with pytest.raises(UserErrorException, match="not built yet"):
        make()


def test_gates_and_reading_are_kept_as_plain_data() -> None:
    output = (
        HDFSOutputDatasetConfig(destination=("s", "test"))
        .register_on_complete("data", description="d", tags={"k": "v"})
        .read_parquet_files(path_glob="*.parquet")
        .drop_columns(["a"])
        .validate_with(Path("include/suite.json"), on_failure="quarantine", samples=True)
    )
    plain = output.serialize()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["gate"] == {
        "suite": "include/suite.json",
        "on_failure": "quarantine",
        "samples": True,
        "suite_name": None,
    }
    assert plain["registration"] == {"name": "data", "description": "d", "tags": {"k": "v"}}
    assert (plain["mode"], plain["read"]["format"], output.kind) == ("hdfs", "parquet", "tabular")
    assert plain["plan"] == [{"op": "drop_columns", "columns": ["a"]}]
    with pytest.raises(UserErrorException, match="on_failure='stop' is not known. Allowed: fail, warn, quarantine"):
        output.validate_with("s.json", on_failure="stop")
    with pytest.raises(UserErrorException, match=r"keep_columns\(\) needs a tabular output.*read_delimited_files"):
        OutputFileDatasetConfig("o").keep_columns(["a"])
