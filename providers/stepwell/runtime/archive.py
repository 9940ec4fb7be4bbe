"""Archives: zip files that are written the same way every time, and extracted only after every member is checked."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Callable, Iterable, Iterator, NamedTuple

from stepwell.runtime.errors import UserErrorException

#: The time that every member carries, so that the same content gives the same archive.
EPOCH = (1980, 1, 1, 0, 0, 0)
MAX_BYTES = 4 * 1024**3
MAX_FILES = 200_000
_REFUSED = re.compile(r"[\\\x00-\x1f\x7f]")
_CHUNK = 1024 * 1024
_PACKED_CHUNK = 64 * 1024  # it can unpack to a thousand times as much
_DEFLATED = zipfile.ZIP_DEFLATED
_LEVEL = 1  # source code: twice as fast as the usual level, for a tenth more bytes
#: Said in each archive. Members that were packed in another way are not copied: the same content is the same bytes.
_PACKED_BY = f"deflate {_LEVEL}, zlib {zlib.ZLIB_RUNTIME_VERSION}".encode("ascii")


class ArchiveError(UserErrorException):
    """An archive, or a name that should go into one, is not one that can be extracted safely."""


class Member(NamedTuple):
    """One file of an archive.

    :param name: relative path with ``/``.
    :param open: opens the content for reading, as bytes.
    :param executable: whether the owner may execute it.
    :param size: its size in bytes, if it is known beforehand.
    :param sha256: of its content, in hex, if that is known beforehand.
    """

    name: str
    open: Callable[[], BinaryIO]
    executable: bool = False
    size: int | None = None
    sha256: str | None = None


def check_member_name(name: str) -> str:
    """Return *name* if it is a plain relative path that stays below its root on every system.

    :raises ArchiveError: it is absolute, climbs with ``..``, or holds what a path should not.
    """
    parts = name.split("/")
    problem = None
    if name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        problem = "is absolute"
    elif ".." in parts:
        problem = "climbs out with '..'"
    elif "" in parts or "." in parts:
        problem = "has an empty or '.' part"
    elif _REFUSED.search(name):
        problem = "holds a backslash or a control character"
    else:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            problem = "is not valid UTF-8"
    if problem:
        raise ArchiveError(f"The file name {name!r} {problem}", hint="Rename the file, or leave it out in .amlignore")
    return name


def write(archive: str | Path, members: Iterable[Member], earlier: str | Path | None = None) -> None:
    """Write *members*, in order of name, to the zip file *archive*: aside first, then renamed into place.

    The same members give the same bytes (with the same zlib). An error leaves nothing behind.

    :param earlier: an archive that was written before. A member whose size and sha256 are given and which it holds
        unchanged is copied from there as it is packed. One that is missing, damaged or of another zlib is not used.
    :raises ArchiveError: a name is not safe or comes twice.
    :raises OSError: the disk is full, a file cannot be read, …
    """
    target = Path(archive)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(prefix="." + target.name + ".", dir=str(target.parent))
    try:
        with os.fdopen(handle, "wb") as raw:
            with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as out, _Earlier(earlier) as packed:
                out.comment = _PACKED_BY
                previous = None
                for member in sorted(members, key=lambda m: m.name):
                    if member.name == previous:
                        raise ArchiveError(f"The file name {member.name!r} comes twice")
                    previous = check_member_name(member.name)
                    info = zipfile.ZipInfo(member.name, EPOCH)
                    info.compress_type = zipfile.ZIP_DEFLATED
                    info._compresslevel = _LEVEL  # type: ignore[attr-defined]
                    info.create_system = 3  # Unix, wherever it is written: the mode below means something only there
                    info.external_attr = (stat.S_IFREG | (0o755 if member.executable else 0o644)) << 16
                    if packed.copy(member, info, out):
                        continue
                    with member.open() as source, out.open(info, "w", force_zip64=True) as sink:
                        shutil.copyfileobj(source, sink, _CHUNK)
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(aside, str(target))
    except BaseException:
        _unlink(aside)
        raise


class _Earlier:
    """An archive that was written before, to copy packed members from. One that is of no use has no members."""

    def __init__(self, path: str | Path | None) -> None:
        self._raw: BinaryIO | None = None
        self._members: dict[str, zipfile.ZipInfo] = {}
        if path is None:
            return
        try:
            self._raw = open(str(path), "rb")
            with zipfile.ZipFile(self._raw) as opened:
                if opened.comment == _PACKED_BY:
                    self._members = {i.filename: i for i in opened.infolist()}
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
            pass

    def __enter__(self) -> _Earlier:
        return self

    def __exit__(self, *_: object) -> None:
        if self._raw is not None:
            self._raw.close()

    def copy(self, member: Member, info: zipfile.ZipInfo, out: zipfile.ZipFile) -> bool:
        """Copy *member* to *out* as *info*, and say whether that was possible; if not, *out* is as it was.

        What is copied is unpacked on the way, and counts only if its sha256 is the member's.
        """
        known = self._members.get(member.name)
        if known is None or known.file_size != member.size or known.compress_type != _DEFLATED:
            return False
        sink = out.fp
        assert sink is not None  # noqa: S101 - open until the with statement in write() ends
        info.header_offset = start = sink.tell()
        info.CRC, info.file_size, info.compress_size = known.CRC, known.file_size, known.compress_size
        sink.write(info.FileHeader(zip64=True))
        inflater, digest, size, crc = zlib.decompressobj(-zlib.MAX_WBITS), hashlib.sha256(), 0, 0
        for chunk in self._packed(known):
            sink.write(chunk)
            try:
                content = inflater.decompress(chunk)
            except zlib.error:
                break
            digest.update(content)
            crc = zlib.crc32(content, crc)
            size += len(content)
            if size > known.file_size:
                break
        whole = inflater.eof and not inflater.unused_data and crc == known.CRC
        if not whole or digest.hexdigest() != member.sha256:
            sink.seek(start)
            sink.truncate()
            return False
        # zipfile cannot copy a packed member by itself; this is what it does at the end of each that it writes.
        out.filelist.append(info)
        out.NameToInfo[info.filename] = info
        out.start_dir = sink.tell()
        return True

    def _packed(self, known: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield what is stored of *known*; what cannot be read is not there."""
        raw = self._raw
        assert raw is not None  # noqa: S101 - there would be no members
        left = known.compress_size
        try:
            raw.seek(known.header_offset)
            raw.seek(sum(struct.unpack("<26xHH", raw.read(30))), os.SEEK_CUR)  # its name and its extra field
            while left:
                chunk = raw.read(min(left, _PACKED_CHUNK))
                if not chunk:
                    return
                left -= len(chunk)
                yield chunk
        except (OSError, struct.error):
            return


