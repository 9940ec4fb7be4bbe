"""v1's names that are not built: asking for one says so and what to use instead, and ``hasattr`` is false for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from stepwell.errors import UserErrorException

T = TypeVar("T")

_DAG = "A pipeline is a DAG here: put the operators of stepwell.operators into one"
_TASK = "Do this in a step: a script with an OutputFileDatasetConfig(...).register_on_complete(name)"
_READ = "Read the data with to_pandas_dataframe() or to_spark_dataframe(), or filter() it by the column"
_STORE = "Use register_local, register_hdfs or register_machine, or an Airflow connection of type stepwell_datastore"
_TARGET = "Attach a machine (RemoteCompute), Docker, a cluster or a Spark of yours, or create an AmlCompute"
_AZURE = "Stepwell runs on machines of yours: there is no Azure subscription behind a workspace"
_MODEL = "Register the model's files as a dataset: OutputFileDatasetConfig(...).register_on_complete(name)"
_RUNS = "The run's page in Airflow (the link Stepwell run of a task) and the command 'stepwell' show runs"
_PARAMS = "Use Airflow's params and templates: arguments=['{{ params.name }}']"
_KEPT = "Versions are kept: steps and references name them"

#: What it is on → (names, what to do instead).
TABLE: dict[str, tuple[tuple[str, str], ...]] = {
    "stepwell": (
        ("Pipeline PipelineEndpoint PublishedPipeline PipelineDraft StepSequence ModuleStep", _DAG),
        ("PythonScriptStep", "Use PythonScriptStepOperator of stepwell.operators"),
        ("CommandStep", "Use CommandStepOperator of stepwell.operators"),
        ("SynapseSparkStep", "Use SynapseSparkStepOperator of stepwell.operators"),
        ("AutoMLStep AutoMLStepRun", "Use AutoMLStepOperator of stepwell.operators"),
        (
            "AdlaStep AzureBatchStep DataTransferStep DatabricksStep EstimatorStep HyperDriveStep "
            "KustoStep MpiStep ParallelRunStep RScriptStep",
            "Use the operators of stepwell.operators, or another Airflow provider's",
        ),
        ("PipelineParameter", _PARAMS),
        ("PipelineData PipelineOutputFileDataset PipelineOutputTabularDataset", "Use OutputFileDatasetConfig"),
        ("LinkFileOutputDatasetConfig LinkTabularOutputDatasetConfig", "Use OutputFileDatasetConfig"),
        ("DataPathComputeBinding InputPortBinding OutputPortBinding", "Use dataset.as_named_input(name)"),
        ("Experiment", "The DAG stands for the experiment: runs are found by its dag_id"),
        ("ScriptRunConfig", "Use PythonScriptStepOperator in a DAG; airflow dags test runs it at once"),
        ("Schedule ScheduleRecurrence", "Schedule the DAG: @dag(schedule=...), also on a dataset's asset"),
        ("Model Webservice Image", _MODEL),
        ("Run PipelineRun StepRun", _RUNS + "; in a script: from azureml.core import Run"),
        ("Keyvault", "Secrets are Airflow connections: name them in secrets= of the step"),
        (
            "KubernetesCompute AksCompute DatabricksCompute DataFactoryCompute BatchCompute AdlaCompute "
            "ComputeInstance KustoCompute",
            _TARGET,
        ),
        (
            "InteractiveLoginAuthentication ServicePrincipalAuthentication MsiAuthentication AzureCliAuthentication",
            _AZURE,
        ),
        ("ContainerRegistry DockerConfiguration PyTorchConfiguration TensorflowConfiguration MpiConfiguration", _AZURE),
    ),
    "Workspace": (
        ("create", "Workspace(name, root) makes itself when it is first used"),
        ("get", "Use Workspace(name), or Workspace.from_config()"),
        ("list", "Each workspace is an Airflow connection stepwell_<name>, or a root"),
        ("setup update delete add_private_endpoint delete_private_endpoint sync_keys diagnose_workspace", _AZURE),
        ("subscription_id resource_group location sku tags discovery_url service_context get_details", _AZURE),
        ("get_default_compute_target set_default_compute_target", "Name the target: compute_target= of the step"),
        (
            "set_connection get_connection list_connections delete_connection get_default_keyvault",
            "Secrets are Airflow connections: name them in secrets= of the step",
        ),
        ("experiments", "A DAG stands for an experiment: runs are found by its dag_id"),
        ("environments", "Use Environment.list(ws), and Environment.get(ws, name)"),
        ("models webservices images model_deployments", _MODEL),
        ("get_run get_mlflow_tracking_uri", _RUNS),
    ),
    "Datastore": (
        (
            "register_azure_blob_container register_azure_file_share register_azure_data_lake "
            "register_azure_data_lake_gen2 register_azure_sql_database register_azure_postgre_sql "
            "register_azure_my_sql register_dbfs",
            _STORE,
        ),
    ),
    "Dataset": (
        (
            "from_delimited_files from_parquet_files from_json_files from_excel_files from_sql_query "
            "from_pandas_dataframe from_binary_files auto_read_files get",
            "Use Dataset.Tabular, Dataset.File, get_by_name or get_by_id",
        ),
        ("Scenario Model archive deprecate reactivate create_snapshot delete_snapshot", _KEPT),
    ),
    "Dataset.Tabular": (
        ("from_sql_query register_pandas_dataframe register_spark_dataframe register_dask_dataframe", _TASK),
    ),
    "Dataset.File": (
        ("upload_directory", "Use datastore.upload(src_dir, target_path), then Dataset.File.from_files(...)"),
    ),
    "dataset": (
        ("unregister_all_versions", _KEPT),
        ("data_changed_time", "A version's files are pinned: register() makes a new version when they have changed"),
        ("partition_keys get_partition_key_values as_cache", _READ),
    ),
    "TabularDataset": (
        ("with_timestamp_columns timestamp_columns time_before time_after time_between time_recent", _READ),
        ("partition_by to_csv_files to_parquet_files", _TASK),
        ("get_profile get_profile_runs submit_profile_run", "validate_with() a suite: its report has the figures"),
        ("to_dask_dataframe", _READ),
    ),
    "FileDataset": (("file_metadata hydrate", "Use to_path() and download()"),),
}


class NotBuiltError(UserErrorException, AttributeError):
    """A name of v1 that is not built."""


class NotBuiltImportError(UserErrorException, ImportError):
    """A name of v1 that is not built was to be imported."""


class _NotBuilt:
    """Stands where the name would be, on the class and on its instances."""

    def __init__(self, path: str, hint: str) -> None:
        self._path = path
        self._hint = hint

    def __get__(self, instance: object, owner: Any = None) -> NoReturn:
        raise NotBuiltError(f"{self._path} is not built yet", hint=self._hint)


def says_what_is_not_built(shown: str) -> Callable[[type[T]], type[T]]:
    """Put the names of :data:`TABLE` on a class.

    :param shown: the table's key, which stands before the name in the message.
    """

    def decorate(cls: type[T]) -> type[T]:
        for name, hint in hints(shown).items():
            setattr(cls, name, _NotBuilt(f"{shown}.{name}", hint))
        return cls

    return decorate


def hints(shown: str) -> dict[str, str]:
    """Return name → what to do instead."""
    return {name: hint for names, hint in TABLE[shown] for name in names.split()}


def refuse(name: str, *, importing: bool) -> None:
    """Raise if *name* is one that ``stepwell`` would have as v1.

    :raises NotBuiltError: it is, and an attribute was asked for.
    :raises NotBuiltImportError: it is, and was to be imported.
    """
    hint = hints("stepwell").get(name)
    if hint is not None:
        raise (NotBuiltImportError if importing else NotBuiltError)(f"{name} is not built yet", hint=hint)
