"""The maintenance DAG: it removes things, so it waits until somebody unpauses it."""

from __future__ import annotations

from pathlib import Path

from airflow.dag_processing.dagbag import DagBag


def test_it_is_weekly_paused_when_it_is_first_seen_and_takes_its_values_from_params(project: Path) -> None:
    bag = DagBag(str(project / "dags" / "maintenance.py"))
    assert not bag.import_errors
    dag = bag.dags["stepwell_maintenance"]
    assert dag.is_paused_upon_creation is True
    assert dag.max_active_runs == 1
    assert {name: param.value for name, param in dag.params.items()} == {
        "older_than": "30d",
        "keep": 10,
        "dry_run": False,
    }
    task = dag.get_task("prune")
    task.render_template_fields({"params": {"older_than": "2w", "keep": 3, "dry_run": True}})
    assert (task.older_than, task.keep, task.only_say) == ("2w", "3", "True")
