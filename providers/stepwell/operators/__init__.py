"""What DAG files import: the steps and the other operators, each loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "AttachComputeTargetOperator": "stepwell.operators.attach",
    "AutoMLStepOperator": "stepwell.operators.automl_step",
    "CommandStepOperator": "stepwell.operators.command_step",
    "PrepareEnvironmentOperator": "stepwell.operators.environment",
    "PruneOperator": "stepwell.operators.prune",
    "PythonScriptStepOperator": "stepwell.operators.python_step",
    "StepOperator": "stepwell.operators.base",
    "SynapseSparkStepOperator": "stepwell.operators.spark_step",
    "ValidateDatasetOperator": "stepwell.operators.validate",
}

__all__ = sorted(_WHERE)

if TYPE_CHECKING:
    from stepwell.operators.attach import AttachComputeTargetOperator as AttachComputeTargetOperator
    from stepwell.operators.automl_step import AutoMLStepOperator as AutoMLStepOperator
    from stepwell.operators.base import StepOperator as StepOperator
    from stepwell.operators.command_step import CommandStepOperator as CommandStepOperator
    from stepwell.operators.environment import PrepareEnvironmentOperator as PrepareEnvironmentOperator
    from stepwell.operators.prune import PruneOperator as PruneOperator
    from stepwell.operators.python_step import PythonScriptStepOperator as PythonScriptStepOperator
    from stepwell.operators.spark_step import SynapseSparkStepOperator as SynapseSparkStepOperator
    from stepwell.operators.validate import ValidateDatasetOperator as ValidateDatasetOperator


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
