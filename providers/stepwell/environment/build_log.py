"""The log of a build: shown while it comes, kept beside the environments whether the build succeeds or fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TextIO


class BuildLog:
    """Takes lines; each goes to *say* and into the file of the environment's last build.

    :param root: the folder of the environments.
    :param say: shows a line.
    """

    def __init__(self, root: Path, key: str, say: Callable[[str], None]) -> None:
        self.path = path_of(root, key)
        self.doing = "preparing"
        self._key = key
        self._say = say
        self._began = time.monotonic()
        self._file: TextIO | None = None

    def __enter__(self) -> BuildLog:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "w", encoding="utf-8", buffering=1)
        except OSError as error:
            self._say(f"The log of this build cannot be kept in {self.path}: {error.strerror}")
        self.keep(f"{time.strftime('%Y-%m-%d %H:%M:%S %z')}, environment {self._key}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.keep(f"Failed after {self.seconds:.1f} s: {kind.__name__}: {error}" if kind else "Done")
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass  # a full disk: what came before is in it
            self._file = None

    def __call__(self, line: str) -> None:
        """Show and keep *line*."""
        self.keep(line)
        self._say(line)

    def keep(self, line: str) -> None:
        """Keep *line*, without showing it. A log that cannot be written is no reason to fail."""
        if self._file is not None:
            try:
                self._file.write(line + "\n")
            except (OSError, ValueError):
                pass

    def tick(self) -> None:
        """Show what is going on, and for how long."""
        self._say(f"Environment {self._key[:12]}: {self.doing}, {self.seconds:.0f} s")

    @property
    def seconds(self) -> float:
        """How long the build has taken so far."""
        return time.monotonic() - self._began

    @property
    def kept(self) -> bool:
        """Whether there is a file."""
        return self.path.exists()


def path_of(root: Path, key: str) -> Path:
    """Return where the log of the last build of *key* is kept."""
    return root / ".logs" / f"{key}.log"
