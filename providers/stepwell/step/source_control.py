"""Which commit a source directory is at, for the run's record. It informs, and never fails a step."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

__all__ = ["properties_of", "state_of"]

logger = logging.getLogger(__name__)
_SECONDS = 5.0
_LONGEST = 1024 * 1024
#: Point git at another repository than the one around the source directory.
_ELSEWHERE = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)
#: What v1 reads from the environment at submit, for builds whose source directory is no clone.
_OVERRIDES = {
    "repository_uri": "AZUREML_GIT_REPOSITORY_URI",
    "branch": "AZUREML_GIT_BRANCH",
    "commit": "AZUREML_GIT_COMMIT",
    "dirty": "AZUREML_GIT_DIRTY",
    "build_id": "AZUREML_GIT_BUILD_ID",
    "build_uri": "AZUREML_GIT_BUILD_URI",
}
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def state_of(
    source_directory: str | os.PathLike[str], *, log: Callable[[str], None] | None = None
) -> dict[str, Any] | None:
    """Return the state of git at *source_directory*, or ``None`` where there is none.

    ``commit``, ``branch`` (``None`` on a detached head), ``dirty`` (tracked files changed, or there are untracked ones,
    in this directory; ``None`` = not known), ``repository_uri`` (without credentials), and ``build_id``, ``build_uri``
    if v1's variables AZUREML_GIT_… give them. Those variables win over what is found.

    :param log: gets a line if git is there and cannot say; then commit and branch come from its files.
    """
    state: dict[str, Any] | None
    try:
        state = _state(Path(source_directory).resolve(), log or logger.info)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links
        logger.debug("The state of git at %s is not known: %s", source_directory, error)
        state = None
    given = {name: os.environ.get(variable, "").strip() for name, variable in _OVERRIDES.items()}
    given = {name: value for name, value in given.items() if value}
    if not given:
        return state
    found: dict[str, Any] = {"commit": None, "branch": None, "dirty": None, "repository_uri": None, **(state or {})}
    found.update(given)
    if "dirty" in given:
        found["dirty"] = given["dirty"].lower() not in ("false", "0", "no")
    for name in ("repository_uri", "build_uri"):
        if name in given:
            found[name] = without_credentials(given[name])
    return found


def properties_of(state: dict[str, Any] | None) -> dict[str, str]:
    """Return *state* as the run properties that v1 kept (``azureml.git.commit``, ``mlflow.source.git.commit``, …)."""
    names = {"repository_uri": "mlflow.source.git.repoURL", "branch": "", "commit": "", "dirty": ""}
    found = {}
    for name, value in (state or {}).items():
        if value is None:
            continue
        found[f"azureml.git.{name}"] = str(value)
        if name in names:
            found[names[name] or f"mlflow.source.git.{name}"] = str(value)
    return found


def without_credentials(url: str) -> str | None:
    """Return *url* without user, password, query and fragment; ``git@host:path`` and ``ssh://git@…`` keep the user.

    ``None`` if it cannot be told what in it is a credential.
    """
    url = re.sub(r"^[\w+-]+::", "", url.strip())  # <helper>::<address>
    if "://" not in url:
        user, at, rest = url.partition("@")
        return rest if at and ":" in user else url
    try:
        parts = urlsplit(url)
        _ = parts.port  # a ValueError if it is none: then it is a piece of a password
        user, at, host = parts.netloc.rpartition("@")
        keep = user.partition(":")[0] + "@" if at and parts.scheme in ("ssh", "git+ssh", "ssh+git") else ""
        return urlunsplit((parts.scheme, keep + host, parts.path, "", ""))
    except ValueError:
        return None


def _state(root: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    folder = _repository(root)
    if folder is None:
        return None
    git = shutil.which("git")
    if git is None:
        return _from_files(folder)
    try:
        status = _git(
            git, root, "status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--ignore-submodules=dirty",
            "--no-renames", "--", ".",
        )  # fmt: skip
        dirty = any(line and not line.startswith("#") for line in status)
        if not dirty and not any(_git(git, root, "ls-files", "--", ".")):
            return None  # all of it is ignored: the commit says nothing about this directory
        urls = _git(git, root, "config", "--get-regexp", r"^remote\..*\.url$", allowed=(0, 1))
    except (OSError, subprocess.SubprocessError, _GitError) as error:
        say(f"The state of git at {root} is only known in part: {error}")
        return _from_files(folder)
    heads = dict(line[2:].partition(" ")[::2] for line in status if line.startswith("# "))
    commit, branch = heads.get("branch.oid"), heads.get("branch.head")
    return {
        "commit": commit if commit != "(initial)" else None,
        "branch": branch if branch != "(detached)" else None,
        "dirty": dirty,
        "repository_uri": _remote(dict(line[7:].partition(".url ")[::2] for line in urls if line)),
    }


class _GitError(Exception):
    """Git ended with an error; the message is its own, cut short."""


def _git(git: str, root: Path, *arguments: str, allowed: tuple[int, ...] = (0,)) -> list[str]:
    """Run git on the repository around *root*, without hooks and locks and without asking, and return its lines.

    :raises _GitError: it did not end well.
    :raises subprocess.TimeoutExpired: it took longer than five seconds.
    """
    variables = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    variables |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    done = subprocess.run(
        [git, "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", *arguments],
        cwd=root,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode not in allowed:
        said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise _GitError(f"git: {said[:300] or f'exit code {done.returncode}'}")
    return done.stdout.decode("utf-8", "backslashreplace").split("\n")


def _repository(root: Path) -> Path | None:
    """Return the folder that holds HEAD, index and the like of the repository around *root*."""
    for folder in (root, *root.parents):
        place = folder / ".git"
        if place.is_dir():
            return place if (place / "HEAD").exists() else None
        if place.is_file():  # a worktree, or a submodule
            return folder / _text(place).partition("gitdir:")[2].strip()
    return None


def _from_files(folder: Path) -> dict[str, Any] | None:
    """What can be read without git: commit, branch and remote, but not whether anything changed."""
    head = _text(folder / "HEAD").strip()
    common = folder
    if (folder / "commondir").is_file():
        common = folder / _text(folder / "commondir").strip()
    branch = None
    commit: str | None = head
    if head.startswith("ref:"):
        name = head[4:].strip()
        branch = name.removeprefix("refs/heads/")
        commit = _commit_of(name, folder, common)
    if commit is not None and not _COMMIT.fullmatch(commit):
        return None
    return {"commit": commit, "branch": branch, "dirty": None, "repository_uri": _remote(_remotes(common / "config"))}


def _commit_of(name: str, folder: Path, common: Path) -> str | None:
    if ".." in name.split("/") or name.startswith("/"):
        return None
    for place in (folder, common):
        if (place / name).is_file():
            return _text(place / name).strip()
    packed = common / "packed-refs"
    for line in _text(packed).splitlines() if packed.is_file() else ():
        commit, _, ref = line.partition(" ")
        if ref == name:
            return commit
    return None


def _remotes(config: Path) -> dict[str, str]:
    remotes: dict[str, str] = {}
    section = None
    for line in _text(config).splitlines() if config.is_file() else ():
        if line.lstrip().startswith("["):
            found = re.match(r'\s*\[remote "([^"]+)"\]', line)
            section = found[1] if found else None
        elif section and (found := re.match(r"\s*url\s*=\s*(.*)", line)):
            remotes.setdefault(section, found[1].strip().strip('"'))
    return remotes


def _remote(remotes: dict[str, str]) -> str | None:
    """The address of ``origin``, else of the first remote by name."""
    if not remotes:
        return None
    return without_credentials(remotes.get("origin") or remotes[min(remotes)])


def _text(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.read(_LONGEST).decode("utf-8", "replace")
