"""What a step has logged, in the shapes that its record holds: metrics as v1 gives them back, tags."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

#: How many values of a series a record holds, the last ones; ``metrics.json`` beside it holds them all.
KEPT_VALUES = 1000
#: A series longer than this is on XCom by its last value and its length.
BRIEF_VALUES = 100
_log = logging.getLogger(__name__)


def metrics_of(events: list[dict[str, Any]], scope: str) -> dict[str, Any]:
    """Return the step's own metrics, or those for its DAG run, in v1's shapes; NaN as text, which JSON can hold."""
    from stepwell.payload import metrics as tracked

    groups: dict[str, list[dict[str, Any]]] = {}
    for event in tracked.of_run(events, scope=scope):
        if event.get("kind") == "metric" and isinstance(event.get("name"), str):
            groups.setdefault(event["name"], []).append(dict(event))
    return shaped(groups)


def shaped(groups: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the metrics that events give, which come by the metric's name.

    An event that is not one of a metric, whatever the script wrote, costs its metric and nothing else.
    """
    from stepwell.payload import metrics as tracked

    found: dict[str, Any] = {}
    for name, group in groups.items():
        try:
            found |= {clean(name): clean(tracked.finite(v)) for v in tracked.metrics(group).values()}
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            _log.warning("The metric %r cannot be read and is left out: %s", name, type(error).__name__)
    return found


def tags_of(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the step's own tags."""
    from stepwell.payload import metrics as tracked

    sound = [e for e in tracked.of_run(events) if e.get("kind") == "tag" and isinstance(e.get("key"), str)]
    return {clean(key): clean(tracked.finite(value)) for key, value in tracked.tags(sound).items()}


def clean(value: Any) -> Any:
    """Return *value* without what UTF-8 cannot hold (halves of surrogate pairs)."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {clean(k): clean(v) for k, v in value.items()}
    return [clean(v) for v in value] if isinstance(value, list) else value


def _series(value: Any) -> int | None:
    """Return how many values a series has, or rows a table; None for a single value."""
    if isinstance(value, list):
        return len(value)
    if isinstance(value, dict):
        return max((len(v) for v in value.values() if isinstance(v, list)), default=None)
    return None


def _last(value: Any, count: int) -> Any:
    if isinstance(value, dict):
        return {k: v[-count:] if isinstance(v, list) else v for k, v in value.items()}
    return value[-count:]


def shortened(metrics: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """Return *metrics* with the last values only of long series, and how many values each of these has in truth."""
    counts = {name: n for name, v in metrics.items() if (n := _series(v)) is not None and n > KEPT_VALUES}
    return {n: _last(v, KEPT_VALUES) if n in counts else v for n, v in metrics.items()}, counts


def brief_metrics(metrics: Mapping[str, Any], counts: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return *metrics* for XCom: of a long series ``{"last": its last value or row, "count": how many there are}``.

    :param counts: the true lengths of the series that the record has shortened: its ``metric_counts``.
    """
    brief = {}
    for name, value in metrics.items():
        count = (counts or {}).get(name) or _series(value)
        if count is None or count <= BRIEF_VALUES:
            brief[name] = value
        elif isinstance(value, dict):
            last = {k: (v[-1] if v else None) if isinstance(v, list) else v for k, v in value.items()}
            brief[name] = {"last": last, "count": count}
        else:
            brief[name] = {"last": value[-1], "count": count}
    return brief
