"""The child runs of a step: folded from its job's events while it runs, and kept in ``runs/<run id>/children.json``.

A script makes them with v1's ``Run.child_run()``, a search has one for each trial.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stepwell.step.logged import KEPT_VALUES, clean, shaped, shortened

if TYPE_CHECKING:
    from stepwell.compute.contract import Handle, Target
    from stepwell.workspace import Workspace

FORMAT = 1
#: How often to look for news of a job's child runs, in seconds.
PAUSE = 3.0
#: Looking and writing takes at most one part in so many of a worker's time.
_SHARE = 20
#: v1's states of a run that is over.
ENDED = frozenset({"Completed", "Failed", "Canceled"})
_LONGEST_TEXT = 4000
_log = logging.getLogger(__name__)


@dataclass
class _Child:
    """What is known of one child run.

    :param first: the time of its first event; None = there was none that says that it is one.
    :param last: the time of the newest event that gave its state: segments of two processes may come out of order.
    :param logged: metric → its events, of a script that logs them one by one.
    :param encoded: it as JSON; None = to be made anew.
    """

    id: str
    first: float | None = None
    last: float = -math.inf
    facts: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)
    logged: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    encoded: bytes | None = None

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take an event of kind ``child``; a script may have written anything into it."""
        at = float(event.get("t") or 0.0)
        newer = at >= self.last
        self.first = at if self.first is None else min(self.first, at)
        for part in ("metrics", "parameters", "properties"):
            if isinstance(given := event.get(part), dict):
                old: dict[str, Any] = getattr(self, part)
                setattr(self, part, {**old, **given} if newer else {**given, **old})
        for name in ("name", "parent"):
            if isinstance(text := event.get(name), str) and (newer or name not in self.facts):
                self.facts[name] = text[:_LONGEST_TEXT]
        if _is_number(event.get("started")):
            self.facts["started"] = float(event["started"])
        if newer:
            self.last = at
            error = event.get("error")
            self.facts["status"] = str(event.get("state") or "Running")[:40]
            self.facts["error"] = None if error is None else str(error)[:_LONGEST_TEXT]
            self.facts["seconds"] = float(event["seconds"]) if _is_number(event.get("seconds")) else None

    def log(self, event: Mapping[str, Any]) -> None:
        """Take an event of a metric, tag or property that the script logged in this child run."""
        kind, name = event["kind"], event.get("name" if event["kind"] == "metric" else "key")
        if not isinstance(name, str):
            return
        if kind == "metric":
            group = self.logged.setdefault(name, [])
            group.append(dict(event))
            if len(group) > 2 * KEPT_VALUES:
                del group[:-KEPT_VALUES]
        elif kind == "property":
            self.properties.setdefault(name, event.get("value"))
        elif event.get("removed"):
            self.tags.pop(name, None)
        else:
            self.tags[name] = event.get("value")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that JSON can hold."""
        from stepwell.payload.metrics import finite

        started: float = self.facts.get("started", self.first or 0.0)
        seconds, status = self.facts.get("seconds"), self.facts.get("status", "Running")
        if seconds is None and status in ENDED:
            seconds = max(0.0, self.last - started)
        metrics, counts = shortened({**clean(finite(self.metrics)), **shaped(self.logged)})
        found: dict[str, Any] = {
            "id": clean(self.id),
            "name": clean(self.facts.get("name") or self.id),
            "parent": clean(self.facts.get("parent")),
            "status": clean(status),
            "started": started,
            "seconds": None if seconds is None else round(seconds, 3),
            "metrics": metrics,
            "parameters": clean(finite(self.parameters)),
            "properties": clean(finite(self.properties)),
            "tags": clean(finite(self.tags)),
            "error": clean(self.facts.get("error")),
        }
        return {**found, "metric_counts": counts} if counts else found


class ChildRuns:
    """Child runs, folded from events as they come; what has not changed costs nothing again."""

    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}

    def feed(self, events: Iterable[Mapping[str, Any]]) -> bool:
        """Take more events; return whether they say anything of child runs."""
        changed = False
        for event in events:
            kind = event.get("kind")
            own = kind in ("metric", "tag", "property")
            identity = event.get("run") if own else event.get("id") if kind == "child" else None
            if not isinstance(identity, str) or not identity or len(identity) > _LONGEST_TEXT:
                continue
            child = self._children.setdefault(identity, _Child(identity))
            child.encoded = None
            changed = True
            (child.log if own else child.tell)(event)
        return changed

    def to_list(self) -> list[dict[str, Any]]:
        """Return them in the order in which they began."""
        return [json.loads(self._encoded(child)) for child in self._ordered()]

    def to_bytes(self) -> bytes:
        """Return the content of ``children.json``: a line for each."""
        lines = b",\n".join(self._encoded(child) for child in self._ordered())
        return b'{"format": %d, "children": [\n%s\n]}\n' % (FORMAT, lines)

    def __bool__(self) -> bool:
        return any(child.first is not None for child in self._children.values())

    def _ordered(self) -> list[_Child]:
        # What only logged something may be a child whose own event is still to come.
        known = [child for child in self._children.values() if child.first is not None]
        return sorted(known, key=lambda child: child.first or 0.0)

    @staticmethod
    def _encoded(child: _Child) -> bytes:
        if child.encoded is None:
            try:
                child.encoded = _line(child.to_dict())
            except (TypeError, ValueError, RecursionError, OverflowError) as error:
                _log.warning("What the child run %r says of itself cannot be kept: %s", child.id, type(error).__name__)
                child.encoded = _line(_Child(child.id, child.first, child.last, child.facts).to_dict())
        return child.encoded


def fold(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the child runs that *events* of a job tell of, in the order in which they began.

    Each has ``id``, ``name``, ``parent``, ``status`` (v1's words), ``started`` (seconds since the epoch), ``seconds``,
    ``metrics`` (in v1's shapes), ``parameters``, ``properties``, ``tags`` and ``error``.
    """
    children = ChildRuns()
    children.feed(events)
    return children.to_list()


