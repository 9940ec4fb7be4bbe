"""What scripts import from azureml, inside a step and by hand."""

from __future__ import annotations

import importlib
import pickle
import sys
from pathlib import Path

import pytest
from payload_support import Job

from stepwell.runtime.errors import UserErrorException

pytestmark = pytest.mark.usefixtures("azureml")


def test_offline_it_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("STEPWELL_JOB_DIR", raising=False)
    from azureml.core.run import Run, _OfflineRun
    from azureml.exceptions import RunEnvironmentException

    run = Run.get_context()
    assert type(run) is _OfflineRun
    assert run.id.startswith("OfflineRun_")
    assert run.child_run("a").id == f"{run.id}.a"
    run.log("accuracy", 0.5)
    assert "Attempted to log scalar metric accuracy:\n0.5" in capsys.readouterr().out
    with pytest.raises(RunEnvironmentException, match="does not run as a step"):
        Run.get_context(allow_offline=False)


def test_online_everything_is_an_event_and_reads_back(in_job: Job) -> None:
    import azureml.core
    from azureml.core import Run

    assert azureml.core.VERSION.startswith("1.")
    run = Run.get_context()
    assert (run.id, run.number, run.experiment.name, run.experiment.workspace.name) == ("run-1", 2, "titanic", "house")
    assert (run.parent.id, run.parent.parent) == ("dagrun-1", None)
    run.log("loss", 1.0)
    run.log("loss", 0.5, step=None)
    run.log_list("empty", [])
    run.log_table("t", {"x": [1, 2]})
    run.log_row("r", x=1)
    run.parent.log("loss", 9)
    run.set_tags({"a": 1})
    run.tag("b")
    run.add_properties({"p": "1"})
    assert Run.get_context().get_metrics() == {"loss": [1.0, 0.5], "t": {"x": [1, 2]}, "r": {"x": 1}}
    assert run.parent.get_metrics() == {"loss": 9}
    assert run.get_tags() == {"a": "1", "b": None}
    with pytest.raises(UserErrorException, match="'p' of run run-1 is '1' and cannot be changed"):
        run.add_properties({"p": "2"})
    logged = [(e["name"], e["scope"]) for e in in_job.events() if e["kind"] == "metric"]
    assert logged == [("loss", "run"), ("loss", "run"), ("t", "run"), ("r", "run"), ("loss", "parent")]


def test_children_have_metrics_of_their_own(in_job: Job) -> None:
    from azureml.core import Run

    run = Run.get_context()
    with run.child_run("trial") as child:
        child.log("auc", 0.7)
    with pytest.raises(ValueError, match="boom"), run.child_run("bad"):
        raise ValueError("boom")
    assert run.get_metrics() == {}
    assert run.get_metrics(recursive=True)[child.id] == {"auc": 0.7}
    assert [(c.display_name, c.status) for c in run.get_children()] == [("bad", "Failed"), ("trial", "Completed")]
    assert [len(run.create_children(tag_key="k", tag_values=[1, 2])), child.parent is run] == [2, True]


def test_what_cannot_be_logged_is_said(in_job: Job, tmp_path: Path) -> None:
    from azureml.core import Run
    from azureml.exceptions import InvalidColumnLength

    run = Run.get_context()
    with pytest.raises(InvalidColumnLength, match=r"x: 2, y: 1"):
        run.log_table("t", {"x": [1, 2], "y": [1]})
    with pytest.raises(UserErrorException, match="exactly one of path and plot"):
        run.log_image("i")
    (tmp_path / "no.png").write_text("not an image")
    with pytest.raises(UserErrorException, match="is not an image"):
        run.log_image("i", path=str(tmp_path / "no.png"))
    with pytest.raises(UserErrorException, match="lacks matrix"):
        run.log_confusion_matrix("c", {"schema_type": "confusion_matrix", "data": {"class_labels": ["a"]}})
    assert in_job.events() == []


def test_charts_and_images_are_files_of_the_run(in_job: Job) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from azureml.core import Run

    run = Run.get_context()
    plt.plot([1, 2])
    run.log_image("curve", plot=plt)
    matrix = {
        "schema_type": "confusion_matrix",
        "schema_version": "1.0.0",
        "data": {"class_labels": ["a"], "matrix": [[1]]},
    }
    run.log_confusion_matrix("cm", matrix)
    found = run.get_metrics()
    assert found["curve"].startswith("aml://artifactId/outputs/curve_")
    assert found["cm"] == "aml://artifactId/outputs/cm.json"
    assert {p.name.split("_")[0] for p in (in_job.directory / "code" / "outputs").iterdir()} == {"curve", "cm.json"}


def test_files_are_kept_below_outputs_and_never_replaced(in_job: Job, tmp_path: Path) -> None:
    from azureml.core import Run

    run = Run.get_context()
    (tmp_path / "m.bin").write_bytes(b"model")
    run.upload_file("outputs/m.bin", str(tmp_path / "m.bin"))
    run.upload_folder("plots", str(tmp_path / "data"))
    assert run.get_file_names() == ["outputs/m.bin", "outputs/plots/passengers.csv"]
    with pytest.raises(UserErrorException, match="already"):
        run.upload_file("outputs/m.bin", str(tmp_path / "m.bin"))
    with pytest.raises(UserErrorException, match="leaves its root"):
        run.upload_file("../m.bin", str(tmp_path / "m.bin"))
    assert Path(run.download_file("outputs/m.bin", str(tmp_path / "back.bin"))).read_bytes() == b"model"


def test_inputs_outputs_and_datasets(in_job: Job) -> None:
    from azureml.core import Dataset, Run, Workspace

    run = Run.get_context()
    assert run.input_datasets["tabular_input"].to_pandas_dataframe().shape == (4, 8)
    assert run.input_datasets["file_input"] == in_job.data.as_uri()
    assert run.output_datasets["registered_dataset"] == in_job.output.as_uri()
    dataset = Dataset.get_by_id(run.experiment.workspace, id=in_job.id)
    assert (dataset.id, dataset.name, dataset.version) == (in_job.id, "passengers", 3)
    adults = dataset.filter(dataset["Age"] > 16).keep_columns(["Name"])
    assert len(adults.to_pandas_dataframe()) == 2
    assert len(dataset.to_pandas_dataframe()) == 4  # immutable
    left, right = dataset.random_split(0.5)
    assert len(left.to_pandas_dataframe()) + len(right.to_pandas_dataframe()) == 4
    assert Dataset.get_by_name(Workspace.from_config(), "passengers").id == in_job.id
    with pytest.raises(UserErrorException, match=r"no dataset with the id 'nope'.*inputs="):
        Dataset.get_by_id(None, "nope")
    with pytest.raises(UserErrorException, match="Allowed: passengers"):
        Dataset.get_by_name(None, "passenger")


def test_file_datasets_download(in_job: Job, tmp_path: Path) -> None:
    from azureml.core import Dataset

    files = Dataset.get_by_id(None, in_job.file_id)
    assert files.to_path() == ["/passengers.csv"]
    target = tmp_path / "here"
    assert files.download(str(target)) == [str(target / "passengers.csv")]
    with pytest.raises(UserErrorException, match="overwrite=True"):
        files.download(str(target))
    with files.mount() as mounted:
        assert (Path(mounted.mount_point) / "passengers.csv").read_bytes() == in_job.data.read_bytes()
    assert not Path(mounted.mount_point).exists()


def test_registering_is_an_event_for_the_end_of_the_step(in_job: Job) -> None:
    from azureml.core import Dataset, Run

    workspace = Run.get_context().experiment.workspace
    dataset = Dataset.get_by_id(workspace, in_job.id).keep_columns("Name")
    dataset.register(workspace, "names", description="d", tags={"a": 1}, create_new_version=True)
    (event,) = in_job.events()
    assert event["definition"] == dataset.definition
    assert (event["kind"], event["name"], event["tags"], event["data"]) == ("register", "names", {"a": "1"}, None)
    with pytest.raises(UserErrorException, match="not a valid dataset name"):
        dataset.register(workspace, "../names")


