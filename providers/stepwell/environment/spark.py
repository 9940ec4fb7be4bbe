"""``environment.spark``: packages from Maven repositories, and ``spark_dependencies.yml``; for Spark steps only.

Spark itself fetches the packages where ``spark-submit`` runs, and gives them to driver and executors.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stepwell.environment.refused import no_such
from stepwell.errors import EnvironmentException
from stepwell.runtime.errors import UserErrorException

#: The top-level keys of a ``spark_dependencies.yml``.
KEYS = ("configuration", "repositories", "packages", "version")
_PART = re.compile(r"[A-Za-z0-9_.\-]+")
_KEY = re.compile(r"spark\.[^\s=:\\]+")
#: What v1's own template says, and a step says for itself.
_TEMPLATE = {"spark.app.name": "Azure ML Experiment", "spark.yarn.maxAppAttempts": "1"}
_DEFAULTS: dict[str, Any] = {
    "repositories": [],
    "packages": [],
    "precache_packages": True,
    "dependencies_file": None,
}


class SparkPackage:
    """A package of a Maven repository.

    :raises UserErrorException: a part of its name is missing or cannot be one.
    """

    def __init__(self, group: str | None = None, artifact: str | None = None, version: str | None = None) -> None:
        for name, value in (("group", group), ("artifact", artifact), ("version", version)):
            if not isinstance(value, str) or not _PART.fullmatch(value):
                raise UserErrorException(
                    f"The {name} of a Spark package is {value!r}", allowed=["letters, digits, '.', '_', '-'"]
                )
        self.group, self.artifact, self.version = str(group), str(artifact), str(version)

    @classmethod
    def parse(cls, text: str) -> SparkPackage:
        """Return the package that ``group:artifact:version`` names.

        :raises UserErrorException: it is not of that form.
        """
        parts = text.split(":")
        if len(parts) != 3:
            raise UserErrorException(f"{text!r} is no Spark package", allowed=["group:artifact:version"])
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    def __repr__(self) -> str:
        return f"SparkPackage({self.group!r}, {self.artifact!r}, {self.version!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparkPackage) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class SparkSection:
    """v1's ``repositories`` (addresses) and ``packages`` (:class:`SparkPackage`, or ``group:artifact:version``).

    ``precache_packages`` is v1's word to its image builder, and means nothing here. ``dependencies_file`` is ours: the
    path of a ``spark_dependencies.yml``, read when the step runs.

    :raises UserErrorException: an unknown attribute, a value of the wrong type.
    """

    repositories: list[str]
    packages: list[SparkPackage | str]
    precache_packages: bool
    dependencies_file: str | None

    def __init__(self, **values: Any) -> None:
        for name, default in _DEFAULTS.items():
            object.__setattr__(self, name, list(default) if isinstance(default, list) else default)
        for name, value in values.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise no_such("environment.spark", name, _DEFAULTS)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _DEFAULTS:
            raise no_such("environment.spark", name, _DEFAULTS)
        if name in ("repositories", "packages"):
            if not isinstance(value, (list, tuple)):
                raise UserErrorException(f"environment.spark.{name} is {value!r}", allowed=["a list"])
            value = list(value) if isinstance(value, tuple) else value  # the very list: what is appended later counts
        elif name == "precache_packages" and not isinstance(value, bool):
            raise UserErrorException(f"environment.spark.{name} is {value!r}", allowed=["True", "False"])
        elif name == "dependencies_file" and value is not None:
            value = os.fspath(value)
        object.__setattr__(self, name, value)

    def serialize(self) -> dict[str, Any]:
        """What differs from v1's defaults, as plain data.

        :raises UserErrorException: a package or a repository is none.
        """
        found = {
            "repositories": [_repository(item) for item in self.repositories],
            "packages": [str(_package(item)) for item in self.packages],
            "precache_packages": self.precache_packages,
            "dependencies_file": self.dependencies_file,
        }
        return {name: value for name, value in found.items() if value != _DEFAULTS[name]}

    @classmethod
    def deserialize(cls, data: Mapping[str, Any]) -> SparkSection:
        """The section that :meth:`serialize` wrote."""
        return cls(**{**data, "packages": [SparkPackage.parse(text) for text in data.get("packages", [])]})

    def __repr__(self) -> str:
        return f"<environment.spark: {self.serialize() or 'defaults'}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparkSection) and self.serialize() == other.serialize()

    __hash__ = None  # type: ignore[assignment]  # it can be edited


def normal(section: object) -> dict[str, Any]:
    """Return the section's part of an environment's normal form: ``configuration``, ``repositories``, ``packages``.

    A ``dependencies_file`` is read; what stands beside it comes first.

    :raises EnvironmentException: it is malformed, or the file is.
    """
    if not isinstance(section, Mapping):
        raise EnvironmentException(f"Environment specification: 'spark' is {section!r}", allowed=["a mapping"])
    given = dict(section)
    configuration = given.pop("configuration", None) or {}
    try:
        found = SparkSection.deserialize(given).serialize()
    except UserErrorException as error:
        raise EnvironmentException(error.what, allowed=error.allowed, hint=error.hint) from error
    file = read(found["dependencies_file"]) if "dependencies_file" in found else {}
    merged: dict[str, Any] = {
        "configuration": {
            **file.get("configuration", {}),
            **_configuration(configuration, "Environment specification"),
        },
    }
    for name in ("repositories", "packages"):
        merged[name] = list(dict.fromkeys([*found.get(name, []), *file.get(name, [])]))
    return {name: value for name, value in merged.items() if value}


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a ``spark_dependencies.yml`` says: ``configuration``, ``repositories``, ``packages``.

    :raises EnvironmentException: it is missing or malformed.
    """
    from stepwell.environment import strict_yaml

    where = str(Path(path))
    data = strict_yaml.load_mapping(strict_yaml.read_text(path, "file of Spark dependencies"), where, KEYS)
    version = data.get("version")
    if version not in (None, 1, 2, "1", "2"):
        raise EnvironmentException(f"{where}: version is {version!r}", allowed=["1", "2"])
    try:
        return {
            "configuration": _configuration(data.get("configuration") or {}, where),
            "repositories": [_repository(item) for item in _items(data, "repositories", where)],
            "packages": [str(_package(item)) for item in _items(data, "packages", where)],
        }
    except UserErrorException as error:
        raise EnvironmentException(f"{where}: {error.what}", allowed=error.allowed, hint=error.hint) from error


