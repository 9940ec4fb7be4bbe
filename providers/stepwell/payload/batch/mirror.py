"""Brings up what a job writes, from this machine's disk to the storage: log segments, events, outputs."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterator

from stepwell.payload.batch.places import Place
from stepwell.runtime.protocol import JobDirectory

#: A log segment is written once there is so much that is new, or after so long, in bytes and seconds.
SEGMENT_BYTES, SEGMENT_SECONDS = 4 << 20, 1.0
#: No segment is longer.
LONGEST_SEGMENT = 32 << 20
#: What a script keeps in ``outputs`` is brought up every so often while it runs, unless it is large.
OUTPUTS_SECONDS, LARGE_OUTPUT = 15.0, 32 << 20
_SMALL = 64 << 10
_AT_A_TIME = 4


class Mirror:
    """What of one job is up already.

    :param job: the job directory on this machine.
    :param place: the storage.
    :param top: the job directory there, relative to *place*.
    """

    def __init__(self, job: JobDirectory, place: Place, top: str) -> None:
        self._job = job
        self._place = place
        self._top = top
        self._log_offset = 0
        self._log_at = 0.0
        self._outputs_at = time.monotonic()
        self._events: set[str] = set()
        self._files: dict[str, tuple[int, float]] = {}
        self._made: set[str] = set()

    def tick(self) -> None:
        """Bring up what is new.

        :raises Exception: the storage cannot be reached; what is not up yet is tried again the next time.
        """
        self._log(False)
        self._new_events()
        if time.monotonic() - self._outputs_at >= OUTPUTS_SECONDS:
            self._outputs_at = time.monotonic()
            self._tree("code/outputs", lambda size, age: size <= LARGE_OUTPUT and age > 1.0)

    def finish(self) -> list[str]:
        """Bring up all that the ended job has left but its final status; return the names that the storage refuses."""
        while self._log(True):
            pass
        self._new_events()
        refused: list[str] = []
        for folder in ("outputs", "gates", "code/outputs", "code/logs", "logs"):
            refused += self._tree(folder, lambda size, age: True)
        return refused

    def _log(self, at_once: bool) -> bool:
        """Write the next segment of the log; return whether there was one to write."""
        try:
            size = os.stat(self._job.step_log).st_size
        except FileNotFoundError:
            return False
        new = min(size - self._log_offset, LONGEST_SEGMENT)
        waited = time.monotonic() - self._log_at >= SEGMENT_SECONDS
        if new <= 0 or not (at_once or waited or new >= SEGMENT_BYTES):
            return False
        with open(self._job.step_log, "rb") as file:
            file.seek(self._log_offset)
            data = file.read(new)
        folder = self._top + "/logs/step.log.parts"
        self._make(folder)
        self._bytes(data, f"{folder}/{self._log_offset:015d}")
        self._log_offset += len(data)
        self._log_at = time.monotonic()
        return True

    def _bytes(self, data: bytes, path: str) -> None:
        if len(data) <= _SMALL:
            self._place.write(path, data)
            return
        aside = self._job.below(".segment")  # large ones do not go through the gateway, unless this disk is full
        try:
            with open(aside, "wb") as file:
                file.write(data)
        except OSError:
            self._place.write(path, data)
        else:
            self._place.put(aside, path)
        if os.path.exists(aside):
            os.unlink(aside)

    def _new_events(self) -> None:
        for name in sorted(os.listdir(self._job.events)):
            if name.endswith(".jsonl") and name not in self._events:
                self._place.put(os.path.join(self._job.events, name), self._top + "/events/" + name)
                self._events.add(name)

    def _tree(self, folder: str, wanted: Callable[[int, float], bool]) -> list[str]:
        """Bring up the files below *folder* that have changed; return those that the storage cannot name."""
        todo = []
        for name, path in _files(self._job.below(folder)):
            found = os.stat(path)
            stamp = (found.st_size, found.st_mtime)
            relative = folder + "/" + name
            if relative == "logs/step.log" or self._files.get(relative) == stamp:
                continue
            if wanted(found.st_size, time.time() - found.st_mtime):
                todo.append((relative, path, stamp))
        refused: list[str] = []

        def bring(item: tuple[str, str, tuple[int, float]]) -> None:
            relative, path, stamp = item
            if not can_be_named(relative):
                refused.append(relative)
                return
            self._place.put(path, self._top + "/" + relative)
            self._files[relative] = stamp

        for relative, _, _ in todo:
            if can_be_named(relative):
                self._make(self._top + "/" + os.path.dirname(relative))
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for _ in pool.map(bring, todo):
                pass
        return refused

    def _make(self, folder: str) -> None:
        if folder not in self._made:
            self._place.make(folder)
            self._made.add(folder)


def can_be_named(path: str) -> bool:
    """Return whether a file of that name can be on HDFS: no colon, no control characters, text."""
    if ":" in path or any(ord(c) < 32 for c in path):
        return False
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _files(top: str) -> Iterator[tuple[str, str]]:
    """Yield relative name and path of each file; links are followed only within *top*."""
    real = os.path.realpath(top)
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not os.path.islink(os.path.join(folder, name))]
        for name in names:
            path = os.path.realpath(os.path.join(folder, name))
            if path.startswith(real + os.sep) and os.path.isfile(path):
                yield os.path.relpath(os.path.join(folder, name), top), path
