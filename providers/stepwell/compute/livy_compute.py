"""Spark behind an Apache Livy as a compute target."""

from __future__ import annotations

from typing import Any

from stepwell.compute.base import ComputeTarget, Configuration
from stepwell.compute.logins import LIVY
from stepwell.compute.settings import Form, Setting, not_empty
from stepwell.compute.spark_settings import target_conf

#: Where job directories are when the worker's disk is not the cluster's; ``compute/batch/storage.py`` reads them.
STORAGE_SETTINGS: tuple[Setting, ...] = (
    Setting("storage", "a datastore on the cluster's storage, or a URL, through which jobs, code and logs go",
            check=not_empty),
    Setting("storage_is_shared", "a folder is the same on this machine and on every node", "switch"),
    Setting("webhdfs_url", "beside an hdfs:// URL: its WebHDFS, http://host:9870"),
    Setting("storage_user", "beside an hdfs:// URL: the user there"),
)  # fmt: skip
CONF = Setting("conf", "settings of Spark for every step there", "map", check=target_conf)
BATCH_SETTINGS: tuple[Setting, ...] = (
    *STORAGE_SETTINGS,
    CONF,
    Setting("python", "the Python on the nodes, for steps of one's own environment"),
)


class LivyCompute(ComputeTarget):
    """Spark behind an Apache Livy: a batch per step."""

    _compute_type = "Livy"
    kind = "livy"
    form = Form(
        "Livy",
        "Spark behind an Apache Livy: a batch per step",
        (*BATCH_SETTINGS, Setting("queue", "the YARN queue"), Setting("proxy_user", "in whose name batches run")),
        LIVY,
    )

    @classmethod
    def attach_configuration(
        cls,
        address: str | None = None,
        storage: str | None = None,
        *,
        livy_conn_id: str | None = None,
        username: str | None = None,
        password: str | None = None,
        tags: dict[str, str] | None = None,
        description: str | None = None,
        **settings: Any,
    ) -> Configuration:
        """Return what :meth:`ComputeTarget.attach` needs.

        :param address: ``http://host:8998`` or ``https://…``.
        :param storage: a datastore on the cluster's storage.
        :param livy_conn_id: an Airflow connection of type ``livy``, in place of address, username and password.
        :param settings: ``queue``, ``conf``, ``proxy_user``, ``python``, ``storage_is_shared``, ``webhdfs_url``, …
        :raises ComputeTargetException: no Livy is named, or two.
        :raises UserErrorException: a value is not right.
        """
        values = {
            "address": address, "storage": storage, "livy_conn_id": livy_conn_id,
            "username": username, "password": password,
        }  # fmt: skip
        return cls.configuration({**values, **settings}, tags, description)
