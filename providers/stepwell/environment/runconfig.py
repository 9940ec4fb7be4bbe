"""``RunConfiguration``: v1's settings of a run; what Stepwell does not honour yet is refused by name when changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stepwell.environment.conda import CondaDependencies
from stepwell.environment.environment import Environment
from stepwell.environment.refused import Section, no_such, not_built
from stepwell.runtime.errors import UserErrorException

#: What the SDK writes when nothing was chosen.
SPARK_DEFAULTS = {"spark.app.name": "Azure ML Experiment", "spark.yarn.maxAppAttempts": "1"}
_FRAMEWORKS = {"python": "Python", "pyspark": "PySpark"}
_OTHER_FRAMEWORKS = ("CNTK", "TensorFlow", "PyTorch", "R")
_SECTIONS: dict[str, dict[str, Any]] = {
    "history": {"output_collection": True, "snapshot_project": True, "directories_to_watch": ["logs"]},
    "hdi": {"yarn_deploy_mode": "cluster"},
    "docker": {"use_docker": False, "shared_volumes": True, "arguments": [], "shm_size": "2g"},
    "mpi": {"process_count_per_node": 1, "node_count": 1},
    "tensorflow": {"worker_count": 1, "parameter_server_count": 1},
    "pytorch": {"communication_backend": "Nccl", "process_count": None, "node_count": 1},
    "paralleltask": {"max_retries_per_worker": 0, "worker_count_per_node": 1, "terminal_exit_codes": None},
    "amlcompute": {
        "vm_size": None,
        "vm_priority": None,
        "name": None,
        "retain_cluster": False,
        "cluster_max_node_count": 1,
    },
    "kubernetescompute": {"instance_type": None},
}
_FIELDS: dict[str, Any] = {
    "communicator": "None",
    "node_count": 1,
    "priority": None,
    "credential_passthrough": False,
    "source_directory_data_store": None,
    "data": {},
    "output_data": {},
    "data_references": {},
    "datacaches": {},
    "services": {},
    "auto_prepare_environment": True,
}
_HINTS = {
    "amlcompute": "Create the cluster with AmlCompute.provisioning_configuration and name it as the step's target",
    "data": "Hand datasets to the step as inputs",
    "output_data": "Hand outputs to the step as outputs",
    "docker": "Give the packages as conda dependencies",
}


class SparkConfiguration:
    """``run_config.spark``: *configuration* holds Spark's own settings."""

    def __init__(self) -> None:
        self.configuration: dict[str, str] = dict(SPARK_DEFAULTS)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "configuration":
            raise no_such("run_config.spark", name, ["configuration"])
        object.__setattr__(self, name, value)


