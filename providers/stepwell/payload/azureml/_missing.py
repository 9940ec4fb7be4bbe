"""Parts of the SDK that are not here: an error that says so, instead of Python's bare one."""

from __future__ import annotations

import sys
from typing import Any, Callable

#: What can be imported.
MODULES = (
    "azureml.core, azureml.core.{run,dataset,datastore,workspace,experiment,keyvault}, azureml.data, azureml.logging, "
    "azureml.train.automl, azureml.automl.core.{featurization,forecasting_parameters}"
)
#: Names of the SDK that scripts ask for and that we do not have. A name that nobody knows stays an AttributeError, so
#: that hasattr() and pickle, which look into every module, keep working.
KNOWN: dict[str, frozenset[str]] = {
    "core": frozenset(
        "ComputeTarget ContainerRegistry Environment Image LinkedService Model RunConfiguration ScriptRun "
        "ScriptRunConfig "
        "SynapseWorkspaceLinkedServiceConfiguration Webservice".split()
    ),
    "train.automl": frozenset("AutoMLImageConfig AutoMLStep AutoMLStepRun get_sdk_dependencies".split()),
    "core.run": frozenset("get_run is_offline_run ScriptRun".split()),
    "data": frozenset(
        "DataType HDFSOutputDatasetConfig LinkFileOutputDatasetConfig LinkTabularOutputDatasetConfig "
        "OutputFileDatasetConfig "
        "DatasetConsumptionConfig".split()
    ),
}
_AUTHORING = frozenset(
    "AutoMLStep AutoMLStepRun ComputeTarget Environment LinkedService RunConfiguration ScriptRunConfig "
    "SynapseWorkspaceLinkedServiceConfiguration "
    "HDFSOutputDatasetConfig OutputFileDatasetConfig LinkFileOutputDatasetConfig LinkTabularOutputDatasetConfig "
    "DatasetConsumptionConfig".split()
)


def module_getattr(module: str, part: str) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for the module called *module*; *part* is its key in :data:`KNOWN`."""

    def __getattr__(name: str) -> Any:
        if name in KNOWN[part]:
            hint = (
                "It defines pipelines: in a DAG file, import it from stepwell"
                if name in _AUTHORING
                else "It is not built yet"
            )
            raise ImportError(
                f"azureml.{part}.{name} is not available inside a Stepwell step. {hint}. Available: {MODULES}.",
                name=name,
            )
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return __getattr__


class _Explainer:
    """The last finder: it is asked for what no other finder has."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> Any | None:
        root = __package__ or "azureml"
        if fullname.startswith(root + "."):
            name = "azureml" + fullname[len(root) :]
            raise ModuleNotFoundError(
                f"{name} is not part of Stepwell's layer for Azure ML SDK v1 scripts (yet). Available: {MODULES}. "
                "To use the real SDK, run the step in a user-managed environment that has azureml-core.",
                name=fullname,
            )
        return None


def explain_missing_modules() -> None:
    """Let ``import azureml.something`` say what is missing."""
    if not any(getattr(finder, "__module__", "") == __name__ for finder in sys.meta_path):
        sys.meta_path.append(_Explainer)
