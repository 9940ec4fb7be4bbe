"""A step that gets a large file by download and hands a copy on by upload."""

import os
from pathlib import Path

from airflow.sdk import dag

from stepwell import Dataset, OutputFileDatasetConfig, Workspace
from stepwell.operators import PythonScriptStepOperator

SOURCE = Path(__file__).parent / "source"
datastore = Workspace.from_config().get_default_datastore()
large = Dataset.File.from_files((datastore, "large.bin")).as_named_input("large").as_download()


@dag(schedule=None, catchup=False)
def moving():
    """Move it in and out."""
    copy = OutputFileDatasetConfig(name="copy").as_upload().register_on_complete("copy")
    PythonScriptStepOperator(
        task_id="move",
        script_name="copy_file.py",
        source_directory=str(SOURCE),
        arguments=[large, copy],
        inputs=[large],
        outputs=[copy],
        compute_target=os.environ.get("BENCH_TARGET", "local"),
        allow_reuse=False,
    )


moving()
