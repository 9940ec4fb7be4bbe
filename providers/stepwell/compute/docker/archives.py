"""Built environments as archives on the worker's machine: a second VM loads one where that is faster than building.

An archive has the environment's own layers only: whoever wants it has the image that they are on.
"""

from __future__ import annotations

import asyncio
import json
import os
import posixpath
import tarfile
import time
from pathlib import Path
from typing import Any

from stepwell.compute.contract import Log
from stepwell.compute.docker.client import Daemon
from stepwell.compute.docker.layers import Layer
from stepwell.errors import ComputeTargetException

#: What a line to a VM is taken to carry, in bytes per second: as long as none has been measured.
_USUAL = 50e6
#: Archives that are kept, the latest used.
_KEPT = 8


async def keep(daemon: Daemon, cache: Path, tag: str, base: str, built: Layer, log: Log) -> None:
    """Fetch the image as an archive, if handing it on would be faster than building it again.

    :param base: the image that it was built on.
    """
    if built.seconds <= built.size / _USUAL:
        return
    try:
        await daemon.call_long(_save, cache, tag, base, built.seconds)
    except (ComputeTargetException, OSError) as error:
        log(f"The environment's image is not kept for other machines: {error}")


async def load(daemon: Daemon, cache: Path, tag: str, log: Log) -> bool:
    """Load the image from an archive, if there is one and that is faster than building it; return whether it was."""
    archive, record = _places(cache, tag)
    try:
        facts = json.loads(await asyncio.to_thread(record.read_text, encoding="utf-8"))
        size = archive.stat().st_size
    except (OSError, ValueError):
        return False
    if facts["built"] <= size / min(facts["rate"], _USUAL * 4):
        return False
    began = time.monotonic()
    log(f"The environment's image was built elsewhere: loading {size >> 20} MB on {daemon.where}")
    try:
        await daemon.call_long(_load, archive)
    except (ComputeTargetException, OSError) as error:
        log(f"It cannot be loaded, and is built: {error}")
        await asyncio.to_thread(archive.unlink, missing_ok=True)  # the next one need not try
        return False
    os.utime(archive)
    log(f"Loaded in {time.monotonic() - began:.1f} s; it took {facts['built']:.1f} s to build")
    return True


def _places(cache: Path, tag: str) -> tuple[Path, Path]:
    name = tag.rpartition(":")[2]
    return cache / "archives" / f"{name}.tar", cache / "archives" / f"{name}.json"


def _save(client: Any, cache: Path, tag: str, base: str, seconds: float) -> None:
    archive, record = _places(cache, tag)
    archive.parent.mkdir(parents=True, exist_ok=True)
    whole, aside = (archive.with_name(f".{archive.name}.{os.getpid()}.{part}") for part in ("whole", "own"))
    began = time.monotonic()
    try:
        with open(whole, "wb") as file:
            for chunk in client.get_image(tag, chunk_size=1 << 20):
                file.write(chunk)
        took = max(time.monotonic() - began, 0.001)
        record.write_text(json.dumps({"built": seconds, "rate": whole.stat().st_size / took}), encoding="utf-8")
        _without(whole, aside, len(client.inspect_image(base)["RootFS"]["Layers"]))
        aside.replace(archive)
    finally:
        whole.unlink(missing_ok=True)
        aside.unlink(missing_ok=True)
    for old in sorted(archive.parent.glob("*.tar"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        old.unlink(missing_ok=True)
        old.with_suffix(".json").unlink(missing_ok=True)


def _without(whole: Path, into: Path, count: int) -> None:
    """Copy an image's archive without its lowest *count* layers: a daemon that has them does not look for them."""
    with tarfile.open(whole) as packed, tarfile.open(into, "w") as out:
        described = packed.extractfile("manifest.json")
        if described is None:
            raise OSError("the image's archive has no manifest")
        (image,) = json.load(described)
        known = set(image["Layers"][:count]) - set(image["Layers"][count:])
        # Equal layers are links to one of them.
        known -= {
            posixpath.normpath(posixpath.join(posixpath.dirname(m.name), m.linkname)) for m in packed if m.issym()
        }
        for member in packed:
            if member.name not in known:
                out.addfile(member, packed.extractfile(member) if member.isfile() else None)


def _load(client: Any, archive: Path) -> None:
    from stepwell.compute.docker.client import lines

    with open(archive, "rb") as file:
        for _ in lines(client.load_image(file)):
            pass
