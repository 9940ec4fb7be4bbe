"""Metrics that a script logged as files: v1 puts their address into the metric, the page shows what is in them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stepwell.errors import StepwellError
from stepwell.runtime.names import check_below, check_name
from stepwell.tracking import decision

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: How v1 addresses a file of a run.
ADDRESS = "aml://artifactId/"
#: Larger files are left to be fetched, in bytes.
LARGEST = 500_000
#: Where a search leaves its report, in the run's folder.
AUTOML_REPORT = "outputs/automl/report.html"
_IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def opened(ws: Workspace, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run's metrics with the content of files in place of their addresses, where a page can show it.

    An image becomes ``{"image": "data:…"}``; a confusion matrix becomes v1's JSON of it; all else stays as it is. The
    metrics of a run that was reused are its own facts; the files that they name are those of the run that made them.
    """
    metrics = dict(record.get("metrics") or {})
    made_by = decision.has_files(record)
    for name, value in metrics.items():
        if isinstance(value, str) and value.startswith(ADDRESS):
            content = _content(_read(ws, made_by, value.removeprefix(ADDRESS)))
            metrics[name] = value if content is None else content
    return metrics


def automl_report(ws: Workspace, record: Mapping[str, Any]) -> str | None:
    """Return the run that has the report of this run's search; None if there is none (yet)."""
    made_by = decision.has_files(record)
    try:
        return made_by if ws.store.exists(f"runs/{check_name('run', made_by)}/{AUTOML_REPORT}") else None
    except (OSError, StepwellError):
        return None


def _read(ws: Workspace, run_id: str, path: str) -> bytes:
    """Return the file's content; nothing if it is not there, is too large, or is not the run's own."""
    try:
        below = check_below("artifact", path)
        if not below.startswith("outputs/"):
            return b""
        with ws.store.open(f"runs/{check_name('run', run_id)}/{below}") as file:
            data = file.read(LARGEST + 1)
    except (OSError, StepwellError):
        return b""
    return data if len(data) <= LARGEST else b""


def _content(data: bytes) -> dict[str, Any] | None:
    for begin, media_type in _IMAGES.items():
        if data.startswith(begin):
            return {"image": f"data:{media_type};base64,{base64.b64encode(data).decode()}"}
    if data.startswith(b"{"):
        try:
            document = json.loads(data)
        except ValueError:
            return None
        if document.get("schema_type") == "confusion_matrix":
            return dict(document)
    return None
