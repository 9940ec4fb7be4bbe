"""The three small ports that kinds of compute targets are put together from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, runtime_checkable


class Files(Protocol):
    """Read and write on the target. Paths are absolute; a file appears whole or not at all.

    Any call may raise :class:`~stepwell.compute.contract.Unreachable`.
    """

    async def read(self, path: str, offset: int = 0, limit: int = -1) -> bytes:
        """Return the bytes from *offset* on, at most *limit*.

        :raises FileNotFoundError: there is no such file.
        """

    async def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file, replacing an older one."""

    async def create(self, path: str, data: bytes) -> bool:
        """Write a file if there is none; return whether this call did."""

    async def put(self, reader: BinaryIO, path: str, drafts: str) -> None:
        """Write a file from a stream, in pieces; its folder is made.

        :param drafts: a folder on the same filesystem that holds the file until it is whole; it is made.
        """

    async def make(self, path: str, mode: int | None = None) -> None:
        """Make a folder and those above it; with *mode* it gets exactly those permissions, also if it was there."""

    async def touch(self, path: str) -> None:
        """Make the file if there is none, and set its time to now."""

    async def modified(self, path: str) -> float | None:
        """Return the time of the last change, in seconds since the epoch; None if there is no such file or folder."""

    async def names(self, path: str) -> list[str]:
        """Return the names in a folder; none if it does not exist."""

    async def sizes(self, path: str) -> dict[str, int]:
        """Return relative path → size of all files below a folder."""

    async def unpack(self, archive: Path, path: str) -> None:
        """Make the folder *path* from a local zip archive, all of it or nothing, each member checked."""

    async def fetch(self, path: str, local: Path, taken: frozenset[str] = frozenset(), apart: str = "") -> None:
        """Copy the folder *path* to the local folder *local*, which is made; nothing happens if there is none.

        Links are followed when they stay below *path*, and left out when they do not.

        :param taken: relative names of files in *local* that must stay as they are.
        :param apart: the folder below *local* for those whose place is taken.
        """

    async def remove(self, path: str) -> None:
        """Remove a file or a folder with all that is in it; nothing happens if there is none."""

    async def now(self) -> float:
        """Return the time by the clock that :meth:`modified` goes by, in seconds since the epoch."""

    def local(self, path: str) -> Path | None:
        """Return *path* as a path of this machine, None if it is elsewhere."""


@runtime_checkable
class ReadsMany(Protocol):
    """Files that can read many small files at the cost of one request."""

    async def read_many(self, paths: Sequence[str]) -> list[bytes | None]:
        """Return the content of each, None for one that is not there."""


@dataclass(frozen=True)
class Start:
    """What a runner is to start: a launcher, or what stands around one.

    :param job_id: names it wherever the runner can give names: a second start of the same finds the first.
    :param argv: the launcher's command line.
    :param directory: the job directory.
    :param needs: what the kind's :meth:`~stepwell.compute.contract.Target.needs` said: image, sizes, …
    """

    job_id: str
    argv: tuple[str, ...]
    directory: str
    needs: Mapping[str, Any]


class Started(Protocol):
    """A launcher that has just been started."""

    def ended(self) -> int | None:
        """Return its exit code, None while it runs."""


@dataclass(frozen=True)
class Look:
    """What a runner sees of a job.

    :param state: ``queued`` = taken, and not running yet; ``gone`` = ended, or never started; ``unknown`` = that cannot
        be known from here, then the launcher's heartbeat decides.
    :param detail: for people, such as "killed: out of memory, the limit is 512 MB".
    """

    state: Literal["queued", "alive", "gone", "unknown"]
    detail: str = ""


class Runner(Protocol):
    """Starts launchers, asks for them and stops them: by the job's id, and by the identity in its ``pid`` file.

    That identity is ``None`` as long as no launcher has claimed the job.
    """

    async def start(self, start: Start) -> Started:
        """Start a launcher, detached from this process; what it says itself goes to ``logs/launcher.log``."""

    async def look(self, jobs: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Look]:
        """Return how each of the jobs is, all in one call where the target allows it.

        :param jobs: job id → identity.
        """

    async def stop(self, job_id: str, process: Mapping[str, Any] | None) -> None:
        """Ask it to end its job."""

    async def sweep(self, job_id: str, process: Mapping[str, Any] | None) -> None:
        """Kill what a dead launcher left running."""

    async def clear(self, job_id: str) -> None:
        """Remove what the runner itself keeps of an ended job (a container, a batch); nothing if there is nothing."""

    async def known(self) -> dict[str, float]:
        """Return the ids of jobs that the runner itself keeps something of → when each started, in epoch seconds."""


@dataclass(frozen=True)
class Completed:
    """A command that has ended."""

    code: int
    out: str
    err: str


class Exec(Protocol):
    """Runs short commands on the target: probes, builds."""

    async def run(
        self, argv: Sequence[str], *, timeout: float = 30.0, variables: Mapping[str, str] | None = None
    ) -> Completed:
        """Run *argv* and return what it said.

        :raises ComputeTargetException: it cannot be started or takes longer than *timeout* seconds.
        """
