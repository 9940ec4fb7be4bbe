"""A container started as those of jobs are: whether Docker sees the target's folder, and leaves no foreign files."""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Mapping
from typing import Any

from stepwell.compute.docker.containers import Containers, refused
from stepwell.compute.ports import Files, Start
from stepwell.errors import ComputeTargetException

_SCRIPT = """
import os, sys
here = sys.argv[1]
with open(os.path.join(here, "from-outside"), encoding="utf-8") as file:
    said = file.read()
with open(os.open(os.path.join(here, "from-inside"), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
    file.write(said)
"""


async def try_out(files: Files, runner: Containers, root: str, needs: Mapping[str, Any]) -> str | None:
    """Return what is wrong, None if nothing is.

    :param needs: as a job has them.
    """
    word = uuid.uuid4().hex
    folder = posixpath.join(root, "trials", word)
    try:
        await files.make(folder, 0o700)
        await files.write(posixpath.join(folder, "from-outside"), word.encode())
    except OSError as error:
        return f"{root} is not writable: {error.strerror}"
    needs = {**needs, "mounts": [*needs["mounts"], f"{folder}:{folder}:rw"]}
    try:
        code, said = await runner.run(Start(f"trial-{word}", ("python", "-c", _SCRIPT, folder), folder, needs))
        if code != 0:
            last = (said.strip().splitlines() or [f"exit code {code}"])[-1]
            return f"a container cannot work in {root}, which must be the same folder for the worker and Docker: {last}"
        back = (await files.read(posixpath.join(folder, "from-inside"))).decode()
    except OSError as error:
        return f"what a container writes cannot be read by the worker ({error}): leave 'user' out"
    except ComputeTargetException as error:
        return str(refused(error, needs))
    finally:
        await files.remove(folder)
    return None if back == word else f"{root} is another folder for Docker than for the worker"
