"""Compose 2: the one that is installed, or one that Go builds from its module (3 minutes, once)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

VERSION = "v2.40.3"
#: ``go install`` refuses the module, which replaces others: so it is a dependency of a module of our own.
GO_MOD = "module tools\n\ngo 1.25\n"
TOOLS_GO = '//go:build tools\n\npackage tools\n\nimport _ "github.com/docker/compose/v2/cmd"\n'


class NoComposeError(Exception):
    """There is none, and none can be built; the message says why."""


def compose(cache: Path) -> list[str]:
    """Return the words that start Compose 2.

    :param cache: where one that was built is kept.
    :raises NoComposeError: neither Compose nor Go is here, or Go cannot build it.
    """
    built = cache / f"docker-compose-{VERSION}"
    for words in (["docker", "compose"], ["docker-compose"], [str(built)]):
        if shutil.which(words[0]) and _is_version_2(words):
            return words
    build(built)
    return [str(built)]


def _is_version_2(words: list[str]) -> bool:
    said = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=False)
    return (
        said.returncode == 0
        and said.stdout.strip().lstrip("v").partition(".")[0].isdigit()
        and not (said.stdout.strip().startswith("1."))
    )


def build(program: Path) -> None:
    """Build it with Go.

    :raises NoComposeError: there is no Go, or it fails.
    """
    go = shutil.which("go")
    if go is None:
        raise NoComposeError("there is neither Docker Compose 2 nor Go, which could build it")
    module = program.parent / "module"
    module.mkdir(parents=True, exist_ok=True)
    (module / "go.mod").write_text(GO_MOD)
    (module / "tools.go").write_text(TOOLS_GO)
    package, draft = "github.com/docker/compose/v2/cmd", program.with_suffix(".new")
    for words in (["get", f"{package}@{VERSION}"], ["build", "-o", str(draft), package]):
        done = subprocess.run(["nice", go, *words], cwd=module, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoComposeError(f"go {words[0]} of Docker Compose failed: {done.stderr[-1500:]}")
    draft.replace(program)
    shutil.rmtree(module)
