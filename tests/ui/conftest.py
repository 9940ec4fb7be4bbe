"""The pages' tests: Airflow's real login in front of the real application, and a workspace with a few runs in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow")

from airflow.api_fastapi.app import _AuthManagerState, init_auth_manager, purge_cached_app
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI
from fastapi.testclient import TestClient
from tests.support.records import write_record

from stepwell.links import PREFIX
from stepwell.ui.app import create_app

#: The one DAG that the user ``nina`` may not see.
SECRET_DAG = "payroll"


class PerDagAuthManager(SimpleAuthManager):
    """Airflow's simple auth manager knows roles only; most others know DAGs too."""

    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        """Let everybody see what their role allows, and nina not the secret DAG, nor "all DAGs"."""
        if user.username == "nina" and (details is None or details.id in (SECRET_DAG, None)):
            return False
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)


@pytest.fixture(scope="session")
def database() -> None:
    """The tables that Airflow's login looks into (revoked tokens; of teams, who owns a DAG)."""
    from airflow import settings
    from airflow.models import import_all_models
    from airflow.models.base import Base

    import_all_models()
    Path(settings.AIRFLOW_HOME).mkdir(parents=True, exist_ok=True)
    settings.initialize()
    Base.metadata.create_all(settings.engine)


@pytest.fixture
def app(database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """Airflow's web server, as far as the pages go: the auth manager, and the pages where the plugin mounts them."""
    for name, value in {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "vera:viewer,nina:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(tmp_path / "passwords.json"),
        "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-of-the-tests-that-is-long-enough-for-any-signature-0123456789",
        "STEPWELL_ROOT": str(tmp_path / "workspace"),
    }.items():
        monkeypatch.setenv(name, value)
    purge_cached_app()
    monkeypatch.setattr(_AuthManagerState, "instance", PerDagAuthManager())
    monkeypatch.setattr("airflow.api_fastapi.app.get_auth_manager_cls", lambda: PerDagAuthManager)
    web_server = FastAPI()
    init_auth_manager(web_server)
    web_server.mount(PREFIX, create_app())
    yield web_server
    purge_cached_app()


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """A browser that is not logged in."""
    return TestClient(app, raise_server_exceptions=False, follow_redirects=False)


@pytest.fixture
def log_in(app: FastAPI) -> Callable[..., dict[str, str]]:
    """Return what a request of that user carries."""

    def headers(user: str = "vera", role: str | None = "viewer", cookie: bool = False) -> dict[str, str]:
        manager = app.state.auth_manager
        token = manager.generate_jwt(SimpleAuthManagerUser(username=user, role=role))
        return {"Cookie": f"_token={token}"} if cookie else {"Authorization": f"Bearer {token}"}

    return headers


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., str]:
    """Write a run's record, and files beside it."""

    def write(run_id: str, files: dict[str, str] | None = None, **facts: Any) -> str:
        return write_record(tmp_path / "workspace", run_id, files, **facts)

    return write
