"""What a specification comes to on this machine: who builds it, with which requirements, and the key of the result."""

from __future__ import annotations

import hashlib
import json
import re
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepwell.environment import conda_names
from stepwell.environment.interpreters import wanted_version
from stepwell.environment.specification import normal
from stepwell.errors import EnvironmentException

#: Part of every key: raised when the same specification would be built differently.
BUILDER_VERSION = 2
_RANGE = re.compile(r"[<>=!~]")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")


@dataclass(frozen=True)
class Plan:
    """How an environment is built.

    :param spec: its normal form.
    :param key: digest of all that makes the environment what it is.
    :param python: the wanted Python version.
    :param requirements: what uv installs; without *program*, conda's packages are among them under pip's names.
    :param program: conda, mamba or micromamba, where that installs conda's packages; None: uv builds it all.
    """

    spec: dict[str, Any]
    key: str
    python: str
    requirements: list[str]
    program: str | None = None

    @property
    def named(self) -> list[str]:
        """The worker's variables that requirements and options refer to as ``${NAME}``."""
        lines = [*self.requirements, *self.spec["pip_options"], *self.spec["constraints"]]
        return sorted({name for line in lines for name in _VARIABLE.findall(line)})


def plan_of(spec: Mapping[str, Any], *, platform: str | None = None, own: str | None = None) -> Plan:
    """Return the plan for the specification *spec*, which is not user-managed. Nothing is built.

    The key holds what the conda names are mapped to, not the names: who changes the table gets another environment.
    Variables are not part of it: they change no file.

    :param platform: what it is built on, as ``sysconfig.get_platform`` says it there; default: this machine.
    :param own: the "major.minor" of the Python there, which is taken unless *spec* says otherwise.
    :raises EnvironmentException: *spec* is malformed; only conda has a package, and there is no conda here.
    """
    wanted = normal(spec)
    mapped, unknown = _mapped(wanted["conda"])
    python = wanted_version(wanted["python"]) if own is None else _wanted_there(wanted["python"], own)
    material: dict[str, Any] = {
        "builder": BUILDER_VERSION,
        "platform": platform or sysconfig.get_platform(),
        "python": python,
        "options": wanted["pip_options"],
        "constraints": wanted["constraints"],
    }
    if unknown:
        from stepwell.environment.conda_build import find_conda

        program = find_conda() if platform is None else None
        if program is None:
            raise _only_conda(unknown)
        requirements = wanted["pip"]
        material["conda"] = {"packages": wanted["conda"], "channels": wanted["channels"]}
    else:
        program = None
        requirements = sorted({*wanted["pip"], *mapped})
    material["requirements"] = requirements
    key = hashlib.sha256(json.dumps(material, sort_keys=True).encode("utf-8")).hexdigest()
    return Plan(wanted, key, python, requirements, program)


def _wanted_there(python: str | None, own: str) -> str:
    """Return the version to build with on a machine whose own Python is *own*."""
    if python is not None and _RANGE.match(python):
        from packaging.specifiers import SpecifierSet

        return own if SpecifierSet(python).contains(f"{own}.99") else python
    return python or own


def pip_requirements(spec: Mapping[str, Any]) -> list[str]:
    """The pip requirements that *spec* comes to, conda's packages included.

    :raises EnvironmentException: packages that only conda is known to have.
    """
    mapped, unknown = _mapped(spec["conda"])
    if unknown:
        raise _only_conda(unknown)
    return sorted({*spec["pip"], *mapped})


def _mapped(items: list[str]) -> tuple[list[str], list[str]]:
    """Return conda's packages under pip's names, and those that have none."""
    pairs = [(item, conda_names.to_pip(conda_names.parse(item, "Environment specification"))) for item in items]
    return [pip for _, pip in pairs if pip is not None], [item for item, pip in pairs if pip is None]


def _only_conda(unknown: list[str]) -> EnvironmentException:
    return EnvironmentException(
        f"Only conda is known to have {', '.join(unknown)}, and neither micromamba nor mamba nor conda is on PATH here",
        hint="Install micromamba or set STEPWELL_CONDA_EXE; if the Python package index has the same software, name it "
        f"under 'pip:' or in the table of {conda_names.OWN}; else use a user-managed environment that has it",
    )
