"""v1's ``HDInsightCompute``: a Hadoop cluster, by its head node over SSH, and YARN."""

from __future__ import annotations

from typing import Any

from stepwell.compute.base import ComputeTarget, Configuration
from stepwell.compute.livy_compute import CONF, STORAGE_SETTINGS
from stepwell.compute.logins import HOST_KEY, SSH
from stepwell.compute.remote_compute import PYTHON, ROOT
from stepwell.compute.settings import Form, Setting, not_empty


class HDInsightCompute(ComputeTarget):
    """A Hadoop cluster: ``spark-submit`` on its head node, to YARN."""

    _compute_type = "HDInsight"
    kind = "cluster"
    form = Form(
        "HDInsight",
        "a Hadoop cluster: spark-submit to YARN, on its head node behind SSH",
        (
            HOST_KEY,
            ROOT,
            PYTHON,
            *STORAGE_SETTINGS,
            Setting("deploy_mode", "where the driver runs (v1: yarnDeployMode)", default="cluster",
                    choices=("cluster", "client"), flags=("--deploy-mode", "--yarn-deploy-mode")),
            Setting("spark_submit", "the program there (v1: sparkSubmitLocation)", default="spark-submit",
                    flags=("--spark-submit", "--spark-submit-location"), check=not_empty),
            Setting("queue", "the YARN queue; default: the cluster's own"),
            Setting("proxy_user", "in whose name applications run; default: who logs in"),
            Setting("node_python", "the Python on the nodes, for steps of one's own environment"),
            Setting("yarn", "the ResourceManager, http://host:8088; default: as the head node is configured",
                    "list"),
            Setting("yarn_directly", "ask the ResourceManager from here, not through the head node", "switch"),
            CONF,
            Setting("environment", "variables of spark-submit there, such as HADOOP_CONF_DIR", "map"),
        ),
        SSH,
    )  # fmt: skip

    @classmethod
    def attach_configuration(
        cls,
        username: str | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        cluster_name: str | None = None,
        resource_id: str | None = None,
        address: str | None = None,
        ssh_port: int | str = "22",
        password: str = "",
        private_key_file: str = "",
        private_key_passphrase: str = "",
        *,
        ssh_conn_id: str | None = None,
        use_azureml_ssh_key: bool = False,
        host_key: str | None = None,
        tags: dict[str, str] | None = None,
        description: str | None = None,
        **settings: Any,
    ) -> Configuration:
        """Return what :meth:`ComputeTarget.attach` needs.

        :param address: the head node, such as ``<cluster>-ssh.<domain>``; the other parameters are those of
            :meth:`RemoteCompute.attach_configuration`.
        :param settings: ``storage`` (a datastore on the cluster's HDFS), ``deploy_mode``, ``queue``, ``spark_submit``,
            ``conf``, ``root``, ``python``, …
        :raises ComputeTargetException: the machine, or how to log in, is said twice or not at all.
        :raises UserErrorException: a value is not right.
        """
        from stepwell.compute.logins import refuse_azure_names

        refuse_azure_names(address, resource_id, subscription_id, resource_group, cluster_name, ssh_conn_id)
        values = {
            "username": username,
            "address": address,
            "ssh_port": int(ssh_port) if str(ssh_port).isdigit() else ssh_port,
            "password": password or None,
            "private_key_file": private_key_file or None,
            "private_key_passphrase": private_key_passphrase or None,
            "ssh_conn_id": ssh_conn_id,
            "use_azureml_ssh_key": use_azureml_ssh_key or None,
            "host_key": host_key,
        }
        return cls.configuration({**values, **settings}, tags, description)
