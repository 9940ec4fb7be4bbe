"""How the command line learns by which key a machine is known, and puts the workspace's own key on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.cli.asking import answer, on_terminal, say
from stepwell.errors import ComputeTargetException, UserErrorException

if TYPE_CHECKING:
    from stepwell.compute.settings import Form
    from stepwell.workspace import Workspace


def host_key(
    ws: Workspace,
    name: str,
    form: Form,
    values: dict[str, Any],
    known_hosts: str | None = None,
    accepted: list[str] | None = None,
) -> None:
    """Put into *values* the key by which the machine is to be known: from a file, by fingerprint, or by asking.

    Where nothing is said and nobody can be asked it stays out: then attaching says which keys the machine shows.

    :raises UserErrorException: it is said twice, or not well; the answer was no.
    """
    from stepwell.compute import portal
    from stepwell.compute.ssh import hostkeys

    said = {"--host-key": values.get("host_key"), "--known-hosts": known_hosts, "--accept-host-key": accepted}
    given = [flag for flag, value in said.items() if value]
    if len(given) > 1:
        raise UserErrorException(f"{' and '.join(given)} all say the host key", hint="Give one of them")
    for text in accepted or ():
        if not hostkeys.is_fingerprint(text):
            raise UserErrorException(f"{text!r} is not a fingerprint", allowed=["SHA256: and 43 characters"])
    if accepted:
        values["host_key"] = " ".join(accepted)
        return
    machine = _machine(form, values)
    if values.get("host_key") or machine is None:
        return
    host, port = machine
    if known_hosts:
        values["host_key"] = "\n".join(hostkeys.known(known_hosts, host, port))
        return
    if _is_known(ws, name, form, values, host, port) or not on_terminal():
        return
    keys = portal.call(hostkeys.scan(host, port), 60)
    say(f"Nobody has said yet by which key {host}:{port} is known. It shows:")
    for key in keys:
        say(f"  {key.split()[0]:<22} {hostkeys.fingerprint(key)}")
    say("On the machine: for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done")
    text = answer("Are these its keys? [yes/no/fingerprint] ")
    chosen = keys if text.lower() == "yes" else hostkeys.matching(keys, [text])
    if not chosen:
        raise UserErrorException("The host key was not accepted, and nothing has been changed")
    values["host_key"] = "\n".join(chosen)


def _machine(form: Form, values: dict[str, Any]) -> tuple[str, int] | None:
    """Return host and port as the flags say them, or the connection that they name."""
    from stepwell.compute.logins import split_port
    from stepwell.workspace.connections import get_connection

    conn_id = values.get(form.login.parameter) if form.login else None
    if conn_id:
        connection = get_connection(conn_id)
        return None if connection is None or not connection.host else (connection.host, connection.port or 22)
    if not values.get("address"):
        return None
    host, port = split_port(values["address"])
    return host, port or int(values.get("ssh_port") or 22)


def _is_known(ws: Workspace, name: str, form: Form, values: dict[str, Any], host: str, port: int) -> bool:
    """Whether attaching will know the key without being told: from the connection, or from the record that there is."""
    from stepwell.compute import records, resolve
    from stepwell.workspace.connections import get_connection

    conn_id = values.get(form.login.parameter) if form.login else None
    named = get_connection(conn_id) if conn_id else None
    if named is not None and named.extra.get("host_key"):
        return True
    try:
        record = records.read(ws, name)
        old = resolve.connection_of(record)
    except ComputeTargetException:
        return False
    here = old is not None and (old.host, old.port or 22) == (host, port)
    return here and bool(record["configuration"].get("host_key"))


def workspace_key(ws: Workspace, values: dict[str, Any], password: str | None) -> None:
    """Show the public half of the workspace's own key, where that is to log in; with a password, put it on the machine.

    :param password: to log in with once.
    """
    if not values.get("use_azureml_ssh_key"):
        return
    from stepwell.compute.ssh import keys

    public = keys.pair(ws).public
    who = f"{values.get('username')}@{values.get('address')}"
    if password is None:
        say(f"The public key of the workspace {ws.name}, a line for ~/.ssh/authorized_keys of {who}:")
        say(public)
        if on_terminal():
            answer("Press Enter when it is there. ")
        return
    from stepwell.compute import portal
    from stepwell.compute.logins import split_port
    from stepwell.compute.ssh import authorize, hostkeys

    host, port = split_port(values["address"])
    port = port or int(values.get("ssh_port") or 22)
    pinned = values.get("host_key") or ""
    if not pinned or hostkeys.is_fingerprint(pinned.split()[0]):
        shown = portal.call(hostkeys.scan(host, port), 60)
        found = hostkeys.matching(shown, pinned.split())
        if not found:  # before a password goes there
            raise hostkeys.missing(f"{host}:{port}") if not pinned else hostkeys.changed(f"{host}:{port}", (), shown)
        pinned = "\n".join(found)
    added = portal.call(authorize.add(host, port, values["username"], password, hostkeys.parse(pinned), public), 60)
    say(f"{'Added' if added else 'Found'} the public key of the workspace {ws.name} in ~/.ssh/authorized_keys of {who}")
