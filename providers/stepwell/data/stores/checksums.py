"""sha256 of local files, remembered: a file that is large and did not change is not read twice."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from stepwell.errors import DatasetChangedError

#: A change within the clock's resolution leaves the time stamp as it is: a young stamp proves nothing ("racy git").
RACY_SECONDS = 2.0
# Not "checksum", the table of earlier versions, which believed the time of change alone: anyone can put that back.
_TABLE = (
    "CREATE TABLE IF NOT EXISTS checksum_2 "
    "(path TEXT PRIMARY KEY, size INT, mtime INT, ctime INT, inode INT, digest TEXT)"
)
_REMEMBER_FROM = 1 << 20  # reading a smaller file again costs less than asking the database


class Checksums:
    """Checksums keyed by path, size, times of change and of status change, and inode.

    :param database: where they are remembered; it may vanish, be damaged or be unwritable: then files are read again.
    """

    def __init__(self, database: Path) -> None:
        self._database = database

    def of(self, path: Path) -> str:
        """Return ``sha256:<hex>`` of the file.

        :raises FileNotFoundError: it does not exist.
        :raises DatasetChangedError: it was being written while it was read.
        """
        for last in (False, True):
            now = time.time_ns()
            before = os.stat(path)
            key = (str(path), *_stamps(before))
            large = before.st_size >= _REMEMBER_FROM
            known = self._recall(key) if large else None
            if known:
                return known
            with path.open("rb") as file:
                digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
            after = os.stat(path)
            if _stamps(after) == _stamps(before):
                break
            # A new link or mode changes the time of status change too: that is no reason to fail, but to read again.
            if last or (after.st_size, after.st_mtime_ns, after.st_ino) != key[1:3] + key[4:]:
                raise DatasetChangedError(
                    f"{path} was being written while it was read", hint="Run again when its writer is done"
                )
        if large and now - max(before.st_mtime_ns, before.st_ctime_ns) > RACY_SECONDS * 1e9:
            self._remember(key, digest)
        return digest

    def _recall(self, key: tuple[str, int, int, int, int]) -> str | None:
        if not self._database.exists():
            return None
        try:
            with closing(sqlite3.connect(self._database, timeout=1)) as db:
                row = db.execute(
                    "SELECT digest FROM checksum_2 WHERE path=? AND size=? AND mtime=? AND ctime=? AND inode=?", key
                ).fetchone()
        except sqlite3.Error:
            return None
        return str(row[0]) if row else None

    def _remember(self, key: tuple[str, int, int, int, int], digest: str) -> None:
        try:
            self._database.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._database, timeout=1)) as db, db:
                db.execute(_TABLE)
                db.execute("INSERT OR REPLACE INTO checksum_2 VALUES (?,?,?,?,?,?)", (*key, digest))
        except (sqlite3.Error, OSError):
            return


def _stamps(info: os.stat_result) -> tuple[int, int, int, int]:
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino
