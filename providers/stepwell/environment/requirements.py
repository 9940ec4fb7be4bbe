"""Requirement lines, as pip writes them: checked one by one, options apart, nested files read in."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from stepwell.environment.strict_yaml import read_text
from stepwell.errors import EnvironmentException

#: Options that are handed to the installer, and whether they take a value.
OPTIONS = {
    "--index-url": True,
    "--extra-index-url": True,
    "--find-links": True,
    "--no-index": False,
    "--no-binary": True,
    "--only-binary": True,
    "--prerelease": True,
    "--pre": False,
}
_SHORT = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement", "-c": "--constraint", "-e": "--editable"}
_NAMES_FILE = re.compile(r"\s*(-r|--requirement|-c|--constraint)[=\s]\s*(?=\S)")
_MAX_NESTING = 10
_CREDENTIALS = re.compile(r"://(?P<user>[^/@\s]+)@")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")


@dataclass
class Requirements:
    """What requirement lines say.

    *pip* requirements (hashes kept), installer *options*, *azureml* names left out, *constraints* of ``-c`` files.
    """

    pip: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    azureml: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)


def read_file(path: str | os.PathLike[str]) -> Requirements:
    """Read the requirements file *path* and what it includes with ``-r``.

    :raises EnvironmentException: a file is missing, a line is malformed; the message has file and line.
    """
    found = Requirements()
    _read(Path(path), found, 0)
    return found


def add_line(line: str, where: str, found: Requirements, *, base: Path | None = None, depth: int = 0) -> None:
    """Add the requirement or option *line* to *found*.

    :param where: file and line, for messages.
    :param base: the folder that ``-r`` is relative to.
    :raises EnvironmentException: see :func:`read_file`.
    """
    text = line.strip()
    if not text:
        return
    if text.startswith("-"):
        _add_option(text, where, found, base, depth)
        return
    _no_credentials(text, where)
    requirement, *hashes = re.split(r"\s+(?=--hash)", text)
    name = _requirement_name(requirement, where)
    for item in hashes:
        if not re.fullmatch(r"--hash[=\s]\s*[a-z0-9]+:[0-9a-fA-F]+", item.strip()):
            raise EnvironmentException(f"{where}: {item!r} is no hash", allowed=["--hash=sha256:<hex>"])
    if name == "azureml" or name.startswith("azureml-"):
        found.azureml.append(requirement)
        return
    joined = " ".join([requirement, *(re.sub(r"^--hash[=\s]\s*", "--hash=", h.strip()) for h in hashes)])
    if joined not in found.pip:
        found.pip.append(joined)


def names_file(line: str) -> bool:
    """Say whether *line* is a ``-r`` or ``-c``."""
    return _NAMES_FILE.match(line) is not None


def absolute(line: str, base: Path) -> str:
    """Return *line*, with the path of a ``-r`` or ``-c`` in full."""
    match = _NAMES_FILE.match(line)
    return f"{match[1]} {base / line[match.end() :].strip()}" if match else line


def _read(path: Path, found: Requirements, depth: int) -> None:
    if depth > _MAX_NESTING:
        raise EnvironmentException(f"{path}: requirements files include each other more than {_MAX_NESTING} deep")
    text = read_text(path, "requirements file")
    number, start, pending = 0, 0, ""
    for number, raw in enumerate(text.splitlines(), 1):
        start = start if pending else number
        line = raw if pending.strip() == "" and raw.lstrip().startswith("#") else raw.rstrip()
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        whole = re.sub(r"(^|\s)#.*$", "", pending + line)
        pending = ""
        add_line(whole, f"{path}, line {start}", found, base=path.parent, depth=depth)
    if pending.strip():
        raise EnvironmentException(f"{path}, line {number}: the last line is continued with '\\' but nothing follows")


def _add_option(text: str, where: str, found: Requirements, base: Path | None, depth: int) -> None:
    name, _, value = (part.strip() for part in re.sub(r"[=\s]", " ", text, count=1).partition(" "))
    name = _SHORT.get(name, name)
    if name == "--requirement" and value:
        _read((base or Path()) / value, found, depth + 1)
        return
    if name == "--constraint" and value:
        _read_constraints((base or Path()) / value, where, found, depth)
        return
    if name == "--trusted-host":
        raise EnvironmentException(
            f"{where}: {text!r} is not supported", hint="Give the installer the host's certificate"
        )
    if name not in OPTIONS or (OPTIONS[name] and not value) or (value and not OPTIONS[name]):
        reason = " (an installed copy of what lies elsewhere is no environment: put it into the source directory)"
        raise EnvironmentException(
            f"{where}: the option {text!r} is not supported{reason if name == '--editable' else ''}",
            allowed=[*OPTIONS, "--requirement", "--constraint"],
        )
    _no_credentials(value, where)
    option = "--prerelease allow" if name == "--pre" else f"{name} {value}".strip()
    if option not in found.options:
        found.options.append(option)


def _read_constraints(path: Path, where: str, found: Requirements, depth: int) -> None:
    """Add the lines of a constraints file: versions of packages, for those that are installed anyway."""
    inner = Requirements()
    _read(path, inner, depth + 1)
    if inner.options:
        raise EnvironmentException(
            f"{where}: the constraints file {path} has the option {inner.options[0]!r}",
            allowed=["name==1.2, line by line"],
        )
    for line in [*inner.pip, *inner.constraints]:
        add_constraint(line, str(path), found)


def add_constraint(line: str, where: str, found: Requirements) -> None:
    """Add one constraint, ``name<2``.

    :raises EnvironmentException: it is malformed, or has extras, which installers do not take here.
    """
    from packaging.requirements import Requirement

    text = re.sub(r"\s+--hash=\S+", "", line.strip())
    _no_credentials(text, where)
    _requirement_name(text, where)
    if Requirement(_VARIABLE.sub("variable", text)).extras:
        raise EnvironmentException(f"{where}: the constraint {text!r} has extras", allowed=["name==1.2"])
    if text not in found.constraints:
        found.constraints.append(text)


def _requirement_name(requirement: str, where: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        return canonicalize_name(Requirement(_VARIABLE.sub("variable", requirement)).name)
    except InvalidRequirement as error:
        hint = "A requirement is 'name', 'name==1.2' or 'name @ https://…'"
        if re.match(r"[\w.\-\[\]]+\s*=[^=]", requirement):
            hint = "pip compares with '==': a single '=' is conda's"
        elif "://" in requirement:
            hint = f"An address has the package's name in front: 'name @ {requirement.partition('#')[0]}'"
        elif re.match(r"(\.{0,2}/|[\w./\-]+\.(whl|tar\.gz|zip)$)", requirement):
            hint = "Files are given as 'name @ file:///absolute/path'"
        problem = str(error).splitlines()[0]
        raise EnvironmentException(f"{where}: {requirement!r} is no requirement ({problem})", hint=hint) from error


def _no_credentials(text: str, where: str) -> None:
    match = _CREDENTIALS.search(text)
    # git+ssh://git@… names an account, not a secret.
    if match and match["user"] != "git" and not _VARIABLE.search(match["user"]):
        raise EnvironmentException(
            f"{where}: an address carries credentials",
            hint="Write ${NAME} in their place and set NAME in the worker's environment: specifications are stored",
        )
