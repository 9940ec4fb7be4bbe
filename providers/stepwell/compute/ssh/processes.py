"""The runner and exec ports over SSH: launchers lead sessions of their own there and need no connection."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stepwell.compute.ports import Completed, Look, Start
from stepwell.compute.ssh.address import Address
from stepwell.compute.ssh.agent import Agent
from stepwell.compute.ssh.connection import connection
from stepwell.errors import ComputeTargetException

_LOOKS = {
    True: Look("alive"),
    False: Look("gone"),
    "elsewhere": Look("unknown"),
    "restarted": Look("unknown", "the machine has been restarted since"),
}


class _Started:
    def __init__(self, agent: Agent, token: str) -> None:
        self._agent, self._token = agent, token

    def ended(self) -> int | None:
        """Return its exit code, None while it runs, or while nobody can tell."""
        return self._agent.ended.get(self._token)


class SshRunner:
    """Launchers on another machine."""

    def __init__(self, address: Address) -> None:
        self.address = address

    async def start(self, start: Start) -> _Started:
        """Start a launcher."""
        agent, token = await connection(self.address).agent(), uuid.uuid4().hex
        argv = list(start.argv)
        if argv[0] == self.address.python:  # it may be below ~, which no shell expands here
            argv[0] = agent.hello["python"]
        await agent.request("start", token=token, argv=argv, directory=start.directory)
        return _Started(agent, token)

    async def look(self, jobs: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Look]:
        """Return which of them run, asking once; what ran before a restart of the machine is seen by its heartbeat."""
        claimed = {job_id: dict(process) for job_id, process in jobs.items() if process is not None}
        looks = {job_id: Look("gone") for job_id in jobs}
        if claimed:
            found, _ = await connection(self.address).request("look", processes=list(claimed.values()))
            looks.update((job_id, _LOOKS[alive]) for job_id, alive in zip(claimed, found, strict=True))
        return looks

    async def stop(self, job_id: str, process: Mapping[str, Any] | None) -> None:
        """Send SIGTERM, if it is still the same process."""
        if process is not None:
            await connection(self.address).request("stop", process=dict(process))

    async def sweep(self, job_id: str, process: Mapping[str, Any] | None) -> None:
        """Kill what is left of its session."""
        if process is not None:
            await connection(self.address).request("sweep", process=dict(process))

    async def clear(self, job_id: str) -> None:
        """Do nothing: of a process that has ended nothing is left."""

    async def known(self) -> dict[str, float]:
        """Return nothing: processes are known by their job directories only."""
        return {}


class SshExec:
    """Short commands on another machine; they end when the connection does."""

    def __init__(self, address: Address) -> None:
        self.address = address

    async def run(
        self, argv: Sequence[str], *, timeout: float = 30.0, variables: Mapping[str, str] | None = None
    ) -> Completed:
        """Run *argv*, which no shell sees, and return what it said."""
        given: dict[str, Any] = {"argv": list(argv), "timeout": timeout, "variables": dict(variables or {})}
        try:
            found, out = await connection(self.address).request("run", seconds=timeout + 30.0, **given)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ComputeTargetException(f"{argv[0]} cannot be started on {self.address}: {error.strerror}") from error
        if found.get("timeout"):
            raise ComputeTargetException(f"{argv[0]} on {self.address} did not answer within {timeout:g} s")
        at = found["split"]
        return Completed(found["code"], out[:at].decode("utf-8", "replace"), out[at:].decode("utf-8", "replace"))

    async def follow(
        self, argv: Sequence[str], line: Callable[[str], None], *,
        variables: Mapping[str, str] | None = None, body: bytes = b"",
    ) -> int:  # fmt: skip
        """Run *argv* and return its exit code; *line* gets each line of both of its streams as it comes.

        :param body: its standard input.
        """
        pending = bytearray()

        def take(piece: bytes) -> None:
            pending.extend(piece)
            *whole, rest = bytes(pending).split(b"\n")
            pending[:] = rest
            for one in whole:
                line(one.decode("utf-8", "replace"))

        given: dict[str, Any] = {
            "argv": list(argv),
            "timeout": None,
            "variables": dict(variables or {}),
            "stream": True,
        }
        try:
            found, _ = await connection(self.address).request("run", body, seconds=None, part=take, **given)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ComputeTargetException(f"{argv[0]} cannot be started on {self.address}: {error.strerror}") from error
        if pending:
            line(bytes(pending).decode("utf-8", "replace"))
        await asyncio.sleep(0)
        return int(found["code"])
