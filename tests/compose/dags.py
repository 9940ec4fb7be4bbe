"""DAGs of the tests of docker-compose.yaml, beside the examples."""

from __future__ import annotations

from airflow.sdk import dag

from stepwell.operators import CommandStepOperator


@dag(schedule=None)
def compose_two_workers():
    """Eight steps of some seconds: twice as many as one worker takes at a time."""
    CommandStepOperator.partial(task_id="meet", command=["sleep", "6"], allow_reuse=False).expand(
        environment_variables=[{"NUMBER": str(number)} for number in range(8)]
    )


compose_two_workers()
