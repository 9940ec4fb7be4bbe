"""Once a week: remove old runs, their unregistered outputs, snapshots, leftovers, environments that nobody uses.

    airflow stepwell prune                          # says what would go
    airflow dags unpause stepwell_maintenance

It is paused when it is first seen: unpausing it is what says that things may be removed. Registered versions and their
files stay. With the param ``dry_run`` a run only writes into its log what would go.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import Param, dag

from stepwell.operators import PruneOperator


@dag(
    dag_id="stepwell_maintenance",
    schedule="@weekly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    params={
        "older_than": Param("30d", type="string", description="Runs that ended later are kept: 30d, 36h, 2w"),
        "keep": Param(10, type="integer", minimum=0, description="Completed runs of each step that are kept"),
        "dry_run": Param(False, type="boolean", description="Only say what would go"),
    },
    tags=["stepwell", "example"],
    doc_md=__doc__,
)
def maintenance():
    """Prune the default workspace."""
    PruneOperator(
        task_id="prune",
        older_than="{{ params.older_than }}",
        keep="{{ params.keep }}",
        dry_run="{{ params.dry_run }}",
    )


maintenance()
