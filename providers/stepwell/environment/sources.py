"""Libraries that people edit where they are imported from: whether they changed, by the stamps of their files."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator

SUFFIXES = (".py", ".so", ".json", ".toml")
MOST_FILES = 5_000
MOST_ENTRIES = 4 * MOST_FILES  # other files cost time too
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")
_LEFT_OUT = ("__pycache__", "node_modules", "site-packages")


class _TooLargeError(Exception):
    pass


def digest(sources: Iterable[str], python: str, tell: Callable[[str], None] | None = None) -> str | None:
    """Return a digest of the files' relative paths, sizes and times of change; where the folders are does not count.

    Looked at are files that end in one of :data:`SUFFIXES`, not in hidden folders, caches or other environments.

    :param sources: folders and files, there or not.
    :param python: the interpreter that imports from them, for the message.
    :param tell: gets one line if there is too much to look at.
    :returns: ``None`` if there are more than :data:`MOST_FILES` such files or :data:`MOST_ENTRIES` in all: whether one
        changed is not known.
    """
    look = _Look()
    whole = hashlib.sha256()
    for source in sources:
        try:
            for line in look.at(source):
                whole.update(line)
        except _TooLargeError:
            if tell is not None:
                tell(
                    f"{source}, from which {python} imports, is too large to be looked at: steps with it are not reused"
                )
            return None
    return whole.hexdigest()


class _Look:
    """One look at all sources: the bound is over all, and a folder that is reached twice is looked at once."""

    def __init__(self) -> None:
        self.files = self.entries = 0
        self.seen: set[tuple[int, int]] = set()

    def at(self, source: str) -> Iterator[bytes]:
        try:
            info = os.stat(source)
        except (OSError, ValueError):  # not there, or no path at all
            yield b"none\n"
            return
        yield b"source\n"
        if not stat.S_ISDIR(info.st_mode):
            yield _line(os.fsencode(os.path.basename(source)), info)
            return
        below = [(source, b"", info)]
        while below:
            folder, relative, info = below.pop()
            if (info.st_dev, info.st_ino) in self.seen:
                continue  # a link back, or a source within another
            self.seen.add((info.st_dev, info.st_ino))
            for entry in self._entries(folder, inner=bool(relative)):
                name = relative + os.fsencode(entry.name)
                try:
                    if entry.is_dir():
                        if not entry.name.startswith(".") and entry.name not in _LEFT_OUT:
                            below.append((entry.path, name + b"/", entry.stat()))
                    elif entry.name.endswith(SUFFIXES):
                        self._count()
                        yield _line(name, entry.stat())
                except OSError:  # a link to nowhere, or gone meanwhile
                    continue

    def _entries(self, folder: str, *, inner: bool) -> list[os.DirEntry[str]]:
        """Return what is in *folder*, in order; nothing if it is an environment, or may not be read."""
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            return []
        self.entries += len(entries)
        if self.entries > MOST_ENTRIES:
            raise _TooLargeError
        return [] if inner and any(entry.name in _ENVIRONMENT for entry in entries) else entries

    def _count(self) -> None:
        self.files += 1
        if self.files > MOST_FILES:
            raise _TooLargeError


def _line(name: bytes, info: os.stat_result) -> bytes:
    # Not the time of status change: it is another one on each machine that unpacks the same image.
    return b"%r %d %d\n" % (name, info.st_size, info.st_mtime_ns)
