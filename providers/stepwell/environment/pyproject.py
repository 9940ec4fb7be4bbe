"""``pyproject.toml`` as the source of an environment: what the project depends on, not the project itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stepwell.environment import requirements
from stepwell.environment.specification import PYPROJECT, normal, python_version, say_left_out
from stepwell.environment.strict_yaml import read_text
from stepwell.errors import EnvironmentException

Log = Callable[[str], None]


def from_pyproject(path: Path, *, log: Log) -> dict[str, Any]:
    """Read ``project.dependencies`` and ``project.requires-python``, and the extras that *path* ends with in brackets.

    :param log: told what is not used (where uv of that project would take a package from).
    :raises EnvironmentException: the file is missing or malformed, its dependencies are made by its build, it has no
        such extra.
    """
    import tomllib

    named = PYPROJECT.fullmatch(path.name)
    file = path.with_name(named["file"]) if named else path
    where = str(file)
    try:
        data = tomllib.loads(read_text(file, "project file"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise EnvironmentException(f"{where}: {error}", hint="Correct the TOML") from error
    project = data.get("project")
    if not isinstance(project, dict):
        raise EnvironmentException(f"{where} has no table [project]", hint="Give a requirements file instead")
    extras = [e.strip() for e in ((named["extras"] or "") if named else "").split(",") if e.strip()]
    dynamic = project.get("dynamic") or []
    for name in ("dependencies", *(["optional-dependencies"] if extras else [])):
        if name in dynamic:
            raise EnvironmentException(
                f"{where}: 'dynamic' has {name!r}: they are known only to the project's build",
                hint="Write them into the file, or give a requirements file instead",
            )
    found = requirements.Requirements()
    _add(_texts(project.get("dependencies"), f"{where}: project.dependencies"), f"{where}: project.dependencies", found)
    _add_extras(project, extras, where, found)
    say_left_out(found.azureml, log)
    sources = ((data.get("tool") or {}).get("uv") or {}).get("sources")
    if isinstance(sources, dict) and sources:
        log(
            f"Warning: {where}: [tool.uv.sources] is not used: {', '.join(sorted(map(str, sources)))} come from the "
            "Python package index"
        )
    python = project.get("requires-python")
    if python is not None and not isinstance(python, str):
        raise EnvironmentException(f"{where}: project.requires-python is {python!r}", allowed=[">=3.9,<3.12"])
    return normal(
        {
            "python": python_version(python, f"{where}: project.requires-python") if python else None,
            "pip": found.pip,
            "constraints": found.constraints,
        }
    )


def _add_extras(project: Mapping[str, Any], extras: list[str], where: str, found: requirements.Requirements) -> None:
    """Add the dependencies of *extras*; an extra may name others of its own project: ``all = ["project[a,b]"]``."""
    optional = project.get("optional-dependencies") or {}
    if not isinstance(optional, dict):
        raise EnvironmentException(f"{where}: project.optional-dependencies is {optional!r}", allowed=["a table"])
    known = {_plain(name): name for name in optional}
    own = re.compile(re.escape(_plain(str(project.get("name", "")))) + r"\s*\[([^\]]*)\]\s*")
    wanted, seen = list(extras), set[str]()
    while wanted:
        extra = _plain(wanted.pop(0))
        if extra in seen:
            continue
        seen.add(extra)
        if extra not in known:
            raise EnvironmentException(f"{where} has no extra {extra!r}", allowed=sorted(optional))
        place = f"{where}: project.optional-dependencies.{known[extra]}"
        lines = []
        for line in _texts(optional[known[extra]], place):
            itself = own.fullmatch(re.sub(r"^[A-Za-z0-9._\-]+", lambda m: _plain(m[0]), line.strip()))
            if itself:
                wanted.extend(e.strip() for e in itself[1].split(",") if e.strip())
            else:
                lines.append(line)
        _add(lines, place, found)


def _add(lines: list[str], where: str, found: requirements.Requirements) -> None:
    for line in lines:
        if line.strip().startswith("-"):
            raise EnvironmentException(f"{where}: {line!r} is no requirement", allowed=["name", "name>=1.2,<2"])
        requirements.add_line(line, where, found)


def _texts(value: object, where: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise EnvironmentException(f"{where} is {value!r}", allowed=["a list of text"])
    return value


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
