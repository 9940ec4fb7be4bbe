"""200 bare tasks, one after the other."""

from airflow.sdk import dag, task
from airflow.sdk.bases.operator import chain


@dag(schedule=None, catchup=False)
def many_tasks():
    """Do nothing 200 times."""

    @task
    def nothing() -> None:
        """Do nothing."""

    chain(*[nothing.override(task_id=f"task_{number}")() for number in range(200)])


many_tasks()
