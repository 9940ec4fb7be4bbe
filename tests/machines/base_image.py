"""An image without a registry: the files of Debian packages that are installed here, as a tar for ``docker import``.

It holds this machine's certificates, so that pip works in it as it does here: for tests, never to be handed on.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

PACKAGES = (
    "base-files base-passwd bash ca-certificates coreutils dash debianutils findutils grep gzip libc-bin libstdc++6 "
    "mount procps python3 python3-venv sed tar util-linux"
).split()
_ALSO = (
    "/etc/passwd /etc/group /etc/ssl/certs /etc/alternatives /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d "
    "/usr/bin/python3"
).split()
_WHOLE = ("/etc/ssl/certs", "/etc/alternatives", "/etc/ld.so.conf.d")
_LEFT_OUT = tuple(f"/usr/share/{name}/" for name in ("doc", "man", "locale", "info", "lintian"))
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_EMPTY = ("tmp", "var/tmp", "root", "proc", "sys", "dev", "run")


def write_tar(out: Path, packages: Iterable[str] = PACKAGES, more: Iterable[str] = ()) -> None:
    """Write the tar.

    :param packages: Debian packages that are installed here; what they depend on comes along.
    :param more: further files and folders of this machine.
    :raises FileNotFoundError: this is no Debian.
    :raises LookupError: one of the packages is not installed.
    """
    files = set(_ALSO)
    for names in _closure(packages):
        for name in names:
            listed = subprocess.run(["dpkg", "-L", name], capture_output=True, text=True, check=False)
            files.update(listed.stdout.splitlines())
    taken: set[str] = set()  # docker import refuses two members of one name

    def once(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if member.name in taken:
            return None
        taken.add(member.name)
        return member

    with tarfile.open(out, "w") as tar:
        for link in _MERGED:
            if os.path.islink("/" + link):
                tar.add("/" + link, link, recursive=False, filter=once)
        for file in sorted(files):
            if file in ("/.", "/") or file.startswith(_LEFT_OUT) or not os.path.lexists(file):
                continue
            # Through the links of a merged /usr: a file has one name.
            real = os.path.join(os.path.realpath(os.path.dirname(file)), os.path.basename(file))
            tar.add(real, real.lstrip("/"), recursive=file in _WHOLE, filter=once)
        for file in more:
            tar.add(file, file.lstrip("/"), filter=once)
        for folder in _EMPTY:
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o1777 if folder.endswith("tmp") else 0o755
            if once(member):
                tar.addfile(member)


def _closure(packages: Iterable[str]) -> list[set[str]]:
    """Return the names (plain, and with the architecture) of the packages and all that they need."""
    form = "-f=${Package}\t${Status}\t${Pre-Depends}, ${Depends}\t${Provides}\t${Package}:${Architecture}\n"
    listed = subprocess.run(["dpkg-query", "-W", form], capture_output=True, text=True, check=True)
    installed: dict[str, tuple[str, str]] = {}
    provides: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        package, status, needs, provided, full = line.split("\t")
        if "install ok installed" not in status:
            continue
        installed.setdefault(package, (needs, full))
        for name in filter(None, map(_plain, provided.split(","))):
            provides.setdefault(name, package)
    todo, found = list(packages), dict[str, set[str]]()
    if missing := [name for name in todo if name not in installed]:
        raise LookupError(f"Debian packages that are not installed here: {', '.join(missing)}")
    while todo:
        package = todo.pop()
        if package in found:
            continue
        needs, full = installed[package]
        found[package] = {package, full}
        for need in needs.split(","):
            # Of "a | b" the first that is installed.
            names = (name if name in installed else provides.get(name) for name in map(_plain, need.split("|")))
            todo.extend([name for name in names if name][:1])
    return list(found.values())


def _plain(dependency: str) -> str:
    return re.split(r"[ (:]", dependency.strip())[0]
