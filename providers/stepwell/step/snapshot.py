"""A snapshot: the source directory of a step, taken by content, so that the same code is the same digest anywhere."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import stat
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stepwell.errors import SnapshotError
from stepwell.runtime.archive import Member, extract, write
from stepwell.runtime.names import nearest
from stepwell.step.snapshot_cache import Cache, Memory
from stepwell.step.snapshot_rules import Rules, rules_of
from stepwell.step.snapshot_walk import Found, MovingError, Walk, below, cannot_read, check_plain, shown

__all__ = ["Limits", "Snapshot", "SnapshotFile", "check_script", "extract", "take"]

logger = logging.getLogger(__name__)
_MB = 1024 * 1024
#: A walk that finds more than this is somebody's home directory: stop counting.
_HOPELESS = 100_000
#: How often a directory that changes under the walk is looked at.
_TRIES = 3
_MOVING_HINT = "Run the step again; leave out what is written all the time (logs, results) in .amlignore"


@dataclass(frozen=True)
class Limits:
    """How much a snapshot may hold (v1's limits): *bytes* in all and *files*; ``None`` = no limit."""

    bytes: int | None = 300 * _MB
    files: int | None = 2000

    @classmethod
    def from_environment(cls) -> Limits:
        """What STEPWELL_SNAPSHOT_MAX_MB, STEPWELL_SNAPSHOT_MAX_FILES and v1's AML_SNAPSHOT_NO_FILE_LIMIT set.

        :raises SnapshotError: a value is not a whole number above 0.
        """
        files = _limit("STEPWELL_SNAPSHOT_MAX_FILES", 2000)
        if os.environ.get("AML_SNAPSHOT_NO_FILE_LIMIT", "").strip().lower() in ("1", "true", "yes"):
            return cls(_limit("STEPWELL_SNAPSHOT_MAX_MB", 300) * _MB, None)
        return cls(_limit("STEPWELL_SNAPSHOT_MAX_MB", 300) * _MB, files)


@dataclass(frozen=True, order=True)
class SnapshotFile:
    """One file of a snapshot: relative *path*, *size* in bytes, *sha256* in hex, *executable* by its owner."""

    path: str
    size: int
    sha256: str
    executable: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What :func:`take` found.

    :param digest: sha256 over the sorted (path, executable, sha256) of its files: no times, no addresses.
    :param files: the files, in order of path.
    :param size: bytes in all.
    :param source: the source directory, absolute.
    :param left_out: files that look like credentials and were therefore not taken.
    :param by_rule: what else was left out by rule, for people: ``"__pycache__ (3 folders)"``.
    :param earlier: digest of the snapshot that was taken of this directory before, if a cache knows it.
    """

    digest: str
    files: tuple[SnapshotFile, ...]
    size: int
    source: Path = field(compare=False)
    left_out: tuple[str, ...] = field(default=(), compare=False)
    by_rule: tuple[str, ...] = field(default=(), compare=False)
    earlier: str | None = field(default=None, compare=False)

    def write_archive(self, path: str | Path, *, earlier: Path | None = None) -> None:
        """Write the snapshot as a zip file to *path* (aside, then renamed): the same content, the same bytes.

        :param earlier: the archive of another snapshot (that of :attr:`earlier`). Files that it holds as they are now
            are taken from there, which is quicker than packing them again. It may be missing or damaged.
        :raises SnapshotError: a file is no longer what it was when the snapshot was taken, or cannot be read.
        :raises OSError: the archive cannot be written (disk full, …).
        """
        members = [
            Member(f.path, partial(_Checked, self.source, f), f.executable, f.size, f.sha256) for f in self.files
        ]
        write(path, members, earlier=earlier)

    def holds(self, path: str) -> bool:
        """Say whether the file at *path*, relative to the source directory, was taken."""
        i = bisect_left(self.files, path, key=lambda f: f.path)
        return i < len(self.files) and self.files[i].path == path

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: digest, size, files as ``{path: sha256}`` (what a reuse check compares, down to the file)."""
        return {"digest": self.digest, "size": self.size, "files": {f.path: f.sha256 for f in self.files}}


def take(
    source_directory: str | os.PathLike[str],
    *,
    limits: Limits | None = None,
    log: Callable[[str], None] | None = None,
    note: Callable[[str], None] | None = None,
    cache: Path | None = None,
) -> Snapshot:
    """Take the snapshot of *source_directory*.

    :param limits: default :meth:`Limits.from_environment`.
    :param log: gets a line about each file that was left out because it looks like a credential.
    :param note: gets one line about what else was left out by rule (caches, ``.git``, …).
    :param cache: a folder in which digests are remembered, so that files that did not change are not read again.
    :raises SnapshotError: it is no directory, holds too much, a link leads out of it, a file cannot be read or named,
        or it does not hold still.
    """
    root = _root(source_directory)
    limits = limits or Limits.from_environment()
    rules = rules_of(root)
    kept = Cache(cache, root) if cache is not None else None
    known = kept.read() if kept else None
    for tries_left in reversed(range(_TRIES)):
        try:
            walk, files, memory = _look(root, rules, limits, known)
            break
        except MovingError as moving:
            if not tries_left:
                raise SnapshotError(
                    f"{moving.path!r} {moving.what} while the snapshot was taken", hint=_MOVING_HINT
                ) from moving
    digest = hashlib.sha256()
    for file in files:
        digest.update(json.dumps([file.path, file.executable, file.sha256]).encode("utf-8") + b"\n")
    memory.snapshot = digest.hexdigest()
    if kept and memory != known:
        kept.write(memory)
    secrets = tuple(sorted(walk.secrets))
    for path in secrets:
        (log or logger.warning)(
            f"Snapshot: {shown(path)} looks like a credential and is left out; hand secrets to the step as secrets"
        )
    by_rule = _by_rule(walk)
    if by_rule:
        (note or logger.info)(f"Snapshot: left out by rule: {', '.join(by_rule)}")
    return Snapshot(
        memory.snapshot, files, sum(f.size for f in files), root, secrets, by_rule, known.snapshot if known else None
    )


def _look(
    root: Path, rules: Rules, limits: Limits, known: Memory | None
) -> tuple[Walk, tuple[SnapshotFile, ...], Memory]:
    """Walk and hash once; return with them what to remember.

    :raises MovingError: something changed meanwhile.
    """
    memory = Memory(rules.digest)
    walk = Walk(root, rules, known.files if known and known.rules == memory.rules else ())
    found: list[Found] = []
    for item in walk.files():
        found.append(item)
        if len(found) > _HOPELESS and limits.files is not None and len(found) > limits.files:
            break
    found.sort(key=lambda f: f.path)
    _check_limits(root, found, limits)
    files = []
    for item in found:
        info, taken = item.info, time.time_ns()
        sha256 = known.digest_of(item.path, info) if known else None
        if sha256 is None:
            info, sha256 = _hashed(root, item)
            memory.remember(item.path, info, sha256, taken)
        else:
            memory.files[item.path] = known.files[item.path]  # type: ignore[union-attr]
        files.append(SnapshotFile(item.path, info.st_size, sha256, bool(info.st_mode & stat.S_IXUSR)))
    return walk, tuple(files), memory


def _by_rule(walk: Walk) -> tuple[str, ...]:
    kinds = {True: "folders", False: "files"}
    return tuple(
        f"{rule} ({count} {kinds[folder]})" if count > 1 else rule
        for (rule, folder), count in sorted(walk.skipped.items())
        if rule != ".amlignore"
    )


def check_script(source_directory: str | os.PathLike[str], script: str, snapshot: Snapshot | None = None) -> str:
    """Return the path of *script* relative to *source_directory*, with ``/``.

    :param script: relative to the source directory, or absolute and inside it.
    :param snapshot: of that directory, if it was taken already: what it holds need not be looked at again.
    :raises SnapshotError: it lies outside, does not exist, is no file, or is left out of the snapshot.
    """
    root = _root(source_directory)
    if not isinstance(script, (str, os.PathLike)) or not os.fspath(script).strip():
        raise SnapshotError(f"{script!r} is no script name", hint=f"Give the path of a file in {root}")
    given = os.path.normpath(os.path.join(root, os.fspath(script).strip()))
    base = Path(os.path.normpath(os.path.abspath(source_directory)))
    relative = below(given, root) or below(given, base)
    if relative is None or not _inside(root / relative, root):
        raise SnapshotError(
            f"The script should be inside the project folder: {str(script)!r} lies outside {root}",
            hint="Move the script into the source directory, or give another source_directory",
        )
    if snapshot is not None and snapshot.holds(relative):
        return relative
    if not (root / relative).is_file():
        raise SnapshotError(
            f"The script {relative!r} does not exist in {root}",
            hint=f"Nearest names there: {', '.join(nearest(relative, _scripts(root))) or 'none, it holds no script'}",
        )
    reason = rules_of(root).why_path_left_out(relative)
    if reason:
        why = {"always": "by rule", "secret": "because its name looks like a credential"}.get(reason, f"by {reason}")
        raise SnapshotError(
            f"The script {relative!r} is left out of the snapshot {why}", hint="Rename it or take it in"
        )
    return relative


def _root(source_directory: str | os.PathLike[str]) -> Path:
    path = Path(source_directory)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        hint = f"The current directory is {Path.cwd()}" if not path.is_absolute() else None
        raise SnapshotError(f"The source directory {str(source_directory)!r} {what}", hint=hint)
    return path.resolve()


def _inside(path: Path, root: Path) -> bool:
    return below(os.path.realpath(path), root) is not None


def _check_limits(root: Path, found: list[Found], limits: Limits) -> None:
    size = sum(f.info.st_size for f in found)
    problem = None
    if limits.files is not None and len(found) > limits.files:
        more = "more than " if len(found) > _HOPELESS else ""
        problem = f"{more}{len(found)} files; at most {limits.files} are allowed"
        variable = "STEPWELL_SNAPSHOT_MAX_FILES"
    elif limits.bytes is not None and size > limits.bytes:
        problem = f"{size / _MB:.1f} MB; at most {limits.bytes / _MB:.1f} MB are allowed"
        variable = "STEPWELL_SNAPSHOT_MAX_MB"
    if problem is None:
        return
    largest = sorted(found, key=lambda f: (-f.info.st_size, f.path))[:5]
    listing = ", ".join(f"{f.path} ({f.info.st_size / _MB:.1f} MB)" for f in largest)
    raise SnapshotError(
        f"The source directory {root} holds {problem}. The largest: {listing}",
        hint=f"Leave out what the step does not need in .amlignore, or set {variable}",
    )


def _open(root: Path, path: str, flags: int = 0) -> int:
    """Open without waiting: what was a file a moment ago may be a pipe now."""
    return os.open(root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)


def _hashed(root: Path, found: Found) -> tuple[os.stat_result, str]:
    """Return what the file is when it is read, and its sha256.

    :raises MovingError: it is being written, or gone.
    """
    digest, size = hashlib.sha256(), 0
    try:
        handle = _open(root, found.path, 0 if found.link else os.O_NOFOLLOW)
        try:
            before = os.fstat(handle)
            check_plain(before, found.path)
            while size <= before.st_size and (chunk := os.read(handle, _MB)):
                digest.update(chunk)
                size += len(chunk)
            after = os.fstat(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise MovingError(found.path, "became a link") from error
        raise cannot_read(error, found.path) from error
    if size != before.st_size or (before.st_mtime_ns, before.st_ctime_ns) != (after.st_mtime_ns, after.st_ctime_ns):
        raise MovingError(found.path, "was written to")
    return before, digest.hexdigest()


class _Checked(io.FileIO):
    """A file that only reads to its end if it still is what was hashed."""

    def __init__(self, root: Path, file: SnapshotFile) -> None:
        self._file = file
        self._left = file.size
        self._digest = hashlib.sha256()
        try:
            handle = _open(root, file.path)
        except OSError as error:
            raise SnapshotError(f"{file.path!r} cannot be read: {error.strerror}", hint=_MOVING_HINT) from error
        super().__init__(handle)
        try:
            check_plain(os.fstat(handle), file.path)
        except SnapshotError:
            self.close()
            raise

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on; raises SnapshotError if the content is another one."""
        try:
            chunk = super().read(size) or b""
        except OSError as error:
            raise SnapshotError(f"{self._file.path!r} cannot be read: {error.strerror}") from error
        self._digest.update(chunk)
        self._left -= len(chunk)
        if self._left < 0 or (not chunk and self._digest.hexdigest() != self._file.sha256):
            raise SnapshotError(f"{self._file.path!r} changed while the snapshot was taken", hint=_MOVING_HINT)
        return chunk


def _scripts(root: Path) -> list[str]:
    found: list[str] = []
    try:
        for item in Walk(root, rules_of(root)).files():
            if item.path.endswith((".py", ".R", ".r", ".sh")):
                found.append(item.path)
            if len(found) >= 500:
                break
    except (SnapshotError, MovingError):
        pass  # they only help to say what else there is
    return found


def _limit(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) == 0:
        raise SnapshotError(f"{variable} is {text!r}", allowed=["a whole number above 0"])
    return int(text)
