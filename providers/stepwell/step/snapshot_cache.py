"""What is remembered about a source directory between two snapshots: the digests of the files that did not change."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)
#: A change within the clock's resolution leaves the time stamp as it is: a young stamp proves nothing ("racy git").
RACY_NANOSECONDS = 2_000_000_000
_FORMAT = 1


@dataclass
class Memory:
    """What is known about one source directory.

    :param rules: digest of the rules under which *files* were taken.
    :param snapshot: digest of the snapshot that was taken last, or ``None``.
    :param files: path → size, times of change and of status change in ns, inode, sha256.
    """

    rules: str
    snapshot: str | None = None
    files: dict[str, tuple[int, int, int, int, str]] = field(default_factory=dict)

    def digest_of(self, path: str, info: os.stat_result) -> str | None:
        """Return the sha256 of the file at *path* if *info* says that it is the one that was read then."""
        known = self.files.get(path)
        if known and (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino) == tuple(known[:4]):
            return known[4]
        return None

    def remember(self, path: str, info: os.stat_result, sha256: str, taken: int) -> None:
        """Remember a digest, unless one of the file's time stamps is younger than two seconds.

        :param taken: when reading began, in ns since 1970.
        """
        if max(info.st_mtime_ns, info.st_ctime_ns) < taken - RACY_NANOSECONDS:
            self.files[path] = (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, sha256)


class Cache:
    """The memory of the source directory *root*: one small file in *folder*.

    It is only ever a short cut: one that is missing, damaged or cannot be written means that files are read again.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.path = folder / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"

    def read(self) -> Memory | None:
        """Return what was remembered, or ``None``."""
        try:
            check, _, text = self.path.read_bytes().partition(b"\n")
            if hashlib.sha256(text).hexdigest().encode() != check:
                return None
            found: dict[str, Any] = json.loads(text)
            if found.pop("format") != _FORMAT:
                return None
            return Memory(**found)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            logger.debug("The snapshot cache %s is of no use: %s", self.path, error)
            return None

    def write(self, memory: Memory) -> None:
        """Keep *memory*: written aside and renamed, so that of two writers at once one wins as a whole."""
        found = {"format": _FORMAT, "rules": memory.rules, "snapshot": memory.snapshot, "files": memory.files}
        text = json.dumps(found, separators=(",", ":")).encode()
        aside = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, aside = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            with os.fdopen(handle, "wb") as stream:
                stream.write(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
            os.replace(aside, self.path)
        except OSError as error:
            logger.debug("The snapshot cache %s cannot be written: %s", self.path, error)
            if aside is not None:
                Path(aside).unlink(missing_ok=True)
