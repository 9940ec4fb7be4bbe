"""Running DAGs as ``airflow dags test`` does, all in this process: Airflow is started once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from support.surroundings import DAGS


def load(name: str, file: Path | None = None) -> Any:
    """Return the DAG *name* of ``benchmarks/dags/<name>.py``, or of another *file*."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(file or DAGS / f"{name}.py"))
    if bag.import_errors:
        raise RuntimeError(str(bag.import_errors))
    return bag.dags[name]


def run(dag: Any) -> tuple[float, Any]:
    """Run *dag* and return the seconds it took, and its run.

    :raises RuntimeError: it did not succeed.
    """
    began = time.perf_counter()
    dag_run = dag.test()
    seconds = time.perf_counter() - began
    if dag_run.state != "success":
        raise RuntimeError(f"The DAG {dag.dag_id} ended as {dag_run.state}")
    return seconds, dag_run


def handed_on(dag_run: Any, key: str) -> dict[str, Any]:
    """Return task → what it put on XCom under *key*."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(XComModel).where(XComModel.run_id == dag_run.run_id, XComModel.key == key)
    with create_session() as session:
        return {row.task_id: XComModel.deserialize_value(row) for row in session.scalars(query).all()}
