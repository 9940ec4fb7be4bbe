"""``StepwellPlugin``: Stepwell's pages in Airflow's web interface.

Plugins are loaded in every Airflow process; the application, and FastAPI with it, is built in the web server only.
"""

from __future__ import annotations

import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from stepwell.links import PREFIX, prefix


def _is_web_server() -> bool:
    return "api-server" in sys.argv[1:2]


def _applications() -> list[dict[str, Any]]:
    if not _is_web_server():
        return []
    from stepwell.ui.app import create_app

    return [{"app": create_app(), "url_prefix": PREFIX, "name": "Stepwell"}]


def _tabs() -> list[dict[str, Any]]:
    of = "dag_id={DAG_ID}&dag_run_id={RUN_ID}"  # Airflow fills these in
    return [
        {
            "name": "Stepwell",
            "href": f"{prefix()}/tasks?{of}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}",
            "destination": "task_instance",
            "url_route": "stepwell",
        },
        {
            "name": "Stepwell",
            "href": f"{prefix()}/dag-runs?{of}",
            "destination": "dag_run",
            "url_route": "stepwell-steps",
        },
    ]


class StepwellPlugin(AirflowPlugin):
    """A tab of the task instance and one of the DAG run, and the pages behind the links of steps."""

    name = "stepwell"
    fastapi_apps = _applications()
    external_views = _tabs()
