"""Finding a Java that Spark 4 runs on."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from stepwell.compute.ports import Exec
from stepwell.errors import ComputeTargetException

LEAST = 17
_HINT = f"Install a JDK of version {LEAST} or later (Debian: apt-get install openjdk-17-jre-headless), or set JAVA_HOME"


async def java_home(run: Exec) -> tuple[str, str]:
    """Return the home and the version of the Java that ``JAVA_HOME`` or ``PATH`` names.

    :raises ComputeTargetException: there is none, or it is too old.
    """
    named = os.environ.get("JAVA_HOME")
    program = os.path.join(named, "bin", "java") if named else shutil.which("java")
    if program is None:
        raise ComputeTargetException("Spark needs Java, and there is no java on PATH", hint=_HINT)
    if not os.access(program, os.X_OK):
        raise ComputeTargetException(f"JAVA_HOME is {named!r}, and there is no bin/java in it", hint=_HINT)
    home = Path(program).resolve().parent.parent
    version = _release(home) or await _asked(run, program)
    number = re.match(r"(?:1\.)?(\d+)", version)
    if number is None or int(number.group(1)) < LEAST:
        raise ComputeTargetException(f"{program} is Java {version}: too old for Spark 4", hint=_HINT)
    return str(home), version


def _release(home: Path) -> str | None:
    """Return the version that the JDK's ``release`` file tells: much faster than to start it."""
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r'^JAVA_VERSION="([^"]+)"', text, re.MULTILINE)
    return found.group(1) if found else None


async def _asked(run: Exec, program: str) -> str:
    done = await run.run([program, "-version"])
    found = re.search(r'version "([^"]+)"', done.err + done.out)
    return found.group(1) if found else "of unknown version"
