"""One bare task."""

from airflow.sdk import dag, task


@dag(schedule=None, catchup=False)
def one_task():
    """Do nothing."""

    @task
    def nothing() -> None:
        """Do nothing."""

    nothing()


one_task()
