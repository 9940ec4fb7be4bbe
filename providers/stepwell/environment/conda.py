"""``CondaDependencies``: v1's editor of conda specifications, reading its file only when it is asked something."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from stepwell.environment import requirements, strict_yaml
from stepwell.environment.specification import CONDA_KEYS, from_conda_data, logger, python_version
from stepwell.errors import EnvironmentException

#: Where v1 wrote it inside a project.
CONDA_FILE = os.path.join("aml_config", "conda_dependencies.yml")
_NAME = re.compile(r"\s*(?:[^\s:\[\]]+::)?([A-Za-z0-9][A-Za-z0-9._\-]*)")


class CondaDependencies:
    """Packages of an environment, in the form of a conda specification.

    :param conda_dependencies_file_path: a file to start from; read when first needed, so that naming it in a DAG costs
        nothing.
    """

    def __init__(
        self,
        conda_dependencies_file_path: str | os.PathLike[str] | None = None,
        _underlying_structure: Mapping[str, Any] | None = None,
    ) -> None:
        self._path = None if conda_dependencies_file_path is None else os.fspath(conda_dependencies_file_path)
        self._data: dict[str, Any] | None = None
        self._lines: list[int] | None = None
        self._edited = False
        if self._path is None:
            self._data = _checked(_underlying_structure or {}, "CondaDependencies")

    @classmethod
    def create(
        cls,
        pip_indexurl: str | None = None,
        pip_packages: Iterable[str] | None = None,
        conda_packages: Iterable[str] | None = None,
        python_version: str | None = None,
        pin_sdk_version: bool = True,
    ) -> CondaDependencies:
        """Make a specification.

        :param python_version: default: the worker's own (v1 had '3.10.18', a release that few machines have).
        :param pin_sdk_version: accepted for v1's sake: ``azureml-*`` packages are not installed.
        :raises EnvironmentException: a package is malformed.
        """
        made = cls()
        if python_version is not None:
            made.set_python_version(python_version)
        if pip_indexurl is not None:
            made.set_pip_index_url(f"--index-url {pip_indexurl}")
        for package in conda_packages or ():
            made.add_conda_package(package)
        for package in pip_packages or ():
            made.add_pip_package(package)
        return made

    @property
    def conda_packages(self) -> Iterable[str]:
        """The conda packages, as they were written."""
        return [item for item in self._dependencies if isinstance(item, str) and _name_of(item) != "python"]

    @property
    def pip_packages(self) -> Iterable[str]:
        """The pip requirements, as they were written."""
        return [item for item in self._pip if not item.startswith("-")]

    @property
    def pip_options(self) -> Iterable[str]:
        """The lines under 'pip' that are options of the installer."""
        return [item for item in self._pip if item.startswith("-")]

    @property
    def conda_channels(self) -> Iterable[str]:
        """The channels. They are kept and saved; the builder takes packages from the Python package index."""
        return list(self._structure.get("channels") or [])

    def get_python_version(self) -> str | None:
        """The Python version that is asked for, or ``None``."""
        for item in self._dependencies:
            if isinstance(item, str) and _name_of(item) == "python":
                rest = item.strip()[len("python") :].strip()
                return python_version(rest, self._where) if rest else None
        return None

    def set_python_version(self, version: str) -> None:
        """Ask for the Python *version*, "3.11".

        :raises EnvironmentException: it is none.
        """
        plain = python_version(str(version), "CondaDependencies")
        self._to_edit()
        self._remove_conda("python")
        self._dependencies.insert(0, "python" + (plain if plain[0] in "<>=!~" else f"={plain}"))

    def add_conda_package(self, conda_package: str) -> None:
        """Add a conda package ("scikit-learn=1.5"), in place of one of that name.

        :raises EnvironmentException: it is malformed.
        """
        from stepwell.environment.conda_names import parse

        parse(conda_package, "add_conda_package")
        self._to_edit()
        self._remove_conda(_name_of(conda_package))
        self._dependencies.append(conda_package)

    def remove_conda_package(self, conda_package: str) -> None:
        """Remove the conda package of that name; nothing happens if there is none."""
        self._to_edit()
        self._remove_conda(_name_of(conda_package))

    def add_pip_package(self, pip_package: str) -> None:
        """Add a pip requirement ("pandas<3"), in place of one of that name.

        :raises EnvironmentException: it is malformed.
        """
        if not pip_package.strip():
            raise EnvironmentException("add_pip_package: the requirement is empty", allowed=["name", "name==1.2"])
        requirements.add_line(pip_package, "add_pip_package", requirements.Requirements())
        if pip_package.strip().startswith("-"):
            self.set_pip_option(pip_package)
            return
        self.remove_pip_package(pip_package)
        self._pip_for_writing().append(pip_package)

    def remove_pip_package(self, pip_package: str) -> None:
        """Remove the pip requirement of that name; nothing happens if there is none."""
        self._to_edit()
        name = _name_of(pip_package)
        pip = self._pip
        pip[:] = [item for item in pip if item.startswith("-") or _name_of(item) != name]

    def add_channel(self, channel: str) -> None:
        """Add a channel."""
        channels = self._to_edit().setdefault("channels", [])
        if channel not in channels:
            channels.append(channel)

    def remove_channel(self, channel: str) -> None:
        """Remove a channel; nothing happens if it is not there."""
        channels = self._to_edit().get("channels") or []
        channels[:] = [item for item in channels if item != channel]

    def set_pip_option(self, pip_option: str) -> None:
        """Add an option of the installer ("--extra-index-url https://…"), in place of the same option.

        :raises EnvironmentException: it is not supported.
        """
        requirements.add_line(pip_option, "set_pip_option", requirements.Requirements())
        name = re.split(r"[=\s]", pip_option.strip(), maxsplit=1)[0]
        pip = self._pip_for_writing()
        pip[:] = [item for item in pip if re.split(r"[=\s]", item, maxsplit=1)[0] != name or name != "--index-url"]
        if pip_option not in pip:
            pip.append(pip_option)

    def set_pip_index_url(self, index_url: str) -> None:
        """Set the package index, as "--index-url URL" or the URL alone.

        :raises EnvironmentException: the address carries credentials.
        """
        text = index_url.strip()
        self.set_pip_option(text if text.startswith("-") else f"--index-url {text}")

    @staticmethod
    def merge_requirements(requirements: Iterable[str]) -> list[str]:
        """Join requirements of the same name: ``["a>1", "a<3"]`` becomes ``["a>1,<3"]``.

        :raises EnvironmentException: one is malformed.
        """
        from packaging.requirements import InvalidRequirement, Requirement
        from packaging.utils import canonicalize_name

        merged: dict[tuple[str, frozenset[str], str], Requirement] = {}
        for text in requirements:
            try:
                new = Requirement(text)
            except InvalidRequirement as error:
                raise EnvironmentException(f"merge_requirements: {text!r} is no requirement") from error
            known = merged.setdefault((canonicalize_name(new.name), frozenset(new.extras), str(new.marker)), new)
            known.specifier &= new.specifier
        return [str(item) for item in merged.values()]

    def serialize_to_string(self) -> str:
        """The specification as YAML text."""
        import yaml

        text: str = yaml.safe_dump(self._structure, sort_keys=False, default_flow_style=False)
        return text

    def as_dict(self) -> dict[str, Any]:
        """The specification as plain data (a copy)."""
        copied: dict[str, Any] = _copy(self._structure)
        return copied

    def save(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write the specification to *path* (a folder: v1's place in it) and return where it was written."""
        target = Path(path) if path is not None else Path(CONDA_FILE)
        if target.is_dir():
            target = target / CONDA_FILE
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        aside.write_text(self.serialize_to_string(), encoding="utf-8")
        os.replace(aside, target)
        return str(target)

    def save_to_file(self, base_directory: str, conda_file_path: str | None = None) -> str:
        """Write the specification to *conda_file_path* below *base_directory* and return that relative path."""
        relative = conda_file_path or CONDA_FILE
        self.save(Path(base_directory) / relative)
        return relative

    def specification(self, *, log: Callable[[str], None] | None = None) -> dict[str, Any]:
        """The normal form, see :func:`stepwell.environment.specification.specification`."""
        return from_conda_data(self._structure, self._where, log=log or logger.info, lines=self._lines)

    def serialize(self) -> dict[str, Any]:
        """Plain JSON that says the same, without reading a file."""
        if self._path is not None and not self._edited:
            return {"file": self._path}
        return {"conda": _copy(self._structure)}

    def __repr__(self) -> str:
        return f"CondaDependencies({self.serialize()!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CondaDependencies) and self.serialize() == other.serialize()

    __hash__ = None  # type: ignore[assignment]  # it can be edited

    @property
    def _where(self) -> str:
        return self._path or "CondaDependencies"

    @property
    def _structure(self) -> dict[str, Any]:
        if self._data is None:
            text = strict_yaml.read_text(self._path or "", "conda specification")
            data = strict_yaml.load_mapping(text, self._where, CONDA_KEYS)
            _make_absolute(data, Path(self._path or "").absolute().parent)
            data = _checked(data, self._where)
            self._lines = strict_yaml.lines_of(text, "dependencies")
            self._data = data
        return self._data

    def _to_edit(self) -> dict[str, Any]:
        """The structure, for a change: from now on the object, not its file, says what is wanted."""
        structure = self._structure
        self._edited, self._lines = True, None
        return structure

    @property
    def _dependencies(self) -> list[Any]:
        structure = self._structure
        if structure.get("dependencies") is None:
            structure["dependencies"] = []
        items: list[Any] = structure["dependencies"]
        return items

    @property
    def _pip(self) -> list[str]:
        for item in self._dependencies:
            if isinstance(item, dict) and "pip" in item:
                found: list[str] = item["pip"]
                return found
        return []

    def _pip_for_writing(self) -> list[str]:
        self._to_edit()
        if not any(isinstance(item, dict) and "pip" in item for item in self._dependencies):
            self._dependencies.append({"pip": []})
        return self._pip

    def _remove_conda(self, name: str) -> None:
        items = self._dependencies
        items[:] = [item for item in items if not isinstance(item, str) or _name_of(item) != name]


def _checked(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Copy *data*, once it is known to be a specification; the log line about azureml-* belongs to later."""
    unknown = sorted(str(key) for key in data if key not in CONDA_KEYS)
    if unknown:
        raise EnvironmentException(f"{where}: unknown key {unknown[0]!r}", allowed=CONDA_KEYS)
    copied: dict[str, Any] = _copy(data)
    from_conda_data(copied, where, log=lambda line: None)
    return copied


def _make_absolute(data: Mapping[str, Any], base: Path) -> None:
    """Name the files of the 'pip' section in full: once edited, the data no longer know where they are from."""
    items = data.get("dependencies")
    for item in items if isinstance(items, list) else ():
        pip = item.get("pip") if isinstance(item, dict) else None
        if isinstance(pip, list):
            pip[:] = [requirements.absolute(line, base) if isinstance(line, str) else line for line in pip]


def _copy(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _copy(value) for key, value in data.items()}
    return [_copy(item) for item in data] if isinstance(data, list) else data


def _name_of(text: str) -> str:
    match = _NAME.match(text)
    return re.sub(r"[-_.]+", "-", match[1]).lower().rstrip("-") if match else text
