"""The kind ``amlcompute``: a record with a size and at most ``max_nodes`` jobs at a time, for now on this machine."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from typing import Any, ClassVar

from stepwell.compute.contract import Handle, Job
from stepwell.compute.kinds.local import LocalTarget
from stepwell.errors import ComputeTargetException
from stepwell.runtime.names import check_name


class AmlComputeTarget(LocalTarget):
    """Local processes behind slots. A slot is a file lock that the launcher holds: it is free when the launcher ends.

    :param max_nodes: how many jobs run at the same time; more wait, with the state "queued".
    """

    kind: ClassVar[str] = "amlcompute"

    def __init__(self, name: str, root: str | os.PathLike[str], max_nodes: int) -> None:
        super().__init__(name, root)
        self.max_nodes = max_nodes

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: str) -> AmlComputeTarget:
        """Return the target that a compute record describes."""
        return cls(record["name"], root, int(record["configuration"]["max_nodes"]))

    @property
    def slots(self) -> str:
        """The folder of the locks."""
        return posixpath.join(self.root, "slots", check_name("compute target", self.name))

    def completed(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``job.json`` with the slots."""
        return {**super().completed(document), "slots": {"directory": self.slots, "count": self.max_nodes}}

    async def submit(self, job: Job) -> Handle:
        """Start the launcher, which waits for a slot.

        :raises ComputeTargetException: the target has no nodes at all.
        """
        if self.max_nodes < 1:
            raise ComputeTargetException(
                f"The compute target {self.name!r} has max_nodes={self.max_nodes}: no job can ever run there",
                hint="Raise it with AmlCompute.update(max_nodes=1) or more",
            )
        return await super().submit(job)

    def busy_nodes(self) -> int:
        """Return how many slots are taken now."""
        import fcntl

        busy = 0
        for number in range(self.max_nodes):
            try:
                descriptor = os.open(posixpath.join(self.slots, f"slot-{number:04d}"), os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                busy += 1
            finally:
                os.close(descriptor)
        return busy
