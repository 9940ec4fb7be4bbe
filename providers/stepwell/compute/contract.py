"""The contract between steps and compute targets: a job, and what a target does with it.

The contract is written once, async; synchronous callers go through :mod:`stepwell.compute.portal`.
"""

from __future__ import annotations

import asyncio
import posixpath
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, Protocol

from stepwell.errors import Unreachable as Unreachable

EntryKind = Literal["python", "spark", "command", "none"]
State = Literal["queued", "running", "succeeded", "failed", "cancelled", "unknown"]
#: The states that a job never leaves.
ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True)
class Entry:
    """What to run, in terms of the step.

    :param kind: ``none`` runs nothing but the gates.
    :param script: relative to the source directory (python, spark).
    :param arguments: of the script.
    :param command: program and arguments (command).
    :param spark: sizes, ``conf``, ``py_files``, ``jars``, ``files``, ``app_name`` (spark).
    :param module: a module of the payload that runs in place of a script (python, spark); its first argument is the job
        directory.
    """

    kind: EntryKind
    script: str | None = None
    arguments: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    spark: Mapping[str, Any] | None = None
    module: str | None = None


class Source(Protocol):
    """Where the files of a transfer come from.

    A source may have an attribute ``digest``, a string that is another one when a name or a content is: then also files
    that changed without changing their sizes are not taken for those that an earlier try has staged.
    """

    def files(self) -> Iterable[tuple[str, int]]:
        """Return the relative name and the size in bytes of each file."""

    def open(self, name: str) -> BinaryIO:
        """Return a binary reader of one of them."""


@dataclass(frozen=True)
class Transfer:
    """Files that must be on the target before the job starts.

    :param relative: the folder below the job directory that they go to, such as ``inputs/titanic``.
    """

    source: Source
    relative: str


