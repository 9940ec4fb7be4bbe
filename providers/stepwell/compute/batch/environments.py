"""An environment with its interpreter, as one archive that runs in any folder of a machine with the same system."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from stepwell.compute.packing import LEFT_OUT
from stepwell.errors import ComputeTargetException

_ASK = """
import json, os, sys, sysconfig
print(json.dumps({
    "binary": os.path.realpath(sys.executable), "version": "%d.%d" % sys.version_info[:2],
    "stdlib": sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix}),
    "library": os.path.join(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("INSTSONAME") or ""),
    "shared": bool(sysconfig.get_config_var("Py_ENABLE_SHARED")), "base": sys.base_prefix,
}))
"""
#: Of the standard library: what no step needs, and what only developers of Python do.
_NOT_NEEDED = ("test", "idlelib", "turtledemo", "ensurepip", "site-packages", "dist-packages", "lib2to3/tests")


def pack(root: Path, archive: Path, log: Callable[[str], None]) -> Path:
    """Return *archive*, made from the environment in the folder *root* unless it is there already.

    An environment's interpreter is a link to one of this machine, which a cluster's nodes need not have. So interpreter
    and standard library go with it: what is unpacked is a Python of its own. It needs the same system there (processor,
    C library, and the libraries that the interpreter was linked with), nothing else.

    :raises ComputeTargetException: the interpreter does not say what it is made of.
    """
    if archive.exists():
        return archive
    log(f"Packing the environment with its interpreter: {archive.name}")
    done = subprocess.run(  # noqa: S603 - an interpreter that we have built
        [str(root / "bin" / "python"), "-I", "-c", _ASK], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise ComputeTargetException(f"The interpreter of {root} does not run: {done.stderr.strip()[-300:]}")
    facts = json.loads(done.stdout)
    archive.parent.mkdir(parents=True, exist_ok=True)
    aside = archive.with_name(f".{archive.name}.{os.getpid()}.tmp")
    try:
        with tarfile.open(aside, "w:gz", compresslevel=1) as out:
            for source, name in _members(root, facts):
                out.add(source, name, recursive=False)
            _link(out, "bin/python", f"python{facts['version']}")
            _link(out, "bin/python3", f"python{facts['version']}")
            # Debian's Python looks there unless it is in a virtual environment.
            _link(out, f"lib/python{facts['version']}/dist-packages", "site-packages")
        os.replace(aside, archive)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return archive


def _link(out: tarfile.TarFile, name: str, target: str) -> None:
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, target
    out.addfile(link)


def _members(root: Path, facts: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each file and its name in the archive: the interpreter, its library, and what the environment adds."""
    library = f"lib/python{facts['version']}"
    yield facts["binary"], f"bin/python{facts['version']}"
    if facts["shared"] and os.path.isfile(facts["library"]):
        yield os.path.realpath(facts["library"]), f"lib/{os.path.basename(facts['library'])}"
    if not os.path.isfile(os.path.join(facts["stdlib"], "os.py")):
        raise ComputeTargetException(f"The interpreter {facts['binary']} has no standard library to send")
    yield from _tree(facts["stdlib"], library, _NOT_NEEDED)
    taken = {"pyvenv.cfg", "bin/python", "bin/python3", f"bin/python{facts['version']}"}
    for path, name in _tree(str(root), "", tuple(f"{library}/site-packages/{part}" for part in LEFT_OUT)):
        if name not in taken and not name.startswith("lib64"):
            yield path, name


def _tree(top: str, into: str, left_out: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for folder, folders, names in os.walk(top):
        inside = os.path.relpath(folder, top)
        folders[:] = sorted(f for f in folders if f != "__pycache__" and _below(inside, f) not in left_out)
        for name in sorted(names):
            yield os.path.join(folder, name), _below(into, _below(inside, name))


def _below(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder}/{name}"
