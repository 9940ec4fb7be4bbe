"""The web application: the record of a run, its validation reports and its log, for those who may see its DAG.

Without a login: 401. With one that may not see the DAG: 403, also for runs that do not exist, so that nothing is given away.
"""

from __future__ import annotations

from html import escape
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_view
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from stepwell.errors import StepwellError
from stepwell.runtime.names import check_name, check_port
from stepwell.tracking import history
from stepwell.ui.pages import run_page
from stepwell.workspace import Workspace

#: Pages hold their own style and nothing else; a report is user data and runs no script.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_LONGEST_LOG = 2_000_000


def create_app() -> FastAPI:
    """Return the application; every route of it needs a login."""
    app = FastAPI(
        title="Stepwell", docs_url=None, redoc_url=None, openapi_url=None,
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
    )  # fmt: skip

    @app.get("/{workspace}/runs/{run_id}", response_class=HTMLResponse)
    def run(record: RecordDep) -> HTMLResponse:
        """The record of a run, as a page."""
        return HTMLResponse(run_page(record), headers=HEADERS)

    @app.get("/{workspace}/runs/{run_id}/record.json")
    def record(record: RecordDep) -> JSONResponse:
        """The record of a run, as JSON."""
        return JSONResponse(record)

    @app.get("/{workspace}/runs/{run_id}/reports/{name}", response_class=HTMLResponse)
    def report(record: RecordDep, workspace: str, name: str) -> HTMLResponse:
        """The validation report of one output."""
        if name not in record["verdicts"]:
            raise HTTPException(404, f"The run has no gate {name!r}")
        return HTMLResponse(_read(workspace, record, f"gates/{check_port('gate', name)}.html"), headers=HEADERS)

    @app.get("/{workspace}/runs/{run_id}/log", response_class=PlainTextResponse)
    def log(record: RecordDep, workspace: str) -> PlainTextResponse:
        """The step's complete log; of a very long one, the end."""
        data = _read(workspace, record, "logs/step.log")
        return PlainTextResponse(data[-_LONGEST_LOG:], headers=HEADERS)

    @app.get("/tasks", response_class=HTMLResponse)
    def task(
        user: GetUserDep,
        dag_id: Annotated[str, Query()],
        dag_run_id: Annotated[str, Query()],
        task_id: Annotated[str, Query()],
        map_index: Annotated[str, Query()] = "-1",
        workspace: Annotated[str, Query()] = "default",
    ) -> HTMLResponse:
        """The newest run of a task instance: what the tab of the task instance shows."""
        _may_see(user, dag_id)
        index = int(map_index) if map_index.lstrip("-").isdigit() else -1  # unmapped: Airflow leaves the placeholder in
        found = [
            r
            for r in history.runs(Workspace(workspace), dag_id, dag_run_id)
            if r["task_id"] == task_id and r["map_index"] == index
        ]
        if not found:
            body = f"<p>The task {escape(task_id)} is no Stepwell step, or has not begun.</p>"
            return HTMLResponse(body, headers=HEADERS)
        return HTMLResponse(run_page({**found[0], "workspace": workspace}), headers=HEADERS)

    return app


def _may_see(user: Any, dag_id: str | None) -> None:
    details = DagDetails(id=dag_id)
    if not get_auth_manager().is_authorized_dag(
        method="GET", access_entity=DagAccessEntity.RUN, details=details, user=user
    ):
        raise HTTPException(403, "Forbidden")


def _record(workspace: str, run_id: str, user: GetUserDep) -> dict[str, Any]:
    """Return the record of the run in the path, if *user* may see its DAG."""
    try:
        record = history.run(Workspace(workspace), run_id)
    except StepwellError as error:
        _may_see(user, None)  # who may not see all DAGs does not learn which runs there are
        raise HTTPException(404, error.what) from None
    _may_see(user, record["dag_id"])
    return {**record, "workspace": check_name("workspace", workspace)}


RecordDep = Annotated[dict[str, Any], Depends(_record)]


def _read(workspace: str, record: dict[str, Any], path: str) -> str:
    try:
        data = Workspace(workspace).store.read(f"runs/{record['run_id']}/{path}")
    except FileNotFoundError:
        raise HTTPException(404, f"The run has no {path}") from None
    return data.decode("utf-8", errors="replace")