@dataclass(frozen=True)
class Job:
    """One job, ready to be staged.

    :param document: what becomes ``job.json``; no secrets.
    :param archive: the snapshot, a zip file that becomes ``code/``.
    :param secrets: environment variable → value; in memory, and in one short-lived file on the target.
    """

    id: str
    document: Mapping[str, Any]
    archive: Path | None = None
    transfers: tuple[Transfer, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Layout:
    """Where the parts of a job directory are on the target. Pure: nothing is read or written.

    :param root: the job directory.
    :param payload: the folder that holds Stepwell's payload there.
    """

    root: str
    payload: str

    @property
    def code(self) -> str:
        """The unpacked snapshot, the script's working directory."""
        return posixpath.join(self.root, "code")

    @property
    def logs(self) -> str:
        """The logs."""
        return posixpath.join(self.root, "logs")

    @property
    def gates(self) -> str:
        """The verdicts."""
        return posixpath.join(self.root, "gates")

    def input(self, name: str) -> str:
        """The folder of a downloaded input."""
        return posixpath.join(self.root, "inputs", name)

    def output(self, name: str) -> str:
        """The folder of an output by upload."""
        return posixpath.join(self.root, "outputs", name)


@dataclass(frozen=True)
class EnvironmentRef:
    """An environment that is there on a target.

    :param key: digest of all that makes it what it is.
    :param python: the interpreter's path on the target.
    :param root: the environment's folder there; None for a user-managed interpreter.
    :param has_azureml: it has the real ``azureml-core``, so the v1 import layer must not hide that.
    :param variables: more environment variables of everything that runs in it.
    :param version: its Python version, "3.11.7", where that is known.
    :param image: the container image that it is in.
    """

    key: str
    python: str
    root: str | None = None
    user_managed: bool = False
    has_azureml: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
    image: str | None = None


@dataclass(frozen=True)
class Handle:
    """A submitted job, as plain JSON: whoever has it can ask for the job, in any process.

    :param target: the compute target's name.
    :param directory: the job directory on the target.
    """

    target: str
    job_id: str
    directory: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as a plain dict."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Handle:
        """Return the handle that :meth:`to_dict` wrote; keys of later versions are ignored."""
        return cls(**{f.name: document[f.name] for f in fields(cls)})


@dataclass(frozen=True)
class Status:
    """How a job is.

    :param state: ``unknown`` = the target could not be asked; ask again later.
    :param detail: a reason, for people.
    """

    state: State
    detail: str = ""

    @property
    def ended(self) -> bool:
        """Whether the job will not change any more."""
        return self.state in ENDED


@dataclass(frozen=True)
class Outcome:
    """What a job left behind, on this machine.

    :param final: the final status.
    :param events: metrics, tags, registrations, … in order.
    :param directory: holds ``logs/``, ``gates/`` and ``outputs/`` (v1's ``./outputs``).
    :param uploads: output by upload → its local folder; only those that exist.
    """

    final: dict[str, Any]
    events: list[dict[str, Any]]
    directory: Path
    uploads: dict[str, Path]


@dataclass(frozen=True)
class Report:
    """A dated look at a target.

    :param at: seconds since the epoch.
    :param facts: versions, cores, memory, disk, …
    :param problems: why it cannot work; empty = it can.
    """

    at: float
    facts: dict[str, Any]
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether jobs can run there."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return it as a plain dict."""
        return {"at": self.at, "ok": self.ok, "facts": self.facts, "problems": list(self.problems)}


Log = Callable[[str], None]


class Target(ABC):
    """A compute target.

    :param name: its name in the workspace.
    """

    #: The kind's name in the registry.
    kind: ClassVar[str]
    #: URL schemes that what runs there reads by itself; all else is staged.
    reads: ClassVar[frozenset[str]] = frozenset({"file"})
    #: Kinds of datastores whose files can be mounted there; see :meth:`mountable`.
    mounts: ClassVar[frozenset[str]] = frozenset()
    #: Kinds of :class:`Entry` that run there.
    runs: ClassVar[frozenset[str]] = frozenset({"python", "command", "none"})
    #: Packages that the target brings into every environment.
    packages: ClassVar[tuple[str, ...]] = ()
    #: The engine of gates: that of the producing target.
    engine: ClassVar[Literal["pandas", "spark"]] = "pandas"
    #: Whether a step waits for its job in the triggerer, unless it says otherwise.
    deferrable: ClassVar[bool] = False
    #: Whether jobs may have to wait for their turn there, so that a step that does need not keep its worker.
    has_turns: ClassVar[bool] = False
    #: How often who waits for a job asks for it, once it has run for a while, in seconds.
    poll_seconds: ClassVar[float] = 0.5
    #: A job of a target that has not answered for so long is given up, in seconds.
    unreachable_seconds: float = 1800.0

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    async def probe(self) -> Report:
        """Look whether jobs can run there."""

    @abstractmethod
    async def prepare(self, spec: Mapping[str, Any], log: Log) -> EnvironmentRef:
        """Build the environment, or find it.

        :param spec: as ``stepwell.environment.specification`` returns it.
        :param log: takes the lines of the build log.
        """

    @abstractmethod
    async def environment_key(self, spec: Mapping[str, Any]) -> str:
        """Return the key that :meth:`prepare` would give the environment, without building it.

        :raises EnvironmentException: *spec* is malformed; its user-managed interpreter is not there or does not run.
        """

    def reads_for(self, kind: EntryKind) -> frozenset[str]:
        """Return the URL schemes that an entry of that *kind* reads and writes by itself there."""
        return self.reads

    def mountable(self, source: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return how *source* is mounted there (see ``stepwell.runtime.mounts``), None if it cannot be.

        :param source: what the datastore's backend says of a folder (``mounting``).
        """
        return dict(source) if source["kind"] in self.mounts else None

    def makes(self) -> dict[str, Any]:
        """Return what of the target decides what a step makes there: never its name or address."""
        return {"kind": self.kind}

    @abstractmethod
    def layout(self, job_id: str) -> Layout:
        """Return where the parts of that job are."""

    @abstractmethod
    def phases(
        self,
        entry: Entry,
        environment: EnvironmentRef,
        layout: Layout,
        *,
        variables: Mapping[str, str] | None = None,
        gates_in: EnvironmentRef | None = None,
    ) -> list[dict[str, Any]]:
        """Return the phases of ``job.json``.

        :param variables: the job's own variables (as in ``job.json``), for what needs them elsewhere, too.
        :param gates_in: the environment of the job's gates where they are a phase of their own; None = no gates. On
            Spark they run within the step's application, and any environment here only says that there are some.
        :raises ComputeTargetException: this kind of target cannot run this kind of entry.
        """

    def needs(self, entry: Entry, environment: EnvironmentRef, layout: Layout) -> dict[str, Any]:
        """Return what must be known to start the job beside its phases, as plain JSON: image, sizes, …"""
        return {}

    @abstractmethod
    async def stage(self, job: Job) -> None:
        """Bring code and inputs to the target. Resumable; does nothing to a job that has started."""

    @abstractmethod
    async def submit(self, job: Job) -> Handle:
        """Start the staged job, or find it started; either way the job is its document's owner's from now on."""

    @abstractmethod
    async def status(self, handles: Sequence[Handle]) -> list[Status]:
        """Return how each job is. Silence is failure: no final status and no live process is "failed".

        A target that cannot be asked is no failure: then each is "unknown", with the reason.
        """

    @abstractmethod
    def logs(self, handle: Handle, offset: int = 0) -> AsyncIterator[bytes]:
        """Return the log from byte *offset* on, as it comes, until the job has ended."""

    async def log_part(self, handle: Handle, offset: int, limit: int = 1 << 18) -> bytes:
        """Return what is there now of the log from byte *offset* on, at most *limit* bytes; a kind can do better."""
        following = self.logs(handle, offset)
        try:
            return (await asyncio.wait_for(anext(following), 1.0))[:limit]
        except (StopAsyncIteration, TimeoutError):
            return b""

    @abstractmethod
    async def events(self, handle: Handle, seen: set[str]) -> list[dict[str, Any]]:
        """Return the events that the job has written since the last call, in the order of their times.

        :param seen: what was returned already; empty at first, and added to.
        """

    @abstractmethod
    async def renew(self, handle: Handle) -> None:
        """Renew the job's lease: somebody is still interested."""

    @abstractmethod
    async def adopt(self, handle: Handle, owner: str) -> None:
        """Make the job *owner*'s: from now on nobody else's cancel reaches it."""

    @abstractmethod
    async def cancel(self, handle: Handle, owner: str | None, reason: str = "cancelled") -> bool:
        """Ask the job to end, and return at once.

        :param owner: who asks; None = whoever it belongs to.
        :returns: False if it is somebody else's job; then nothing happens.
        """

    @abstractmethod
    async def collect(self, handle: Handle, into: Path) -> Outcome:
        """Fetch what the ended job left. Resumable.

        :raises ComputeTargetException: the job has not ended.
        """

    @abstractmethod
    async def find(self, job_id: str) -> Handle | None:
        """Return the handle of a job that has been submitted, or None."""

    @abstractmethod
    async def forget(self, handle: Handle) -> None:
        """Remove the ended job's directory.

        :raises ComputeTargetException: the job has not ended.
        """

    @abstractmethod
    async def reap(self, older_than: float) -> list[str]:
        """Remove the directories of jobs that ended, or were staged and never started, *older_than* seconds ago.

        :returns: their ids.
        """

    @abstractmethod
    async def reapable(self, older_than: float) -> list[str]:
        """Return the ids of the jobs that :meth:`reap` would remove."""
