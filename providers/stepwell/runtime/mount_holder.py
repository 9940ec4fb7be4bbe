"""Mounts for a launcher that runs in a container, held on the host: ``mount_holder.py <job directory> <uid>``.

The command returns when everything is mounted, and leaves a process behind that holds and watches it until the job has
ended. Launcher and holder know of each other by ``mounts.json`` in the job directory only: there the holder writes down
how the mounts are, and that it lives.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from stepwell.runtime.mount_holder import main as _main

    sys.exit(_main(sys.argv[1:]))

import fcntl
import signal
import time

from stepwell.runtime import processes, protocol
from stepwell.runtime.mounts import CLOSED, INSTEAD, READY, Mount, MountError, Mounts, in_words, place_of, wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

LOOK_SECONDS = 0.2  #: how often a holder looks whether its job has ended
SILENT_SECONDS = 20.0  #: a holder that has not been heard of for so long is taken for dead


class HeldOutside:
    """The mounts of a launcher that somebody else holds; see :class:`stepwell.runtime.mounts.Mounts`."""

    def __init__(self, job: protocol.JobDirectory, items: list[dict[str, Any]], say: Callable[[str], None]) -> None:
        self.job = job
        self.say = say
        self.mounts = [Mount(item, place_of(job, number)) for number, item in enumerate(items)]

    def open(self, stop: Callable[[], bool]) -> None:
        """Make sure that they are there."""
        lost = self.look()
        if lost is not None:
            raise MountError(lost)
        for mount in protocol.read_json(self.job.mounts_note)["mounts"]:
            self.say(in_words(mount["input"], mount["uri"], mount["how"]))

    def look(self) -> str | None:
        """Return which input was lost, in words; None if none was."""
        try:
            note = protocol.read_json(self.job.mounts_note)
            age = time.time() - os.stat(self.job.mounts_note).st_mtime
        except (OSError, ValueError):
            note, age = {"state": CLOSED}, 0.0
        if note["state"] != READY:
            return note.get("reason") or f"the inputs are not mounted any more. {INSTEAD}"
        if note.get("holder") and age > SILENT_SECONDS:
            return f"the inputs were lost: who holds their mounts has not been heard of for {age:.0f} s"
        return None

    def check(self) -> str | None:
        """Return which input is lost, by what is seen from here: the holder may be about to find out."""
        told = self.look()
        if told is not None:
            return told
        for mount in (m for m in self.mounts if m.can_be_lost):
            probe = mount.ask()
            answer = probe.answer()
            while answer is None:
                time.sleep(0.01)
                answer = probe.answer()
            probe.end()
            if answer:
                return mount.lost(answer)
        return None

    def abort(self) -> None:
        """Do nothing: their holder does it."""

    close = abort

    def pids(self) -> list[int]:
        """Return none."""
        return []


def main(arguments: list[str]) -> int:
    """Mount what ``job.json`` says; return 0 when that is done, 1 if it cannot be, and why on stderr."""
    job = protocol.JobDirectory(os.path.abspath(arguments[0]))
    readable, writable = os.pipe()
    if os.fork():
        os.close(writable)
        with os.fdopen(readable, "rb") as answer:  # until the holder has said it, or is gone
            said = answer.read()
        if said == b"ready":
            return 0
        sys.stderr.write(said.decode("utf-8", "replace") or "the process that was to hold the mounts has died")
        return 1
    os.close(readable)
    os.setsid()
    log = os.open(job.below("mount_holder.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(descriptor, number)
    try:
        _hold(job, int(arguments[1]), writable)
    finally:
        os._exit(0)  # the rest of the program is the other process's


def _hold(job: protocol.JobDirectory, uid: int, answer: int) -> None:
    over = [False]

    def stop(*_: object) -> None:
        over[0] = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    document = protocol.read_json(job.document)
    held = Mounts(job, wanted(document), lambda _: None, shared=True, reader=uid)
    with open(job.below(".mounts.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if not _is_held(job):
                held.open(lambda: over[0])
        except (MountError, OSError) as error:
            os.write(answer, str(error).encode("utf-8", "replace"))
            return
        os.write(answer, b"ready")
        os.close(answer)
    if held.state != READY:
        return  # somebody else holds them
    lease = float(document.get("lease_seconds") or 86400)
    try:
        while not over[0] and held.look() is None and _is_wanted(job, lease):
            os.utime(job.mounts_note)
            time.sleep(LOOK_SECONDS)
    finally:
        held.close()


def _is_held(job: protocol.JobDirectory) -> bool:
    try:
        note: dict[str, Any] = protocol.read_json(job.mounts_note)
    except (OSError, ValueError):
        return False
    return note["state"] == READY and processes.is_alive(note["holder"]) is True


def _is_wanted(job: protocol.JobDirectory, lease: float) -> bool:
    if os.path.exists(job.final) or not os.path.exists(job.document):
        return False
    try:
        return time.time() - os.stat(job.lease).st_mtime < lease
    except OSError:
        return True
