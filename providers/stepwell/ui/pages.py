"""The pages: rendered on the server, self-contained, everything escaped."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stepwell.links import PREFIX
from stepwell.tracking import children as children_of
from stepwell.tracking import decision

if TYPE_CHECKING:
    import jinja2

#: In these states a page looks again by itself, after so many seconds.
REFRESH = {"running": 5}
#: Of more child runs, the best so many are on the page.
SHOWN_CHILDREN = 50
#: The phases of a step in the order of its life; a record has them by name.
PHASES = ("resolve", "snapshot", "reuse", "environment", "submit", "run", "collect", "publish")


def run_page(
    record: dict[str, Any],
    metrics: dict[str, Any],
    workspace: str,
    root: str,
    *,
    children: Sequence[dict[str, Any]] = (),
    automl: str | None = None,
    earlier: Sequence[dict[str, Any]] = (),
    framed: bool = False,
) -> str:
    """Return the page of one run.

    :param record: the run's record.
    :param metrics: its metrics, those that are files opened.
    :param root: the path below which the pages are.
    :param children: its child runs.
    :param automl: the run that has the report of its search, if there is one.
    :param earlier: records of the same task instance's earlier runs.
    :param framed: the page stands inside Airflow's own: it needs no way back there.
    """
    return _render(
        "run.html",
        run=record,
        workspace=workspace,
        root=root,
        earlier=earlier,
        airflow=None if framed else _task_instance(record, root),
        refresh=REFRESH.get(record["status"]),
        phases=_phases(record.get("phases") or {}),
        code=_code(record),
        metrics=_metrics(metrics),
        children=_children(children),
        automl=automl,
    )


def dag_run_page(records: Sequence[dict[str, Any]], workspace: str, root: str) -> str:
    """Return the page of a DAG run: what each step took and made.

    :param records: one for each step, in the order in which they began.
    """
    running = any(record["status"] == "running" for record in records)
    return _render(
        "dag_run.html", runs=records, workspace=workspace, root=root, refresh=REFRESH["running"] if running else None
    )


def message_page(status: int, message: str, login: str | None = None) -> str:
    """Return a page that says why there is no other.

    :param status: the HTTP status.
    :param login: where one can log in, if that would help.
    """
    titles = {401: "You are not logged in", 403: "Not for you", 404: "Nothing here", 503: "Not to be had now"}
    return _render(
        "message.html", title=titles.get(status, f"Error {status}"), message=message, login=login, refresh=None
    )


def _render(template: str, **values: Any) -> str:
    return _templates().get_template(template).render(**values)


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(log_of=decision.has_log, report_of=decision.has_report)
    environment.filters.update(
        told=decision.told,
        when=_when,
        seconds=_seconds,
        figure=_figure,
        score=lambda value: f"{value:.5g}" if _is_number(value) else "",
        size=_size,
        number=_number,
        part=_part,
        figures=_figures,
    )
    return environment


def _phases(phases: dict[str, float]) -> dict[str, float]:
    known = {name: phases[name] for name in PHASES if name in phases}
    return {**known, **phases}


def _code(record: dict[str, Any]) -> str | None:
    """Return in words which commit the source directory was at, if that is known."""
    state = record.get("source_control")
    if not isinstance(state, dict) or not state.get("commit"):
        return None
    dirty = state.get("dirty")
    changes = "" if dirty is None else ", with changes" if dirty else ", without changes"
    return str(state["commit"])[:12] + (f" on {state['branch']}" if state.get("branch") else "") + changes


def _task_instance(record: dict[str, Any], root: str) -> str:
    """Return where Airflow shows the task instance."""
    mapped = f"/mapped/{int(record['map_index'])}" if record["map_index"] >= 0 else ""
    names = (_part(record[name]) for name in ("dag_id", "dag_run_id", "task_id"))
    return f"{root.removesuffix(PREFIX)}/dags/%s/runs/%s/tasks/%s{mapped}" % tuple(names)


# -- child runs --------------------------------------------------------------------------------------------------------


def _children(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the child runs that are shown, the best first, how many there are of each status, and their metric."""
    ranked = children_of.ranked(found)
    metric = children_of.primary_metric(found)
    rows = [_child(child) for child in ranked[:SHOWN_CHILDREN]]
    counts = Counter(str(child["status"]).lower() for child in found)
    scored = any(child["properties"].get("score") is not None for child in found)
    more = len(found) - len(rows)
    return {"rows": rows, "counts": counts, "scored": scored, "metric": metric or "score", "more": more}


