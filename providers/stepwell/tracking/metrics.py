"""From the events of a job to metrics in v1's exact shapes.

The first ``log`` of a name reads back as a scalar, repeated ones as a list; rows and tables as a dict of columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def metrics_of(events: Iterable[dict[str, Any]], scope: str | None = None) -> dict[str, Any]:
    """Return name → value, list of values, or dict of columns.

    :param scope: only metrics of the step's own ``run``, or of its ``parent``; ``None`` = both.
    """
    metrics: dict[str, Any] = {}
    seen: dict[str, list[Any]] = {}
    for event in events:
        if event.get("kind") != "metric" or (scope and event.get("scope", "run") != scope):
            continue
        name, value, kind = event["name"], event["value"], event.get("type", "scalar")
        earlier = seen.setdefault(name, [])
        earlier.append(value)
        if kind == "scalar":
            metrics[name] = value if len(earlier) == 1 else list(earlier)
        elif kind == "list":
            metrics[name] = [item for values in earlier for item in (values if isinstance(values, list) else [values])]
        elif kind in ("row", "table"):
            metrics[name] = _columns(earlier, single=kind == "row" and len(earlier) == 1)
        else:
            metrics[name] = value
    return metrics


def tags_of(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the last value of each tag."""
    return {e["key"]: e.get("value") for e in events if e.get("kind") == "tag"}


def _columns(rows: list[Any], *, single: bool) -> dict[str, Any]:
    if single:
        return dict(rows[0])
    columns: dict[str, list[Any]] = {}
    length = 0
    for row in rows:
        added = {k: v if isinstance(v, list) else [v] for k, v in row.items()}
        longest = max((len(v) for v in added.values()), default=0)
        for name in {**columns, **added}:
            columns.setdefault(name, [None] * length).extend(added.get(name, [None] * longest))
        length += longest
    return columns
