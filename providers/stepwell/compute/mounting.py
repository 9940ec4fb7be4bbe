"""Inputs by mount for jobs in containers: mounted on the daemon's machine before the container starts, then bound.

A mount that is made after the start would not be seen inside, and to make one inside takes rights that no step should
have. So the job's FUSE mounts are held outside, by ``stepwell.runtime.mount_holder``, and local folders are read-only
volumes.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.compute.ports import Exec, Files
from stepwell.errors import ComputeTargetException
from stepwell.runtime import mounts, protocol

#: A holder answers after :data:`stepwell.runtime.mounts.READY_SECONDS` for each mount.
_HOLDER_SECONDS = 120.0


async def for_container(files: Files, exec_: Exec, python: str, payload: str, directory: str, user: str) -> list[str]:
    """Mount what the staged job asks for; return what its container has to bind, each "/there:/inside:ro".

    Repeatable. Call it when the job directory's owner is what it will be, right before the container is started.

    :param directory: of the job.
    :param exec_: runs commands on the daemon's machine.
    :param python: an interpreter there, 3.8 or later.
    :param payload: the payload's folder there.
    :param user: who will read them, "uid:gid".
    :raises ComputeTargetException: one cannot be mounted; why, and what to do instead.
    """
    at = protocol.JobDirectory(directory)
    try:
        items = mounts.wanted(json.loads(await files.read(at.document)))
    except FileNotFoundError:  # a trial, and no job
        return []
    if not items:
        return []
    volumes = []
    for number, item in enumerate(items):
        if item["source"]["kind"] == "local":
            folder = item["source"]["folder"]
            if await files.modified(folder) is None:
                raise ComputeTargetException(
                    f"The input {item['input']!r} cannot be mounted: the daemon's machine has no folder {folder}",
                    hint=mounts.INSTEAD,
                )
            place = mounts.place_of(at, number)
            await files.make(place)
            volumes.append(f"{folder}:{place}:ro")
    if len(volumes) == len(items):
        await _note(files, at, items)
        return volumes
    holder = posixpath.join(payload, "stepwell", "runtime", "mount_holder.py")
    command = [python, "-I", "-S", holder, directory, user.partition(":")[0]]
    done = await exec_.run(command, timeout=_HOLDER_SECONDS)
    if done.code != 0:
        said = done.err.strip() or f"{holder} ended with exit code {done.code}"
        raise ComputeTargetException(said[:1].upper() + said[1:])
    return volumes


async def _note(files: Files, at: protocol.JobDirectory, items: Sequence[Mapping[str, Any]]) -> None:
    """Tell the launcher that all is there: nobody needs to hold a volume."""
    held = [{"input": item["input"], "uri": item["uri"], "how": mounts.AS_VOLUME} for item in items]
    note = {"state": mounts.READY, "reason": "", "holder": None, "mounts": held}
    await files.write(at.mounts_note, protocol.to_bytes(note))
