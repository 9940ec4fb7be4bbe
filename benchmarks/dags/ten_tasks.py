"""Ten bare tasks, one after the other: what Airflow itself costs."""

from airflow.sdk import dag, task
from airflow.sdk.bases.operator import chain


@dag(schedule=None, catchup=False)
def ten_tasks():
    """Do nothing ten times."""

    @task
    def nothing() -> None:
        """Do nothing."""

    chain(*[nothing.override(task_id=f"task_{number}")() for number in range(10)])


ten_tasks()
