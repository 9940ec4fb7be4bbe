"""What a local filesystem can do exclusively and as a whole: the primitives of the local store and the local datastore.

A name either does not exist or has its whole content: everything is written aside first, then linked or renamed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from stepwell.errors import StepwellError

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV}


@contextmanager
def explained(what: str, error: type[StepwellError]) -> Iterator[None]:
    """Turn the errors of a full, read-only or forbidden disk into *error* that names *what* was being done.

    "Exists already" and "is not there" are answers, not faults: they pass as they are.
    """
    try:
        yield
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as problem:
        if problem.errno in _NO_SPACE:
            reason = f"no space is left there ({os.strerror(problem.errno)})"
            raise error(
                f"{what}: {reason}", hint="Free some space or choose another place, then run again"
            ) from problem
        raise error(f"{what}: {problem.strerror or problem}", hint="Check the path and its permissions") from problem


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """Yield a name below *folder* to write to; whatever still stands there at the end is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / uuid.uuid4().hex
    try:
        yield path
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def write(path: Path, content: bytes | BinaryIO | Path, *, durable: bool = False) -> None:
    """Write *content* (bytes, an open file, or the path of a file) to *path*, which must not exist.

    :param durable: wait until it is on the disk (for records; too slow for many data files).
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # not mkstemp: the umask decides who reads
    with os.fdopen(descriptor, "wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        elif isinstance(content, Path):
            with content.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
        else:
            shutil.copyfileobj(content, file, 1 << 20)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def create(path: Path, content: bytes | BinaryIO | Path, temporary: Path, *, durable: bool = False) -> None:
    """Create the file *path* with its whole *content*, exclusively.

    :param temporary: a folder on the same filesystem to write aside in.
    :raises FileExistsError: *path* exists; it is left as it is.
    """
    make_folder(path.parent)
    with aside(temporary) as draft:
        write(draft, content, durable=durable)
        _claim(draft, path)


def create_numbered(folder: Path, first: int, content: bytes, temporary: Path) -> int:
    """Create ``<folder>/<n>.json`` with the first free *n* from *first* on, exclusively; return *n*."""
    folder.mkdir(parents=True, exist_ok=True)
    number = first
    with aside(temporary) as draft:
        write(draft, content, durable=True)
        while True:
            try:
                _claim(draft, folder / f"{number}.json")
                return number
            except FileExistsError:
                number += 1


def make_folder(path: Path) -> None:
    """Make a folder and its parents, unless it is there. A file in its place is a fault, never "exists already"."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as problem:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from problem


def _claim(draft: Path, path: Path) -> None:
    """Give the file *draft* the name *path*, unless it is taken."""
    try:
        os.link(draft, path)
    except OSError as problem:
        if problem.errno not in _NOT_SUPPORTED:
            raise
        rename_exclusive(draft, path)  # a filesystem without hard links


def replace(path: Path, content: bytes | BinaryIO | Path, temporary: Path, *, durable: bool = False) -> None:
    """Give the file *path* a new whole *content*; readers see the old or the new one, never a part."""
    make_folder(path.parent)
    with aside(temporary) as draft:
        write(draft, content, durable=durable)
        os.replace(draft, path)


def rename_exclusive(source: Path, target: Path) -> None:
    """Rename a file or a whole directory to a name that must not exist (also not as an empty directory).

    :raises FileExistsError: *target* exists; nothing was changed.
    :raises FileNotFoundError: *source* does not exist.
    """
    if not os.path.lexists(source):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
    make_folder(target.parent)
    code = _renameat2(source, target)
    if code == 0:
        return
    if code == errno.EEXIST:
        raise FileExistsError(code, os.strerror(code), str(target))
    if code not in _NOT_SUPPORTED:
        raise OSError(code, os.strerror(code), str(target))
    if source.is_dir():
        os.mkdir(target)  # claims the name; a rename onto an empty directory is atomic
        try:
            os.rename(source, target)
        except OSError:
            with suppress(OSError):
                os.rmdir(target)
            raise
    else:
        os.link(source, target)
        os.unlink(source)


def _renameat2(source: Path, target: Path) -> int:
    """Return 0 or the error number of Linux's ``renameat2(…, RENAME_NOREPLACE)``; ``ENOSYS`` elsewhere."""
    if not sys.platform.startswith("linux"):
        return errno.ENOSYS
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return errno.ENOSYS
    done: int = function(
        _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_RENAME_NOREPLACE)
    )
    return 0 if done == 0 else ctypes.get_errno()