def _child(child: dict[str, Any]) -> dict[str, Any]:
    properties, status = child["properties"], str(child["status"]).lower()
    model, pipeline = (str(properties.get(name) or "") for name in ("model", "pipeline"))
    return {
        **child,
        "label": str(properties.get("iteration", child["name"] or child["id"])),
        "tone": {"canceled": "cancelled"}.get(status, status),
        "score": properties.get("score"),
        "pipeline": pipeline or model,
        "model": model if model not in pipeline else "",
        "learnt": properties["rows"] if isinstance(properties.get("rows"), int) else None,
        "figures": _scalars(child["metrics"]),
    }


def _scalars(metrics: dict[str, Any]) -> dict[str, Any]:
    last = {name: v[-1] if isinstance(v, list) and v else v for name, v in metrics.items()}
    return {name: value for name, value in last.items() if not isinstance(value, dict | list)}


# -- metrics -----------------------------------------------------------------------------------------------------------


def _metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics by their form: ``values``, ``series`` (a curve each), ``tables`` (of columns), ``images``."""
    found: dict[str, Any] = {"values": {}, "series": {}, "tables": {}, "images": {}}
    for name, value in metrics.items():
        if isinstance(value, dict) and str(value.get("image")).startswith("data:image/"):
            found["images"][name] = value["image"]
        elif isinstance(value, dict) and value.get("schema_type") == "confusion_matrix":
            found["tables"][name] = _confusion(value.get("data") or {})
        elif isinstance(value, dict):
            columns = {str(k): v if isinstance(v, list) else [v] for k, v in value.items()}
            rows = max((len(column) for column in columns.values()), default=0)
            found["tables"][name] = {
                "columns": list(columns),
                "rows": [[c[i] if i < len(c) else None for c in columns.values()] for i in range(min(rows, 100))],
                "more": max(0, rows - 100),
            }
        elif isinstance(value, list) and len(value) > 1 and all(_is_number(v) for v in value):
            found["series"][name] = {"values": value, "points": _points(value)}
        else:
            found["values"][name] = value
    return found


def _confusion(data: dict[str, Any]) -> dict[str, Any]:
    """Return v1's confusion matrix as a table: a row for each true class."""
    labels = [str(label) for label in data.get("class_labels") or []]
    rows = [[label, *counts] for label, counts in zip(labels, data.get("matrix") or [], strict=False)]
    return {"columns": ["true \N{RIGHTWARDS ARROW} predicted", *labels], "rows": rows, "more": 0}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _points(values: list[float], width: int = 220, height: int = 36) -> str:
    """Return the points of a small curve, as SVG has them; of many values, some."""
    step = max(1, len(values) // width)
    shown = values[::step]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return " ".join(
        f"{2 + i * (width - 4) / max(1, len(shown) - 1):.1f},{2 + (high - v) * (height - 4) / span:.1f}"
        for i, v in enumerate(shown)
    )


# -- words and figures -------------------------------------------------------------------------------------------------


def _part(text: Any) -> str:
    """Return *text* as one part of a path."""
    return quote(str(text), safe="")


def _when(stamp: float | None) -> str:
    return "" if stamp is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(stamp)) + " UTC"


def _seconds(value: float | None) -> str:
    if value is None:
        return "…"
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _figure(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_figure(v) for v in value)
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics that are single figures; of a curve, its last one."""
    last = {name: v[-1] if isinstance(v, list) and v else v for name, v in metrics.items()}
    return {name: value for name, value in last.items() if _is_number(value)}


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _size(value: int | None) -> str:
    if value is None:
        return ""
    amount = float(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
