"""What a run has logged: values made plain, and events folded into the shapes that ``Run.get_metrics`` gives in v1."""

from __future__ import annotations

import math
from typing import Any, Iterable, Mapping

Event = Mapping[str, Any]
#: Metric types whose value is a file: they read back as its address.
ARTIFACTS = ("image", "confusion_matrix", "accuracy_table", "residuals", "predictions")


def plain(value: Any) -> Any:
    """Return *value* as a number, string, boolean or None that JSON holds; what is none of these becomes its ``repr``.

    Scalars of numpy become Python's own.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        return value if type(value) in (int, float) else (int(value) if isinstance(value, int) else float(value))
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "ndim", None) == 0:
        converted = item()
        if converted is None or isinstance(converted, (bool, int, float, str)):
            return converted
    return repr(value)


def of_run(events: Iterable[Event], run: str | None = None, scope: str = "run") -> list[Event]:
    """Return the events of one run: the step's own, its pipeline's (*scope* "parent"), or a child's (*run*)."""
    return [e for e in events if e.get("scope", "run") == scope and e.get("run") == run]


def metrics(events: Iterable[Event], name: str | None = None) -> dict[str, Any]:
    """Return metric name → value as v1 reads it back.

    One ``log`` gives a scalar, several give a list in the order of the calls; rows and tables give a dict of columns;
    images and charts give the address of their file.
    """
    found: dict[str, list[Event]] = {}
    for event in events:
        if event.get("kind") == "metric" and (name is None or event["name"] == name):
            found.setdefault(event["name"], []).append(event)
    return {key: _shape(group) for key, group in found.items()}


def tags(events: Iterable[Event]) -> dict[str, str | None]:
    """Return the tags as they are after all events (a removed one has an event that says so)."""
    result: dict[str, str | None] = {}
    for event in events:
        if event.get("kind") == "tag":
            if event.get("removed"):
                result.pop(event["key"], None)
            else:
                result[event["key"]] = event.get("value")
    return result


def properties(events: Iterable[Event]) -> dict[str, str]:
    """Return the properties; the first value of a key stands."""
    result: dict[str, str] = {}
    for event in events:
        if event.get("kind") == "property":
            result.setdefault(event["key"], event["value"])
    return result


def _shape(group: list[Event]) -> Any:
    kinds = {event["type"] for event in group}
    if kinds & set(ARTIFACTS):
        addresses = [f"aml://artifactId/{event.get('artifact')}" for event in group]
        return addresses[0] if len(addresses) == 1 else addresses
    if kinds & {"row", "table"}:
        return _table(group)
    values: list[Any] = []
    for event in group:
        if event["type"] == "list":
            values.extend(event["value"])
        else:
            values.append(event["value"])
    return values[0] if len(values) == 1 and kinds == {"scalar"} else values


def _table(group: list[Event]) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {}
    count = 0
    for event in group:
        cells = event["value"] if isinstance(event["value"], dict) else {}
        listed = {k: v if event["type"] == "table" else [v] for k, v in cells.items()}
        height = max((len(v) for v in listed.values()), default=0)
        for column in list(columns) + [c for c in listed if c not in columns]:
            before = columns.setdefault(column, [None] * count)
            before.extend(listed.get(column, [None] * height))
        count += height
    typed = {column: _one_type(cells) for column, cells in columns.items()}
    if count == 1 and all(event["type"] == "row" for event in group):
        return {column: cells[0] for column, cells in typed.items()}
    return dict(typed)


def _one_type(cells: list[Any]) -> list[Any]:
    """A column keeps the type of its first cell; a cell of another type reads back as None."""
    first = next((c for c in cells if c is not None), None)
    return [c if _kind(c) == _kind(first) else None for c in cells]


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def finite(value: Any) -> Any:
    """Return *value* with NaN and infinities as strings, for readers whose JSON knows none."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list) else value
