"""Attached Spark: v1's ``SynapseCompute`` (a pool of a linked service), and ``SparkCompute`` for everybody else."""

from __future__ import annotations

import re
from typing import Any

from stepwell.compute.base import ComputeTarget, Configuration
from stepwell.compute.linked_service import LinkedService
from stepwell.errors import ComputeTargetException, UserErrorException

#: v1's rule, for the name of the compute target and for that of the pool.
_SYNAPSE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,14}[A-Za-z0-9]")
_SYNAPSE_RULE = "2 to 16 letters, digits and '-', a letter first, no '-' last"


class SynapseCompute(ComputeTarget):
    """A Spark pool, attached from a linked service; its steps run on that service's Spark."""

    _compute_type = "SynapseSpark"

    @classmethod
    def _check_name(cls, name: str) -> None:
        if not _SYNAPSE_NAME.fullmatch(name):
            raise ComputeTargetException(
                f"{name!r} is not a valid name for a SynapseSpark compute target",
                allowed=[_SYNAPSE_RULE],
            )

    @staticmethod
    def attach_configuration(
        linked_service: LinkedService | None = None, type: str | None = None, pool_name: str | None = None
    ) -> Configuration:
        """Return what :meth:`ComputeTarget.attach` needs.

        :param linked_service: a registered one, as an object.
        :param type: "SynapseSpark".
        :param pool_name: the pool's name; kept for information where the service is an own Spark.
        :raises ComputeTargetException: one of them is missing or not right.
        """
        if not isinstance(linked_service, LinkedService):
            raise ComputeTargetException(
                f"linked_service={linked_service!r} is not a LinkedService object",
                hint="Get one with LinkedService.get(workspace, name) or LinkedService.register(…)",
            )
        if type != "SynapseSpark":
            raise ComputeTargetException(f"type={type!r} is not right", allowed=["SynapseSpark"])
        if not isinstance(pool_name, str) or not pool_name:
            raise ComputeTargetException(f"pool_name={pool_name!r} is not right", allowed=["the name of a Spark pool"])
        if not _SYNAPSE_NAME.fullmatch(pool_name):
            raise ComputeTargetException(
                f"pool_name={pool_name!r} is not a valid name for a Spark pool", allowed=[_SYNAPSE_RULE]
            )
        service = linked_service.settings
        settings = {"linked_service": linked_service.name, "pool_name": pool_name, "master": service.get("master")}
        return Configuration(SynapseCompute, "spark", settings, service.get("spark_conn_id"))

    @property
    def pool_name(self) -> str:
        """The pool's name."""
        return str(self._record["configuration"]["pool_name"])


class SparkCompute(ComputeTarget):
    """Spark by its master: this machine, or a standalone cluster."""

    _compute_type = "Spark"

    @staticmethod
    def attach_configuration(
        master: str | None = None,
        spark_conn_id: str | None = None,
        conf: dict[str, Any] | None = None,
        spark_home: str | None = None,
        ship_environment: bool | None = None,
        tags: dict[str, str] | None = None,
        description: str | None = None,
    ) -> Configuration:
        """Return what :meth:`ComputeTarget.attach` needs.

        :param master: ``local[*]`` (the default), ``local[4]``, ``spark://host:port``.
        :param spark_conn_id: an Airflow connection of type ``spark`` that says the master instead.
        :param conf: Spark settings of every step there; a step's own go before them.
        :param spark_home: a Spark installation on this machine; default: each environment's own PySpark.
        :param ship_environment: send a step's environment to the executors; default: unless the master is here.
        :raises UserErrorException: the master is not one that is supported; both master and connection are given.
        """
        from stepwell.compute.kinds.spark import check_master
        from stepwell.compute.spark_settings import target_conf

        if master is not None and spark_conn_id is not None:
            raise UserErrorException(
                f"master={master!r} and spark_conn_id={spark_conn_id!r} both say where Spark is",
                hint="Give one of them",
            )
        settings = {
            "master": check_master("local[*]" if master is None else master),
            "conf": target_conf(conf),
            "spark_home": spark_home,
            "ship_environment": ship_environment,
        }
        return Configuration(SparkCompute, "spark", settings, spark_conn_id, tags, description)
