"""The kind ``amlcompute``: at most ``max_nodes`` jobs at a time, on another compute target of the workspace."""

from __future__ import annotations

import functools
import os
import posixpath
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from stepwell.compute import portal, registry
from stepwell.compute.contract import Entry, EnvironmentRef, Handle, Job, Layout, Target
from stepwell.compute.kinds.local import LocalTarget
from stepwell.compute.target import JobDirectoryTarget
from stepwell.errors import ComputeTargetException
from stepwell.runtime import slots
from stepwell.runtime.names import check_name

#: The kinds on which it can stand: a slot is a file lock, and their launchers share a disk.
BACKING = ("local", "docker", "remote", "remotedocker")

if TYPE_CHECKING:
    _Base = JobDirectoryTarget
else:
    _Base = object


class Slotted(_Base):
    """Slots before a target's jobs. A slot is held by the launcher of a job: it is free when the launcher ends.

    :ivar max_nodes: how many jobs run at the same time; more wait, with the state "queued".
    """

    kind: ClassVar[str] = "amlcompute"
    has_turns: ClassVar[bool] = True
    max_nodes: int

    @property
    def slots(self) -> str:
        """The folder of the locks, on the target's machine."""
        return posixpath.join(self.root, "slots", check_name("compute target", self.name))

    def completed(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``job.json`` with the slots."""
        return {**super().completed(document), "slots": {"directory": self.slots, "count": self.max_nodes}}

    def needs(self, entry: Entry, environment: EnvironmentRef, layout: Layout) -> dict[str, Any]:
        """Return what the target needs; a container sees the locks."""
        found = super().needs(entry, environment, layout)
        if "mounts" in found:
            found["mounts"] = [*found["mounts"], f"{self.slots}:{self.slots}:rw"]
        return found

    async def submit(self, job: Job) -> Handle:
        """Start the launcher, which waits for a slot.

        :raises ComputeTargetException: the target has no nodes at all.
        """
        if self.max_nodes < 1:
            raise ComputeTargetException(
                f"The compute target {self.name!r} has max_nodes={self.max_nodes}: no job can ever run there",
                hint="Raise it with AmlCompute.update(max_nodes=1) or more",
            )
        await self.resize()
        return await super().submit(job)

    async def resize(self) -> None:
        """Tell the jobs that wait how many may run now."""
        path, count = posixpath.join(self.slots, slots.COUNT), str(self.max_nodes).encode()
        try:
            if await self.files.read(path) == count:
                return
        except FileNotFoundError:
            await self.files.make(self.slots, 0o777)  # a container may run as another user
        await self.files.write(path, count)

    async def busy(self) -> int:
        """Return how many slots are taken now."""
        here = self.files.local(self.slots)
        if here is not None:
            return slots.busy(str(here))
        machine = cast(_CallsThere, self)
        await self._ship_payload()
        return int(await machine.call("slots", "busy", directory=self.slots))

    def busy_nodes(self) -> int:
        """Return how many slots are taken now."""
        return portal.call(self.busy())


class AmlComputeTarget(Slotted, LocalTarget):
    """Local processes behind slots; :meth:`from_record` returns those of other kinds, too."""

    def __init__(self, name: str, root: str | os.PathLike[str], max_nodes: int) -> None:
        super().__init__(name, root)
        self.max_nodes = max_nodes

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: str) -> AmlComputeTarget:
        """Return the target that a compute record describes: of this class only if it stands on ``local``.

        :param record: its ``backing`` is the record of the target that it stands on; without one that is ``local``.
        :raises ComputeTargetException: it cannot stand on a target of that kind.
        """
        count, backing = int(record["configuration"]["max_nodes"]), record.get("backing") or {"kind": "local"}
        kind = backing["kind"]
        if kind not in BACKING:
            raise ComputeTargetException(
                f"An AmlCompute cannot stand on the compute target {backing['name']!r} of the kind {kind!r}",
                allowed=BACKING,
            )
        if kind == "local":
            return cls(record["name"], root, count)
        made = _over(kind).from_record({**backing, "name": record["name"]}, root)
        made.max_nodes = count
        return cast(AmlComputeTarget, made)


class _CallsThere(Protocol):
    async def call(self, module: str, function: str, **arguments: Any) -> Any: ...


@functools.cache
def _over(kind: str) -> Any:
    """Return the class of that kind's targets behind slots."""
    return type("AmlComputeTarget", (Slotted, cast(type[Target], registry.target_class(kind))), {})
