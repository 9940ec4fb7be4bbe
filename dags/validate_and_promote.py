"""Data from elsewhere gets a good name only after a look at it.

    airflow dags test validate_and_promote

``passengers_raw`` is registered as it comes. ``ValidateDatasetOperator`` judges that version by a Great Expectations
suite and, if it passes, registers the same files as ``passengers_checked``: readers of that name never see data that
nobody has judged. Nothing is copied. The suite finds missing ages worth a warning, so the verdict here is "warned",
which is no failure.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import dag, task

from stepwell import Dataset, Workspace
from stepwell.hooks import WorkspaceHook
from stepwell.operators import ValidateDatasetOperator

INCLUDE = Path(os.environ.get("STEPWELL_INCLUDE", Path(__file__).parents[1] / "include"))

ws = Workspace.from_config()
datastore = ws.get_default_datastore()


@dag(schedule=None, catchup=False, tags=["stepwell", "example"], doc_md=__doc__)
def validate_and_promote():
    """Register, judge and promote, look."""

    @task
    def register() -> dict:
        """Register the list as it is, and hand on the reference of this very version."""
        datastore.upload_files([INCLUDE / "data" / "Titanic.csv"], target_path="arrivals", overwrite=True)
        table = Dataset.Tabular.from_delimited_files((datastore, "arrivals/Titanic.csv"))
        registered = table.register(ws, "passengers_raw", tags={"source": "example"}, create_new_version=True)
        return WorkspaceHook().get_reference("passengers_raw", registered.version)

    check = ValidateDatasetOperator(
        task_id="check",
        dataset=register(),
        suite=str(INCLUDE / "expectations" / "passengers.json"),
        on_failure="fail",
        promote_as="passengers_checked",
    )

    @task
    def look(reference: dict) -> str:
        """Say what the good name stands for now."""
        said = (
            f"{reference['dataset']} version {reference['version']}: {reference['rows']} rows, {reference['verdict']}"
        )
        print(said)
        return said

    look(check.output["dataset"])


validate_and_promote()
