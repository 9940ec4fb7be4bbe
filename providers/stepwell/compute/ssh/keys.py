"""Private keys for SSH: read with the care that ``ssh`` itself takes, and one pair for each workspace."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.errors import ComputeTargetException, UserErrorException
from stepwell.workspace.connections import ConnectionInfo, connection_store, get_connection

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: A private key has some kilobytes.
_MOST_BYTES = 64 * 1024
_MAKE_ONE = "Make one with: ssh-keygen -t ed25519"


class KeyRefused(UserErrorException, ComputeTargetException):
    """A private key cannot be used as it is."""


@dataclass(frozen=True)
class Pair:
    """A workspace's key pair.

    :param public: as a line of ``authorized_keys``.
    :param private: in OpenSSH's form; never shown.
    """

    public: str
    private: str

    def __repr__(self) -> str:
        return f"Pair(public={self.public!r})"


def read_file(path: str | os.PathLike[str]) -> str:
    """Return the private key in the file *path*, which nobody else may be able to read.

    :raises KeyRefused: there is no such file, it cannot be read, others can read it, or it is not text.
    """
    file = Path(path).expanduser()
    try:
        with open(file, "rb") as stream:
            found = os.fstat(stream.fileno())
            # ssh's own rule: a file of somebody else (a mounted secret) is that somebody's affair.
            if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077:
                raise KeyRefused(
                    f"The private key {file} can be read by others (its mode is {stat.S_IMODE(found.st_mode):04o})",
                    allowed=["0600", "0400"],
                    hint=f"chmod 600 {file}; if others have had access to it, make a new key",
                )
            data = stream.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise KeyRefused(f"{file} is too large for a private key", allowed=[f"at most {_MOST_BYTES} bytes"])
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise KeyRefused(f"There is no private key {file} on this machine") from None
    except UnicodeDecodeError:
        raise KeyRefused(f"{file} is not a private key: it is not text", hint=_MAKE_ONE) from None
    except OSError as error:
        raise KeyRefused(f"The private key {file} cannot be read: {error.strerror}") from None


def load(text: str, passphrase: str | None = None, where: str = "the private key") -> Any:
    """Return the private key as asyncssh's ``SSHKey``.

    :param where: what *text* is, for messages: "the private key /home/me/.ssh/id_ed25519".
    :raises KeyRefused: it is not a private key, it is encrypted and *passphrase* is missing or wrong.
    """
    import asyncssh

    text = text.strip().replace("\r\n", "\n") + "\n"
    if "\n" not in text.strip() and "\\n" in text:
        text = text.replace("\\n", "\n")  # as JSON and forms mangle it
    _refuse_what_is_known(text, where)
    try:
        return asyncssh.import_private_key(text, passphrase or None)
    except asyncssh.KeyEncryptionError:
        raise KeyRefused(f"The passphrase of {where} is wrong") from None
    except asyncssh.KeyImportError as error:
        said = str(error)
    if "Passphrase must be specified" in said:
        raise KeyRefused(
            f"{_capital(where)} is encrypted, and no passphrase was given",
            hint="Give its passphrase: private_key_passphrase, or --private-key-passphrase, which asks for it",
        )
    if "Unable to decrypt" in said:
        raise KeyRefused(f"The passphrase of {where} is wrong")
    raise KeyRefused(
        f"{_capital(where)} is not a private key that can be read: {said}",
        allowed=["OpenSSH, PKCS#8 or PEM form, with its first and last line"],
        hint=_MAKE_ONE,
    )


def is_encrypted(text: str, where: str = "the private key") -> bool:
    """Whether a private key needs a passphrase.

    :raises KeyRefused: it is not a private key.
    """
    try:
        load(text, None, where)
    except KeyRefused as error:
        if "is encrypted" not in error.what:
            raise
        return True
    return False


def _refuse_what_is_known(text: str, where: str) -> None:
    """Say what it is that was given in place of a private key."""
    first = text.lstrip().split("\n", 1)[0]
    if first.startswith(("ssh-", "ecdsa-", "sk-", "---- BEGIN SSH2 PUBLIC")) or "BEGIN PUBLIC KEY" in first:
        raise KeyRefused(f"{_capital(where)} is a public key", hint="Give the private one, without '.pub'")
    if first.startswith("PuTTY-User-Key-File"):
        raise KeyRefused(
            f"{_capital(where)} is in PuTTY's form", hint="Convert it: puttygen KEY.ppk -O private-openssh -o KEY"
        )
    if "BEGIN CERTIFICATE" in first:
        raise KeyRefused(f"{_capital(where)} is a certificate, not a private key")


def public_line(text: str, passphrase: str | None = None, where: str = "the private key") -> str:
    """Return the public half as a line of ``authorized_keys``.

    :raises KeyRefused: as :func:`load`.
    """
    return str(load(text, passphrase, where).export_public_key("openssh").decode().strip())


# -- one pair for each workspace ---------------------------------------------------------------------------------------


def connection_id(ws: Workspace) -> str:
    """Return the id of the Airflow connection that keeps the workspace's private key."""
    return f"stepwell_key_{ws.name}"


def pair(ws: Workspace) -> Pair:
    """Return the workspace's key pair, made when it is first asked for.

    The private key is kept in an Airflow connection, so that all members of the workspace use the same one.

    :raises ComputeTargetException: no connection can be made from here; the one that there is is another workspace's.
    """
    name = connection_id(ws)
    kept = get_connection(name)
    if kept is None:
        made = _generate(ws)
        added = connection_store(f"the key pair of the workspace {ws.name!r}").add(
            ConnectionInfo(name, "ssh", extra={"private_key": made.private, "stepwell_workspace": ws.uuid}),
            f"The key pair of the Stepwell workspace {ws.name}. Public half: {made.public}",
        )
        kept = None if added else get_connection(name)  # somebody else was faster
        if kept is None:
            return made
    private = kept.extra.get("private_key")
    if not private:
        raise ComputeTargetException(
            f"The connection {name!r} keeps no private key", hint="Remove it, and a new pair is made"
        )
    of = kept.extra.get("stepwell_workspace")
    if of and of != ws.uuid:
        raise ComputeTargetException(
            f"The connection {name!r} keeps the key of another workspace of the same name",
            hint="Use another name for one of them, or a key of your own",
        )
    where = f"the private key in the connection {name!r}"
    public = public_line(str(private), kept.extra.get("private_key_passphrase"), where)
    return Pair(f"{public} stepwell-{ws.name}" if len(public.split()) < 3 else public, str(private))


def _generate(ws: Workspace) -> Pair:
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519", comment=f"stepwell-{ws.name}")
    return Pair(key.export_public_key("openssh").decode().strip(), key.export_private_key("openssh").decode())


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
