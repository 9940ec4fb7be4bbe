"""What the matrix does with this machine: processes, ports, and a copy of the code."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

from tests.reliability.kinds import PROJECT


def said_by(pid: int, *parts: str) -> str:
    """Return a process's command line, and other parts of what is known of it, as far as they are to be seen."""
    text = ""
    for name in parts:
        with contextlib.suppress(OSError):
            text += Path("/proc", str(pid), name).read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return text


def descendants(pid: int) -> list[int]:
    """Return the processes below one."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path("/proc", str(pid), "task").iterdir():
            for child in (thread / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def free_port() -> int:
    """Return a port that nobody uses."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def frozen(folder: Path) -> str:
    """Put a copy of the code into *folder*, so that what is measured stays as it is; return its commit.

    The commit itself is taken; where there is no git, the files as they are.
    """
    git = ["git", "-C", str(PROJECT)]
    named = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False)
    if named.returncode:
        shutil.copytree(PROJECT / "providers", folder / "providers", ignore=shutil.ignore_patterns("__pycache__"))
        return "no commit"
    archive = subprocess.run([*git, "archive", "HEAD", "providers"], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return named.stdout.strip()
