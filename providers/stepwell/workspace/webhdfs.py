"""HDFS over WebHDFS: fsspec's filesystem, with timeouts, exclusive creation and renames that are checked.

Imported only where HDFS is really used, hence the imports at the top.
"""

from __future__ import annotations

import getpass
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast
from urllib.parse import urlsplit

import requests  # noqa: TID253
from fsspec.implementations import webhdfs as theirs  # noqa: TID253

from stepwell.errors import DatastoreError

CONNECT_SECONDS = 5.0
#: A DataNode may be busy; the NameNode itself answers at once.
READ_SECONDS = 60.0
BLOCK = 1 << 20
_MISSING = ("FileNotFoundException",)
_EXISTS = ("FileAlreadyExistsException", "AlreadyBeingCreatedException")
_FORBIDDEN = ("AccessControlException", "SecurityException")
_NOT_A_FOLDER = ("ParentNotDirectoryException",)
_NO_SPACE = (
    "DSQuotaExceededException",
    "NSQuotaExceededException",
    "QuotaExceededException",
    "DiskOutOfSpaceException",
)
_STARTING = ("SafeModeException", "RetriableException", "StandbyException")
_PLACES = "could only be written to 0 of the"


class _Session(requests.Session):
    """A session that never waits for ever, and says who did not answer."""

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", (CONNECT_SECONDS, READ_SECONDS))
        try:
            return super().request(method, url, *args, **kwargs)
        except requests.RequestException as error:
            raise gone(str(url), error) from error


def gone(url: str, error: Exception) -> DatastoreError:
    """Return the error for a NameNode or DataNode that does not answer."""
    parts = urlsplit(url)
    reason = "in time" if isinstance(error, requests.Timeout) else f"({type(error).__name__})"
    return DatastoreError(
        f"HDFS at {parts.hostname}:{parts.port} does not answer {reason}",
        hint="Start its NameNode and DataNode, or correct 'webhdfs_url' of the connection",
    )


