"""A snapshot: the source directory of a step, taken by content, so that the same code is the same digest anywhere."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from stepwell.errors import SnapshotError
from stepwell.runtime.archive import ArchiveError, Member, check_member_name, extract, write
from stepwell.runtime.names import nearest
from stepwell.step.snapshot_rules import Rules, rules_of

__all__ = ["Limits", "Snapshot", "SnapshotFile", "check_script", "extract", "take"]

logger = logging.getLogger(__name__)
_MB = 1024 * 1024
#: A walk that finds more than this is somebody's home directory: stop counting.
_HOPELESS = 100_000


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
    """

    digest: str
    files: tuple[SnapshotFile, ...]
    size: int
    source: Path = field(compare=False)
    left_out: tuple[str, ...] = field(default=(), compare=False)

    def write_archive(self, path: str | Path) -> None:
        """Write the snapshot as a zip file to *path* (aside, then renamed): the same content, the same bytes.

        :raises SnapshotError: a file is no longer what it was when the snapshot was taken, or cannot be read.
        :raises OSError: the archive cannot be written (disk full, …).
        """
        write(path, [Member(f.path, partial(_open_checked, self.source, f), f.executable) for f in self.files])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: digest, size, files as ``{path: sha256}`` (what a reuse check compares, down to the file)."""
        return {"digest": self.digest, "size": self.size, "files": {f.path: f.sha256 for f in self.files}}


def take(
    source_directory: str | os.PathLike[str],
    *,
    limits: Limits | None = None,
    log: Callable[[str], None] | None = None,
) -> Snapshot:
    """Take the snapshot of *source_directory*.

    :param limits: default :meth:`Limits.from_environment`.
    :param log: gets a line about each file that was left out because it looks like a credential.
    :raises SnapshotError: it is no directory, holds too much, a link leads out of it, a file cannot be read or named.
    """
    root = _root(source_directory)
    say = log or logger.warning
    limits = limits or Limits.from_environment()
    walk = _Walk(root, rules_of(root))
    found = list(walk.files())
    _check_limits(root, found, limits)
    for path in walk.secrets:
        say(f"Snapshot: {path} looks like a credential and is left out; hand secrets to the step as secrets")
    files = tuple(sorted(_hashed(root, path, info) for path, info in found))
    digest = hashlib.sha256()
    for file in files:
        digest.update(json.dumps([file.path, file.executable, file.sha256]).encode("utf-8") + b"\n")
    return Snapshot(digest.hexdigest(), files, sum(f.size for f in files), root, tuple(walk.secrets))


def check_script(source_directory: str | os.PathLike[str], script: str) -> str:
    """Return the path of *script* relative to *source_directory*, with ``/``.

    :param script: relative to the source directory, or absolute and inside it.
    :raises SnapshotError: it lies outside, does not exist, is no file, or is left out of the snapshot.
    """
    root = _root(source_directory)
    if not isinstance(script, (str, os.PathLike)) or not os.fspath(script).strip():
        raise SnapshotError(f"{script!r} is no script name", hint=f"Give the path of a file in {root}")
    given = os.path.normpath(os.path.join(root, os.fspath(script).strip()))
    base = Path(os.path.normpath(os.path.abspath(source_directory)))
    relative = _below(given, root) or _below(given, base)
    if relative is None or not _inside(root / relative, root):
        raise SnapshotError(
            f"The script should be inside the project folder: {str(script)!r} lies outside {root}",
            hint="Move the script into the source directory, or give another source_directory",
        )
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


class _Walk:
    """One walk through a source directory; *secrets* fills as :meth:`files` goes."""

    def __init__(self, root: Path, rules: Rules) -> None:
        self.root = root
        self.rules = rules
        self.secrets: list[str] = []

    def files(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield (relative path, stat of the file behind it) for all that belongs to the snapshot."""
        for count, item in enumerate(self._walk("", [str(self.root)])):
            yield item
            if count >= _HOPELESS:
                return

    def _walk(self, folder: str, above: list[str]) -> Iterator[tuple[str, os.stat_result]]:
        try:
            entries = sorted(os.scandir(self.root / folder), key=lambda e: e.name)
        except OSError as error:
            raise SnapshotError(f"The folder {folder or str(self.root)!r} cannot be read: {error.strerror}") from error
        for entry in entries:
            relative = f"{folder}/{entry.name}" if folder else entry.name
            is_folder = os.path.isdir(entry.path)  # unlike entry.is_dir() no error for a link to itself
            if self._left_out(relative, is_folder):
                continue
            if entry.is_symlink() and self._left_out(self._target(relative), is_folder):
                continue
            _check_name(relative)
            if is_folder:
                # Only a link can lead back up: everything else is below what it is in.
                real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above[-1], entry.name)
                if real in above:
                    raise SnapshotError(f"The link {relative!r} leads back to a folder above it", hint=_LINK_HINT)
                if not os.path.exists(os.path.join(real, "pyvenv.cfg")):  # a virtual environment is never source code
                    yield from self._walk(relative, [*above, real])
                continue
            info = self._stat(entry)
            if not stat.S_ISREG(info.st_mode):
                raise SnapshotError(f"{relative!r} is neither a file nor a folder", hint=_LINK_HINT)
            yield relative, info

    def _stat(self, entry: os.DirEntry[str]) -> os.stat_result:
        try:
            return entry.stat()
        except OSError as error:  # removed since it was listed
            relative = os.path.relpath(entry.path, self.root)
            raise SnapshotError(f"{relative!r} cannot be read: {error.strerror}") from error

    def _left_out(self, relative: str, folder: bool) -> bool:
        reason = self.rules.why_left_out(relative, folder=folder)
        if reason == "secret" and relative not in self.secrets:
            self.secrets.append(relative)
        return reason is not None

    def _target(self, relative: str) -> str:
        """Where the link *relative* leads, relative to the root."""
        real = os.path.realpath(self.root / relative)
        inside = _below(real, self.root)
        if inside is None and real != str(self.root):
            raise SnapshotError(f"The link {relative!r} leads out of the source directory, to {real}", hint=_LINK_HINT)
        if not os.path.exists(real):
            raise SnapshotError(f"The link {relative!r} leads to {real}, which does not exist", hint=_LINK_HINT)
        return inside or "."


