"""One connection per address and process, shared by all that need it; it comes back by itself when it was lost.

It lives on the portal's loop (:mod:`stepwell.compute.portal`): all that is awaited here is awaited there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import posixpath
import tempfile
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from stepwell.compute import shipping
from stepwell.compute.contract import Unreachable
from stepwell.compute.ssh import hostkeys
from stepwell.compute.ssh.address import Address
from stepwell.compute.ssh.agent import Agent, Lost, start
from stepwell.compute.ssh.keys import KeyRefused
from stepwell.errors import ComputeTargetException

__all__ = ["Connection", "Lost", "Refused", "connection"]

#: How long a machine may take from the first packet until it has let us in, in seconds.
CONNECT_SECONDS = 15.0
#: A machine that says nothing is asked every so often; after so many times without an answer the connection is lost.
KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 5, 3
#: A connection that nobody has used for so long is closed, in seconds.
IDLE_SECONDS = 120.0
#: After a failure nobody tries again for so long: many may be waiting.
PAUSE_SECONDS = 1.0
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)
_PUMP = 1 << 18
#: Operations that may be done twice.
_AGAIN = frozenset("read write make touch modified names now gather sizes tree remove look stop sweep".split())

_connections: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Address, Connection]]
_connections = weakref.WeakKeyDictionary()
#: A forked child must not touch its parent's connections, and must not let go of them either.
_left_behind: list[dict[Address, Connection]] = []


def _after_fork_in_child() -> None:
    _left_behind.extend(_connections.values())
    _connections.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


class Refused(Unreachable):
    """The machine does not let us in, or is another one: only a change helps."""

    permanent = True


class HostKeyChanged(hostkeys.HostKeyRefused, Refused):
    """The machine is not known by the key that it shows."""


def connection(address: Address) -> Connection:
    """Return the connection to *address* that this process shares, not opened yet. Call it on the portal's loop."""
    shared = _connections.setdefault(asyncio.get_running_loop(), {})
    found = shared.get(address)
    if found is None:
        found = shared[address] = Connection(address)
    return found


