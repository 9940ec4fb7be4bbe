"""The normal form of an environment: plain JSON, the same for the same wish, whatever it was written in.

``{"python": "3.11" | ">=3.9,<3.12" | None, "conda": [...], "channels": [...], "pip": [...], "pip_options": [...],
"constraints": [...], "user_managed": bool, "interpreter": path | None, "variables": {}, "docker": {}, "spark": {}}``.
``docker`` holds what ``environment.docker`` says, for compute targets that run containers; ``spark`` what
``environment.spark`` says, for Spark steps. ``conda`` holds what a
conda file asks of conda: conda's names, pip's versions (``numpy==1.19.*``); the builder maps the names. ``channels``
are those of the conda file, in its order; they count only where conda itself builds. Nothing is read before
:func:`specification` is called.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from stepwell.environment import conda_names, docker, requirements, spark, strict_yaml
from stepwell.errors import EnvironmentException

logger = logging.getLogger(__name__)

#: The top-level keys of a conda specification (v1's rule).
CONDA_KEYS = ("name", "channels", "dependencies", "prefix", "variables")
#: Channels whose packages are on the Python package index too; others may hold packages that are nowhere else.
USUAL_CHANNELS = frozenset({"defaults", "main", "anaconda", "conda-forge", "nodefaults"})
#: Conda packages that only serve to install others.
_INSTALLERS = frozenset({"pip", "uv", "conda"})
#: The name of a pyproject.toml, with its extras.
PYPROJECT = re.compile(r"(?P<file>pyproject\.toml)(\[(?P<extras>[^\[\]]*)\])?")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Log = Callable[[str], None]


def empty() -> dict[str, Any]:
    """The specification that wants nothing: the worker's Python version without packages."""
    return {
        "python": None,
        "conda": [],
        "channels": [],
        "pip": [],
        "pip_options": [],
        "constraints": [],
        "user_managed": False,
        "interpreter": None,
        "variables": {},
        "docker": {},
        "spark": {},
    }


