"""The example DAGs that need no Spark run, one after another in this process (Airflow boots once)."""

from __future__ import annotations

from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SMALL = ["workspace_objects", "python_step_local", "command_step", "validate_and_promote"]


@pytest.mark.integration
@pytest.mark.parametrize("name", SMALL)
def test_example_runs_twice(name: str, airflow_database: None, folder: Path) -> None:
    """Twice in one workspace: what the first run has made is found, and datasets get their next version."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(PROJECT / "dags" / f"{name}.py"))
    assert not bag.import_errors
    dag = bag.dags[name]
    assert dag.doc_md, "its documentation is the module's docstring"
    assert dag.test().state == "success"
    assert dag.test().state == "success"


def test_small_examples_leave_what_they_promise(airflow_database: None, folder: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    from stepwell import Workspace
    from stepwell.data import registry
    from stepwell.tracking import history

    for name in ("python_step_local", "command_step"):
        assert DagBag(str(PROJECT / "dags" / f"{name}.py")).dags[name].test().state == "success"
    ws = Workspace()
    assert registry.names(ws) == ["survival_by_class", "titanic_women"]
    runs = {record["step"]: record for record in history.runs(ws, "python_step_local")}
    assert runs["best"]["metrics"] == {"best_class": 1}
    assert runs["best"]["inputs"]["table"]["version"] == 1
    assert runs["count"]["metrics"]["passengers"] == 891
    assert runs["count"]["metrics"]["survival"]["pclass"] == ["1", "2", "3"]
