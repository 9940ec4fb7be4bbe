"""A copy of an unpacked archive that is made beforehand: the next job with the same code gets it by one rename."""

from __future__ import annotations

import os
import sys

#: Fewer files are unpacked faster than this is worth.
WORTH_FILES = 100
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from stepwell.runtime.spare import main; main(sys.argv[2])"


def take(archive: str, path: str) -> bool:
    """Make the copy of *archive* the folder *path*; return False if there is none, or something is in its place."""
    try:
        os.rename(_spare(archive), path)
    except OSError:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.rename(_spare(archive), path)
        except OSError:
            return False
    return True


def prepare(archive: str) -> None:
    """Have a copy of *archive* made, by a process of its own that lets others go first."""
    import subprocess

    roof = [path for path in getattr(sys.modules["stepwell"], "__path__", ()) if os.path.isdir(path)]
    if roof and not os.path.exists(_spare(archive)):
        try:
            subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, os.path.dirname(roof[0]), archive], cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError:
            pass  # the next job is only slower


def _spare(archive: str) -> str:
    return archive + ".spare"


def main(archive: str) -> None:
    """Make the copy, once others have had their turn; one that is being made elsewhere, too, is made once."""
    import time

    from stepwell.runtime.archive import extract
    from stepwell.runtime.errors import StepwellError

    os.nice(10)
    time.sleep(1.0)
    try:
        if not os.path.exists(_spare(archive)):
            extract(archive, _spare(archive))
    except (OSError, StepwellError):
        pass
