"""The kind ``livy``: a batch per step, on the cluster of an Apache Livy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from stepwell.compute.batch.livy import LivyBatches
from stepwell.compute.batch.storage import open_storage
from stepwell.compute.batch.target import BatchTarget
from stepwell.compute.spark_settings import target_conf


class LivyTarget(BatchTarget):
    """Spark behind a Livy. Its arguments and settings can be read by whoever can ask it: so it gets no secrets."""

    kind: ClassVar[str] = "livy"

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: str | os.PathLike[str]) -> LivyTarget:
        """Return the target that a compute record describes; ``connection`` is one of type ``livy``."""
        configuration = record["configuration"]
        return cls(
            record["name"],
            root,
            open_storage(record),
            LivyBatches.of(record.get("connection")),
            conf=target_conf(configuration.get("conf")),
            queue=configuration.get("queue"),
            proxy_user=configuration.get("proxy_user"),
            python=configuration.get("python"),
        )
