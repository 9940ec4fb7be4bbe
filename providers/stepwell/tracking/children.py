"""The child runs of a run, while it runs and afterwards, and the best of them by a metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stepwell.errors import StepwellError, UserErrorException
from stepwell.runtime.names import check_name, nearest
from stepwell.tracking import decision, history

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

Child = dict[str, Any]
#: What a child has at least; a record may be of another version.
_EMPTY: Child = {
    "name": "", "parent": None, "status": "", "started": None, "seconds": None, "metrics": {}, "parameters": {},
    "properties": {}, "tags": {}, "error": None,
}  # fmt: skip
_DIRECTIONS = ("max", "min")


def children(ws: Workspace, run_id: str) -> list[Child]:
    """Return the child runs of a run in the order in which they began; of one that was reused, those of the run that
    did the work.

    Each has ``id``, ``name``, ``parent``, ``status`` (``Running``, ``Completed``, ``Failed`` or ``Canceled``),
    ``started`` (seconds since the epoch), ``seconds``, ``metrics``, ``parameters``, ``properties``, ``tags`` and
    ``error``. While the run goes on they are some seconds old.

    :raises UserErrorException: there is no such run.
    """
    return of_record(ws, history.run(ws, run_id))


def of_record(ws: Workspace, record: Mapping[str, Any]) -> list[Child]:
    """Return the child runs of the run that *record* is of; see :func:`children`."""
    made_by = decision.has_files(record)
    try:
        document = ws.store.read_json(f"runs/{check_name('run', made_by)}/children.json")
    except FileNotFoundError:
        return []
    found = [{**_EMPTY, **child} for child in document.get("children") or [] if "id" in child]
    if record.get("status") != "running":
        for child in found:
            if child["status"] == "Running":  # nothing is left that could run: as in v1, it ends with its parent
                child.update(_ENDED if record.get("status") == "completed" else _LOST)
    return found


_ENDED: Child = {"status": "Completed"}
_LOST: Child = {"status": "Canceled", "error": "the step ended before it did"}


def best_child(ws: Workspace, run_id: str, metric: str | None = None, direction: str | None = None) -> Child:
    """Return the child run that is best by *metric*; of equal ones, the first.

    Children that failed or were cancelled, and values that are no numbers, do not count. Of a series, the last value
    does.

    :param metric: a metric's name; None = the primary metric of the search.
    :param direction: ``max`` or ``min``: what is best. It is known of the metrics of AutoML.
    :raises UserErrorException: there are no child runs, none of them has that metric, or it is not known which of its
        values is best.
    """
    record = history.run(ws, run_id)
    found = of_record(ws, record)
    if not found:
        raise none_there(record)
    metric = metric or primary_metric(found)
    there = sorted({name for child in found for name in child["metrics"]})
    if metric is None:
        raise UserErrorException(f"By which metric the best child of run {run_id} is meant is not known", allowed=there)
    if metric not in there:
        raise UserErrorException(
            f"No child of run {run_id} has the metric {metric!r}", allowed=nearest(metric, there) or there
        )
    way = direction or known_direction(metric)
    if way not in _DIRECTIONS:
        what = f"Whether a high or a low {metric!r} is best is not known" if way is None else f"{way!r} is no direction"
        raise UserErrorException(what, allowed=_DIRECTIONS, hint="Say which one is best: --direction, direction=")
    sound = [c for c in found if c["status"] not in ("Failed", "Canceled") and value_of(c, metric) is not None]
    if not sound:
        raise UserErrorException(f"No child of run {run_id} has a {metric!r} that is a number and did not fail")
    return (max if way == "max" else min)(sound, key=_by(lambda child: value_of(child, metric)))


def none_there(record: Mapping[str, Any]) -> UserErrorException:
    """Return the error that says that the run has no child runs."""
    runs = record.get("status") == "running"
    return UserErrorException(
        f"The run {record['run_id']} has no child runs{' yet' if runs else ''}",
        hint="They are there a few seconds after they began"
        if runs
        else "AutoML steps have them, and scripts that call Run.child_run()",
    )


def primary_metric(found: Iterable[Child]) -> str | None:
    """Return the metric that the children are scored by, if that is known."""
    scored = [c for c in found if _number(c["properties"].get("score")) is not None]
    for child in scored:
        if isinstance(name := child["properties"].get("primary_metric"), str):
            return name
    # Else the one that is the score of each of them.
    names = [set(known_names(c, c["properties"]["score"])) for c in scored]
    same = set.intersection(*names) if names else set()
    return min(same) if len(same) == 1 else None


def known_names(child: Child, score: float) -> list[str]:
    """Return which of AutoML's metrics have that value."""
    return [n for n in child["metrics"] if known_direction(n) and value_of(child, n) == score]


def ranked(found: Sequence[Child]) -> list[Child]:
    """Return the children with the best score first; those without one follow in their order."""
    sign = -1 if known_direction(primary_metric(found) or "") != "min" else 1
    scores = {c["id"]: _number(c["properties"].get("score")) for c in found}
    sound = [c for c in found if scores[c["id"]] is not None and c["status"] not in ("Failed", "Canceled")]
    first = sorted(sound, key=_by(lambda child: scores[child["id"]], sign))
    taken = {c["id"] for c in first}
    return [*first, *(c for c in found if c["id"] not in taken)]


def known_direction(metric: str) -> str | None:
    """Return ``max`` or ``min``, whichever is better of one of AutoML's metrics; None if it is none of them."""
    from stepwell.runtime.automl import METRICS

    return next((names[metric] for names in METRICS.values() if metric in names), None)


def value_of(child: Child, metric: str) -> float | None:
    """Return the child's value of a metric, of a series the last one; None if it is no number."""
    value = child["metrics"].get(metric)
    return _number(value[-1] if isinstance(value, list) and value else value)


def read(ws: Workspace, record: Mapping[str, Any]) -> list[Child]:
    """Return the child runs, none if their file is damaged: for a page that has more to show."""
    try:
        return of_record(ws, record)
    except StepwellError:
        return []


def _number(value: Any) -> float | None:
    sound = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if sound else None


def _by(value: Callable[[Child], float | None], sign: int = 1) -> Callable[[Child], float]:
    return lambda child: sign * (value(child) or 0.0)
