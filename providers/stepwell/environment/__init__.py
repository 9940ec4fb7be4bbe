"""Environments of steps: what authors declare (v1's classes), its normal form, and the builder that makes it real.

Names are loaded when they are used: a DAG that names an environment reads no file and imports no YAML.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.environment.builder import BuiltEnvironment as BuiltEnvironment
    from stepwell.environment.builder import ensure as ensure
    from stepwell.environment.conda import CondaDependencies as CondaDependencies
    from stepwell.environment.environment import Environment as Environment
    from stepwell.environment.pool import automl_packages as automl_packages
    from stepwell.environment.pool import gates_specification as gates_specification
    from stepwell.environment.pool import spark_packages as spark_packages
    from stepwell.environment.runconfig import RunConfiguration as RunConfiguration
    from stepwell.environment.specification import merge as merge

_HOME = {
    "BuiltEnvironment": "builder",
    "ensure": "builder",
    "CondaDependencies": "conda",
    "Environment": "environment",
    "automl_packages": "pool",
    "gates_specification": "pool",
    "spark_packages": "pool",
    "RunConfiguration": "runconfig",
    "merge": "specification",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
