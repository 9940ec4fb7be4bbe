"""Files by their URL: what a dataset made of ``https://…`` reads. Nothing can be written there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, ClassVar, NoReturn, cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from stepwell.data.stores.base import FileInfo, ReadOnly
from stepwell.errors import DatastoreError

SCHEMES = ("http://", "https://")
TIMEOUT_SECONDS = 30.0


class WebBackend(ReadOnly):
    """Single files by URL; a path here is a whole URL."""

    kind: ClassVar[str] = "web"

    def uri(self, path: str = "") -> str:
        return path

    def stat(self, path: str) -> FileInfo | None:
        try:
            with self._request(path, "HEAD") as answer:
                length, modified = answer.headers.get("Content-Length"), answer.headers.get("Last-Modified")
        except FileNotFoundError:
            return None
        size = int(length) if length else self._measured(path)
        return FileInfo(path, size, parsedate_to_datetime(modified).timestamp() if modified else 0.0)

    def walk(self, folder: str) -> Iterable[FileInfo]:
        return []

    def list(self, pattern: str = "") -> list[FileInfo]:
        if "*" in pattern:
            raise DatastoreError(f"A URL cannot hold a pattern: {pattern!r}", hint="Name each file")
        found = self.stat(pattern)
        return [found] if found else []

    def _measured(self, path: str) -> int:
        with self.open(path) as file:
            return sum(len(block) for block in iter(lambda: file.read(1 << 20), b""))

    def checksum(self, path: str) -> str:
        with self.open(path) as file:
            digest = hashlib.sha256()
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        return "sha256:" + digest.hexdigest()

    def open(self, path: str) -> BinaryIO:
        return cast(BinaryIO, self._request(path, "GET"))

    def is_dir(self, path: str) -> bool:
        return False

    def _refuse(self, path: str) -> NoReturn:
        raise DatastoreError(f"{path} is a URL and can only be read", hint="Write to a datastore")

    def _request(self, url: str, method: str) -> Any:
        if not url.startswith(SCHEMES):
            raise DatastoreError(f"{url!r} is not a URL that a dataset can read", allowed=[s + "…" for s in SCHEMES])
        try:
            return urlopen(Request(url, method=method), timeout=TIMEOUT_SECONDS)  # noqa: S310
        except HTTPError as error:
            if error.code in (404, 410):
                raise FileNotFoundError(f"{url} does not exist ({error.code})") from error
            raise DatastoreError(f"{url} answers {error.code} {error.reason}") from error
        except (URLError, TimeoutError) as error:
            raise DatastoreError(f"{url} does not answer: {getattr(error, 'reason', error)}") from error
