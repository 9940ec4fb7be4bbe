"""Ten steps, each reading what the one before it made, every output registered: the second time they are reused."""

from pathlib import Path

from airflow.sdk import dag

from stepwell import OutputFileDatasetConfig
from stepwell.operators import PythonScriptStepOperator

SOURCE = Path(__file__).parent / "source"


@dag(schedule=None, catchup=False)
def reused_pipeline():
    """Write a file ten times, each from the one before."""
    before = None
    for number in range(10):
        inputs = [] if before is None else [before.as_input("before").as_download()]
        made = OutputFileDatasetConfig(name="made").as_upload().register_on_complete(f"made_{number}")
        PythonScriptStepOperator(
            task_id=f"step_{number}",
            script_name="write_file.py",
            source_directory=str(SOURCE),
            arguments=["--number", number, *inputs, made],
            inputs=inputs,
            outputs=[made],
            compute_target="local",
        )
        before = made


reused_pipeline()
