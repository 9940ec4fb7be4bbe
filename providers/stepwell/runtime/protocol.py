"""The job directory: names of its parts, and how they are written so that no reader ever sees half of one.

Core writes it, the launcher and the payload read it, on every compute target the same. Kept to few and light imports:
the launcher's start-up time is a cost of every step.
"""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False  # typing itself would cost the launcher some milliseconds
if TYPE_CHECKING:
    import threading
    from typing import Any

#: Version of the job directory's layout, in ``job.json``.
FORMAT = 1
#: The states in ``final.json``.
SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"

FLUSH_EVENTS = 200
FLUSH_SECONDS = 0.5


class JobDirectory:
    """The paths of one job directory, as strings.

    :param path: the job directory on this machine.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.document = self.below("job.json")
        self.secrets = self.below("secrets.json")
        self.code = self.below("code")
        self.inputs = self.below("inputs")
        self.resume = self.below("resume")
        self.outputs = self.below("outputs")
        self.gates = self.below("gates")
        self.logs = self.below("logs")
        self.step_log = self.below("logs", "step.log")
        self.driver_stdout = self.below("logs", "azureml", "driver", "stdout")
        self.driver_stderr = self.below("logs", "azureml", "driver", "stderr")
        self.events = self.below("events")
        self.final = self.below("events", "final.json")
        self.lease = self.below("lease")
        self.pid = self.below("pid")
        self.owner = self.below("owner")
        self.cancel = self.below("cancel")
        self.queued = self.below("queued")
        self.claim = self.below(".claim")
        self.mounts = self.below("mounts")
        self.mounts_note = self.below("mounts.json")

    def below(self, *parts: str) -> str:
        """Return the path of a part of this directory."""
        return os.path.join(self.path, *parts)


def to_bytes(obj: Any, errors: str = "strict") -> bytes:
    """Return *obj* as the bytes of a JSON file (names in order, so that equal objects give equal bytes)."""
    return (json.dumps(obj, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n").encode("utf-8", errors)


def read_json(path: str) -> Any:
    """Return what the JSON file holds.

    :raises FileNotFoundError: there is none.
    :raises ValueError: it is not JSON.
    """
    with open(path, "rb") as file:
        return json.loads(file.read().decode("utf-8"))


def _write_aside(path: str, data: bytes, mode: int) -> str:
    aside = f"{path}.{os.getpid()}-{time.perf_counter_ns()}.tmp"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except BaseException:
        os.unlink(aside)
        raise
    return aside


def write_bytes(path: str, data: bytes, mode: int = 0o644) -> None:
    """Write the file whole or not at all, replacing an older one."""
    aside = _write_aside(path, data, mode)
    try:
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def create_bytes(path: str, data: bytes, mode: int = 0o644) -> None:
    """Write the file whole, if nobody has.

    :raises FileExistsError: somebody has; the file is left as it was.
    """
    aside = _write_aside(path, data, mode)
    try:
        os.link(aside, path)
    finally:
        os.unlink(aside)


def write_json(path: str, obj: Any, mode: int = 0o644) -> None:
    """Write *obj* as JSON, whole or not at all, replacing an older file."""
    write_bytes(path, to_bytes(obj), mode)


def create_json(path: str, obj: Any, mode: int = 0o644) -> None:
    """Write *obj* as JSON, whole, if nobody has.

    :raises FileExistsError: somebody has; the file is left as it was.
    """
    create_bytes(path, to_bytes(obj), mode)


def final_document(status: str, reason: str, **more: Any) -> dict[str, Any]:
    """Return the content of ``final.json`` with every key in place, for those who have little to say."""
    now = time.time()
    document: dict[str, Any] = {
        "status": status, "reason": reason, "phase": None, "exit_code": None, "signal": None,
        "started": None, "ended": now, "last_lines": [], "phases": [],
    }  # fmt: skip
    document.update(more)
    return document


class EventWriter:
    """Writes events (metrics, tags, phases, …) as numbered segments; a segment is never changed once it has its name.

    Events are kept for at most half a second or 200 events; :meth:`flush` writes them at once. Safe in threads, and in
    forked processes: a child starts with an empty buffer, what the parent had not written stays the parent's.

    :param directory: the ``events`` directory (made when missing).
    :param writer: who writes: "launcher", "step" or "gate".
    """

    def __init__(self, directory: str, writer: str) -> None:
        self._directory = directory
        self._writer = writer
        self._next = 0
        self._reset()

    def _reset(self) -> None:
        import threading

        self._process = os.getpid()
        self._lock = threading.RLock()
        self._buffer: list[bytes] = []
        self._timer: threading.Timer | None = None

    def add(self, kind: str, **fields: Any) -> None:
        """Note an event; *fields* must be JSON. Text that is none (a file's name in another encoding) gets "?"."""
        line = to_bytes(dict(fields, kind=kind, t=time.time()), "replace")
        if os.getpid() != self._process:
            self._reset()
        with self._lock:
            self._buffer.append(line)
            if len(self._buffer) >= FLUSH_EVENTS:
                self.flush()
            elif self._timer is None:
                import threading

                self._timer = threading.Timer(FLUSH_SECONDS, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def write(self, kind: str, **fields: Any) -> None:
        """Note an event and write it at once."""
        self._segment(to_bytes(dict(fields, kind=kind, t=time.time())))

    def flush(self) -> None:
        """Write what is noted. Call it at the end of the process.

        :raises OSError: it cannot be written; the events are kept for the next attempt.
        """
        if os.getpid() != self._process:
            self._reset()
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._buffer:
                self._segment(b"".join(self._buffer))
                self._buffer.clear()

    def _segment(self, data: bytes) -> None:
        os.makedirs(self._directory, exist_ok=True)
        while True:
            path = os.path.join(self._directory, f"{self._writer}-{self._next:06d}.jsonl")
            self._next += 1
            if os.path.exists(path):  # another process of the same step: its segments and ours interleave
                continue
            try:
                return create_bytes(path, data)
            except FileExistsError:
                continue


def parse_event(line: bytes, segment: str) -> dict[str, Any]:
    """Return the event on one line of a segment, with its time under ``t``.

    A line that is not a JSON object (a step may write what it likes) becomes ``{"kind": "unreadable", "segment": …}``.
    """
    try:
        event = json.loads(line.decode("utf-8"))
        if not isinstance(event, dict):
            raise ValueError
        event["t"] = float(event.get("t", 0))
    except (ValueError, TypeError, OverflowError, RecursionError):
        event = {"kind": "unreadable", "segment": segment, "t": 0.0}
    return event


def read_events(directory: str) -> list[dict[str, Any]]:
    """Return all events written so far, in the order of their times, each as :func:`parse_event` reads it."""
    events: list[dict[str, Any]] = []
    try:
        segments = sorted(name for name in os.listdir(directory) if name.endswith(".jsonl"))
    except FileNotFoundError:
        return events
    for segment in segments:
        with open(os.path.join(directory, segment), "rb") as file:
            events.extend(parse_event(line, segment) for line in file)
    events.sort(key=lambda event: event["t"])
    return events


def read_final(directory: str) -> dict[str, Any] | None:
    """Return the final status that stands in the ``events`` *directory*, or None while there is none."""
    try:
        final = read_json(os.path.join(directory, "final.json"))
    except FileNotFoundError:
        return None
    except ValueError:
        final = None
    if isinstance(final, dict) and final.get("status") in (SUCCEEDED, FAILED, CANCELLED):
        return final
    return final_document(FAILED, "final.json is not readable")
