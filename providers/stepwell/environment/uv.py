"""Running uv: where it is, and with which environment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from stepwell.environment.running import passed_variables, run
from stepwell.environment.running import stop_builds as stop_builds
from stepwell.environment.running import stops as stops
from stepwell.errors import EnvironmentException


def find_uv() -> str:
    """Return the path of uv: ``STEPWELL_UV``, next to this interpreter, ``.tools/bin`` of the project, ``PATH``.

    :raises EnvironmentException: it is nowhere.
    """
    configured = os.environ.get("STEPWELL_UV")
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise EnvironmentException(
                f"STEPWELL_UV is {configured!r}, which is no program", hint="Point it at uv, or unset it"
            )
        return os.path.abspath(found)
    places = [Path(sys.executable).parent]
    here = Path.cwd()
    places += [folder / ".tools" / "bin" for folder in (Path(sys.prefix).parent, here, *here.parents)]
    for place in places:
        if os.access(place / "uv", os.X_OK):
            return str(place / "uv")
    found = shutil.which("uv")
    if found is None:
        raise EnvironmentException(
            "uv, which builds the environments of steps, is not installed here",
            hint="Type 'pip install uv' in the environment of Airflow, or set STEPWELL_UV to its path",
        )
    return found


def run_uv(
    arguments: Sequence[str],
    *,
    cache: Path,
    log: Callable[[str], None] | None = None,
    tick: Callable[[], None] | None = None,
    started: Callable[[int], None] | None = None,
    named: Sequence[str] = (),
    downloads: bool = False,
) -> tuple[int, list[str]]:
    """Run uv with *arguments*, see :func:`stepwell.environment.running.run`.

    :param cache: uv's cache, unless ``UV_CACHE_DIR`` says where it is. On the file system of the environments uv
        links files instead of copying them.
    :param named: variables of the worker that the requirements refer to.
    :param downloads: uv may fetch a Python.
    """
    variables = passed_variables(named)
    variables.setdefault("UV_CACHE_DIR", str(cache))
    variables["UV_NO_PROGRESS"] = "1"
    if not downloads:  # no surprise of some hundred megabytes by the way
        variables["UV_PYTHON_DOWNLOADS"] = "never"
    return run([find_uv(), "--color", "never", *arguments], variables, log=log, tick=tick, started=started)
