"""The kinds of compute targets: the built-in ones, and those of the entry-point group ``stepwell.compute``."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from stepwell.compute.contract import Target
from stepwell.compute.records import Record
from stepwell.errors import ComputeTargetException

GROUP = "stepwell.compute"
#: They work also where the distribution is not installed (a checkout on the Python path).
BUILT_IN = {
    "local": "stepwell.compute.kinds.local:LocalTarget",
    "docker": "stepwell.compute.kinds.docker:DockerTarget",
    "remotedocker": "stepwell.compute.kinds.remotedocker:RemoteDockerTarget",
    "remote": "stepwell.compute.kinds.remote:RemoteTarget",
    "amlcompute": "stepwell.compute.kinds.amlcompute:AmlComputeTarget",
    "spark": "stepwell.compute.kinds.spark:SparkTarget",
    "livy": "stepwell.compute.kinds.livy:LivyTarget",
    "synapse": "stepwell.compute.kinds.synapse:SynapseTarget",
    "cluster": "stepwell.compute.kinds.cluster:ClusterTarget",
}


class TargetClass(Protocol):
    """What an entry point of the group names."""

    kind: str

    def from_record(self, record: Record, root: str) -> Target:
        """Return the target that a compute record describes; its files on this machine go below *root*."""


def kinds() -> list[str]:
    """Return the names of all kinds."""
    from importlib.metadata import entry_points

    return sorted({*BUILT_IN, *entry_points(group=GROUP).names})


def target_class(kind: str) -> TargetClass:
    """Return the class of a kind.

    :raises ComputeTargetException: there is no such kind.
    """
    if kind in BUILT_IN:
        module, _, name = BUILT_IN[kind].partition(":")
        return cast(TargetClass, getattr(importlib.import_module(module), name))
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP, name=kind):
        return cast(TargetClass, point.load())
    raise ComputeTargetException(f"There is no kind of compute target named {kind!r}", allowed=kinds())
