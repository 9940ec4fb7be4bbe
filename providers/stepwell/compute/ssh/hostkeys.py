"""Host keys: read, shown as fingerprints, found in ``known_hosts``, asked of a host, and compared.

A pinned key is a line as it stands in ``known_hosts`` behind the host: ``ssh-ed25519 AAAA…``. Several lines may be
pinned, one per type of key.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from stepwell.errors import ComputeTargetException, UserErrorException

#: The types that a host is asked for, best first; those of one row are one key.
_TYPES: tuple[tuple[str, ...], ...] = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)
_KNOWN = frozenset({"ssh-rsa", *_TYPES[0], *_TYPES[1]})
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")
_FORMS = ("ssh-ed25519 AAAA…", "ecdsa-sha2-nistp256 AAAA…", "ssh-rsa AAAA…")
# Else the task log tells of each connection's handshake.
logging.getLogger("asyncssh").setLevel(logging.WARNING)
#: How long a host may take to show its key, in seconds.
SCAN_SECONDS = 10.0


class HostKeyRefused(ComputeTargetException):
    """The host shows another key than the pinned one, or none is pinned."""

    permanent = True


def parse(text: str) -> tuple[str, ...]:
    """Return the keys in *text*, one per line, in the form in which they are pinned.

    A line may have the host in front, as in ``known_hosts``, and a comment behind.

    :raises UserErrorException: a line is no host key, or there is none at all.
    """
    found: list[str] = []
    for line in text.replace("\\n", "\n").splitlines():
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        if parts[0] not in _KNOWN and len(parts) > 2:
            parts = parts[1:]
        key = _key(parts, line)
        if key not in found:
            found.append(key)
    if not found:
        raise UserErrorException("There is no host key in what was given", allowed=_FORMS)
    return tuple(found)


def _key(parts: list[str], line: str) -> str:
    shown = line.strip()[:60]
    if len(parts) < 2 or parts[0] not in _KNOWN:
        raise UserErrorException(f"{shown!r} is not a host key", allowed=_FORMS, hint="See ssh-keyscan HOST")
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    size = int.from_bytes(blob[:4], "big")
    if len(blob) < 36 or blob[4 : 4 + size] != parts[0].encode():
        raise UserErrorException(f"{shown!r} is cut off or damaged", allowed=_FORMS, hint="See ssh-keyscan HOST")
    return f"{parts[0]} {parts[1]}"


def fingerprint(key: str) -> str:
    """Return the fingerprint of a pinned key, as ``ssh-keygen -l`` shows it: ``SHA256:…``."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def shown(keys: Iterable[str]) -> str:
    """Return keys for people: type and fingerprint of each."""
    return ", ".join(f"{key.split()[0]} {fingerprint(key)}" for key in keys)


def is_fingerprint(text: str) -> bool:
    """Whether *text* is a fingerprint."""
    return _FINGERPRINT.fullmatch(text.strip()) is not None


def matching(keys: Iterable[str], fingerprints: Iterable[str]) -> tuple[str, ...]:
    """Return those of *keys* that have one of the *fingerprints*."""
    wanted = {text.strip().rstrip("=") for text in fingerprints}
    return tuple(key for key in keys if fingerprint(key) in wanted)


def known(path: str | os.PathLike[str], host: str, port: int = 22) -> tuple[str, ...]:
    """Return the keys of a host in a ``known_hosts`` file, whose entries may be hashed.

    :raises UserErrorException: there is no such file, it is malformed, or the host is not in it.
    """
    import asyncssh

    file = Path(path).expanduser()
    try:
        hosts = asyncssh.import_known_hosts(file.read_text("utf-8"))
        trusted, _, revoked, *_ = hosts.match(host, _ip(host), port)
    except OSError as error:
        raise UserErrorException(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserErrorException(f"{file} is not a known_hosts file: {error}") from None
    refused = {key.public_data for key in revoked}
    lines = [key.export_public_key("openssh").decode() for key in trusted if key.public_data not in refused]
    if not lines:
        entry = host if port == 22 else f"[{host}]:{port}"
        raise UserErrorException(
            f"{file} has no key of {entry}",
            hint=f"Connect once with: ssh -p {port} {host}, and compare the fingerprint",
        )
    return parse("\n".join(lines))


def _ip(host: str) -> str:
    """Return *host* if it is an address, else nothing."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""


async def scan(host: str, port: int = 22, seconds: float = SCAN_SECONDS) -> tuple[str, ...]:
    """Ask a host for its keys. Whoever is in between could answer: show the fingerprints, and let somebody compare.

    :raises ComputeTargetException: the host does not answer, or does not speak SSH.
    """
    found = await asyncio.gather(*(_ask(host, port, types, seconds) for types in _TYPES), return_exceptions=True)
    keys = [key for key in found if isinstance(key, str)]
    if keys:
        return parse("\n".join(keys))
    reasons = list(dict.fromkeys(_reason(error, seconds) for error in found if isinstance(error, BaseException)))
    raise ComputeTargetException(
        f"{host}:{port} shows no host key: {'; '.join(reasons) or 'it has none of a type that is supported'}",
        hint="Is it the right address and port, and does an SSH server listen there?",
    )


async def _ask(host: str, port: int, types: tuple[str, ...], seconds: float) -> str | None:
    import asyncssh

    asking = asyncssh.get_server_host_key(host, port, server_host_key_algs=list(types), config=[])
    key = await asyncio.wait_for(asking, seconds)
    return None if key is None else str(key.export_public_key("openssh").decode())


def _reason(error: BaseException, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"it did not answer within {seconds:.0f} s"
    if isinstance(error, OSError):
        return (
            os.strerror(error.errno)
            if error.errno and error.errno > 0
            else error.strerror or str(error) or type(error).__name__
        )
    return str(error) or type(error).__name__


def missing(address: str) -> HostKeyRefused:
    """Return the error of a target for which no host key is pinned."""
    return HostKeyRefused(
        f"No host key of {address} is known, so nobody can tell whether it is the right machine",
        allowed=["host_key='ssh-ed25519 AAAA…'", "a host_key in the extra of its connection"],
        hint="Attach it with: airflow stepwell computetarget attach …, which shows the key and asks",
    )


def changed(address: str, pinned: Iterable[str], now: Iterable[str]) -> HostKeyRefused:
    """Return the error of a host that shows another key than the pinned ones, with both fingerprints."""
    return HostKeyRefused(
        f"The host key of {address} is not the pinned one: it has changed, or another one was given. "
        f"Pinned: {shown(pinned)}. Shown now: {shown(now)}",
        hint="If the machine was set up anew, compare the fingerprint there with ssh-keygen -lf "
        "/etc/ssh/ssh_host_ed25519_key.pub, and attach it again with --accept-host-key; if not, somebody may be "
        "listening in",
    )
