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
_TABLE = "CREATE TABLE IF NOT EXISTS checksum (path TEXT PRIMARY KEY, size INT, mtime INT, inode INT, digest TEXT)"
_REMEMBER_FROM = 1 << 20  # reading a smaller file again costs less than asking the database


class Checksums:
    """Checksums keyed by path, size, time of change and inode.

    :param database: where they are remembered; it may vanish, be damaged or be unwritable: then files are read again.
    """

    def __init__(self, database: Path) -> None:
        self._database = database

    def of(self, path: Path) -> str:
        """Return ``sha256:<hex>`` of the file.

        :raises FileNotFoundError: it does not exist.
        :raises DatasetChangedError: it was being written while it was read.
        """
        now = time.time_ns()
        before = os.stat(path)
        key = (str(path), before.st_size, before.st_mtime_ns, before.st_ino)
        large = before.st_size >= _REMEMBER_FROM
        known = self._recall(key) if large else None
        if known:
            return known
        with path.open("rb") as file:
            digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        after = os.stat(path)
        if (after.st_size, after.st_mtime_ns, after.st_ino) != key[1:]:
            raise DatasetChangedError(
                f"{path} was being written while it was read", hint="Run again when its writer is done"
            )
        if large and now - before.st_mtime_ns > RACY_SECONDS * 1e9:
            self._remember(key, digest)
        return digest

    def _recall(self, key: tuple[str, int, int, int]) -> str | None:
        if not self._database.exists():
            return None
        try:
            with closing(sqlite3.connect(self._database, timeout=1)) as db:
                row = db.execute(
                    "SELECT digest FROM checksum WHERE path=? AND size=? AND mtime=? AND inode=?", key
                ).fetchone()
        except sqlite3.Error:
            return None
        return str(row[0]) if row else None

    def _remember(self, key: tuple[str, int, int, int], digest: str) -> None:
        try:
            self._database.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._database, timeout=1)) as db, db:
                db.execute(_TABLE)
                db.execute("INSERT OR REPLACE INTO checksum VALUES (?,?,?,?,?)", (*key, digest))
        except (sqlite3.Error, OSError):
            return
