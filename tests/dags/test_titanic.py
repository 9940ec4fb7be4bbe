"""The main job on Airflow: prepare on Spark, gate, train; the scoring DAG; and the article's own script, unedited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.article import article_script

from stepwell import Workspace
from stepwell.data import registry
from stepwell.tracking import history

#: The first time, environments are built: with PySpark that takes more than a minute.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def run(file: Path, dag_id: str) -> Any:
    """Run a DAG as ``airflow dags test`` does and return its DAG run."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(file))
    assert not bag.import_errors
    dag_run = bag.dags[dag_id].test()
    assert dag_run.state == "success"
    return dag_run


def xcoms(dag_run: Any) -> dict[tuple[str, str], Any]:
    """Return (task, key) → what the task handed on."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(XComModel).where(XComModel.run_id == dag_run.run_id)).all()
        return {(row.task_id, row.key): XComModel.deserialize_value(row) for row in rows}


def asset_events(dag_run: Any) -> dict[str, dict[str, Any]]:
    """Return asset URI → extra of the events that *dag_run* sent."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == dag_run.run_id)).all()
        return {row.uri: dict(row.extra) for row in rows}


@pytest.fixture(scope="module")
def pipeline(ws: Workspace, project: Path, more_dags: Path) -> Any:
    """The pipeline's DAG run."""
    return run(project / "dags" / "titanic_pipeline.py", "titanic_pipeline")


@pytest.fixture(scope="module")
def records(ws: Workspace, pipeline: Any) -> dict[str, Any]:
    """Step → the record of its run."""
    return {record["step"]: record for record in history.latest_dag_run(ws, "titanic_pipeline")}


def test_both_outputs_are_registered_and_their_references_handed_on(ws: Workspace, pipeline: Any) -> None:
    prepared, model = registry.get(ws, "registered_dataset"), registry.get(ws, "titanic_model")
    assert (prepared.version, model.version) == (1, 1)
    handed = xcoms(pipeline)
    assert handed["synapse-spark", "registered_dataset"] == prepared.reference()
    assert handed["train", "model"] == model.reference()
    assert handed["train", "return_value"] == {"model": model.reference()}
    assert json.loads(json.dumps(model.reference())) == model.reference(), "plain data"
    assert {Path(f.path).name for f in model.files} >= {"model.joblib", "model.json"}
    assert len(prepared.files) == 1
    assert prepared.path.startswith("test/"), "below the fixed destination"
    assert prepared.rows == 891
    assert prepared.verdict == "warned", "one expectation of the suite only warns"
    for version, task in ((prepared, "synapse-spark"), (model, "train")):
        registry.verify(ws, version)
        assert version.producer is not None
        assert (version.producer["dag_id"], version.producer["task_id"]) == ("titanic_pipeline", task)
        assert version.producer["dag_run_id"] == pipeline.run_id


def test_an_event_with_the_reference_is_sent_for_each_registered_version(ws: Workspace, pipeline: Any) -> None:
    events = asset_events(pipeline)
    assert set(events) == {"stepwell://default/registered_dataset", "stepwell://default/titanic_model"}
    for uri, extra in events.items():
        reference = registry.get(ws, uri.rpartition("/")[2]).reference()
        assert {key: extra[key] for key in reference} == reference


def test_the_records_say_where_each_step_ran_what_it_took_and_what_it_found(records: dict[str, Any]) -> None:
    prepare, train = records["synapse-spark"], records["train"]
    assert (prepare["target"], train["target"]) == ("link1-spark01", "cpucluster")
    assert (prepare["status"], train["status"]) == ("completed", "completed")
    assert prepare["metrics"]["rows"] == 891
    assert prepare["verdicts"]["registered_dataset"]["verdict"] == "warned"
    assert prepare["verdicts"]["registered_dataset"]["engine"] == "spark"
    assert set(prepare["inputs"]) == {"tabular_input", "file_input"}
    assert (train["inputs"]["step2_input"]["dataset"], train["inputs"]["step2_input"]["version"]) == (
        "registered_dataset",
        1,
    )
    assert 0.7 < train["metrics"]["AUC"] <= 1
    assert len(train["metrics"]["fold_accuracy"]) == 5


def test_report_and_logs_are_kept_with_the_run(ws: Workspace, records: dict[str, Any]) -> None:
    folder = ws.store.local_path(f"runs/{records['synapse-spark']['run_id']}")
    assert folder is not None
    report = (folder / "gates/registered_dataset.html").read_text()
    assert "PassengerId" in report
    assert "891 passengers in the table, 891 in the file" in (folder / "logs/azureml/driver/stdout").read_text()


def test_nothing_is_left_aside(ws: Workspace, pipeline: Any, scratch: Path) -> None:
    data = ws.store.local_path("data")
    assert data is not None
    staging = data / ".stepwell/staging"
    assert list(staging.rglob("*") if staging.exists() else ()) == []
    assert list((scratch / "jobs").iterdir()) == []


def test_the_scoring_dag_alone_takes_the_latest_versions(ws: Workspace, pipeline: Any, project: Path) -> None:
    scoring = run(project / "dags" / "titanic_scoring.py", "titanic_scoring")
    (record,) = history.latest_dag_run(ws, "titanic_scoring")
    taken = {name: (r["dataset"], r["version"]) for name, r in record["inputs"].items()}
    assert taken == {
        "passengers": ("registered_dataset", registry.get(ws, "registered_dataset").version),
        "model": ("titanic_model", registry.get(ws, "titanic_model").version),
    }
    assert record["metrics"]["passengers"] == 891
    scores = registry.get(ws, "titanic_scores")
    assert asset_events(scoring)["stepwell://default/titanic_scores"]["digest"] == scores.digest
    (file,) = scores.files
    lines = Path(file.uri.removeprefix("file://")).read_text().splitlines()
    assert (lines[0], len(lines)) == ("PassengerId,probability", 892)


