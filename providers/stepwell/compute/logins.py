"""How a compute target is logged in to: an Airflow connection that exists, or one that is made when it is attached."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stepwell.compute.settings import Setting, not_empty
from stepwell.errors import ComputeTargetException, UserErrorException
from stepwell.workspace.connections import ConnectionInfo

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: In the extra of a connection that an attach has made: whose it is. Others are never replaced nor removed.
MADE_FOR = "stepwell_target"
#: In the extra of one that logs in with the workspace's own key.
WORKSPACE_KEY = "stepwell_workspace_key"


@dataclass(frozen=True)
class Login:
    """What a connection is to be made of. Secrets are in it only until it is made, and never show in its ``repr``.

    :param private_key_file: read when the target is attached; what is in it goes into the connection.
    :param workspace_key: log in with the workspace's own key pair.
    """

    conn_type: str
    host: str
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    private_key_file: str | None = None
    private_key_passphrase: str | None = field(default=None, repr=False)
    workspace_key: bool = False
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def connection(self, ws: Workspace, name: str) -> ConnectionInfo:
        """Return the connection of the compute target *name*; nothing is kept yet.

        :raises ComputeTargetException: the private key cannot be used, or there is no place for a pair.
        """
        extra = {**self.extra, MADE_FOR: owner(ws, name)}
        if self.private_key_file:
            from stepwell.compute.ssh import keys

            extra["private_key"] = text = keys.read_file(self.private_key_file)
            keys.load(text, self.private_key_passphrase, f"the private key {self.private_key_file}")
            if self.private_key_passphrase:
                extra["private_key_passphrase"] = self.private_key_passphrase
        elif self.workspace_key:
            from stepwell.compute.ssh import keys

            extra["private_key"] = keys.pair(ws).private
            extra[WORKSPACE_KEY] = True
        return ConnectionInfo(
            connection_id(ws, name), self.conn_type, self.host, self.port, self.login, self.password, self.schema, extra
        )


def owner(ws: Workspace, name: str) -> str:
    """Return what marks a connection as made for the compute target *name*."""
    return f"{ws.uuid}/{name}"


def connection_id(ws: Workspace, name: str) -> str:
    """Return the id of the connection that an attach makes."""
    return f"stepwell_target_{ws.name}_{name}"


@dataclass(frozen=True)
class LoginForm:
    """A way of logging in.

    :param conn_type: the type of the Airflow connection.
    :param parameter: the name of the parameter that names a connection that exists; one of *settings*.
    :param make: gets the checked values, and returns what a connection is made of; None = there is no need to log in.
    """

    conn_type: str
    parameter: str
    settings: tuple[Setting, ...]
    make: Callable[[Mapping[str, Any]], Login | None]

    def read(self, values: Mapping[str, Any]) -> tuple[str | None, Login | None]:
        """Return the id of the connection that exists, or what a new one is made of.

        :raises ComputeTargetException: both are said, or not all that is needed.
        """
        conn_id = values.get(self.parameter)
        if conn_id is None:
            return None, self.make(values)
        defaults = {s.name: s.default for s in self.settings}
        free = {self.parameter, "host_key", "known_hosts"}  # a connection may lack them
        both = [
            n for n, default in defaults.items() if n not in free and values.get(n) not in (None, "", False, default)
        ]
        if both:
            raise ComputeTargetException(
                f"{self.parameter}={conn_id!r} and {', '.join(both)} both say how to log in", hint="Give one of them"
            )
        return str(conn_id), None


# -- SSH ---------------------------------------------------------------------------------------------------------------

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]*|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%a-z0-9]*\]?")


def refuse_login_in(address: str) -> None:
    """Raise if an address has a login in front; it is not shown, for there may be a password in it.

    :raises UserErrorException: it has.
    """
    if "@" in address:
        raise UserErrorException(
            f"The address …@{address.rpartition('@')[2]} has a login in it", hint="Give it as username and password"
        )


def check_host(host: str) -> str:
    """Return *host* if it is a host name or an address.

    :raises UserErrorException: it is not.
    """
    refuse_login_in(host)
    if not _HOST.fullmatch(host) or len(host) > 255:
        raise UserErrorException(f"{host!r} is not a host", allowed=["gpu.example.org", "10.0.0.7", "fd00::7"])
    return host.strip("[]")


def split_port(address: str) -> tuple[str, int | None]:
    """Return host and port of ``host``, ``host:port`` or ``[fd00::7]:port``.

    :raises UserErrorException: it is no such thing.
    """
    refuse_login_in(address)
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return check_host(address), None
    if not port.isdigit():
        raise UserErrorException(f"{address!r} is not an address", allowed=["host", "host:port"])
    return check_host(host), check_port(int(port))


def check_port(port: int) -> int:
    """Return *port* if it is one.

    :raises UserErrorException: it is not.
    """
    if not 0 < port < 65536:
        raise UserErrorException(f"{port} is not a port", allowed=["1 to 65535"])
    return port


def check_user(user: str) -> str:
    """Return *user* if it can be the name of a user.

    :raises UserErrorException: it cannot.
    """
    if not user or user.startswith("-") or any(c.isspace() or c in "/:@\0" or not c.isprintable() for c in user):
        raise UserErrorException(f"{user!r} is not the name of a user")
    return user


def _ssh(values: Mapping[str, Any]) -> Login:
    """Return what an SSH connection is made of, by v1's rules: one way to find the machine, and one to log in."""
    host, port = _machine(values)
    if not values.get("username"):
        raise ComputeTargetException("username is missing: nobody is said to log in", hint="Give username")
    ways = [name for name in ("password", "private_key_file", "use_azureml_ssh_key") if values.get(name)]
    if len(ways) != 1:
        said = f"{' and '.join(ways)} all say how to log in" if ways else "Neither password nor private key was given"
        raise ComputeTargetException(
            said,
            allowed=["password", "private_key_file", "use_azureml_ssh_key=True"],
            hint="Give one of them, or ssh_conn_id",
        )
    if values.get("private_key_passphrase") and ways != ["private_key_file"]:
        raise ComputeTargetException("private_key_passphrase is given without private_key_file")
    return Login(
        "ssh",
        host,
        port,
        values["username"],
        values.get("password") or None,
        values.get("private_key_file") or None,
        values.get("private_key_passphrase") or None,
        bool(values.get("use_azureml_ssh_key")),
    )