class RunConfiguration:
    """How a script is run: where, with which framework, in which environment.

    A step takes its target, environment, environment_variables and max_run_duration_seconds; the framework must be the
    step's own (Python, PySpark). script, arguments, command and spark.configuration can be set here, but they are for
    the step itself to say: an operator refuses a ``runconfig`` that has them. The others have v1's defaults, and are
    refused when changed.

    :raises UserErrorException: a framework or another field that is not built; both *command* and *script*.
    """

    def __init__(
        self,
        script: str | None = None,
        arguments: list[Any] | None = None,
        framework: str | None = None,
        communicator: str | None = None,
        conda_dependencies: CondaDependencies | None = None,
        _history_enabled: bool = True,
        _path: str | None = None,
        _name: str | None = None,
        command: str | list[str] | None = None,
    ) -> None:
        if command and (script or arguments):
            raise UserErrorException("RunConfiguration has a command and a script", hint="Give one of them")
        if not _history_enabled or _path is not None:
            raise not_built("RunConfiguration(_history_enabled, _path)")
        for name, defaults in _SECTIONS.items():
            object.__setattr__(self, name, Section(f"run_config.{name}", defaults, _HINTS.get(name)))
        for name, default in _FIELDS.items():
            object.__setattr__(self, name, type(default)(default) if isinstance(default, dict) else default)
        self.name = _name
        self.script = script
        self.arguments: list[Any] = list(arguments or [])
        self.command: str | list[str] = command or ""
        self.framework = framework or "Python"
        self.target: Any = "local"
        self.max_run_duration_seconds: int | None = None
        self.environment = Environment("default-environment")
        self.environment_variables: dict[str, str] = {}
        self.spark = SparkConfiguration()
        if communicator is not None:
            self.communicator = communicator
        if conda_dependencies is not None:
            self.environment.python.conda_dependencies = conda_dependencies

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, _accepted(name, value))

    def specification(self, *, log: Callable[[str], None] | None = None) -> dict[str, Any]:
        """The normal form of its environment, with ``environment_variables``.

        :raises EnvironmentException: a file of it is missing or malformed.
        :raises UserErrorException: something that is not built was put into one of its maps.
        """
        self.check()
        spec = self.environment.specification(log=log)
        spec["variables"] = {**spec["variables"], **{k: str(v) for k, v in self.environment_variables.items()}}
        return spec

    def check(self) -> None:
        """Refuse what was put into maps that are not honoured.

        :raises UserErrorException: there is such a thing.
        """
        for name, default in _FIELDS.items():
            _accepted(name, getattr(self, name, default))

    def serialize(self) -> dict[str, Any]:
        """Plain JSON that says the same, without reading a file."""
        target = self.target if isinstance(self.target, str) else getattr(self.target, "name", str(self.target))
        return {
            "script": self.script,
            "arguments": [str(a) for a in self.arguments],
            "command": self.command,
            "target": target,
            "framework": self.framework,
            "max_run_duration_seconds": self.max_run_duration_seconds,
            "environment": self.environment.serialize(),
            "environment_variables": dict(sorted(self.environment_variables.items())),
            "spark": {"configuration": dict(sorted(self.spark.configuration.items()))},
        }

    def __repr__(self) -> str:
        return f"RunConfiguration({self.serialize()!r})"

    @staticmethod
    def load(path: str, name: str | None = None) -> RunConfiguration:
        """Not built yet.

        :raises UserErrorException: always.
        """
        raise not_built("RunConfiguration.load", "Write the settings in Python")

    def save(self, path: str | None = None, name: str | None = None, separate_environment_yaml: bool = False) -> None:
        """Not built yet.

        :raises UserErrorException: always.
        """
        raise not_built("RunConfiguration.save")


def _accepted(name: str, value: Any) -> Any:
    """Return *value* as it is kept under *name*, or refuse it."""
    if name in _FIELDS:
        default = _FIELDS[name]
        if value != default and not (name == "communicator" and value is None):
            raise not_built(f"run_config.{name} = {value!r}", _HINTS.get(name))
        return value
    if name in _SECTIONS:
        if isinstance(value, Section):
            return value
        raise not_built(f"run_config.{name}", _HINTS.get(name))
    if name not in _OWN:
        raise no_such("run_config", name, [*_OWN, *_FIELDS, *_SECTIONS])
    check = _CHECKS.get(name)
    return check(value) if check else value


_OWN = (
    "name",
    "script",
    "arguments",
    "command",
    "target",
    "framework",
    "environment",
    "environment_variables",
    "max_run_duration_seconds",
    "spark",
)


def _framework(value: object) -> str:
    known = _FRAMEWORKS.get(str(value).lower())
    if known:
        return known
    if str(value).lower() in (name.lower() for name in _OTHER_FRAMEWORKS):
        raise not_built(
            f"run_config.framework = {value!r}", "Use Python: the framework is a package of the environment"
        )
    raise UserErrorException(f"run_config.framework is {value!r}", allowed=_FRAMEWORKS.values())


def _environment(value: object) -> Environment:
    if isinstance(value, Environment):
        return value
    raise UserErrorException(f"run_config.environment is a {type(value).__name__}", allowed=["Environment"])


def _mapping(value: object) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    raise UserErrorException(f"run_config.environment_variables is {value!r}", allowed=["a mapping"])


def _seconds(value: object) -> float | None:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0):
        return value
    raise UserErrorException(f"run_config.max_run_duration_seconds is {value!r}", allowed=["seconds above 0"])


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "framework": _framework,
    "environment": _environment,
    "environment_variables": _mapping,
    "max_run_duration_seconds": _seconds,
}
