"""Who and where: a login on a machine, the keys that open it, and the host key by which it is known."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stepwell.compute.ssh import hostkeys
from stepwell.errors import ComputeTargetException, UserErrorException

#: Where things are on the machine, and what runs the launcher there, unless its record says otherwise.
ROOT, PYTHON = "~/.stepwell", "python3"


@dataclass(frozen=True)
class Address:
    """A login on a machine.

    :param host_keys: pinned, as they stand in ``known_hosts`` behind the host; one of them must be the host's.
    :param root: Stepwell's folder there, absolute or below ``~``.
    :param python: the interpreter there, a path or a name on its ``PATH``.
    :param key: a private key as text; *key_file* is one on this machine, read when a connection is made.
    """

    host: str
    port: int
    login: str
    host_keys: tuple[str, ...] = ()
    root: str = ROOT
    python: str = PYTHON
    password: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    key_file: str | None = None
    passphrase: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.login}@{self.host}" + ("" if self.port == 22 else f":{self.port}")

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Address:
        """Return the address that a compute record and its connection tell.

        :raises ComputeTargetException: something is missing or cannot be meant.
        """
        name, settings = record.get("name"), record.get("configuration") or {}
        connection = record.get("connection")
        if connection is None:
            raise ComputeTargetException(
                f"The compute target {name!r} has no connection", hint="Attach it again, with an Airflow connection"
            )
        extra = connection.extra or {}
        for what, value in (("host", connection.host), ("login", connection.login)):
            if not isinstance(value, str) or not value.strip():
                raise ComputeTargetException(
                    f"The connection {connection.conn_id!r} of the compute target {name!r} has no {what}"
                )
        host_key = settings.get("host_key") or extra.get("host_key") or ""
        lines = host_key if isinstance(host_key, str) else "\n".join(host_key)
        return cls(
            host=connection.host.strip(),
            port=int(settings.get("port") or connection.port or 22),
            login=connection.login.strip(),
            host_keys=hostkeys.parse(lines) if lines.strip() else (),
            root=check_root(str(settings.get("root") or ROOT)),
            python=check_program(str(settings.get("python") or PYTHON)),
            password=connection.password or None,
            key=extra.get("private_key") or None,
            key_file=extra.get("key_file") or None,
            passphrase=extra.get("private_key_passphrase") or None,
        )

    @property
    def place(self) -> str:
        """What tells the machine from others: its host, and the port if it is another one than SSH's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 22 else f"{host}:{self.port}"

    @property
    def shell_python(self) -> str:
        """The interpreter as a word of a shell's command line."""
        return shell_word(self.python)

    def private_key(self) -> Any:
        """Return the private key as asyncssh's, None if there is none.

        :raises KeyRefused: it is not there, not readable, readable by others, encrypted without passphrase, …
        """
        from stepwell.compute.ssh import keys

        if self.key:
            return keys.load(self.key, self.passphrase, f"the private key of {self}")
        if self.key_file:
            return keys.load(keys.read_file(self.key_file), self.passphrase, f"the private key {self.key_file}")
        return None


def shell_word(path: str) -> str:
    """Return a path as a word of a shell's command line; one below ``~`` stays there."""
    if path.startswith("~/"):
        return '"$HOME"/' + shlex.quote(path[2:])
    return shlex.quote(path)


def check_program(path: str) -> str:
    """Return the path or name of a program if it can be one.

    :raises UserErrorException: it cannot.
    """
    if not path.strip() or path.startswith("-") or any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        raise UserErrorException(
            f"{path!r} is not the path of a program",
            allowed=["an absolute path such as /usr/bin/python3", "~/…", "a name on PATH there"],
        )
    return path


def check_root(path: str) -> str:
    """Return the folder *path*, normalised, if it is absolute or below ``~``.

    :raises UserErrorException: it is neither, or has a control character in it.
    """
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in path) or not path.startswith(("/", "~/")):
        raise UserErrorException(f"{path!r} is not a folder on a machine", allowed=["an absolute path", "~/…"])
    normal = posixpath.normpath(path)
    if normal in ("/", "//") or not normal.startswith(("/", "~/")):
        raise UserErrorException(
            f"{path!r} cannot be Stepwell's folder", hint="Give it one of its own, such as ~/.stepwell"
        )
    return normal