def with_packages(spark: Mapping[str, Any], section: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Spark step's parameters with what its environment says about Spark; the step's own word goes first.

    :param spark: as ``StepSpec.spark`` has them.
    :param section: as :func:`normal` returns it.
    """
    from stepwell.compute.spark_settings import SIZES

    said = {*SIZES.values(), *(["spark.app.name"] if spark.get("app_name") else [])}
    defaults = {name: value for name, value in section.get("configuration", {}).items() if name not in said}
    conf = {**defaults, **(spark.get("conf") or {})}
    for name, key in (("packages", "spark.jars.packages"), ("repositories", "spark.jars.repositories")):
        items = [*filter(None, str(conf.get(key) or "").split(",")), *section.get(name, [])]
        if items:
            conf[key] = ",".join(dict.fromkeys(item.strip() for item in items))
    return {**spark, "conf": conf}


def _items(data: Mapping[str, Any], key: str, where: str) -> Iterable[Any]:
    found = data.get(key) or []
    if not isinstance(found, list):
        raise EnvironmentException(f"{where}: {key} is {found!r}", allowed=["a list"])
    return found


def _package(item: object) -> SparkPackage:
    if isinstance(item, SparkPackage):
        return item
    if isinstance(item, str):
        return SparkPackage.parse(item)
    if isinstance(item, Mapping) and set(item) == {"group", "artifact", "version"}:
        return SparkPackage(*(str(item[name]) for name in ("group", "artifact", "version")))
    raise UserErrorException(
        f"{item!r} is no Spark package", allowed=["group, artifact and version", "group:artifact:version"]
    )


def _repository(item: object) -> str:
    parts = urlsplit(item) if isinstance(item, str) else None
    if parts is None or parts.scheme not in ("http", "https", "file") or "," in str(item) or " " in str(item):
        raise UserErrorException(f"{item!r} is not the address of a Maven repository", allowed=["https://…"])
    if parts.username or parts.password:
        raise UserErrorException(
            "The address of a Maven repository holds a login, which everybody could read",
            hint="Put it into the settings of Ivy or Maven where spark-submit runs",
        )
    return str(item)


def _configuration(found: object, where: str) -> dict[str, str]:
    if not isinstance(found, Mapping):
        raise EnvironmentException(f"{where}: configuration is {found!r}", allowed=["a mapping of Spark settings"])
    settings: dict[str, str] = {}
    for name, value in found.items():
        if not isinstance(name, str) or not _KEY.fullmatch(name):
            raise EnvironmentException(f"{where}: {name!r} is no Spark setting", hint='Their names begin with "spark."')
        if isinstance(value, bool):
            value = str(value).lower()
        if not isinstance(value, (str, int, float)):
            raise EnvironmentException(f"{where}: {name} is {value!r}", allowed=["text", "a number", "true", "false"])
        if _TEMPLATE.get(name) != str(value):
            settings[name] = str(value)
    return settings