def check(archive: str | Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> list[zipfile.ZipInfo]:
    """Check every member of the zip file *archive* and return its files.

    :raises ArchiveError: it is no zip file, or a member is unsafe (path, link, device, encryption), comes twice,
        or the whole is larger than *max_bytes* or has more than *max_files* files.
    """
    try:
        with zipfile.ZipFile(str(archive)) as opened:
            return _checked(opened, str(archive), max_bytes, max_files)
    except (zipfile.BadZipFile, OSError) as error:
        raise ArchiveError(f"{archive} cannot be read as a zip archive: {error}") from error


def extract(
    archive: str | Path,
    into: str | Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
) -> list[str]:
    """Extract the zip file *archive* as the folder *into*, all of it or nothing, and return the names of its files.

    Every member is checked before the first is written; the folder appears with one rename. *into* may exist only
    as an empty folder.

    :raises ArchiveError: see :func:`check`; or *into* holds something; or the content is damaged.
    :raises OSError: the disk is full, …
    """
    target = Path(into)
    if target.is_dir() and any(target.iterdir()):
        raise ArchiveError(f"{target} is not empty", hint="Extract into a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        opened = zipfile.ZipFile(str(archive))
    except (zipfile.BadZipFile, OSError) as error:
        raise ArchiveError(f"{archive} cannot be read as a zip archive: {error}") from error
    with opened:
        members = _checked(opened, str(archive), max_bytes, max_files)
        aside = tempfile.mkdtemp(prefix="." + target.name + ".", dir=str(target.parent))
        try:
            for info in members:
                path = os.path.join(aside, *info.filename.split("/"))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                mode = 0o755 if (info.external_attr >> 16) & 0o100 else 0o644
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with opened.open(info) as source, os.fdopen(os.open(path, flags, mode), "wb") as sink:
                    shutil.copyfileobj(source, sink, _CHUNK)
            os.chmod(aside, 0o755)  # noqa: S103 - mkdtemp made it private; a container reads it as another user
            os.rename(aside, str(target))
        except (zipfile.BadZipFile, EOFError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise ArchiveError(f"{archive} is damaged: {error}") from error
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    return [info.filename for info in members]


def _checked(opened: zipfile.ZipFile, name: str, max_bytes: int, max_files: int) -> list[zipfile.ZipInfo]:
    files: list[zipfile.ZipInfo] = []
    seen: set[str] = set()
    folders: set[str] = set()
    total = 0
    for info in opened.infolist():
        # orig_filename: zipfile itself cuts the name at a NUL byte.
        check_member_name(info.orig_filename[:-1] if info.is_dir() else info.orig_filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"{name}: the member {info.filename!r} is a link or a device", allowed=["plain files"])
        if info.flag_bits & 0x1:
            raise ArchiveError(f"{name}: the member {info.filename!r} is encrypted", allowed=["plain files"])
        plain = info.filename.rstrip("/")
        if info.is_dir():
            folders.add(plain)
        else:
            if plain in seen:
                raise ArchiveError(f"{name}: the member {info.filename!r} comes twice")
            seen.add(plain)
            files.append(info)
            total += info.file_size
        parts = plain.split("/")[:-1]
        folders.update("/".join(parts[: i + 1]) for i in range(len(parts)))
        if len(files) > max_files or total > max_bytes:
            raise ArchiveError(
                f"{name} unpacks to more than {max_files} files or {max_bytes} bytes", hint="It is not a usual snapshot"
            )
    clash = sorted(seen & folders)
    if clash:
        raise ArchiveError(f"{name}: {clash[0]!r} is a file and a folder at once")
    return files


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
