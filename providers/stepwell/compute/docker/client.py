"""A Docker daemon: its SDK, whose calls block, in threads of its own, and its errors in words."""

from __future__ import annotations

import asyncio
import functools
import getpass
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from stepwell.compute.contract import Unreachable
from stepwell.errors import ComputeTargetException

if TYPE_CHECKING:
    import docker

T = TypeVar("T")

#: The daemon's socket, unless ``DOCKER_HOST`` or the compute target says another one.
DEFAULT_HOST = "unix:///var/run/docker.sock"
_THREADS = 12
#: How long an answer may take; of what moves or makes images, each piece of it.
_SECONDS, _SECONDS_LONG = 60, 3600


class NotThere(ComputeTargetException):
    """The daemon knows no such container or image."""


class Taken(ComputeTargetException):
    """The name is taken, or the container is in another state than the call needs."""


class NoRight(Unreachable):
    """The daemon is there and not for us: only a change helps."""

    permanent = True


class _Broken(Exception):
    """There was no answer; nobody has looked yet why."""


class Daemon:
    """One daemon, as seen from this process.

    :param address: returns where its socket is, ``unix:///path``; asked whenever there is no connection.
    :param where: the machine that it is on, for messages.
    :param diagnose: looks at the socket there when a call has failed, and returns the error of the system, such as
        "Permission denied"; needed where the socket of *address* is only a way to it.
    """

    def __init__(
        self,
        address: Callable[[], Coroutine[Any, Any, str]],
        where: str = "this machine",
        diagnose: Callable[[], Coroutine[Any, Any, tuple[str, str, str]]] | None = None,
    ) -> None:
        self._address = address
        self._diagnose = diagnose
        self._clients: dict[tuple[int, str, int], docker.APIClient] = {}
        self._pools: dict[int, ThreadPoolExecutor] = {}
        self.where = where

    async def call(self, function: Callable[..., T], *arguments: Any, **more: Any) -> T:
        """Call *function*, such as ``APIClient.inspect_container``, with a client, in a thread.

        :raises NotThere: the daemon does not know what is named.
        :raises Taken: a conflict.
        :raises Unreachable: there is no daemon, or it does not answer.
        :raises ComputeTargetException: all else that it refuses.
        """
        return await self._call(_SECONDS, function, *arguments, **more)

    async def call_long(self, function: Callable[..., T], *arguments: Any, **more: Any) -> T:
        """Do the same with what may take long: pulls, builds, commits, archives."""
        return await self._call(_SECONDS_LONG, function, *arguments, **more)

    async def _call(self, seconds: int, function: Callable[..., T], *arguments: Any, **more: Any) -> T:
        url = await self._address()
        work = functools.partial(self._work, url, seconds, function, *arguments, **more)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool(), work)
        except _Broken as error:
            socket, user, said = url, _user(), str(error.__cause__)
            if self._diagnose is not None:
                socket, user, said = await self._diagnose()
            raise self.refused(socket, user, said) from error

    def _work(self, url: str, seconds: int, function: Callable[..., T], *arguments: Any, **more: Any) -> T:
        import docker.errors
        import requests

        try:
            return function(self._client(url, seconds), *arguments, **more)
        except docker.errors.NotFound as error:
            raise NotThere(_words(error)) from error
        except docker.errors.APIError as error:
            raise (Taken if error.status_code == 409 else ComputeTargetException)(_words(error)) from error
        except requests.exceptions.Timeout as error:
            raise Unreachable(f"Docker on {self.where} has not answered for {seconds} s") from error
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            self._clients.pop((os.getpid(), url, seconds), None)
            raise _Broken(str(error)) from error

    def _client(self, url: str, seconds: int) -> docker.APIClient:
        import docker

        key = (os.getpid(), url, seconds)
        client = self._clients.get(key)
        if client is None:
            client = docker.APIClient(base_url=url, version="auto", timeout=seconds, max_pool_size=_THREADS)
            self._clients[key] = client
        return client

    def _pool(self) -> ThreadPoolExecutor:
        pool = self._pools.get(os.getpid())
        if pool is None:
            pool = self._pools[os.getpid()] = ThreadPoolExecutor(_THREADS, "stepwell-docker")
        return pool

    def refused(self, socket: str, user: str, said: str) -> Unreachable:
        """Return why there is no connection, and what to do.

        :param said: the error of the system.
        """
        if "Permission denied" in said:
            return NoRight(
                f"The user {user} may not use Docker on {self.where}: no right to {socket}",
                hint=f"As root there: 'usermod -aG docker {user}', then log in anew (or start the worker anew); who is "
                "in that group can become root",
            )
        if "FileNotFoundError" in said or "No such file" in said:
            return Unreachable(
                f"There is no Docker on {self.where}, or it is stopped: no socket at {socket}",
                hint="Install it (Debian: docker.io), start it, or set docker_host to its socket",
            )
        if "refused" in said.lower():
            return Unreachable(
                f"Docker on {self.where} is stopped: nobody answers at {socket}",
                hint="Start it: 'systemctl start docker'",
            )
        return Unreachable(f"Docker on {self.where} cannot be asked: {said}")


def local_address(host: str | None) -> Callable[[], Coroutine[Any, Any, str]]:
    """Return what tells the address of this machine's daemon.

    :param host: of the compute target; None: ``DOCKER_HOST``, or the usual socket.
    """

    async def address() -> str:
        return host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST

    return address


@functools.cache
def local_daemon(host: str | None) -> Daemon:
    """Return this machine's daemon, the same for all compute targets that use it."""
    return Daemon(local_address(host))


def lines(chunks: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield what a build or a pull says, line by line, without the moving bars.

    :raises ComputeTargetException: it failed.
    """
    for chunk in chunks:
        if "error" in chunk:
            raise ComputeTargetException(str(chunk["error"]).strip())
        text = chunk.get("stream") or ("" if chunk.get("progressDetail") else chunk.get("status")) or ""
        for line in text.splitlines():
            if line.strip():
                yield f"{chunk['id']}: {line}" if chunk.get("id") and "status" in chunk else line


def _words(error: Any) -> str:
    return f"Docker: {error.explanation or error}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
