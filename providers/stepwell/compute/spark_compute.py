"""Attached Spark: v1's ``SynapseCompute`` (a pool of a linked service), and ``SparkCompute`` for everybody else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stepwell.compute import records
from stepwell.compute.base import ComputeTarget, Configuration
from stepwell.compute.linked_service import LinkedService, spark_of
from stepwell.compute.livy_compute import BATCH_SETTINGS, CONF
from stepwell.compute.logins import LoginForm
from stepwell.compute.settings import Form, Setting
from stepwell.errors import ComputeTargetException, UserErrorException

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: v1's rule, for the name of the compute target and for that of the pool.
_SYNAPSE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,14}[A-Za-z0-9]")
_SYNAPSE_RULE = "2 to 16 letters, digits and '-', a letter first, no '-' last"


def check_pool(name: str) -> str:
    """Return the name of a Spark pool if it is one.

    :raises ComputeTargetException: it is against v1's rule.
    """
    if not _SYNAPSE_NAME.fullmatch(name):
        raise ComputeTargetException(
            f"pool_name={name!r} is not a valid name for a Spark pool", allowed=[_SYNAPSE_RULE]
        )
    return name


class SynapseCompute(ComputeTarget):
    """A Spark pool, attached from a linked service; its steps run on that service's Spark."""

    _compute_type = "SynapseSpark"
    kind = "synapse"
    form = Form(
        "SynapseSpark",
        "a Spark pool of a linked service: Azure Synapse, or a Spark of one's own in its place",
        (
            Setting("linked_service", "the linked service, by its name", required=True),
            Setting("pool_name", "the Spark pool", required=True, check=check_pool),
            *BATCH_SETTINGS,
        ),
    )

    @classmethod
    def _check_name(cls, name: str) -> None:
        if not _SYNAPSE_NAME.fullmatch(name):
            raise ComputeTargetException(
                f"{name!r} is not a valid name for a SynapseSpark compute target",
                allowed=[_SYNAPSE_RULE],
            )

    @classmethod
    def _settle(cls, ws: Workspace, wanted: Configuration) -> tuple[str, dict[str, Any], str | None]:
        service = records.read_linked_service(ws, wanted.settings["linked_service"])
        kind, more, connection_id = spark_of(service["configuration"])
        return kind, {**wanted.settings, **more}, connection_id

    @classmethod
    def attach_configuration(
        cls,
        linked_service: LinkedService | None = None,
        type: str | None = None,
        pool_name: str | None = None,
        *,
        tags: dict[str, str] | None = None,
        description: str | None = None,
        **settings: Any,
    ) -> Configuration:
        """Return what :meth:`ComputeTarget.attach` needs.

        :param linked_service: a registered one, as an object.
        :param type: "SynapseSpark".
        :param pool_name: the pool's name; kept for information where the service is a Spark of one's own.
        :param settings: for Azure Synapse ``storage``, the datastore through which jobs go, and ``conf``.
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
        values = {"linked_service": linked_service.name, "pool_name": pool_name}
        return cls.configuration({**values, **settings}, tags, description)

    @property
    def pool_name(self) -> str:
        """The pool's name."""
        return str(self._record["configuration"]["pool_name"])


class SparkCompute(ComputeTarget):
    """Spark by its master: this machine, or a standalone cluster."""

    _compute_type = "Spark"
    kind = "spark"
    form = Form(
        "Spark",
        "spark-submit from this machine to a master",
        (
            Setting("master", "local[*] (the default), local[4], spark://host:7077, …"),
            CONF,
            Setting("spark_home", "a Spark installation on this machine; default: each environment's own PySpark"),
            Setting("ship_environment", "send a step's environment to the executors; default: unless the master is "
                    "on this machine", "switch"),
        ),
        LoginForm("spark", "spark_conn_id",
                  (Setting("spark_conn_id", "an Airflow connection of type spark that says the master"),),
                  lambda _: None),
    )  # fmt: skip

    @classmethod
    def configuration(
        cls, values: Mapping[str, Any], tags: Mapping[str, str] | None = None, description: str | None = None
    ) -> Configuration:
        """Return what :meth:`ComputeTarget.attach` needs, from plain values."""
        from stepwell.compute.kinds.spark import check_master
        from stepwell.compute.spark_settings import target_conf

        master, conn_id = values.get("master"), values.get("spark_conn_id")
        if master is not None and conn_id is not None:
            raise UserErrorException(
                f"master={master!r} and spark_conn_id={conn_id!r} both say where Spark is", hint="Give one of them"
            )
        checked = {
            "master": check_master("local[*]" if master is None else master),
            "conf": target_conf(values.get("conf")),
        }
        return super().configuration({**values, **checked}, tags, description)

    @classmethod
    def attach_configuration(
        cls,
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
        values = {
            "master": master, "spark_conn_id": spark_conn_id, "conf": conf,
            "spark_home": spark_home, "ship_environment": ship_environment,
        }  # fmt: skip
        return cls.configuration(values, tags, description)
