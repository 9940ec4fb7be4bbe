"""``StepwellPlugin``: Stepwell's pages in Airflow's web interface.

Plugins are loaded in every Airflow process; the application, and FastAPI with it, is built in the web server only.
"""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from stepwell.links import PREFIX

_ON_THE_WEB_SERVER = len(sys.argv) > 1 and sys.argv[1] in ("api-server", "api_server")


def _applications() -> list[dict[str, Any]]:
    if not _ON_THE_WEB_SERVER:
        return []
    from stepwell.ui.app import create_app

    return [{"app": create_app(), "url_prefix": PREFIX, "name": "Stepwell"}]


class StepwellPlugin(AirflowPlugin):
    """A tab of the task instance, and the pages behind the links of steps."""

    name = "stepwell"
    fastapi_apps: ClassVar[list[Any]] = _applications()
    external_views: ClassVar[list[Any]] = [
        {
            "name": "Stepwell",
            "href": f"{PREFIX}/tasks?dag_id={{DAG_ID}}&dag_run_id={{RUN_ID}}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}",
            "destination": "task_instance",
            "url_route": "stepwell",
        }
    ]
