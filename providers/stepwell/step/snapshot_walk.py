"""The walk through a source directory: which files there are, what is left out, and what cannot be taken."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from stepwell.errors import SnapshotError
from stepwell.runtime.archive import ArchiveError, check_member_name
from stepwell.step.snapshot_rules import Rules, rule_for

#: Links to folders can multiply what is below them without end.
_MAX_LINKED_FOLDERS = 10_000
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
_LEAVE_OUT = "leave it out in .amlignore"
_LINK_HINT = f"Copy what it leads to into the source directory, or {_LEAVE_OUT}"
_KINDS = {
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class MovingError(Exception):
    """Something changed or vanished while it was looked at: looking again may help.

    :param path: relative to the source directory.
    """

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        self.path = path
        self.what = what


@dataclass(frozen=True)
class Found:
    """One file that belongs to the snapshot.

    :param path: relative to the source directory.
    :param info: of the file, or of the one to which the link leads.
    :param link: it is a link.
    """

    path: str
    info: os.stat_result
    link: bool


class Walk:
    """One walk.

    :param rules: what is left out.
    :param known: files that the same rules let pass before; they need not be asked about again.
    """

    def __init__(self, root: Path, rules: Rules, known: Collection[str] = ()) -> None:
        self.root = root
        self.rules = rules
        self.secrets: set[str] = set()
        self.skipped: Counter[tuple[str, bool]] = Counter()
        self._files = known
        self._folders: set[str] = set()
        for path in known:
            while (path := path.rpartition("/")[0]) and path not in self._folders:
                self._folders.add(path)

    def files(self) -> Iterator[Found]:
        """Yield all files that belong to the snapshot; *secrets* and *skipped* fill as it goes.

        :raises SnapshotError: a link leads out or back, a name or a kind of file cannot be taken, a folder not be read.
        :raises MovingError: something vanished between being listed and being looked at.
        """
        top = str(self.root)
        todo: list[tuple[str, str, tuple[str, ...]]] = [("", top, (top,))]
        linked = 0
        while todo:
            folder, place, above = todo.pop()
            entries = self._entries(folder, place)
            if folder and any(e.name == "pyvenv.cfg" for e in entries):
                self.skipped["virtual environment", True] += 1  # never source code
                continue
            below = []
            for entry in entries:
                relative = f"{folder}/{entry.name}" if folder else entry.name
                link = entry.is_symlink()
                is_folder = os.path.isdir(entry.path) if link else entry.is_dir()
                if not self._belongs(relative, link, is_folder):
                    continue
                if is_folder:
                    # Only a link can lead back up: everything else is below what it is in.
                    real = os.path.realpath(entry.path) if link else f"{above[-1]}/{entry.name}"
                    if real in above:
                        raise SnapshotError(f"The link {relative!r} leads back to a folder above it", hint=_LINK_HINT)
                    linked += link or above[-1] != place
                    if linked > _MAX_LINKED_FOLDERS:
                        raise SnapshotError(
                            f"Links lead to more than {_MAX_LINKED_FOLDERS} folders, at last by {relative!r}",
                            hint=_LINK_HINT,
                        )
                    below.append((relative, entry.path, (*above, real)))
                else:
                    yield Found(relative, _stat(entry, relative), link)
            todo += reversed(below)

    def _entries(self, folder: str, place: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(place) as entries:
                return sorted(entries, key=lambda e: e.name)
        except OSError as error:
            raise _unreadable(error, folder, f"The folder {folder or place!r} cannot be read") from error

    def _belongs(self, relative: str, link: bool, folder: bool) -> bool:
        if not link and relative in (self._folders if folder else self._files):
            return True
        if self._left_out(relative, folder) or (link and self._left_out(self._target(relative), folder)):
            return False
        try:
            check_member_name(relative)
        except ArchiveError as error:
            raise SnapshotError(error.what, hint=error.hint) from error
        return True

    def _left_out(self, relative: str, folder: bool) -> bool:
        reason = self.rules.why_left_out(relative, folder=folder)
        if reason == "secret":
            self.secrets.add(relative)
        elif reason == "always":
            self.skipped[rule_for(relative, folder=folder), folder] += 1
        return reason is not None

    def _target(self, relative: str) -> str:
        """Where the link *relative* leads, relative to the root."""
        real = os.path.realpath(self.root / relative)
        inside = below(real, self.root)
        if inside is None and real != str(self.root):
            raise SnapshotError(
                f"The link {relative!r} leads out of the source directory, to {shown(real)}", hint=_LINK_HINT
            )
        if not os.path.exists(real):
            raise SnapshotError(f"The link {relative!r} leads to {shown(real)}, which does not exist", hint=_LINK_HINT)
        return inside or "."


def below(path: str, root: Path) -> str | None:
    """Return *path* relative to *root* if it lies below it, else ``None``. Looks at the names only."""
    relative = os.path.relpath(path, root)
    return None if relative in (".", "..") or relative.startswith("../") else relative


def shown(path: str) -> str:
    """Return *path* as it can be printed: a name that is not UTF-8, or breaks the line, is escaped."""
    return path if path.isprintable() else repr(path)[1:-1]


def check_plain(info: os.stat_result, relative: str) -> None:
    """Refuse what is no plain file, before anybody opens it: a pipe would wait for ever.

    :raises SnapshotError: it is a pipe, a socket or a device.
    """
    if not stat.S_ISREG(info.st_mode):
        kind = _KINDS.get(stat.S_IFMT(info.st_mode), "of another kind")
        raise SnapshotError(
            f"{relative!r} is neither a file nor a folder: it is {kind}", hint=f"Remove it, or {_LEAVE_OUT}"
        )


def cannot_read(error: OSError, relative: str) -> SnapshotError | MovingError:
    """The error to raise about a file that could not be looked at or read."""
    return _unreadable(error, relative, f"{relative!r} cannot be read")


def _unreadable(error: OSError, relative: str, what: str) -> SnapshotError | MovingError:
    if error.errno in _GONE:
        return MovingError(relative, "vanished")
    hint = None
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = f"Let user {os.geteuid()} read it, or {_LEAVE_OUT}"
    return SnapshotError(f"{what}: {error.strerror}", hint=hint)


def _stat(entry: os.DirEntry[str], relative: str) -> os.stat_result:
    try:
        info = entry.stat()
    except OSError as error:
        raise cannot_read(error, relative) from error
    check_plain(info, relative)
    return info
