"""The kind ``synapse``: a batch per step, on a Spark pool of an Azure Synapse workspace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from stepwell.compute.batch.storage import open_storage
from stepwell.compute.batch.synapse import SynapseBatches
from stepwell.compute.batch.target import BatchTarget
from stepwell.compute.spark_settings import target_conf
from stepwell.errors import ComputeTargetException


class SynapseTarget(BatchTarget):
    """A Spark pool. A batch's arguments and settings are shown to who may see the workspace: so it gets no secrets."""

    kind: ClassVar[str] = "synapse"
    poll_seconds: ClassVar[float] = 5.0  # the service is far away, and counts requests

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: str | os.PathLike[str]) -> SynapseTarget:
        """Return the target that a compute record describes; it has its linked service's ``endpoint``.

        :raises ComputeTargetException: there is no endpoint, or no pool.
        """
        configuration = record["configuration"]
        endpoint, pool = configuration.get("endpoint"), configuration.get("pool_name")
        if not endpoint or not pool:
            raise ComputeTargetException(
                f"The compute target {record['name']!r} has no {'endpoint' if not endpoint else 'pool_name'}",
                hint="Attach it again from its linked service",
            )
        return cls(
            record["name"],
            root,
            open_storage(record),
            SynapseBatches(endpoint, pool, record.get("connection")),
            conf=target_conf(configuration.get("conf")),
            python=configuration.get("python"),
        )