class Connection:
    """A connection that is opened when it is needed, and again when it was lost."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._ssh: Any = None
        self._agents: dict[str, Agent] = {}
        self._opening: asyncio.Task[Any] | None = None
        self._starting: dict[str, asyncio.Task[Agent]] = {}
        self._failed: tuple[float, ComputeTargetException] | None = None
        self._streams = 0
        self._used = time.monotonic()
        self._sockets: dict[str, Path] = {}
        self._ports: dict[tuple[str, int], int] = {}
        self._servers: list[asyncio.AbstractServer] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    # -- the connection itself -------------------------------------------------------------------------------------

    async def ssh(self) -> Any:
        """Return asyncssh's connection, open.

        :raises Refused: the machine does not let us in, or shows another host key than the pinned one.
        :raises Unreachable: it cannot be reached now.
        :raises KeyRefused: the private key cannot be used.
        """
        self._used = time.monotonic()
        if self._ssh is not None and not self._ssh.is_closed():
            return self._ssh
        if self._failed is not None and time.monotonic() - self._failed[0] < PAUSE_SECONDS:
            raise self._failed[1]
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
        # Whoever gives up must not take the connection from the others that wait for it.
        return await asyncio.shield(self._opening)

    async def _open(self) -> Any:
        try:
            self._ssh = await _connect(self.address)
        except ComputeTargetException as error:
            self._failed = (time.monotonic(), error)
            raise
        self._failed, self._agents = None, {}
        self._used = time.monotonic()
        asyncio.get_running_loop().call_later(IDLE_SECONDS / 4, self._rest, self._ssh)
        return self._ssh

    def _rest(self, ssh: Any) -> None:
        """Close a connection that nobody uses."""
        if ssh is not self._ssh or ssh.is_closed():
            return
        if self._streams or any(agent.busy for agent in self._agents.values()):
            self._used = time.monotonic()
        if time.monotonic() - self._used >= IDLE_SECONDS:
            ssh.close()
        else:
            asyncio.get_running_loop().call_later(IDLE_SECONDS / 4, self._rest, ssh)

    def abort(self) -> None:
        """Drop the connection at once, without a word; what is waiting for an answer fails."""
        if self._ssh is not None:
            self._ssh.abort()

    async def close(self) -> None:
        """Close the connection and the local sockets and ports that lead through it; using it again opens it again."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        self._sockets.clear()
        self._ports.clear()
        if self._ssh is not None:
            self._ssh.close()
            with suppress(Exception):
                await asyncio.wait_for(self._ssh.wait_closed(), 2.0)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    # -- the agent -------------------------------------------------------------------------------------------------

    async def agent(self) -> Agent:
        """Return the agent there, started if none is at work.

        :raises Unreachable: as :meth:`ssh`; or there is no Python that it could run on.
        """
        payload = posixpath.join(self.address.root, "payload", shipping.digest())
        found = self._agents.get(payload)
        if found is not None and found.over is None:
            self._used = time.monotonic()
            return found
        task = self._starting.get(payload)
        if task is None or task.done():
            task = self._starting[payload] = asyncio.create_task(self._start(payload))
        return await asyncio.shield(task)

    async def _start(self, payload: str) -> Agent:
        ssh = await self.ssh()
        if self._failed is not None and time.monotonic() - self._failed[0] < PAUSE_SECONDS:
            raise self._failed[1]
        try:
            found = await start(ssh, self.address, payload)
        except Unreachable as error:
            self._failed = (time.monotonic(), error)
            raise
        self._agents[payload] = found
        return found

    async def request(self, op: str, body: bytes = b"", **arguments: Any) -> tuple[Any, bytes]:
        """Ask the agent for an operation, see :meth:`stepwell.compute.ssh.agent.Agent.request`.

        What may be done twice is asked for once more if the connection turns out to be lost.
        """
        agent = await self.agent()
        try:
            return await agent.request(op, body, **arguments)
        except Lost:
            if op not in _AGAIN or agent.over is None:
                raise
        return await (await self.agent()).request(op, body, **arguments)

    async def hello(self) -> dict[str, Any]:
        """Return what the agent has said of its machine: python, version, platform, home."""
        return (await self.agent()).hello

    # -- ways through it -------------------------------------------------------------------------------------------

    async def local_socket(self, remote: str) -> Path:
        """Return the path of a local socket that leads to the socket *remote* there, for as long as this process runs.

        It stays when the connection is lost: the next use of it makes a new one. Only this user can open it.
        """
        if remote not in self._sockets:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="stepwell-ssh-")
            path = Path(self._folder.name) / f"{len(self._sockets)}.sock"
            self._sockets[remote] = path
            self._servers.append(await asyncio.start_unix_server(self._through(remote, None), str(path), limit=_PUMP))
        return self._sockets[remote]

    async def local_port(self, port: int, host: str = "127.0.0.1") -> int:
        """Return a port of this machine's loopback that leads to *host*:*port* as seen from there, as above.

        Unlike a socket, any user of this machine can open it.
        """
        if (host, port) not in self._ports:
            server = await asyncio.start_server(self._through(host, port), "127.0.0.1", 0, limit=_PUMP)
            self._servers.append(server)
            self._ports[host, port] = int(server.sockets[0].getsockname()[1])
        return self._ports[host, port]

    def _through(self, where: str, port: int | None) -> Callable[..., Any]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with self.stream(where, port) as (far_reader, far_writer):
                    await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            except (OSError, ComputeTargetException, asyncio.IncompleteReadError) as error:
                logging.getLogger(__name__).debug("%s, %s: %s", self.address, where, error)
            finally:
                writer.close()

        return serve

    @asynccontextmanager
    async def stream(self, where: str, port: int | None = None) -> AsyncIterator[tuple[Any, Any]]:
        """Open a stream to a socket there (a path), or to a host and port as seen from there.

        :raises Unreachable: there is no connection, or nobody listens at its end.
        """
        import asyncssh

        ssh = await self.ssh()
        self._streams += 1
        try:
            try:
                if port is None:
                    reader, writer = await ssh.open_unix_connection(where)
                else:
                    reader, writer = await ssh.open_connection(where, port)
            except asyncssh.ChannelOpenError as error:
                target = where if port is None else f"{where}:{port}"
                raise Unreachable(f"{target} cannot be reached through {self.address}: {error.reason}") from error
            except (asyncssh.Error, OSError) as error:
                raise Lost(f"The connection to {self.address} is lost: {error}") from error
            try:
                yield reader, writer
            finally:
                writer.close()
        finally:
            self._streams -= 1
            self._used = time.monotonic()


