"""Who may see what: Airflow's login, and for each page the right to see the DAG that it tells of."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.configuration import conf
from airflow.models.dag import DagModel
from fastapi import HTTPException


def may_see(user: Any, dag_id: str | None, entity: DagAccessEntity = DagAccessEntity.TASK_INSTANCE) -> bool:
    """Return whether *user* may read this part of the DAG; ``None`` = of every DAG."""
    team = DagModel.get_team_name(dag_id) if dag_id and conf.getboolean("core", "multi_team", fallback=False) else None
    details = DagDetails(id=dag_id, team_name=team)
    return bool(get_auth_manager().is_authorized_dag(method="GET", access_entity=entity, details=details, user=user))


def require(user: Any, dag_id: str | None, entity: DagAccessEntity = DagAccessEntity.TASK_INSTANCE) -> None:
    """Let pass who may see it.

    :raises HTTPException: 403.
    """
    if not may_see(user, dag_id, entity):
        raise HTTPException(403, "You may not see this DAG")
