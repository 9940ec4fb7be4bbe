"""``Environment``: v1's class. Making one reads no file; what it means is read when the step runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from stepwell.environment.conda import CondaDependencies
from stepwell.environment.docker import DockerSection
from stepwell.environment.refused import Section, no_such, not_built
from stepwell.environment.spark import SparkSection
from stepwell.environment.specification import from_requirements_file, logger, normal
from stepwell.errors import EnvironmentException
from stepwell.runtime.errors import UserErrorException
from stepwell.runtime.names import check_name

if TYPE_CHECKING:
    from stepwell.environment.registered import BuildDetails
    from stepwell.workspace import Workspace

#: v1's curated environments have these names.
_RESERVED = ("Microsoft", "AzureML")
_DATABRICKS: dict[str, Any] = {
    f"{kind}_libraries": [] for kind in ("maven", "pypi", "rcran", "jar", "egg")
}  # v1's five lists
_SECTIONS = ("databricks",)


class PythonSection:
    """``environment.python``.

    ``user_managed_dependencies``: the environment is the author's own, nothing is installed. ``interpreter_path``: its
    interpreter (used only then). ``conda_dependencies``: otherwise, what to install.
    """

    def __init__(self) -> None:
        self.user_managed_dependencies: bool = False
        self.interpreter_path: str = "python"
        self._conda: CondaDependencies | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _PYTHON:
            raise no_such("environment.python", name, [n for n in _PYTHON if not n.startswith("_")])
        object.__setattr__(self, name, value)

    @property
    def conda_dependencies(self) -> CondaDependencies:
        """The packages; made when first asked for, so that ``env.python.conda_dependencies.add_pip_package`` works."""
        if self._conda is None:
            self._conda = CondaDependencies()
        return self._conda

    @conda_dependencies.setter
    def conda_dependencies(self, value: CondaDependencies | None) -> None:
        if value is not None and not isinstance(value, CondaDependencies):
            raise EnvironmentException(
                f"conda_dependencies is a {type(value).__name__}", allowed=["CondaDependencies"], hint=_FILE_HINT
            )
        self._conda = value

    @property
    def conda_dependencies_file(self) -> str | None:
        """Not kept apart from ``conda_dependencies``."""
        return None

    @conda_dependencies_file.setter
    def conda_dependencies_file(self, value: str | None) -> None:
        self._conda = None if value is None else CondaDependencies(value)

    @property
    def base_conda_environment(self) -> None:
        """Not built yet."""
        return None

    @base_conda_environment.setter
    def base_conda_environment(self, value: str | None) -> None:
        if value is not None:
            raise not_built(f"environment.python.base_conda_environment = {value!r}")


_PYTHON = (
    "user_managed_dependencies", "interpreter_path", "conda_dependencies", "conda_dependencies_file",
    "base_conda_environment", "_conda",
)  # fmt: skip
_FILE_HINT = "Read a file with CondaDependencies(path) or Environment.from_conda_specification(name, path)"


class Environment:
    """The environment of a step.

    :param name: letters, digits, '_', '-', '.'; "Microsoft…" and "AzureML…" are reserved, as in v1.
    :raises UserErrorException: the name is none, or reserved.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        check_name("environment", name)
        if name.startswith(_RESERVED):
            raise UserErrorException(f"The environment name {name!r} is reserved", hint="Begin it with another word")
        if kwargs:
            raise not_built(f"Environment({', '.join(f'{k}=…' for k in sorted(kwargs))})")
        self.name = name
        self.version: str | None = None
        self.python = PythonSection()
        self.environment_variables: dict[str, str] = {}
        self.docker = DockerSection()
        self.spark = SparkSection()
        self.databricks = Section("environment.databricks", _DATABRICKS, "Give the packages as conda dependencies")
        self._requirements: str | None = None
        self._constraints: list[str] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _SECTIONS and not isinstance(value, Section):
            raise not_built(f"environment.{name} = {value!r}", getattr(self, name)._hint)
        if name == "docker" and not isinstance(value, DockerSection):
            raise UserErrorException(f"environment.docker is {value!r}", allowed=["its own section, to be filled in"])
        if name == "spark" and not isinstance(value, SparkSection):
            raise UserErrorException(f"environment.spark is {value!r}", allowed=["SparkSection"])
        if name == "python" and not isinstance(value, PythonSection):
            raise UserErrorException(f"environment.python is {value!r}", allowed=["its own section, to be filled in"])
        if name == "environment_variables" and not isinstance(value, Mapping):
            raise UserErrorException(f"environment.environment_variables is {value!r}", allowed=["a mapping"])
        if name not in _ATTRIBUTES:
            raise no_such("environment", name, [n for n in _ATTRIBUTES if not n.startswith("_")])
        object.__setattr__(self, name, value)

    @property
    def r(self) -> None:
        """Not built yet."""
        return None

    @r.setter
    def r(self, value: object) -> None:
        if value is not None:
            raise not_built("environment.r")

    @property
    def asset_id(self) -> None:
        """Not built yet."""
        return None

    @asset_id.setter
    def asset_id(self, value: object) -> None:
        if value is not None:
            raise not_built(f"environment.asset_id = {value!r}")

    @property
    def inferencing_stack_version(self) -> None:
        """Not built yet."""
        return None

    @inferencing_stack_version.setter
    def inferencing_stack_version(self, value: object) -> None:
        if value is not None:
            raise not_built(f"environment.inferencing_stack_version = {value!r}")

    @staticmethod
    def from_conda_specification(name: str, file_path: str | os.PathLike[str]) -> Environment:
        """An environment from a conda specification, which is read when the step runs."""
        made = Environment(name)
        made.python.conda_dependencies = CondaDependencies(file_path)
        return made

    @staticmethod
    def from_pip_requirements(
        name: str, file_path: str | os.PathLike[str], pip_version: str | None = None
    ) -> Environment:
        """An environment from a requirements file, which is read when the step runs.

        :param pip_version: not built yet: packages are installed by uv.
        """
        if pip_version is not None:
            raise not_built(f"pip_version = {pip_version!r}", "Packages are installed by uv: leave it out")
        made = Environment(name)
        made._requirements = os.fspath(file_path)
        return made

    @staticmethod
    def from_existing_interpreter(name: str, interpreter_path: str | os.PathLike[str]) -> Environment:
        """A user-managed environment: the interpreter at *interpreter_path* with what is installed for it."""
        made = Environment(name)
        made.python.user_managed_dependencies = True
        made.python.interpreter_path = os.fspath(interpreter_path)
        return made

    @staticmethod
    def from_existing_conda_environment(name: str, conda_environment_name: str) -> NoReturn:
        """Not built yet.

        :raises UserErrorException: always.
        """
        raise not_built(
            "Environment.from_existing_conda_environment",
            "Use Environment.from_existing_interpreter(name, '<conda environment>/bin/python')",
        )

    @staticmethod
    def from_docker_image(
        name: str,
        image: str,
        container_registry: Any = None,
        conda_specification: str | os.PathLike[str] | None = None,
        pip_requirements: str | os.PathLike[str] | None = None,
    ) -> Environment:
        """An environment in the container image *image*, with packages from one of the files; without, the image's own.

        Compute targets that run no containers say that they do not use the image.

        :param container_registry: not built yet.
        :raises UserErrorException: both files are given.
        """
        if container_registry is not None:
            raise not_built("container_registry", "Give the registry in the name of the image")
        made = _with_packages(name, conda_specification, pip_requirements)
        made.docker.base_image = image
        return made

    @staticmethod
    def from_dockerfile(
        name: str,
        dockerfile: str | os.PathLike[str],
        conda_specification: str | os.PathLike[str] | None = None,
        pip_requirements: str | os.PathLike[str] | None = None,
    ) -> Environment:
        """As :meth:`from_docker_image`, with the image that *dockerfile* (its text, or a path) describes."""
        made = _with_packages(name, conda_specification, pip_requirements)
        made.docker.base_dockerfile = os.fspath(dockerfile)
        return made

    @staticmethod
    def from_docker_build_context(name: str, docker_build_context: Any, **kwargs: Any) -> NoReturn:
        """Not built yet.

        :raises UserErrorException: always.
        """
        raise not_built("Environment.from_docker_build_context", "Use Environment.from_docker_image")

    def register(self, workspace: Workspace) -> Environment:
        """Register it in the workspace and return it with its version: the same content is the same version.

        :raises EnvironmentException: a file that it names is missing or malformed.
        """
        from stepwell.environment import registered

        return registered.register(workspace, self)

    @staticmethod
    def get(workspace: Workspace, name: str, version: str | None = None, label: str | None = None) -> Environment:
        """Return a registered environment; without *version* the latest.

        :raises EnvironmentException: there is none.
        """
        from stepwell.environment import registered

        return registered.get(workspace, name, version, label)

    @staticmethod
    def list(workspace: Workspace) -> dict[str, Environment]:
        """Return the latest version of each registered environment, by name."""
        from stepwell.environment import registered

        return {name: registered.get(workspace, name) for name in registered.names(workspace)}

    def build(self, workspace: Workspace, image_build_compute: Any = None) -> BuildDetails:
        """Build it for ``local`` now, so that the first step need not, and return when it is there.

        :param image_build_compute: not built yet.
        :raises EnvironmentException: it cannot be built.
        """
        from stepwell.environment import registered

        if image_build_compute is not None:
            raise not_built(f"image_build_compute = {image_build_compute!r}")
        found = registered.prepare(workspace, self, "local", logger.info)
        return registered.BuildDetails("Succeeded", found.key, found.python)

    def clone(self, new_name: str) -> Environment:
        """A copy under another name, to be changed on its own."""
        return Environment.deserialize({**self.serialize(), "name": new_name, "version": None})

    def specification(self, *, log: Callable[[str], None] | None = None) -> dict[str, Any]:
        """The normal form, see :func:`stepwell.environment.specification.specification`.

        :raises EnvironmentException: a file is missing or malformed.
        """
        say, docker, spark = log or logger.info, self.docker.serialize(), self.spark.serialize()
        if self.python.user_managed_dependencies:
            return normal(
                {
                    "user_managed": True,
                    "interpreter": self.python.interpreter_path,
                    "variables": self.environment_variables,
                    "docker": docker,
                    "spark": spark,
                }
            )
        spec = self.python.conda_dependencies.specification(log=say)
        if self._requirements is not None:
            file = from_requirements_file(self._requirements, log=say)
            for key in ("pip", "pip_options", "constraints"):
                spec[key] = [*file[key], *spec[key]]
        spec["constraints"] = [*spec["constraints"], *self._constraints]
        variables = {**spec["variables"], **self.environment_variables}
        return normal({**spec, "variables": variables, "docker": docker, "spark": spark})

    def serialize(self) -> dict[str, Any]:
        """Plain JSON that says the same, without reading a file: what a DAG's serialised form holds."""
        more = {
            "docker": self.docker.serialize(),
            "spark": self.spark.serialize(),
            "constraints": [*self._constraints],
            "version": self.version,
        }
        return {
            **{key: value for key, value in more.items() if value},
            "name": self.name,
            "user_managed": bool(self.python.user_managed_dependencies),
            "interpreter": self.python.interpreter_path,
            "dependencies": self.python.conda_dependencies.serialize(),
            "requirements": self._requirements,
            "variables": dict(sorted(self.environment_variables.items())),
        }

    @classmethod
    def deserialize(cls, data: Mapping[str, Any]) -> Environment:
        """The environment that :meth:`serialize` wrote."""
        made = cls(data["name"])
        made.python.user_managed_dependencies = bool(data["user_managed"])
        made.python.interpreter_path = data["interpreter"]
        dependencies = data["dependencies"]
        made.python.conda_dependencies = (
            CondaDependencies(dependencies["file"])
            if "file" in dependencies
            else CondaDependencies(_underlying_structure=dependencies["conda"])
        )
        made._requirements = data["requirements"]
        made.environment_variables = dict(data["variables"])
        made.docker = DockerSection.deserialize(data.get("docker") or {})
        made.spark = SparkSection.deserialize(data.get("spark") or {})
        made._constraints = [*data.get("constraints", [])]
        made.version = data.get("version")
        return made

    def __repr__(self) -> str:
        return f"Environment({self.serialize()!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Environment) and self.serialize() == other.serialize()

    __hash__ = None  # type: ignore[assignment]  # it can be edited


_ATTRIBUTES = (
    "name", "version", "python", "environment_variables", "docker", "spark", *_SECTIONS, "r", "asset_id",
    "inferencing_stack_version", "_requirements", "_constraints",
)  # fmt: skip


def _with_packages(name: str, conda: str | os.PathLike[str] | None, pip: str | os.PathLike[str] | None) -> Environment:
    """An environment with packages from a file; without any, one that is managed elsewhere (v1's rule)."""
    if conda is not None and pip is not None:
        raise UserErrorException("conda_specification and pip_requirements are both given", hint="Give one of them")
    if conda is not None:
        return Environment.from_conda_specification(name, conda)
    if pip is not None:
        return Environment.from_pip_requirements(name, pip)
    made = Environment(name)
    made.python.user_managed_dependencies = True
    return made