def _machine(values: Mapping[str, Any]) -> tuple[str, int]:
    """Return host and port."""
    if not values.get("address"):
        raise ComputeTargetException(
            "No machine was named",
            allowed=["address", "ssh_conn_id"],
            hint="Give its address: a host name or an IP address",
        )
    host, port = split_port(values["address"])
    return host, port or int(values.get("ssh_port") or 22)


SSH_LOGIN: tuple[Setting, ...] = (
    Setting("ssh_conn_id", "an Airflow connection of type ssh that exists, in place of all that follows",
            flags=("--ssh-conn-id",)),
    Setting("address", "the machine: host or host:port", flags=("--address", "-a"), check=not_empty),
    Setting("ssh_port", "the port of its SSH server", "integer", default=22, check=check_port),
    Setting("username", "who logs in", flags=("--username", "-u"), check=check_user),
    Setting("password", "the password; asked for where no other way to log in is said", secret=True,
            flags=("--password", "-w")),
    Setting("private_key_file", "a private key of yours; what is in it goes into the connection",
            flags=("--private-key-file", "-i")),
    Setting("private_key_passphrase", "the passphrase of that key", secret=True),
    Setting("use_azureml_ssh_key", "log in with the workspace's own key, whose public half is shown", "switch",
            flags=("--use-azureml-ssh-key", "-k")),
)  # fmt: skip
#: Where the host key comes from is kept in the record.
HOST_KEY = Setting(
    "host_key",
    "the key by which the machine is known: 'ssh-ed25519 AAAA…', or its fingerprint SHA256:…, which is compared",
)

SSH = LoginForm("ssh", "ssh_conn_id", SSH_LOGIN, _ssh)


def refuse_azure_names(
    address: str | None,
    resource_id: str | None,
    subscription_id: str | None,
    resource_group: str | None,
    name: str | None,
    ssh_conn_id: str | None,
) -> None:
    """Raise unless a machine is said in exactly one way, and not by Azure's names, which cannot be looked up.

    :raises ComputeTargetException: it is said twice, or by names only.
    """
    ways = {
        "address": address,
        "resource_id": resource_id,
        "subscription_id, resource_group and name": subscription_id or resource_group or name,
        "ssh_conn_id": ssh_conn_id,
    }
    given = [way for way, value in ways.items() if value]
    if len(given) > 1:
        raise ComputeTargetException(f"{' and '.join(given)} all say which machine it is", hint="Give its address only")
    if given and given[0] not in ("address", "ssh_conn_id"):
        raise ComputeTargetException(
            f"A machine of an Azure subscription ({given[0]}) cannot be looked up here", hint="Give its address"
        )


# -- Livy --------------------------------------------------------------------------------------------------------------


def _livy(values: Mapping[str, Any]) -> Login:
    address = values.get("address")
    if not address:
        raise ComputeTargetException("No Livy was named", allowed=["address='http://host:8998'", "livy_conn_id"])
    refuse_login_in(address)
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise UserErrorException(
            f"{address!r} is not the address of a Livy", allowed=["http://host:8998", "https://host"]
        )
    if values.get("password") and not values.get("username"):
        raise ComputeTargetException("password is given without username")
    path = parts.path.strip("/")
    return Login(
        "livy",
        check_host(host),
        port or (443 if parts.scheme == "https" else 8998),
        values.get("username"),
        values.get("password"),
        schema=parts.scheme,
        extra={k: v for k, v in (("endpoint_prefix", path), ("ca_file", values.get("ca_file"))) if v},
    )


LIVY = LoginForm(
    "livy",
    "livy_conn_id",
    (
        Setting("livy_conn_id", "an Airflow connection of type livy that exists, in place of the three that follow"),
        Setting("address", "Livy's address: http://host:8998", flags=("--address", "-a"), check=not_empty),
        Setting("username", "who logs in, if Livy asks", flags=("--username", "-u"), check=check_user),
        Setting("password", "the password, if Livy asks", secret=True, flags=("--password", "-w")),
        Setting("ca_file", "the certificates by which an https Livy is known; default: the system's"),
    ),
    _livy,
)