class WebHDFS(theirs.WebHDFS):  # type: ignore[misc]
    """fsspec's WebHDFS, made sound: exclusive creation is exclusive, a rename that did not happen raises.

    :param host: of the NameNode's HTTP address.
    :param port: of the same.
    :param user: whom to be (Hadoop's simple authentication).
    """

    session: requests.Session
    protocol = ("hdfs", "webhdfs")
    cachable = False  # a requests session does not survive a fork

    def __init__(self, host: str, port: int = 9870, user: str | None = None, **options: Any) -> None:
        super().__init__(host=host, port=port, user=user, **options)

    @classmethod
    def at(cls, url: str, user: str | None = None) -> WebHDFS:
        """Return the filesystem whose WebHDFS answers at *url*; no I/O.

        :param user: default: ``HADOOP_USER_NAME``, else the user of this process.
        :raises DatastoreError: *url* is not ``http[s]://host:port``.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DatastoreError(
                f"webhdfs_url={url!r} is not an address", allowed=["http://host:9870", "https://host:9871"]
            )
        secure = parts.scheme == "https"
        name = user or os.environ.get("HADOOP_USER_NAME") or getpass.getuser()
        return cls(parts.hostname, parts.port or (9871 if secure else 9870), name, use_https=secure)

    def _connect(self) -> None:
        super()._connect()
        session = _Session()
        session.verify, session.cert, session.auth = self.session.verify, self.session.cert, self.session.auth
        session.trust_env = False  # the cluster is reached directly; no proxy, no .netrc
        self.session = session

    def _call(
        self,
        op: str,
        method: str = "get",
        path: str | None = None,
        data: Any = None,
        redirect: bool = True,
        **kwargs: Any,
    ) -> requests.Response:
        stream = kwargs.pop("stream", False)
        place = self._strip_protocol(path) if path is not None else ""
        url = self._apply_proxy(self.url + theirs.quote(place, safe="/="))
        parameters = {**kwargs, **self.pars, "op": op.upper()}
        answer = self.session.request(
            method.upper(), url, params=parameters, data=data, allow_redirects=redirect, stream=stream
        )
        check(answer, f"{op.lower()} {place}")
        return answer

    # -- exclusive and whole ---------------------------------------------------------------------------------------

    def create(self, path: str, content: bytes | BinaryIO, overwrite: bool = False) -> None:
        """Create the file *path* and write *content* to it. (Who reads meanwhile sees a part: see :meth:`put_whole`.)

        :raises FileExistsError: it exists, and *overwrite* is false.
        """
        answer = self._call("CREATE", "put", path, redirect=False, overwrite="true" if overwrite else "false")
        location = self._apply_proxy(answer.headers["Location"])
        written = self.session.put(location, data=content, headers={"content-type": "application/octet-stream"})
        check(written, f"create {path}")

    def rename(self, path1: str, path2: str, overwrite: bool = False, **_: Any) -> None:
        """Rename a file or folder; *path2* must not exist (a plain RENAME would move *path1* into an existing folder).

        :param overwrite: replace the file *path2*.
        :raises FileExistsError: *path2* exists; nothing was changed.
        :raises FileNotFoundError: *path1* does not exist.
        """
        target = self._strip_protocol(path2)
        self._call("RENAME", "put", path1, destination=target, renameoptions="OVERWRITE" if overwrite else "NONE")

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        """Rename, as :meth:`rename` does it."""
        self.rename(path1, path2)

    def put_whole(self, path: str, content: bytes | BinaryIO, temporary: str, overwrite: bool = False) -> None:
        """Write *content* aside into the folder *temporary*, then give it the name *path*.

        :raises FileExistsError: it exists, and *overwrite* is false; it is left as it is.
        """
        draft = f"{temporary}/{uuid.uuid4().hex}"
        try:
            self.create(draft, content)
            try:
                self.rename(draft, path, overwrite)
            except FileNotFoundError:  # the folder does not exist yet
                self.mkdir(self._parent(path))
                self.rename(draft, path, overwrite)
        except BaseException:
            with suppress(Exception):
                self.rm(draft)
            raise

    def put_file(self, lpath: Any, rpath: str, callback: Any = None, mode: str = "overwrite", **kwargs: Any) -> None:
        """Copy a local file, as a whole."""
        if os.path.isdir(lpath):
            self.makedirs(rpath, exist_ok=True)
            return
        with open(lpath, "rb") as file:
            self.put_whole(rpath, file, self._parent(rpath), overwrite=mode != "create")

    def get_file(self, rpath: str, lpath: Any, callback: Any = None, outfile: Any = None, **kwargs: Any) -> None:
        """Copy a file to the local disk, as a whole; a transfer that breaks off is an error, never a short file."""
        if outfile is not None:
            self._copy(rpath, outfile)
            return
        target = Path(lpath)
        draft = target.parent / f".{uuid.uuid4().hex}"
        try:
            with draft.open("xb") as file:
                self._copy(rpath, file)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def _copy(self, path: str, file: Any) -> None:
        expected = self.info(path)["size"]
        written = 0
        with self._call("OPEN", path=path, stream=True) as answer:
            for block in blocks(answer):
                file.write(block)
                written += len(block)
        if written != expected:
            raise DatastoreError(f"Only {written} of the {expected} bytes of {path} came over", hint="Run again")

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Return what is known of *path* (fsspec's dict)."""
        return cast("dict[str, Any]", super().info(self._strip_protocol(path)))

    def checksum_of(self, path: str) -> str:
        """Return ``hdfs-…:<hex>``, which the cluster computes itself: no data moves.

        It depends on the block size too: equal content may have unequal checksums, never the other way round.
        """
        found = self.ukey(path)
        algorithm = str(found["algorithm"]).lower()
        return f"hdfs-{algorithm}:{found['bytes']}"

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **kwargs: Any) -> Any:
        if mode == "xb":
            self.create(path, b"")  # takes the name; what is written then replaces this file of our own
            mode = "wb"
        return super()._open(path, mode, block_size, **kwargs)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except requests.RequestException as error:
        raise gone(url, error) from error


def blocks(answer: requests.Response) -> Iterator[bytes]:
    """Yield the body in blocks; a connection that breaks meanwhile is an error that says so."""
    with _translated(answer.url):
        yield from answer.iter_content(BLOCK)


def check(answer: requests.Response, what: str) -> None:
    """Raise what a failed answer means.

    :raises FileNotFoundError: there is no such file.
    :raises FileExistsError: there is one already.
    :raises DatastoreError: anything else: no permission, no space, starting up.
    """
    if answer.status_code < 400:
        return
    try:
        problem = answer.json()["RemoteException"]
        name, message = str(problem["exception"]), str(problem["message"]).splitlines()[0]
    except (ValueError, KeyError, TypeError, IndexError):
        name, message = f"HTTP {answer.status_code}", str(answer.reason)
    if "(is not a directory)" in message:  # HDFS calls it "access control"
        name = _MISSING[0] if answer.request.method == "GET" else _NOT_A_FOLDER[0]
    _raise(name, message, what)


def _raise(name: str, message: str, what: str) -> NoReturn:
    if name in _MISSING:
        raise FileNotFoundError(message)
    if name in _EXISTS or (name == "IOException" and "already exists" in message):
        raise FileExistsError(message)
    if name in _FORBIDDEN:
        raise DatastoreError(f"HDFS forbids to {what}: {message}", hint="Use another user (login of the connection)")
    if name in _NOT_A_FOLDER:
        raise DatastoreError(f"HDFS cannot {what}: {message}", hint="A file stands where a folder is needed")
    if name in _NO_SPACE or _PLACES in message:
        raise DatastoreError(f"HDFS has no space left to {what}: {message}", hint="Free some space, then run again")
    if name in _STARTING:
        raise DatastoreError(f"HDFS is not ready to {what}: {message}", hint="Wait until it has left safe mode")
    raise DatastoreError(f"HDFS cannot {what}: {name}: {message}")
