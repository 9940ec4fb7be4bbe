"""A public key is put on a machine, with a password that is used this once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepwell.errors import ComputeTargetException

_FILE = ".ssh/authorized_keys"


async def add(host: str, port: int, user: str, password: str, host_keys: Iterable[str], public: str) -> bool:
    """Append *public* to ``~/.ssh/authorized_keys``; return False if it is there already.

    :param host_keys: by which the machine is known; the password goes to no other.
    :raises ComputeTargetException: it cannot be reached, shows another key, or refuses the password.
    """
    import asyncssh

    trusted = [asyncssh.import_public_key(key) for key in host_keys]
    try:
        async with asyncssh.connect(
            host, port, username=user, password=password, known_hosts=(trusted, [], []), client_keys=None,
            agent_path=None, config=[], login_timeout=20, connect_timeout=20,
        ) as connection, connection.start_sftp_client() as files:  # fmt: skip
            return await _append(files, public)
    except asyncssh.PermissionDenied:
        raise ComputeTargetException(
            f"{host}:{port} refuses the password of {user}", hint="Is it right, and may one log in there by password?"
        ) from None
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise ComputeTargetException(
            f"The public key cannot be put on {host}:{port}: {getattr(error, 'reason', '') or error}",
            hint="Append it there yourself, and attach again",
        ) from None


async def _append(files: Any, public: str) -> bool:
    import asyncssh

    if not await files.exists(".ssh"):
        await files.mkdir(".ssh", asyncssh.SFTPAttrs(permissions=0o700))
    before = b""
    if await files.exists(_FILE):
        async with files.open(_FILE, "rb") as file:
            before = await file.read()
    if any(line.split()[:2] == public.split()[:2] for line in before.decode("utf-8", "replace").splitlines()):
        return False
    line = ("" if not before or before.endswith(b"\n") else "\n") + public + "\n"
    async with files.open(_FILE, "ab", asyncssh.SFTPAttrs(permissions=0o600)) as file:
        await file.write(line.encode())
    return True