# -- the article as it stands ------------------------------------------------------------------------------------------

#: The article's code with other imports, and operators in place of steps.
ARTICLE_DAG = """
from airflow.sdk import DAG
from stepwell import (AmlCompute, ComputeTarget, Dataset, Environment, HDFSOutputDatasetConfig, LinkedService,
                      SynapseCompute, SynapseWorkspaceLinkedServiceConfiguration, Workspace)
from stepwell.operators import PythonScriptStepOperator, SynapseSparkStepOperator

ws = Workspace.from_config()
datastore = ws.get_default_datastore()

titanic_tabular_dataset = Dataset.Tabular.from_delimited_files(path=[(datastore, "article/Titanic.csv")])
titanic_file_dataset = Dataset.File.from_files(path=[(datastore, "article/Titanic.csv")])
step1_input1 = titanic_tabular_dataset.as_named_input("tabular_input")
step1_input2 = titanic_file_dataset.as_named_input("file_input").as_hdfs()
step1_output = HDFSOutputDatasetConfig(destination=(datastore, "test")).register_on_complete(name="article_dataset")

env = Environment(name="myenv")
env.python.conda_dependencies.add_pip_package("azureml-core>=1.20.0")

with DAG("article", schedule=None):
    step_1 = SynapseSparkStepOperator(name="synapse-spark",
                                      file="dataprep.py",
                                      source_directory={code!r},
                                      inputs=[step1_input1, step1_input2],
                                      outputs=[step1_output],
                                      arguments=["--tabular_input", step1_input1,
                                                 "--file_input", step1_input2,
                                                 "--output_dir", step1_output],
                                      compute_target="article-spark01",
                                      driver_memory="1g",
                                      driver_cores=2,
                                      executor_memory="1g",
                                      executor_cores=2,
                                      num_executors=1,
                                      environment=env)

    step2_input = step1_output.as_input("step2_input").as_download()

    step_2 = PythonScriptStepOperator(script_name="train.py",
                                      arguments=[step2_input],
                                      inputs=[step2_input],
                                      compute_target="article-cluster",
                                      source_directory={code!r},
                                      allow_reuse=False)
"""

TRAIN = """
import glob, os, sys
print(sys.argv[1] == os.environ["step2_input"])
(file,) = glob.glob(os.path.join(sys.argv[1], "*.csv"))
print(sum(1 for _ in open(file)), "lines")
assert sys.argv[1] == os.environ["step2_input"]
"""


def test_the_articles_pipeline_with_its_script_unedited(
    ws: Workspace, project: Path, more_dags: Path, tmp_path: Path
) -> None:
    from stepwell import (
        AmlCompute,
        ComputeTarget,
        LinkedService,
        SynapseCompute,
        SynapseWorkspaceLinkedServiceConfiguration,
    )

    code = tmp_path / "code"
    code.mkdir()
    (code / "dataprep.py").write_text(article_script())
    (code / "train.py").write_text(TRAIN)
    ws.get_default_datastore().upload_files([project / "include/data/Titanic.csv"], target_path="article")
    here = SynapseWorkspaceLinkedServiceConfiguration(name="articlelink", master="local[*]")
    service = LinkedService.register(ws, "articlelink", here)
    pool = SynapseCompute.attach_configuration(linked_service=service, type="SynapseSpark", pool_name="spark01")
    ComputeTarget.attach(ws, "article-spark01", pool)
    cluster = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=1)
    ComputeTarget.create(ws, "article-cluster", cluster)
    file = more_dags / "article.py"
    file.write_text(ARTICLE_DAG.replace("{code!r}", repr(str(code))))

    dag_run = run(file, "article")
    version = registry.get(ws, "article_dataset")
    assert xcoms(dag_run)["synapse-spark", "article_dataset"] == version.reference()
    first, second = history.latest_dag_run(ws, "article")
    assert (first["step"], second["step"]) == ("synapse-spark", "train.py")
    folder = ws.store.local_path(f"runs/{first['run_id']}")
    assert folder is not None
    said = (folder / "logs/azureml/driver/stdout").read_text()
    assert said.count("|PassengerId|Survived|") == 2, "both tables are shown"
    assert "'file_input': 'file://" in said
    said = ws.store.read(f"runs/{second['run_id']}/logs/step.log").decode()
    assert said.split() == ["True", "892", "lines"]


def test_a_second_run_of_the_pipeline_reuses_every_step(
    ws: Workspace, project: Path, pipeline: Any, records: dict[str, Any]
) -> None:
    again = run(project / "dags" / "titanic_pipeline.py", "titanic_pipeline")
    found = {record["step"]: record for record in history.latest_dag_run(ws, "titanic_pipeline")}
    assert {step: record["reuse"]["decision"] for step, record in found.items()} == {
        "synapse-spark": "reused",
        "train": "reused",
    }
    assert found["train"]["reused_from"] == records["train"]["run_id"]
    assert found["train"]["metrics"] == records["train"]["metrics"]
    assert asset_events(again)["stepwell://default/titanic_model"]["version"] == 1
