"""The plugin as Airflow loads it: once, without an error, with the application in the web server only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("airflow")

SHOW = """
import json, sys
sys.argv = ["airflow", *sys.argv[1:]]
from airflow import plugins_manager
plugins, errors = plugins_manager._get_plugins()
mine = [p for p in plugins if p.name == "stepwell"]
print("RESULT" + json.dumps({
    "plugins": len(mine),
    "errors": {str(k): str(v) for k, v in errors.items()},
    "apps": [a["url_prefix"] for p in mine for a in p.fastapi_apps],
    "views": [[v["destination"], v["url_route"], v["href"]] for p in mine for v in p.external_views],
    "fastapi": "fastapi" in sys.modules and "stepwell.ui.app" in sys.modules,
}))
"""


def loaded(project: Path, tmp_path: Path, *arguments: str, **variables: str) -> dict[str, object]:
    """Load all plugins in a process that was started as ``airflow <arguments>``."""
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(project / "providers"), **variables}
    done = subprocess.run(
        [sys.executable, "-c", SHOW, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout.partition("RESULT")[2])


@pytest.mark.parametrize("command", ["api-server", "scheduler", "triggerer", "dag-processor"])
def test_it_is_loaded_once_and_brings_pages_to_the_web_server_only(project: Path, tmp_path: Path, command: str) -> None:
    """From the entry point and from the plugins folder: one of them stands back."""
    result = loaded(project, tmp_path, command)
    assert result["errors"] == {}
    assert result["plugins"] == 1
    is_web_server = command == "api-server"
    assert result["apps"] == (["/stepwell"] if is_web_server else [])
    assert result["fastapi"] is is_web_server


def test_links_and_tabs_behind_a_proxy_keep_its_path(project: Path, tmp_path: Path) -> None:
    result = loaded(project, tmp_path, "api-server", AIRFLOW__API__BASE_URL="https://example.org/airflow/")
    assert all(href.startswith("/airflow/stepwell/") for _, _, href in result["views"])  # type: ignore[attr-defined]


def test_its_tabs_are_of_a_kind_that_airflow_knows(project: Path, tmp_path: Path) -> None:
    """A wrong destination makes Airflow drop the whole plugin from its list; a route must be unique."""
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    from stepwell.ui.plugin import StepwellPlugin

    views = [ExternalViewResponse.model_validate(view) for view in StepwellPlugin.external_views]
    assert sorted(view.destination for view in views) == ["dag_run", "task_instance"]
    assert len({view.url_route for view in views}) == len(views)
