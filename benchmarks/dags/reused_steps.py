"""Ten steps with a local output each, one after the other: the second time they are reused."""

from pathlib import Path

from airflow.sdk import dag
from airflow.sdk.bases.operator import chain

from stepwell import OutputFileDatasetConfig
from stepwell.operators import PythonScriptStepOperator

SOURCE = Path(__file__).parent / "source"


@dag(schedule=None, catchup=False)
def reused_steps():
    """Write a file ten times."""
    steps = []
    for number in range(10):
        made = OutputFileDatasetConfig(name="made").as_upload()
        steps.append(
            PythonScriptStepOperator(
                task_id=f"step_{number}",
                script_name="write_file.py",
                source_directory=str(SOURCE),
                arguments=["--number", number, made],
                outputs=[made],
                compute_target="local",
            )
        )
    chain(*steps)


reused_steps()