def specification(source: object = None, *, log: Log | None = None) -> dict[str, Any]:
    """Return the normal form of *source*.

    :param source: an ``Environment``, ``CondaDependencies`` or ``RunConfiguration`` (anything with
        ``specification(log)``), the path of a conda file (.yml, .yaml), of a requirements file (.txt, .in) or of a
        ``pyproject.toml`` (also ``pyproject.toml[extra,other]``), a dict in the normal form, or ``None``
        (:func:`empty`).
    :param log: told about what is left out (``azureml-*`` packages, conda's prefix); default: this
        module's logger.
    :raises EnvironmentException: it is malformed; the message has file and line.
    """
    say = log or logger.info
    if source is None:
        return empty()
    if isinstance(source, Mapping):
        return normal(source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.suffix in (".yml", ".yaml"):
            return from_conda_file(path, log=say)
        if path.suffix in (".txt", ".in"):
            return from_requirements_file(path, log=say)
        if PYPROJECT.fullmatch(path.name):
            from stepwell.environment.pyproject import from_pyproject

            return from_pyproject(path, log=say)
        raise EnvironmentException(
            f"{str(source)!r} is no environment file by its name",
            allowed=["a conda specification (.yml, .yaml)", "a requirements file (.txt, .in)", "pyproject.toml"],
        )
    method = getattr(source, "specification", None)
    if callable(method):
        found: dict[str, Any] = method(log=say)
        return found
    raise EnvironmentException(
        f"{type(source).__name__} is no environment",
        allowed=["Environment", "CondaDependencies", "RunConfiguration", "a path", "a dict", "None"],
    )


def normal(data: Mapping[str, Any]) -> dict[str, Any]:
    """Check the specification *data* and return it with all keys, sorted and without repetitions.

    :raises EnvironmentException: an unknown key, a value of the wrong type, a malformed requirement.
    """
    spec = empty()
    unknown = sorted(str(k) for k in set(data) - set(spec))
    if unknown:
        raise EnvironmentException(f"Environment specification: unknown key {unknown[0]!r}", allowed=spec)
    spec.update({k: v for k, v in data.items() if v is not None})
    _check_types(spec)
    found = requirements.Requirements()
    for line in [*spec["pip_options"], *spec["pip"]]:
        requirements.add_line(line, "Environment specification", found)
    for line in spec["constraints"]:
        requirements.add_constraint(line, "Environment specification", found)
    conda = {conda_names.parse(item, "Environment specification").text for item in spec["conda"]}
    spec["conda"], spec["pip"], spec["pip_options"] = sorted(conda), sorted(found.pip), found.options
    spec["constraints"] = sorted(found.constraints)
    spec["channels"] = list(dict.fromkeys(_without_secrets(c.strip()) for c in spec["channels"] if c.strip()))
    spec["python"] = None if spec["python"] is None else python_version(spec["python"], "Environment specification")
    spec["variables"] = _variables(spec["variables"], "Environment specification")
    spec["docker"] = docker.normal(spec["docker"])
    spec["spark"] = spark.normal(spec["spark"])
    if spec["user_managed"] and not spec["interpreter"]:
        spec["interpreter"] = "python"  # v1's default
    return spec


def _check_types(spec: Mapping[str, Any]) -> None:
    for key in ("conda", "channels", "pip", "pip_options", "constraints"):
        if isinstance(spec[key], str) or not all(isinstance(v, str) for v in spec[key]):
            raise EnvironmentException(
                f"Environment specification: {key!r} is {spec[key]!r}", allowed=["a list of text"]
            )
    for key in ("python", "interpreter"):
        if spec[key] is not None and not isinstance(spec[key], str):
            raise EnvironmentException(f"Environment specification: {key!r} is {spec[key]!r}", allowed=["text", "None"])
    if not isinstance(spec["user_managed"], bool):
        raise EnvironmentException(f"'user_managed' is {spec['user_managed']!r}", allowed=["true", "false"])
    for channel in spec["channels"]:
        if channel.startswith("-") or len(channel.split()) > 1:
            raise EnvironmentException(f"{channel!r} is no conda channel", allowed=["a name", "an address"])


def merge(spec: Mapping[str, Any], extra_pip: Iterable[str]) -> dict[str, Any]:
    """Return *spec* with the pip requirements *extra_pip* added. A user-managed environment stays as it is.

    A requirement that contradicts one in *spec* is found by the resolver, when the environment is built.
    """
    if spec.get("user_managed"):
        return normal(spec)
    return normal({**spec, "pip": [*spec.get("pip", []), *extra_pip]})


def from_requirements_file(path: str | os.PathLike[str], *, log: Log) -> dict[str, Any]:
    """Read the requirements file *path* (nested ``-r`` files too, hashes kept).

    :raises EnvironmentException: see :func:`specification`.
    """
    found = requirements.read_file(path)
    say_left_out(found.azureml, log)
    return normal({"pip": found.pip, "pip_options": found.options, "constraints": found.constraints})


def from_conda_file(path: str | os.PathLike[str], *, log: Log) -> dict[str, Any]:
    """Read the conda specification *path*.

    :raises EnvironmentException: see :func:`specification`.
    """
    file = Path(path)
    text = strict_yaml.read_text(file, "conda specification")
    data = strict_yaml.load_mapping(text, str(file), CONDA_KEYS)
    return from_conda_data(data, str(file), log=log, base=file.parent, lines=strict_yaml.lines_of(text, "dependencies"))


def from_conda_data(
    data: Mapping[str, Any], where: str, *, log: Log, base: Path | None = None, lines: list[int] | None = None
) -> dict[str, Any]:
    """Turn the content of a conda specification into the normal form.

    :param where: the file's name, for messages.
    :param base: the folder that ``-r`` lines are relative to.
    :param lines: the line of each dependency, where it is known.
    :raises EnvironmentException: see :func:`specification`.
    """
    spec = empty()
    found = requirements.Requirements()
    for index, item in enumerate(_list(data, "dependencies", where)):
        place = f"{where}, line {lines[index]}" if lines and index < len(lines) else f"{where}, dependency {index + 1}"
        if isinstance(item, str):
            _add_conda(item, place, spec, found)
        elif isinstance(item, Mapping) and set(item) == {"pip"}:
            for line in _list(item, "pip", place):
                if not isinstance(line, str):
                    raise EnvironmentException(f"{place}: {line!r} under 'pip' is no text", allowed=["a requirement"])
                requirements.add_line(line, f"{place}, under 'pip'", found, base=base)
        else:
            raise EnvironmentException(
                f"{place}: {item!r} is no dependency", allowed=["a conda specification", "pip: with a list"]
            )
    say_left_out(found.azureml, log)
    spec["channels"] = _channels(data, where, log)
    spec["variables"] = _variables(data.get("variables") or {}, where)
    return normal({**spec, "pip": found.pip, "pip_options": found.options, "constraints": found.constraints})


def python_version(text: str, where: str) -> str:
    """Return the Python version *text* in its normal form: "3.11", "3.11.4", or a specifier (">=3.9,<3.12").

    :raises EnvironmentException: it is neither, or asks for Python 2.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    plain = text.strip()
    for _ in range(2):
        exact = re.fullmatch(r"(?:={1,2})?\s*([0-9]+(?:\.[0-9]+){0,2})(?:\.\*)?", plain)
        if exact:
            if exact[1].split(".")[0] != "3":
                raise EnvironmentException(
                    f"{where}: Python {exact[1]} is not supported", allowed=["Python 3.8 or later"]
                )
            return exact[1]
    try:
        specifiers = sorted(str(s) for s in SpecifierSet(plain))
    except InvalidSpecifier:
        specifiers = []
    if not specifiers:
        raise EnvironmentException(f"{where}: {text!r} is no Python version", allowed=["3.11", "3.11.4", ">=3.9,<3.12"])
    return ",".join(specifiers)


def _add_conda(item: str, place: str, spec: dict[str, Any], found: requirements.Requirements) -> None:
    parsed = conda_names.parse(item, place)
    if parsed.name == "python":
        if spec["python"] is not None:
            raise EnvironmentException(f"{place}: the Python version is given twice")
        spec["python"] = python_version(parsed.version, place) if parsed.version else None
    elif parsed.name == "azureml" or parsed.name.startswith("azureml-"):
        found.azureml.append(parsed.name)
    elif parsed.name not in _INSTALLERS:
        spec["conda"].append(parsed.text)


def _list(data: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise EnvironmentException(f"{where}: {key!r} is {value!r}", allowed=["a list"])
    return value


def _variables(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise EnvironmentException(f"{where}: 'variables' is {value!r}", allowed=["a mapping of names to text"])
    checked = {}
    for name, content in value.items():
        if not isinstance(name, str) or not _VARIABLE_NAME.fullmatch(name):
            raise EnvironmentException(
                f"{where}: {name!r} cannot name an environment variable", hint="Letters, digits, '_'"
            )
        if isinstance(content, bool) or not isinstance(content, (str, int, float)):
            raise EnvironmentException(f"{where}: the variable {name} is {content!r}", allowed=["text, in quotes"])
        checked[name] = str(content)
    return dict(sorted(checked.items()))


def say_left_out(names: list[str], log: Log) -> None:
    """Say which ``azureml-*`` packages are not installed."""
    if names:
        log(
            f"Left out of the environment: {', '.join(names)} (Stepwell itself brings the names of azureml to the step)"
        )


def _channels(data: Mapping[str, Any], where: str, log: Log) -> list[str]:
    """Return the channels; say that a prefix is not used.

    :raises EnvironmentException: the channels are of the wrong type.
    """
    channels = _list(data, "channels", where)
    if not all(isinstance(channel, str) for channel in channels):
        raise EnvironmentException(f"{where}: 'channels' is {channels!r}", allowed=["a list of names and addresses"])
    if data.get("prefix"):
        log(f"{where}: 'prefix' is not used: Stepwell chooses where an environment is")
    return channels


def own_channels(spec: Mapping[str, Any]) -> list[str]:
    """Return the channels of the specification *spec* whose packages may be nowhere else."""
    named = [item.partition("::")[0] for item in spec["conda"] if "::" in item]
    return [c for c in dict.fromkeys([*spec["channels"], *named]) if _channel_name(c) not in USUAL_CHANNELS]


def _channel_name(channel: str) -> str:
    """Return the short name of a channel, also of one that is given by its address (or by that of a mirror)."""
    return channel.strip().rstrip("/").rpartition("/")[2]


def _without_secrets(channel: str) -> str:
    """Return *channel* as it may be stored: credentials belong into conda's own settings."""
    return re.sub(r"/t/[^/]+", "/t/***", re.sub(r"//[^/@]*@", "//***@", channel))
