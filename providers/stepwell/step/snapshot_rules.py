"""Which files of a source directory belong to its snapshot: the ignore file, what is never taken, what looks secret."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from stepwell.errors import SnapshotError

if TYPE_CHECKING:
    import pathspec

#: Never part of a snapshot, whatever the ignore file says: results of runs, caches, what belongs to a tool.
ALWAYS_IGNORED = (
    ".git",
    ".hg/",
    ".svn/",
    "/outputs/",
    "/azureml-logs/",
    "/azureml-setup/",
    ".azureml/",
    ".amlignore",
    ".stepwell/",
    ".ipynb_checkpoints/",
    "__pycache__/",
    "*.py[cod]",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".cache/",
    ".tox/",
    ".nox/",
    ".venv/",
    "node_modules/",
    "spark-warehouse/",
    "metastore_db/",
    "derby.log",
    ".DS_Store",
    "Thumbs.db",
)

#: Looks like a credential: never taken, and said, because the author may have counted on it.
SECRETS = (
    ".env",
    ".env.*",
    "!.env.example",
    "!.env.sample",
    "!.env.template",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.ppk",
    "*.kdbx",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".netrc",
    ".pypirc",
    ".pgpass",
    ".git-credentials",
    ".aws/",
    ".azure/",
    ".ssh/",
    ".gnupg/",
)
_MAX_IGNORE_FILE = 1024 * 1024
#: Whether a name can match one of the two lists at all. All their patterns have one part, so the last part of a path
#: decides, and most paths never reach ``pathspec`` (whose import alone costs more than a whole walk).
_MAYBE_OURS = re.compile(
    "|".join(fnmatch.translate(p.removeprefix("!").strip("/")) for p in (*ALWAYS_IGNORED, *SECRETS)), re.DOTALL
)


@dataclass(frozen=True)
class Rules:
    """The rules of one source directory.

    Only the ignore file at its top counts, as in v1: those in folders below, or above it in a repository, are not read.

    :param path: the ignore file that is in force (``.amlignore`` or ``.gitignore``), or ``None``.
    :param lines: its lines.
    """

    path: Path | None
    lines: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A digest of all that decides: the same digest leaves out the same paths."""
        return hashlib.sha256(json.dumps([ALWAYS_IGNORED, SECRETS, self.lines]).encode()).hexdigest()

    def why_left_out(self, relative: str, *, folder: bool = False) -> str | None:
        """Say why the file or *folder* at *relative* is left out ("secret", "always", the ignore file), or ``None``.

        Looks at this path only; a caller that does not walk from the top asks :meth:`why_path_left_out`.

        :raises SnapshotError: the ignore file has a line that is no pattern.
        """
        path = relative + "/" if folder else relative
        if self.path is not None and self._user.match_file(path):
            return self.path.name
        if not _MAYBE_OURS.match(relative.rpartition("/")[2]):
            return None
        if _always().match_file(path):
            return "always"
        if _secrets().match_file(path):
            return "secret"
        return None

    def why_path_left_out(self, relative: str) -> str | None:
        """The same for the file at *relative* and each folder above it."""
        parts = relative.split("/")
        for i in range(1, len(parts)):
            reason = self.why_left_out("/".join(parts[:i]), folder=True)
            if reason:
                return reason
        return self.why_left_out(relative)

    @cached_property
    def _user(self) -> pathspec.GitIgnoreSpec:
        import pathspec

        try:
            return pathspec.GitIgnoreSpec.from_lines(self.lines)
        except ValueError as error:
            raise SnapshotError(f"{self.path} has a line that is no pattern: {error}") from error


def rule_for(relative: str, *, folder: bool = False) -> str:
    """Return the pattern of :data:`ALWAYS_IGNORED` that leaves out *relative*, for people: without slashes."""
    index = _always().check_file(relative + "/" if folder else relative).index
    return ALWAYS_IGNORED[index].strip("/") if index is not None else relative


def rules_of(root: Path) -> Rules:
    """Read the rules of the source directory *root*: ``.amlignore`` if there is one, else ``.gitignore``, never both.

    :raises SnapshotError: the ignore file cannot be read.
    """
    for name in (".amlignore", ".gitignore"):
        path = root / name
        if path.is_file():
            return Rules(path, _lines(path))
    return Rules(None)


@cache
def _always() -> pathspec.GitIgnoreSpec:
    import pathspec

    return pathspec.GitIgnoreSpec.from_lines(ALWAYS_IGNORED)


@cache
def _secrets() -> pathspec.GitIgnoreSpec:
    import pathspec

    return pathspec.GitIgnoreSpec.from_lines(SECRETS)


def _lines(path: Path) -> tuple[str, ...]:
    try:
        if path.stat().st_size > _MAX_IGNORE_FILE:
            raise SnapshotError(f"{path} is larger than {_MAX_IGNORE_FILE} bytes", hint="It is no usual ignore file")
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise SnapshotError(f"{path} cannot be read: {error}") from error