_LINK_HINT = "Copy what it leads to into the source directory, or leave it out in .amlignore"


def _root(source_directory: str | os.PathLike[str]) -> Path:
    path = Path(source_directory)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        hint = f"The current directory is {Path.cwd()}" if not path.is_absolute() else None
        raise SnapshotError(f"The source directory {str(source_directory)!r} {what}", hint=hint)
    return path.resolve()


def _below(path: str, root: Path) -> str | None:
    relative = os.path.relpath(path, root)
    return None if relative == "." or relative == ".." or relative.startswith("../") else relative


def _inside(path: Path, root: Path) -> bool:
    return _below(os.path.realpath(path), root) is not None


def _check_name(relative: str) -> None:
    try:
        check_member_name(relative)
    except ArchiveError as error:
        raise SnapshotError(error.what, hint=error.hint) from error


def _check_limits(root: Path, found: list[tuple[str, os.stat_result]], limits: Limits) -> None:
    size = sum(info.st_size for _, info in found)
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
    largest = sorted(found, key=lambda item: (-item[1].st_size, item[0]))[:5]
    listing = ", ".join(f"{path} ({info.st_size / _MB:.1f} MB)" for path, info in largest)
    raise SnapshotError(
        f"The source directory {root} holds {problem}. The largest: {listing}",
        hint=f"Leave out what the step does not need in .amlignore, or set {variable}",
    )


def _hashed(root: Path, path: str, info: os.stat_result) -> SnapshotFile:
    digest, size = hashlib.sha256(), 0
    try:
        with open(root / path, "rb") as stream:
            while chunk := stream.read(_MB):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise SnapshotError(f"{path!r} cannot be read: {error.strerror}") from error
    return SnapshotFile(path, size, digest.hexdigest(), bool(info.st_mode & stat.S_IXUSR))


def _open_checked(root: Path, file: SnapshotFile) -> BinaryIO:
    """Open *file* only if it still is what was hashed; read whole, so that what is checked is what is written."""
    try:
        content = (root / file.path).read_bytes()
    except OSError as error:
        raise SnapshotError(f"{file.path!r} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise SnapshotError(f"{file.path!r} changed while the snapshot was taken", hint="Run the step again")
    return io.BytesIO(content)


def _scripts(root: Path) -> list[str]:
    found: list[str] = []
    for relative, _ in _Walk(root, rules_of(root)).files():
        if relative.endswith((".py", ".R", ".r", ".sh")):
            found.append(relative)
        if len(found) >= 500:
            break
    return found


def _limit(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) == 0:
        raise SnapshotError(f"{variable} is {text!r}", allowed=["a whole number above 0"])
    return int(text)
