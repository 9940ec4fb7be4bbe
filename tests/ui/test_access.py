"""Nobody sees a page without a login, or of a DAG that they may not see. (Not with `all_admins`: then all is open.)"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from stepwell.links import PREFIX
from stepwell.ui.app import create_app

RUN_ID = "titanic.prepare.0123456789-g1"
SECRET_ID = "payroll.pay.0123456789-g1"
DAG_RUN = "manual__2026-01-01T00:00:00+00:00"

Headers = Callable[..., dict[str, str]]
Write = Callable[..., str]


def addresses(run_id: str, dag_id: str, task_id: str) -> list[str]:
    """An address of every route that there is: a new one cannot be forgotten, because it has no value here."""
    values = {"workspace": "default", "run_id": run_id, "name": "prepared"}
    query = f"?dag_id={dag_id}&task_id={task_id}&dag_run_id={DAG_RUN.replace('+', '%2B')}"
    found = []
    for route in create_app().routes:
        assert isinstance(route, APIRoute), f"{route} is not behind the application's dependencies"
        assert route.methods == {"GET"}, "a route that changes something needs more than the right to read"
        found.append(PREFIX + route.path.format(**values) + query)
    return found


ROUTES = addresses(RUN_ID, "titanic", "prepare")
SECRET_ROUTES = addresses(SECRET_ID, "payroll", "pay")


@pytest.fixture(autouse=True)
def runs(write_run: Write) -> None:
    files = {
        "gates/prepared.html": "<p>the report</p>",
        "logs/step.log": "the log",
        "outputs/automl/report.html": "<p>the search</p>",
    }
    write_run(RUN_ID, files)
    write_run(SECRET_ID, files, dag_id="payroll", task_id="pay", step="pay", target="vault")


def test_there_are_routes() -> None:
    assert len(ROUTES) >= 7


@pytest.mark.parametrize("address", ROUTES)
def test_without_a_login_401(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 401
    assert "prepare" not in answer.text


@pytest.mark.parametrize("address", ROUTES)
def test_with_a_token_that_is_none_403(client: TestClient, address: str) -> None:
    for headers in ({"Authorization": "Bearer nonsense"}, {"Cookie": "_token=nonsense"}):
        assert client.get(address, headers=headers).status_code in (401, 403)


@pytest.mark.parametrize("address", ROUTES)
def test_with_a_revoked_token_403(app: FastAPI, client: TestClient, log_in: Headers, address: str) -> None:
    headers = log_in()
    assert client.get(address, headers=headers).status_code == 200
    app.state.auth_manager.revoke_token(headers["Authorization"].removeprefix("Bearer "))
    assert client.get(address, headers=headers).status_code == 403


@pytest.mark.parametrize("address", ROUTES)
def test_without_any_role_403(client: TestClient, log_in: Headers, address: str) -> None:
    assert client.get(address, headers=log_in("rolf", role=None)).status_code == 403


@pytest.mark.parametrize("address", SECRET_ROUTES)
def test_of_a_dag_that_one_may_not_see_403(client: TestClient, log_in: Headers, address: str) -> None:
    answer = client.get(address, headers=log_in("nina"))
    assert answer.status_code == 403
    assert "vault" not in answer.text
    assert client.get(address, headers=log_in("vera")).status_code == 200


@pytest.mark.parametrize("address", ROUTES)
@pytest.mark.parametrize("cookie", [False, True])
def test_with_permission_200(client: TestClient, log_in: Headers, address: str, cookie: bool) -> None:
    """A frame and a link carry the cookie; scripts carry the token."""
    assert client.get(address, headers=log_in("nina", cookie=cookie)).status_code == 200


@pytest.mark.parametrize("address", [a for a in addresses("nobody.1-g1", "titanic", "other") if "/runs/" in a])
def test_whether_a_run_exists_is_told_to_those_who_may_see_all(
    client: TestClient, log_in: Headers, address: str
) -> None:
    assert client.get(address, headers=log_in("vera")).status_code == 404
    assert client.get(address, headers=log_in("nina")).status_code == 403


def test_a_browser_is_told_where_to_log_in(client: TestClient) -> None:
    answer = client.get(ROUTES[2], headers={"Accept": "text/html"})
    assert answer.status_code == 401
    assert "/auth/login?next=" in answer.text
    assert 'target="_top"' in answer.text


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/"])
def test_there_is_no_other_page(client: TestClient, path: str) -> None:
    assert client.get(PREFIX + path).status_code == 404


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_changed(client: TestClient, log_in: Headers, method: str) -> None:
    for address in ROUTES:
        assert getattr(client, method)(address, headers=log_in()).status_code == 405


def test_teams_are_told_apart(
    client: TestClient, log_in: Headers, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With several teams, Airflow asks which one owns the DAG."""
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    monkeypatch.setattr(
        "airflow.models.dag.DagModel.get_team_name", lambda dag_id, **_: "finance" if dag_id == "payroll" else None
    )
    for address in SECRET_ROUTES:
        assert client.get(address, headers=log_in("vera")).status_code == 403
    for address in ROUTES:
        assert client.get(address, headers=log_in("vera")).status_code == 200
