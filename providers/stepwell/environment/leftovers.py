"""What a build that was killed left running: noted when it starts, ended before the next build of the same key."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from stepwell.runtime import processes

_PATIENCE_SECONDS = 10.0


def note(path: Path, pid: int) -> None:
    """Write down that the program *pid*, the leader of a session of its own, is at work."""
    path.write_text(
        json.dumps({"pid": pid, "session": pid, "start_time": _start_time(pid), "where": processes.here()}),
        encoding="utf-8",
    )


def end(path: Path) -> bool:
    """End what *path* tells of, if it still runs on this machine; return whether it did."""
    try:
        process = json.loads(path.read_text(encoding="utf-8"))
        alive = processes.is_alive(process) if process["start_time"] is not None else False
    except (OSError, ValueError, KeyError, TypeError):
        return False  # nothing noted, or half a note: the writer was killed before the program did anything
    if alive:
        try:
            os.killpg(int(process["pid"]), signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        until = time.monotonic() + _PATIENCE_SECONDS
        while processes.is_alive(process) and time.monotonic() < until:
            time.sleep(0.01)
    killed = processes.kill_session_of(process)
    path.unlink(missing_ok=True)
    return bool(alive or killed)


def _start_time(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
