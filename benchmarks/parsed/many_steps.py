"""200 steps, each reading what the one before wrote."""

from pathlib import Path

from airflow.sdk import dag

from stepwell import OutputFileDatasetConfig
from stepwell.operators import PythonScriptStepOperator

SOURCE = Path(__file__).parents[1] / "dags" / "source"


@dag(schedule=None, catchup=False)
def many_steps():
    """Hand a dataset on 200 times."""
    before = None
    for number in range(200):
        inputs = [] if before is None else [before.as_input("before").as_download()]
        output = OutputFileDatasetConfig(name="made").as_upload()
        PythonScriptStepOperator(
            task_id=f"step_{number}",
            script_name="nothing.py",
            source_directory=str(SOURCE),
            arguments=["--number", number, *inputs, output],
            inputs=inputs,
            outputs=[output],
            compute_target="local",
        )
        before = output


many_steps()
