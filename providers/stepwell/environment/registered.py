"""Environments of a workspace: ``environments/<name>/<n>.json``, numbered by content, never changed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from stepwell.environment import requirements
from stepwell.environment.environment import Environment
from stepwell.environment.specification import PYPROJECT
from stepwell.errors import EnvironmentException, UserErrorException
from stepwell.runtime.names import check_name, nearest

if TYPE_CHECKING:
    from stepwell.compute.contract import EnvironmentRef
    from stepwell.workspace import Workspace

_VERSION = re.compile(r"([1-9][0-9]*)\.json")
_FILE = (".yml", ".yaml", ".txt", ".in")
Log = Callable[[str], None]


def register(ws: Workspace, environment: Environment) -> Environment:
    """Register *environment* under its name and return it with its version.

    Files that it names are read now: what is registered does not change with them. The same content is the same
    version, also if a later one is there.

    :raises EnvironmentException: a file is missing or malformed.
    """
    from stepwell.workspace.store import encode

    environment.specification(log=lambda line: None)  # what cannot be used is not registered
    content = self_contained(environment)
    name = check_name("environment", environment.name)
    with ws.store.lock(f"environments/{name}/head.json"):
        numbers = versions(ws, name)
        for number in reversed(numbers):
            if ws.store.read_json(_path(name, number))["environment"] == content:
                return _made(content, number)
        record = {"format": 1, "name": name, "registered": time.time(), "environment": content}
        number = ws.store.create_numbered(f"environments/{name}", len(numbers) + 1, encode(record))
    return _made(content, number)


def get(ws: Workspace, name: str, version: str | int | None = None, label: str | None = None) -> Environment:
    """Return the registered environment *name*.

    :param version: default: the latest.
    :param label: "latest", or nothing.
    :raises EnvironmentException: there is none of that name, or it has no such version.
    """
    check_name("environment", name)
    if label not in (None, "latest"):
        raise EnvironmentException(f"The label {label!r} of an environment is not known", allowed=["latest"])
    numbers = versions(ws, name)
    if not numbers:
        raise EnvironmentException(
            f"The workspace {ws.name!r} has no environment {name!r}",
            allowed=nearest(name, names(ws)),
            hint="Register it with environment.register(ws)",
        )
    if version is None:
        number = numbers[-1]
    elif not str(version).isdigit() or int(version) not in numbers:
        raise EnvironmentException(f"The environment {name!r} has no version {version!r}", allowed=numbers)
    else:
        number = int(version)
    return _made(ws.store.read_json(_path(name, number))["environment"], number)


def names(ws: Workspace) -> list[str]:
    """Return the names of the registered environments."""
    return [name for name in ws.store.list("environments") if versions(ws, name)]


def versions(ws: Workspace, name: str) -> list[int]:
    """Return the versions of the environment *name*, oldest first; none if it is not registered."""
    found = (_VERSION.fullmatch(file) for file in ws.store.list(f"environments/{name}"))
    return sorted(int(match[1]) for match in found if match)


def load(ws: Workspace, source: object) -> object:
    """Return what *source* stands for, as ``specification()`` takes it.

    :param source: an ``Environment`` or its serialised form, a path, or the name of a registered environment
        ("train", "train:2").
    :raises EnvironmentException: no environment of that name is registered.
    """
    if isinstance(source, Mapping) and "dependencies" in source:
        return Environment.deserialize(source)
    if isinstance(source, str):
        name = PurePath(source).name
        if not name.endswith(_FILE) and not PYPROJECT.fullmatch(name) and "/" not in source:
            registered, _, version = source.partition(":")
            return get(ws, registered, version or None)
    return source


def prepare(ws: Workspace, source: object, compute_target: Any, log: Log) -> EnvironmentRef:
    """Build what a step with this environment would run in on *compute_target*, or find it.

    :param source: as for :func:`load`; None = Python without packages.
    :raises UserErrorException: it is wrong as it is written.
    :raises EnvironmentException: it cannot be built.
    """
    from stepwell.compute import portal
    from stepwell.compute.resolve import target_for
    from stepwell.environment.pool import spark_packages
    from stepwell.environment.specification import merge, specification

    target = target_for(ws, compute_target)
    try:
        spec = specification(load(ws, source), log=log)
        if target.engine == "spark":
            spec = merge(spec, spark_packages())
        if not spec["user_managed"]:
            portal.call(target.environment_key(spec))  # what only conda has, where there is none
    except EnvironmentException as error:  # no retry would help
        raise UserErrorException(error.what, allowed=error.allowed, hint=error.hint) from error
    return portal.call(target.prepare(spec, log))


@dataclass(frozen=True)
class BuildDetails:
    """What ``Environment.build`` returns: the build is over by then (v1's goes on elsewhere)."""

    status: str
    key: str
    python: str

    def wait_for_completion(self, show_output: bool = True) -> BuildDetails:
        """Return at once."""
        return self


def self_contained(environment: Environment) -> dict[str, Any]:
    """Return *environment* as plain data that names no file of dependencies."""
    data = environment.serialize()
    data.pop("version", None)
    structure = environment.python.conda_dependencies.as_dict()
    found = requirements.Requirements(constraints=list(data.get("constraints", [])))
    pip: list[str] = []
    for item in structure.get("dependencies") or []:
        if isinstance(item, dict):
            for line in item["pip"]:
                _inline(line, found, pip)
    if data["requirements"] is not None:
        _inline(f"--requirement {Path(data['requirements']).absolute()}", found, pip)
    if pip:
        conda = [item for item in structure.get("dependencies") or [] if not isinstance(item, dict)]
        structure["dependencies"] = [*conda, {"pip": list(dict.fromkeys(pip))}]
    data["dependencies"], data["requirements"] = {"conda": structure}, None
    if found.constraints:
        data["constraints"] = found.constraints
    return data


def _inline(line: str, found: requirements.Requirements, pip: list[str]) -> None:
    """Add *line* to *pip*; of one that names a file, what the file says."""
    if not requirements.names_file(line):
        pip.append(line)
        return
    inner = requirements.Requirements()
    requirements.add_line(line, line, inner)
    pip.extend([*inner.options, *inner.pip, *inner.azureml])
    found.constraints.extend(c for c in inner.constraints if c not in found.constraints)


def _path(name: str, number: int) -> str:
    return f"environments/{name}/{number}.json"


def _made(content: Mapping[str, Any], number: int) -> Environment:
    made = Environment.deserialize(content)
    made.version = str(number)
    return made