def test_secrets_come_from_the_environment(in_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from azureml.core import Run

    run = Run.get_context()
    monkeypatch.setenv("MY_TOKEN", "s3cret")
    assert run.get_secret("my-token") == "s3cret"
    with pytest.raises(UserErrorException, match=r"no secret 'other'.*Allowed: TOKEN"):
        run.get_secret("other")


def test_the_logger_of_the_workbench_era(in_job: Job) -> None:
    import pandas as pd
    from azureml.core import Run
    from azureml.logging import get_azureml_logger

    logger = get_azureml_logger()
    for name, value in (("n", 1), ("l", [1, 2]), ("d", {"x": 1}), ("f", pd.DataFrame({"x": [1, 2]}))):
        logger.log(name, value)
    assert Run.get_context().get_metrics() == {"n": 1, "l": [1, 2], "d": {"x": 1}, "f": {"x": [1, 2]}}


@pytest.mark.parametrize("name", ["azureml.train.hyperdrive", "azureml.pipeline", "azureml.core.compute"])
def test_a_module_that_is_not_there_says_so(name: str) -> None:
    with pytest.raises(ImportError, match=r"is not part of Stepwell's layer.*Available: azureml\.core"):
        importlib.import_module(name)


def test_a_name_that_is_not_there_says_so_and_the_rest_of_python_is_not_disturbed() -> None:
    core = importlib.import_module("azureml.core")
    with pytest.raises(ImportError, match=r"azureml\.core\.Model is not available inside a Stepwell step"):
        exec("from azureml.core import Model")
    with pytest.raises(ImportError, match="import it from stepwell"):
        exec("from azureml.core import Environment")
    assert not hasattr(core, "something_else")
    with pytest.raises(ImportError, match="No module named 'surely_not_there'"):
        importlib.import_module("surely_not_there")

    def local() -> None: ...

    local.__module__ = None  # type: ignore[assignment]
    local.__qualname__ = "Model_"
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(local)  # looks for the name in every module of sys.modules
    assert "azureml" in sys.modules


@pytest.mark.parametrize(
    "text",
    [
        "Run.get(None, 'x')", "Run.list(None)", "run.download_files()", "run.get_all_logs()", "run.get_portal_url()",
        "run.register_model('m')", "run.experiment.start_logging()",
        "run.experiment.workspace.compute_targets", "Workspace.create('x')", "Datastore.register_hdfs()",
        "Dataset.Tabular.from_sql_query('')", "Dataset.File.upload_directory('')", "table.partition_by(['x'])",
        "table.with_timestamp_columns('t')", "table.time_before(1)", "table.add_tags({})", "table.to_parquet_files()",
        "table.to_csv_files()", "table.as_mount()", "table.data_changed_time", "files.filter(1)",
    ],
)  # fmt: skip
def test_what_is_not_built_says_so_and_hasattr_is_false(in_job: Job, text: str) -> None:
    from azureml.core import Dataset, Datastore, Run, Workspace
    from azureml.exceptions import NotBuiltError

    names = {"Dataset": Dataset, "Datastore": Datastore, "Run": Run, "Workspace": Workspace, "run": Run.get_context()}
    names["table"], names["files"] = (Dataset.get_by_id(None, i) for i in (in_job.id, in_job.file_id))
    with pytest.raises(NotBuiltError, match=r"is not built yet inside a step\. "):
        eval(text, names)
    owner, _, name = text.partition("(")[0].rpartition(".")
    assert not hasattr(eval(owner, names), name)


def test_the_table_names_nothing_that_is_built(in_job: Job) -> None:
    from azureml import _not_built
    from azureml.core import Dataset, Datastore, Experiment, Keyvault, Workspace
    from azureml.core.run import Run, _OfflineRun
    from azureml.data._dataset import AbstractDataset, FileDataset, TabularDataset
    from azureml.data.dataset_factory import FileDatasetFactory, TabularDatasetFactory
    from azureml.train.automl.run import AutoMLRun

    classes = (
        Dataset, Datastore, Experiment, Keyvault, Workspace, Run, _OfflineRun, AbstractDataset, FileDataset,
        TabularDataset, FileDatasetFactory, TabularDatasetFactory, AutoMLRun,
    )  # fmt: skip
    assert {c.__name__ for c in classes} == set(_not_built.TABLE)
    for cls in classes:
        source = importlib.import_module(cls.__module__).__file__ or ""
        text = Path(source).read_text(encoding="utf-8")
        written = text.partition(f"class {cls.__name__}")[2].partition("\nclass ")[0]
        for names, _ in _not_built.TABLE[cls.__name__]:
            assert not [n for n in names.split() if f"    def {n}(" in written]
            assert not [n for n in names.split() if hasattr(cls, n)]


def test_the_targets_and_the_datastores_names_come_from_the_job(in_job: Job) -> None:
    in_job.document["step"]["compute_target"] = "cpu"
    in_job.document["workspace"]["default_datastore"] = "lake"
    in_job.write()
    from azureml.core import Run, Workspace

    import stepwell.payload.context as context

    context._current = None
    run = Run.get_context()
    assert run.get_details()["target"] == run.parent.get_details()["target"] == "cpu"
    assert Workspace.from_config().get_default_datastore().name == "lake"
    assert run.experiment.workspace.get_default_datastore().name == "lake"


def test_an_offline_run_has_what_scripts_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STEPWELL_JOB_DIR", raising=False)
    from azureml.core.run import Run

    run = Run.get_context()
    run.set_tags({"a": 1, "b": 2})
    run.remove_tags(["a"])
    assert run.get_tags() == {"b": 2}
    children = run.create_children(tag_key="k", tag_values=[1, 2])
    assert list(run.get_children()) == children[::-1]
    assert [c.get_tags() for c in children] == [{"k": 1}, {"k": 2}]
    assert (run.type, run.get_file_names(), run.description) == ("azureml.scriptrun", [], None)
    run.register_model("titanic", model_path="outputs/m.pkl")
    assert "Attempted to register model titanic: outputs/m.pkl" in capsys.readouterr().out
    with pytest.raises(UserErrorException, match="either count"):
        run.create_children()
    with pytest.raises(UserErrorException, match=r"run\.get_portal_url is not built"):
        run.get_portal_url()


def test_numbers_and_texts_that_json_does_not_know_are_logged_and_kept(in_job: Job) -> None:
    import json

    from azureml.core import Run

    from stepwell.payload import metrics

    run = Run.get_context()
    run.log("loss", float("nan"))
    run.log("loss", float("-inf"))
    run.log_row("row", x=float("inf"), y="caf\udce9")
    run.log("caf\udce9", 1)
    run.tag("file", "caf\udce9.csv")
    found = run.get_metrics()
    assert repr(found["loss"]) == "[nan, -inf]"
    assert (found["row"], found["caf?"], run.get_tags()) == ({"x": float("inf"), "y": "caf?"}, 1, {"file": "caf?.csv"})
    kept = {name: metrics.finite(value) for name, value in metrics.metrics(in_job.events()).items()}
    assert kept == {"loss": ["nan", "-inf"], "row": {"x": "inf", "y": "caf?"}, "caf?": 1}
    json.dumps(kept, allow_nan=False).encode("utf-8")
