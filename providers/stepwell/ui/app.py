"""The web application: the record of a run, its validation reports and its log, for those who may see its DAG.

Without a login: 401. With one that may not see the DAG: 403, also for runs that do not exist, so that nothing is given
away. A run that was reused has its log and its reports in another run, maybe of another DAG: who asks for them is sent
there, and asked again whether they may see that one. Every answer carries a policy under which it runs no script and
loads nothing: logs, reports and names are user data.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any, BinaryIO

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_view
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from stepwell.errors import StepwellError, UserErrorException
from stepwell.runtime.names import PORT, check_name
from stepwell.tracking import children, decision, history
from stepwell.ui import artifacts, pages
from stepwell.ui.access import require
from stepwell.workspace import Workspace

#: Pages hold their own style and nothing else. Airflow shows them in a frame of its own.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_CHUNK = 64 * 1024


def create_app() -> FastAPI:
    """Return the application; every route of it needs a login."""
    app = FastAPI(
        title="Stepwell", docs_url=None, redoc_url=None, openapi_url=None,
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
    )  # fmt: skip
    app.add_api_route("/tasks", task_page)
    app.add_api_route("/dag-runs", dag_run_page)
    app.add_api_route("/{workspace}/runs/{run_id}", run_page)
    app.add_api_route("/{workspace}/runs/{run_id}/record.json", record_document)
    app.add_api_route("/{workspace}/runs/{run_id}/reports/{name}", report_page)
    app.add_api_route("/{workspace}/runs/{run_id}/automl", automl_page)
    app.add_api_route("/{workspace}/runs/{run_id}/log", log_text)
    app.add_exception_handler(StarletteHTTPException, _refusal)
    app.add_exception_handler(StepwellError, _trouble)
    app.middleware("http")(_with_headers)
    return app


# -- who asks for what -------------------------------------------------------------------------------------------------


def _workspace(workspace: str = "default") -> Workspace:
    try:
        return Workspace(workspace)
    except UserErrorException as error:
        raise HTTPException(404, error.what) from None


WorkspaceDep = Annotated[Workspace, Depends(_workspace)]


def _record(workspace: WorkspaceDep, run_id: str, user: GetUserDep) -> dict[str, Any]:
    """Return the record of the run in the path, if *user* may see its DAG."""
    try:
        record = history.run(workspace, run_id)
    except UserErrorException:
        require(user, None)  # who may not see all DAGs does not learn which runs there are
        raise HTTPException(404, f"There is no run {run_id!r} in the workspace {workspace.name}") from None
    require(user, record["dag_id"])
    return record


RecordDep = Annotated[dict[str, Any], Depends(_record)]
Asked = Annotated[str, Query(max_length=1000)]


# -- the pages ---------------------------------------------------------------------------------------------------------


def run_page(request: Request, workspace: WorkspaceDep, record: RecordDep) -> Response:
    """The record of a run, as a page."""
    return HTMLResponse(_page_of(request, workspace, record))


def record_document(record: RecordDep) -> Response:
    """The record of a run, as JSON."""
    return JSONResponse(record)


def report_page(request: Request, workspace: WorkspaceDep, record: RecordDep, name: str) -> Response:
    """The validation report of one output."""
    if not PORT.fullmatch(name) or name not in record["verdicts"]:
        raise HTTPException(404, f"The run has no gate {name!r}")
    if (there := decision.has_report(record, name)) != record["run_id"]:
        return _elsewhere(request, workspace, there, f"reports/{name}")
    return _stream(workspace, record, f"gates/{name}.html", "text/html; charset=utf-8")


def automl_page(request: Request, workspace: WorkspaceDep, record: RecordDep) -> Response:
    """The report of an AutoML search."""
    if (there := decision.has_files(record)) != record["run_id"]:
        return _elsewhere(request, workspace, there, "automl")
    return _stream(workspace, record, artifacts.AUTOML_REPORT, "text/html; charset=utf-8")


def log_text(request: Request, workspace: WorkspaceDep, record: RecordDep, user: GetUserDep) -> Response:
    """The step's complete log."""
    require(user, record["dag_id"], DagAccessEntity.TASK_LOGS)
    if (there := decision.has_log(record)) != record["run_id"]:
        return _elsewhere(request, workspace, there, "log")
    return _stream(workspace, record, "logs/step.log", "text/plain; charset=utf-8")


