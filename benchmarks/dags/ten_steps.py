"""Ten no-op steps on ``local``, one after the other, each in a process of its own as every step."""

from pathlib import Path

from airflow.sdk import dag
from airflow.sdk.bases.operator import chain

from stepwell.operators import PythonScriptStepOperator

SOURCE = Path(__file__).parent / "source"


@dag(schedule=None, catchup=False)
def ten_steps():
    """Run an empty script ten times."""
    chain(
        *[
            PythonScriptStepOperator(
                task_id=f"step_{number}",
                script_name="nothing.py",
                source_directory=str(SOURCE),
                compute_target="local",
                allow_reuse=False,
            )
            for number in range(10)
        ]
    )


ten_steps()
