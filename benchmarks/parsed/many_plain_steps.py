"""200 steps, one after the other."""

from pathlib import Path

from airflow.sdk import dag
from airflow.sdk.bases.operator import chain

from stepwell.operators import PythonScriptStepOperator

SOURCE = Path(__file__).parents[1] / "dags" / "source"


@dag(schedule=None, catchup=False)
def many_plain_steps():
    """Run a script 200 times."""
    chain(
        *[
            PythonScriptStepOperator(
                task_id=f"step_{number}",
                script_name="nothing.py",
                source_directory=str(SOURCE),
                compute_target="local",
            )
            for number in range(200)
        ]
    )


many_plain_steps()
