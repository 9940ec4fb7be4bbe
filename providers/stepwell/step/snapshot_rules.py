"""Which files of a source directory belong to its snapshot: the ignore file, what is never taken, what looks secret."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Rules:
    """The rules of one source directory.

    :param source: the ignore file that is in force (".amlignore" or ".gitignore"), or ``None``.
    """

    source: str | None
    _always: pathspec.GitIgnoreSpec
    _secrets: pathspec.GitIgnoreSpec
    _user: pathspec.GitIgnoreSpec

    def why_left_out(self, relative: str, *, folder: bool = False) -> str | None:
        """Say why the file or *folder* at *relative* is left out ("secret", "always", the ignore file), or ``None``.

        Looks at this path only; a caller that does not walk from the top asks :meth:`why_path_left_out`.
        """
        path = relative + "/" if folder else relative
        if self._user.match_file(path):
            return self.source or "ignored"
        if self._always.match_file(path):
            return "always"
        if self._secrets.match_file(path):
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


def rules_of(root: Path) -> Rules:
    """Read the rules of the source directory *root*: ``.amlignore`` if there is one, else ``.gitignore``, never both.

    :raises SnapshotError: the ignore file cannot be read or has a line that is no pattern.
    """
    import pathspec

    source, lines = None, []
    for name in (".amlignore", ".gitignore"):
        path = root / name
        if path.is_file():
            source, lines = name, _lines(path)
            break
    try:
        user = pathspec.GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise SnapshotError(f"{root / (source or '')} has a line that is no pattern: {error}") from error
    return Rules(
        source, pathspec.GitIgnoreSpec.from_lines(ALWAYS_IGNORED), pathspec.GitIgnoreSpec.from_lines(SECRETS), user
    )


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MAX_IGNORE_FILE:
            raise SnapshotError(f"{path} is larger than {_MAX_IGNORE_FILE} bytes", hint="It is no usual ignore file")
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SnapshotError(f"{path} cannot be read: {error}") from error
