"""What the agent does with files. Paths are absolute; a file appears whole or not at all."""

from __future__ import annotations

import os
import time
import zlib

from stepwell.runtime import protocol
from stepwell.runtime.errors import UserErrorException

#: Less is not worth packing; and of how much is tried whether it packs well.
_WORTH_PACKING, _SAMPLE = 1 << 14, 1 << 12
_PIECE = 1 << 20

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stepwell.runtime.agent import Agent

    Request = dict[str, Any]


def read(_agent: Agent, request: Request, _body: bytes) -> Any:
    """Return a piece of a file."""
    with open(request["path"], "rb", buffering=0) as file:
        if request["offset"]:
            file.seek(request["offset"])
        limit = request["limit"]
        return _packed((file.readall() if limit < 0 else file.read(limit)) or b"")


def _packed(data: bytes) -> tuple[bool, bytes]:
    """Return *data* packed, and True, where that makes it much smaller; logs and tables are such data."""
    if len(data) < _WORTH_PACKING or len(zlib.compress(data[:_SAMPLE], 1)) > _SAMPLE // 2:
        return False, data
    return True, zlib.compress(data, 1)


def write(_agent: Agent, request: Request, body: bytes) -> None:
    """Write a file, replacing an older one."""
    protocol.write_bytes(request["path"], body, request["mode"])


def create(_agent: Agent, request: Request, body: bytes) -> bool:
    """Write a file if there is none; return whether this call did."""
    try:
        protocol.create_bytes(request["path"], body)
    except FileExistsError:
        return False
    return True


def begin(agent: Agent, request: Request, _body: bytes) -> int:
    """Open a draft and return its number."""
    for folder in (request["drafts"], os.path.dirname(request["path"])):
        os.makedirs(folder, exist_ok=True)
    path = os.path.join(request["drafts"], f"{os.getpid()}-{time.perf_counter_ns()}.tmp")
    agent.drafts[request["id"]] = (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), path)
    return int(request["id"])


def piece(agent: Agent, request: Request, body: bytes) -> None:
    """Write a piece of a draft; pieces may come in any order."""
    descriptor, _ = agent.drafts[request["draft"]]
    data, at = memoryview(body), request["at"]
    while data:
        count = os.pwrite(descriptor, data, at)
        data, at = data[count:], at + count


def finish(agent: Agent, request: Request, _body: bytes) -> None:
    """Give the draft its name, or without a name remove it."""
    if request["draft"] not in agent.drafts:
        return
    descriptor, aside = agent.drafts.pop(request["draft"])
    try:
        if request.get("mode") is not None:
            os.fchmod(descriptor, request["mode"])
        os.close(descriptor)
        if request["path"]:
            os.replace(aside, request["path"])
            return
    except BaseException:
        os.unlink(aside)
        raise
    os.unlink(aside)


def make(_agent: Agent, request: Request, _body: bytes) -> None:
    """Make a folder and those above it."""
    mode = request["mode"]
    os.makedirs(request["path"], 0o777 if mode is None else mode, exist_ok=True)
    if mode is not None:
        os.chmod(request["path"], mode)


def touch(_agent: Agent, request: Request, _body: bytes) -> None:
    """Make the file if there is none, and set its time to now."""
    with open(request["path"], "ab"):
        os.utime(request["path"])


def modified(_agent: Agent, request: Request, _body: bytes) -> float | None:
    """Return the time of the last change; None if there is no such file or folder."""
    try:
        return os.stat(request["path"]).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None


def names(_agent: Agent, request: Request, _body: bytes) -> list[str]:
    """Return the names in a folder."""
    try:
        return sorted(os.listdir(request["path"]))
    except FileNotFoundError:
        return []


def now(_agent: Agent, _request: Request, _body: bytes) -> float:
    """Return this machine's time."""
    return time.time()


def sizes(_agent: Agent, request: Request, _body: bytes) -> dict[str, int]:
    """Return relative path → size of all files below a folder."""
    found, top = {}, request["path"]
    for folder, _, files in os.walk(top):
        for name in files:
            full = os.path.join(folder, name)
            try:
                found[os.path.relpath(full, top)] = os.lstat(full).st_size
            except FileNotFoundError:
                pass  # removed meanwhile
    return found


