"""Methods and attributes of v1 that are not built: asking for one says so, and ``hasattr`` is false for it."""

from __future__ import annotations

from typing import Any, Callable, NoReturn, TypeVar

from stepwell.runtime.errors import UserErrorException

T = TypeVar("T")

_DAG = "Define it in the DAG file, with the names of stepwell"
_READ = "Read the data with to_pandas_dataframe() or to_spark_dataframe() and do it there"
_WRITE = "Write to an output that the operator declares: OutputFileDatasetConfig(...).register_on_complete(name)"
_LOOK = "The run's page in Airflow and the command 'stepwell' show runs"
_INPUT = "Give the dataset to the operator as an input: inputs=[dataset.as_named_input('name')]"

#: class → (names, what to do instead).
TABLE: dict[str, tuple[tuple[str, str], ...]] = {
    "Run": (
        ("register_model", "Keep the model as a file with upload_file(), or declare an output on the operator"),
        ("submit_child get_submitted_run take_snapshot restore_snapshot get_snapshot_id get_environment", _DAG),
        ("get list list_by_compute get_portal_url get_detailed_status wait_for_completion clean", _LOOK),
        ("get_all_logs get_details_with_logs", "The logs are in the run's folder when the step has ended"),
        ("download_files", "Use get_file_names() and download_file()"),
        ("log_mlflow add_type_provider", "Use the log methods of the run"),
    ),
    "_OfflineRun": (
        ("submit_child get_submitted_run take_snapshot restore_snapshot get_snapshot_id get_environment", _DAG),
        ("get list list_by_compute get_portal_url get_detailed_status wait_for_completion clean", _LOOK),
        ("get_all_logs get_details_with_logs download_file download_files", "An offline run keeps nothing"),
        ("log_mlflow add_type_provider", "Use the log methods of the run"),
    ),
    "Experiment": (
        ("start_logging from_directory", _DAG + "; in a script, Run.get_context().child_run() makes a run"),
        ("get_runs list refresh get_docs_url archive reactivate delete archived_time workspace_object", _LOOK),
        ("tag tags set_tags remove_tags add_type_provider", "Use the tags of the run"),
    ),
    "AutoMLRun": (
        (
            "register_model",
            "Write the files of the model to an output that the operator declares: "
            "OutputFileDatasetConfig(...).register_on_complete(name), or search with AutoMLStepOperator in the DAG",
        ),
        ("continue_experiment cancel_iteration retry pause resume", "Submit the configuration again"),
        ("get_run_sdk_dependencies", "The versions stand in the requirements.txt of the model"),
    ),
    "Workspace": (
        (
            "compute_targets environments experiments linked_services models webservices images service_context "
            "create delete list setup update write_config get_run sync_keys add_private_endpoint "
            "set_default_datastore get_connection list_connections get_mlflow_tracking_uri",
            "Use stepwell.Workspace in the DAG file or a notebook; here there are datasets, datastores, "
            "get_default_datastore() and get_default_keyvault()",
        ),
    ),
    "Datastore": (
        (
            "register_azure_blob_container register_azure_file_share register_azure_data_lake "
            "register_azure_data_lake_gen2 register_azure_sql_database register_azure_postgre_sql "
            "register_azure_my_sql register_dbfs register_hdfs set_as_default unregister",
            "Use stepwell.Datastore in the DAG file or a notebook",
        ),
    ),
    "Keyvault": (("set_secrets delete_secret delete_secrets", "Create an Airflow connection or variable instead"),),
    "Dataset": (
        ("Scenario Model list archive deprecate reactivate register delete_snapshot create_snapshot", _DAG),
        (
            "from_delimited_files from_parquet_files from_json_files from_excel_files from_sql_query "
            "from_pandas_dataframe from_binary_files auto_read_files get",
            "Use Dataset.Tabular, Dataset.File, get_by_name or get_by_id",
        ),
    ),
    "AbstractDataset": (
        ("add_tags remove_tags update unregister_all_versions", "Change registered datasets with stepwell.Dataset"),
        ("get_all get_by_id get_by_name", "Use Dataset.get_all, Dataset.get_by_id, Dataset.get_by_name"),
        ("data_changed_time partition_keys get_partition_key_values as_cache", _READ),
    ),
    "TabularDataset": (
        ("with_timestamp_columns timestamp_columns time_before time_after time_between time_recent", _READ),
        ("partition_by to_parquet_files to_csv_files", _WRITE),
        ("to_dask_dataframe get_profile get_profile_runs submit_profile_run", _READ),
        ("as_mount as_download as_hdfs", "Only a FileDataset is an input by mount, download or URL"),
    ),
    "FileDataset": (
        ("filter file_metadata hydrate to_pandas_dataframe to_spark_dataframe", "Open the files of download()"),
        ("as_mount as_download as_hdfs", _INPUT),
    ),
    "TabularDatasetFactory": (
        ("from_sql_query", _INPUT),
        ("register_pandas_dataframe register_spark_dataframe register_dask_dataframe", _WRITE),
    ),
    "FileDatasetFactory": (("upload_directory", _WRITE),),
}


class NotBuiltError(UserErrorException, AttributeError):
    """A part of v1 that Stepwell's layer does not have."""


class _NotBuilt:
    """Stands where the name would be, on the class and on its instances."""

    def __init__(self, path: str, hint: str) -> None:
        self._path = path
        self._hint = hint

    def __get__(self, instance: object, owner: Any = None) -> NoReturn:
        raise NotBuiltError(f"{self._path} is not built yet inside a step", hint=self._hint)


def says_what_is_not_built(shown: str) -> Callable[[type[T]], type[T]]:
    """Put the names of :data:`TABLE` on a class.

    :param shown: what stands before the name in the message ("run", "Dataset.Tabular").
    """

    def decorate(cls: type[T]) -> type[T]:
        for names, hint in TABLE[cls.__name__]:
            for name in names.split():
                setattr(cls, name, _NotBuilt(f"{shown}.{name}", hint))
        return cls

    return decorate
