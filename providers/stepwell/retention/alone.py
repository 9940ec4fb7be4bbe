"""One prune at a time in a workspace. Who prunes shows by a counter that he is alive; clocks are never compared."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stepwell.errors import StepwellError, WorkspaceError
from stepwell.runtime import processes
from stepwell.workspace.store import encode

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

PATH = "retention/prune.json"
#: How often the counter moves; one that stands still for longer is that of a dead process. Seconds.
BEAT, SILENT = 5.0, 45.0


@contextmanager
def alone(ws: Workspace, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Be the only one who prunes while the context lasts.

    :param say: is told that a prune that seems dead is waited for.
    :returns: a function that raises if another process has taken over meanwhile (this one was stopped for long).
    :raises WorkspaceError: another process prunes this workspace.
    """
    mine: dict[str, Any] = {"token": uuid.uuid4().hex, "process": processes.identity(), "beat": 0}
    _take(ws, mine, say)
    ended, lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            mine["beat"] += 1
            try:
                if not _change(ws, mine["token"], mine):
                    lost.set()
                    return
            except (StepwellError, OSError):
                continue  # next time, perhaps

    def go_on() -> None:
        if lost.is_set():
            raise WorkspaceError("Another process prunes this workspace by now", hint="Let it end")

    thread = threading.Thread(target=beat, name="stepwell-prune", daemon=True)
    thread.start()
    try:
        yield go_on
    finally:
        ended.set()
        thread.join()
        try:
            _change(ws, mine["token"], None)
        except (StepwellError, OSError):
            pass  # it falls silent, and is taken over


def _take(ws: Workspace, mine: dict[str, Any], say: Callable[[str], None]) -> None:
    seen: dict[str, Any] | None = None
    since = time.monotonic()
    while True:
        with ws.store.lock(PATH):
            there = _read(ws)
            dead = there is not None and _is_dead(there)
            if there is None or dead or (there == seen and time.monotonic() - since > SILENT):
                ws.store.replace(PATH, encode(mine))
                return
        if _is_here(there) or (seen is not None and there != seen):
            process = there.get("process") if isinstance(there.get("process"), dict) else {}
            raise WorkspaceError(
                f"Another process prunes the workspace {ws.name} now (pid {(process or {}).get('pid')})",
                hint="Wait for its end, then run again",
            )
        if seen is None:
            say("Another process was pruning this workspace; looking whether it is still alive")
            seen, since = there, time.monotonic()
        time.sleep(0.5)


def _is_dead(holder: dict[str, Any]) -> bool:
    return _alive(holder) is False


def _is_here(holder: dict[str, Any]) -> bool:
    return _alive(holder) is True


def _alive(holder: dict[str, Any]) -> bool | None:
    """Whether that process lives; None if this machine cannot know."""
    try:
        return processes.is_alive(holder["process"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _read(ws: Workspace) -> dict[str, Any] | None:
    try:
        return ws.store.read_json(PATH)
    except (FileNotFoundError, StepwellError):
        return None  # a damaged one is nobody's


def _change(ws: Workspace, token: str, after: dict[str, Any] | None) -> bool:
    """Write or remove what is there if it is still this token's; return whether it was."""
    with ws.store.lock(PATH):
        there = _read(ws)
        if there is None or there.get("token") != token:
            return False
        if after is None:
            ws.store.delete(PATH)
        else:
            ws.store.replace(PATH, encode(after))
        return True