def tree(_agent: Agent, request: Request, _body: bytes) -> Any:
    """Return the folders, and the files with sizes, that a copy of a folder has; links that lead out are left out."""
    top = request["path"]
    if not os.path.isdir(top):
        return None
    real = os.path.realpath(top)
    found: dict[str, list[Any]] = {"folders": [], "files": []}
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not os.path.islink(os.path.join(folder, name))]
        relative = os.path.relpath(folder, top)
        if relative != ".":
            found["folders"].append(relative)
        for name in files:
            full = os.path.join(folder, name)
            source = os.path.realpath(full) if os.path.islink(full) else full
            if source == full or source.startswith(real + os.sep):
                if os.path.isfile(source):
                    found["files"].append([os.path.normpath(os.path.join(relative, name)), os.stat(source).st_size])
    return found


def store(_agent: Agent, request: Request, _body: bytes) -> Any:
    """Return what is at a path of a datastore: ``folder`` (is it one), ``files`` (relative name, size, time of change).

    Files below a folder are listed if the request is ``deep``; of links only those that stay in the datastore.

    :raises UserErrorException: a link leads out of it.
    """
    top, path = os.path.realpath(request["top"]), request["path"]
    real = os.path.realpath(os.path.join(top, path))
    if not _below(real, top):
        raise UserErrorException(
            f"The path {path!r} leads out of the datastore's folder {top} through a link, to {real}",
            hint="Copy the data there, or register a datastore with the folder that holds it",
        )
    found: dict[str, Any] = {"folder": os.path.isdir(real), "files": []}
    places = [("", real)] if os.path.isfile(real) else []
    if found["folder"] and request["deep"]:
        for folder, folders, names in os.walk(real):
            folders[:] = [name for name in folders if not os.path.islink(os.path.join(folder, name))]
            places += [
                (os.path.relpath(os.path.join(folder, name), real), os.path.join(folder, name)) for name in names
            ]
    for name, place in places:
        try:
            if _below(os.path.realpath(place), top) and os.path.isfile(place):
                seen = os.stat(place)
                found["files"].append([name, seen.st_size, seen.st_mtime])
        except FileNotFoundError:
            pass  # removed meanwhile
    return found


def _below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip(os.sep) + os.sep)


def digest(_agent: Agent, request: Request, _body: bytes) -> Any:
    """Return the sha256 of a file; None if it was being written meanwhile."""
    import hashlib

    found = hashlib.sha256()
    with open(request["path"], "rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        for piece in iter(lambda: file.read(_PIECE), b""):
            found.update(piece)
        after = os.fstat(file.fileno())
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return found.hexdigest() if same else None


def gather(_agent: Agent, request: Request, _body: bytes) -> Any:
    """Return the contents of several files below a folder: their lengths, -1 for one that has gone, and their bytes."""
    lengths, contents = [], []
    for name in request["names"]:
        try:
            with open(os.path.join(request["path"], name), "rb", buffering=0) as file:
                content = file.read(request["limit"]) or b""
        except (FileNotFoundError, NotADirectoryError):
            lengths.append(-1)
            continue
        lengths.append(len(content))
        contents.append(content)
    packed, data = _packed(b"".join(contents))
    return [lengths, packed], data


def remove(_agent: Agent, request: Request, _body: bytes) -> None:
    """Remove a file or a folder with all that is in it."""
    path = request["path"]
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError:  # a folder, or what is mounted
        from stepwell.runtime import mounted

        mounted.remove(path)


def unpack(_agent: Agent, request: Request, _body: bytes) -> bool:
    """Make a folder from an archive that is here; return False if it is not.

    The archive's time says when it was last used.
    """
    from stepwell.runtime import spare
    from stepwell.runtime.archive import extract

    archive, path = request["archive"], request["path"]
    try:
        os.utime(archive)
    except FileNotFoundError:
        return False
    if not spare.take(archive, path):
        count = len(extract(archive, path))
        if not request["again"] or count < spare.WORTH_FILES:
            return True
    spare.prepare(archive)
    return True


#: Done at once, in the order in which they come.
QUICK = {
    "read": read,
    "write": write,
    "create": create,
    "begin": begin,
    "piece": piece,
    "finish": finish,
    "make": make,
    "touch": touch,
    "modified": modified,
    "names": names,
    "now": now,
    "gather": gather,
}
#: What may take long has a thread of its own.
SLOW = {"sizes": sizes, "tree": tree, "store": store, "digest": digest, "remove": remove, "unpack": unpack}
