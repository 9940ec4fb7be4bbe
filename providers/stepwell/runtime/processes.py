"""Which process is meant: identities that survive the reuse of a pid, and the members of a session.

The launcher is the leader of a session of its own; what a step starts is in that session unless it leaves on purpose,
and known by a variable then.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def here() -> str:
    """Return a name of this process space: pids mean something only in one boot and one pid namespace."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return boot + " " + os.readlink("/proc/self/ns/pid")
    except OSError:
        return os.uname().nodename


def _stat(pid: int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command's name comes second, in parentheses, and may hold anything: cut behind the last one.
            return file.read().decode("utf-8", "replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None


def identity() -> dict[str, Any]:
    """Return what tells this process from every other one, as plain JSON."""
    fields = _stat(os.getpid())
    return {
        "pid": os.getpid(),
        "pgid": os.getpgid(0),
        "session": os.getsid(0),
        "start_time": fields[19] if fields else None,
        "where": here(),
    }


def is_alive(process: dict[str, Any]) -> bool | None:
    """Return whether the process of that :func:`identity` runs; None if this machine cannot know."""
    if process.get("where") != here():
        return None
    pid = int(process["pid"])
    if process.get("start_time") is None:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True
    fields = _stat(pid)
    return fields is not None and fields[0] not in "ZX" and fields[19] == process["start_time"]


def session_members(session: int) -> list[int]:
    """Return the pids of the living processes in *session*, without its leader."""
    members = []
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if name.isdigit() and int(name) != session:
            fields = _stat(int(name))
            if fields is not None and fields[0] not in "ZX" and fields[3] == str(session):
                members.append(int(name))
    return members


def members(leader: int, job: str | None) -> list[int]:
    """Return the pids of all that runs of a job but its launcher: its session, and what left that on purpose.

    :param leader: the launcher, leader of the session.
    :param job: the job directory; whatever a step starts has it in its environment.
    """
    found = session_members(leader)
    if not job:
        return found
    mark, uid = b"STEPWELL_JOB_DIR=" + os.fsencode(job), os.getuid()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in (leader, os.getpid()) or int(name) in found:
            continue
        try:
            if uid not in (0, os.stat("/proc/" + name).st_uid):
                continue
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark not in file.read().split(b"\0"):
                    continue
        except OSError:
            continue
        fields = _stat(int(name))
        if fields is not None and fields[0] not in "ZX":
            found.append(int(name))
    return found


def signal_all(pids: list[int], number: int) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def kill_session_of(process: dict[str, Any]) -> list[int]:
    """Kill what a dead session leader left behind and return the pids.

    Nothing happens when the leader's pid now belongs to another process: then the session is another one, too.
    """
    if process.get("where") != here() or not _is_gone(int(process["pid"])):
        return []
    killed: list[int] = []
    for _ in range(20):  # a member may fork while we look
        left = members(int(process["session"]), process.get("job"))
        if not left:
            break
        signal_all(left, signal.SIGKILL)
        killed.extend(pid for pid in left if pid not in killed)
        time.sleep(0.005)
    if process.get("job"):
        from stepwell.runtime import mounted

        mounted.release(process["job"])
    return killed


def _is_gone(pid: int) -> bool:
    fields = _stat(pid)
    return fields is None or fields[0] in "ZX"


def signal_name(number: int) -> str:
    """Return "SIGKILL" for 9; the number itself when it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
