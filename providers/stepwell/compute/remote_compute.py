"""v1's ``RemoteCompute``: a machine behind SSH; and the same with Docker on it."""

from __future__ import annotations

from typing import Any

from stepwell.compute.base import ComputeTarget, Configuration
from stepwell.compute.docker_compute import CONTAINER_SETTINGS
from stepwell.compute.logins import HOST_KEY, SSH
from stepwell.compute.settings import Form, Setting
from stepwell.compute.ssh.address import check_program, check_root

ROOT = Setting(
    "root",
    "the folder there in which jobs and environments are; ~ is the home of who logs in",
    default="~/.stepwell",
    check=check_root,
)
PYTHON = Setting(
    "python",
    "the Python there that runs steps of one's own environment (v1: pythonLocation)",
    default="python3",
    flags=("--python", "--python-location"),
    check=check_program,
)


class RemoteCompute(ComputeTarget):
    """A machine behind SSH, with Python; it needs no Docker, no root and no daemon of Stepwell."""

    _compute_type = "VirtualMachine"
    kind = "remote"
    form = Form(
        "VirtualMachine",
        "a machine behind SSH: processes there, in environments built there",
        (HOST_KEY, ROOT, PYTHON),
        SSH,
    )

    @classmethod
    def attach_configuration(
        cls,
        username: str | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        vm_name: str | None = None,
        resource_id: str | None = None,
        address: str | None = None,
        ssh_port: int | str = 22,
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

        A password or a key is kept in an Airflow connection that attaching makes; in a task, which may make none, name
        a connection that exists.

        :param username: who logs in.
        :param address: host, or host:port. Azure's names of a machine are refused: they cannot be looked up.
        :param password: this, ``private_key_file`` or ``use_azureml_ssh_key``.
        :param ssh_conn_id: an Airflow connection of type ``ssh``, in place of all of them.
        :param use_azureml_ssh_key: log in with the workspace's own key pair.
        :param host_key: ``ssh-ed25519 AAAA…``, or its fingerprint ``SHA256:…``; default: that of the connection.
        :param settings: ``root``, the folder there (default: ``~/.stepwell``); ``python``, the interpreter there.
        :raises ComputeTargetException: the machine, or how to log in, is said twice or not at all.
        :raises UserErrorException: a value is not right.
        """
        from stepwell.compute.logins import refuse_azure_names

        refuse_azure_names(address, resource_id, subscription_id, resource_group, vm_name, ssh_conn_id)
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

    @property
    def address(self) -> str | None:
        """The machine, as its connection says it."""
        from stepwell.compute.resolve import connection_of

        connection = connection_of(self._record)
        return None if connection is None else connection.host

    def get_credentials(self) -> dict[str, Any]:
        """Return how it is logged in to, under v1's names; from its connection, so what may read that."""
        from stepwell.compute.resolve import connection_of
        from stepwell.compute.ssh import keys

        connection = connection_of(self._record)
        if connection is None:
            return {}
        private = connection.extra.get("private_key")
        passphrase = connection.extra.get("private_key_passphrase")
        return {
            "username": connection.login,
            "password": connection.password,
            "publicKeyData": keys.public_line(str(private), passphrase) if private else None,
            "privateKeyData": private,
        }


class DsvmCompute(RemoteCompute):
    """v1's name of a machine that is set up for data science; here it is one as any other."""

    _compute_type = "DSVM"
    form = Form("DSVM", RemoteCompute.form.about, RemoteCompute.form.settings, SSH)


class RemoteDockerCompute(RemoteCompute):
    """Docker on a machine behind SSH: containers there, through a forwarded socket."""

    _compute_type = "RemoteDocker"
    kind = "remotedocker"
    form = Form(
        "RemoteDocker",
        "Docker on a machine behind SSH: containers there",
        (
            HOST_KEY,
            ROOT,
            PYTHON,
            Setting("docker_host", "Docker's socket there; default: unix:///var/run/docker.sock"),
            *CONTAINER_SETTINGS,
        ),
        SSH,
    )