class ChildRecord:
    """``children.json`` of one run; there is none while the run has no child runs.

    :param folder: the run's folder in the workspace.
    """

    def __init__(self, ws: Workspace, folder: str) -> None:
        self.ws = ws
        self.path = f"{folder}/children.json"
        self._lock = threading.Lock()
        self._over = False

    async def follow(
        self, target: Target, handle: Handle, log: logging.Logger, mine: Callable[[], bool], pause: float = PAUSE
    ) -> None:
        """Write down the job's child runs as they come, until cancelled; whatever goes wrong costs the step nothing.

        :param mine: whether the step is still this try's: one that has been overtaken writes nothing more.
        """
        follower = ChildFollower(self, target, handle, log, mine)
        spent = 0.0
        while not follower.over:
            await asyncio.sleep(max(pause, _SHARE * spent))
            began = time.monotonic()
            await follower.look()
            spent = time.monotonic() - began

    def finish(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Write down what all *events* of the ended job say of child runs; nothing else is written after that."""
        children = ChildRuns()
        children.feed(events)
        with self._lock:  # a write that is under way is let end
            self._over = True
            if children:
                self.ws.store.replace(self.path, children.to_bytes())

    def _write(self, children: ChildRuns) -> None:
        if not children:
            return
        data = children.to_bytes()
        with self._lock:
            if not self._over:
                self.ws.store.replace(self.path, data, durable=False)


class ChildFollower:
    """Writes down the child runs of one job as they come; whatever goes wrong costs the step nothing.

    :param mine: whether the step is still this try's: one that has been overtaken writes nothing more.
    """

    __slots__ = (
        "_children",
        "_handle",
        "_log",
        "_mine",
        "_record",
        "_seen",
        "_target",
        "_troubled",
        "_unwritten",
        "over",
    )

    def __init__(
        self, record: ChildRecord, target: Target, handle: Handle, log: logging.Logger, mine: Callable[[], bool]
    ) -> None:
        self._record = record
        self._target = target
        self._handle = handle
        self._log = log
        self._mine = mine
        self._children = ChildRuns()
        self._seen: set[str] = set()
        self._troubled = self._unwritten = False
        #: There is nothing more to do: somebody else has the step.
        self.over = False

    async def look(self) -> bool:
        """Look for news; return whether there were any."""
        news = False
        try:
            if self._children.feed(await self._target.events(self._handle, self._seen)):
                news = self._unwritten = True
            if self._unwritten:
                if not await asyncio.to_thread(self._mine):
                    self.over = True
                    return news
                await asyncio.to_thread(self._record._write, self._children)
                self._unwritten = False
        except Exception as error:
            if not self._troubled:
                self._log.warning("The child runs cannot be followed for now; they are kept at the end: %s", error)
            self._troubled = True
        return news


def _line(child: Mapping[str, Any]) -> bytes:
    return json.dumps(child, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