def task_page(
    request: Request,
    user: GetUserDep,
    workspace: WorkspaceDep,
    dag_id: Asked,
    dag_run_id: Asked,
    task_id: Asked,
    map_index: Asked = "-1",
) -> Response:
    """The newest run of a task instance: what the task instance's tab shows."""
    require(user, dag_id)
    index = int(map_index) if map_index.isdecimal() else -1  # unmapped: Airflow leaves its placeholder in
    found = history.of_task(workspace, dag_id, dag_run_id, task_id, index)
    if not found:
        raise HTTPException(404, f"The task {task_id} is no step of Stepwell, or has not begun yet")
    newest, *earlier = found
    return HTMLResponse(_page_of(request, workspace, newest, earlier=earlier, framed=True))


def dag_run_page(
    request: Request, user: GetUserDep, workspace: WorkspaceDep, dag_id: Asked, dag_run_id: Asked
) -> Response:
    """The steps of a DAG run: what the DAG run's tab shows."""
    require(user, dag_id)
    found = history.of_dag_run(workspace, dag_id, dag_run_id)
    if not found:
        raise HTTPException(404, "No step of Stepwell has begun in this DAG run")
    return HTMLResponse(pages.dag_run_page(found, workspace.name, _root(request)))


# -- answers -----------------------------------------------------------------------------------------------------------


def _root(request: Request) -> str:
    """Return the path below which the pages are, as the browser sees it: behind a proxy there is more before it."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def _page_of(request: Request, workspace: Workspace, record: dict[str, Any], **more: Any) -> str:
    """Return the page of a run, with what stands in files beside its record."""
    return pages.run_page(
        record,
        artifacts.opened(workspace, record),
        workspace.name,
        _root(request),
        children=children.read(workspace, record),
        automl=artifacts.automl_report(workspace, record),
        **more,
    )


def _elsewhere(request: Request, workspace: Workspace, run_id: str, path: str) -> Response:
    """Send the browser to another run's page, which looks at the rights to that run's DAG."""
    try:
        check_name("run", run_id)
    except UserErrorException as error:
        raise HTTPException(404, error.what) from None
    return RedirectResponse(f"{_root(request)}/{workspace.name}/runs/{run_id}/{path}")


def _stream(workspace: Workspace, record: dict[str, Any], path: str, media_type: str) -> Response:
    """Return a file of the run, a piece at a time: a log can be long."""
    try:
        file = workspace.store.open(f"runs/{check_name('run', record['run_id'])}/{path}")
    except FileNotFoundError:
        raise HTTPException(404, f"The run has no {path}, or not yet: it comes when the job has ended") from None
    return StreamingResponse(_pieces(file), media_type=media_type)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_CHUNK):
            yield piece


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(HEADERS)
    return response


async def _refusal(request: Request, error: Exception) -> Response:
    """Say in a page what a browser would else show as JSON."""
    if not isinstance(error, StarletteHTTPException):
        raise error
    if "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, error)
    login = get_auth_manager().get_url_login(next_url=str(request.url)) if error.status_code == 401 else None
    page = pages.message_page(error.status_code, str(error.detail), login)
    return HTMLResponse(page, error.status_code, error.headers)


async def _trouble(request: Request, error: Exception) -> Response:
    """The workspace cannot be read: its storage is down, or it is another one."""
    return await _refusal(request, StarletteHTTPException(503, getattr(error, "what", "The workspace cannot be read")))