async def _pump(reader: Any, writer: Any) -> None:
    try:
        while data := await reader.read(_PUMP):
            writer.write(data)
            await writer.drain()
    finally:
        with suppress(Exception):
            writer.write_eof()


async def _connect(address: Address) -> Any:
    """Open a connection to *address*."""
    import asyncssh

    logging.getLogger("asyncssh").setLevel(logging.WARNING)  # it tells of every channel
    if not address.host_keys:
        error = hostkeys.missing(str(address))
        raise HostKeyChanged(error.what, allowed=error.allowed, hint=error.hint)
    try:
        key = await asyncio.to_thread(address.private_key)
    except KeyRefused as refused:
        raise Refused(refused.what, allowed=refused.allowed, hint=refused.hint) from refused
    trusted = [asyncssh.import_public_key(line) for line in address.host_keys]
    opening = asyncssh.connect(
        address.host, address.port, username=address.login, password=address.password,
        client_keys=[key] if key is not None else None, known_hosts=(trusted, [], []), config=None, agent_path=None,
        server_host_key_algs=_algorithms(address.host_keys), gss_host=None,
        x509_trusted_certs=None, compression_algs=None, encryption_algs=list(_CIPHERS),
        keepalive_interval=KEEPALIVE_SECONDS, keepalive_count_max=KEEPALIVE_COUNT,
        connect_timeout=None, login_timeout=None,
    )  # fmt: skip
    try:
        return await asyncio.wait_for(opening, CONNECT_SECONDS)
    except TimeoutError as error:
        raise Unreachable(f"{address} has not answered within {CONNECT_SECONDS:g} s") from error
    except asyncssh.HostKeyNotVerifiable as error:
        try:
            now = await hostkeys.scan(address.host, address.port)
        except ComputeTargetException:
            now = ()
        told = hostkeys.changed(str(address), address.host_keys, now)
        raise HostKeyChanged(told.what, allowed=told.allowed, hint=told.hint) from error
    except asyncssh.PermissionDenied as error:
        raise _not_let_in(address, key is not None) from error
    except (asyncssh.Error, OSError) as error:
        raise Unreachable(f"{address} cannot be reached: {_words(error)}") from error


def _algorithms(keys: tuple[str, ...]) -> list[str]:
    """Return the signatures that the host can give with one of its pinned keys, so that it shows one of those."""
    kinds = list(dict.fromkeys(key.split()[0] for key in keys))
    rsa = ["rsa-sha2-512", "rsa-sha2-256"]
    return [name for kind in kinds for name in (rsa if kind == "ssh-rsa" else [kind])]


def _not_let_in(address: Address, has_key: bool) -> Refused:
    tried = [what for what, given in (("its password", address.password), ("the private key", has_key)) if given]
    if not tried:
        return Refused(
            f"{address} does not let us in: the connection has neither a password nor a private key",
            hint="Give one: a password, extra.key_file or extra.private_key",
        )
    return Refused(
        f"{address} does not let us in: it refuses {' and '.join(tried)}",
        hint="See that the login is right, and that its password or, in ~/.ssh/authorized_keys, its key is known there",
    )


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return os.strerror(error.errno) if error.errno > 0 else error.strerror
    return str(error) or type(error).__name__
