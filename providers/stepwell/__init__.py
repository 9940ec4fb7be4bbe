"""Stepwell: machine-learning pipelines made of steps, on any compute target, passing versioned and validated datasets.

What authors write comes from here, under the names of the Azure ML SDK v1; operators come from ``stepwell.operators``.
Everything is loaded on first use: importing this package imports nothing else. Names of v1 that are not built say so.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "AmlCompute": "stepwell.compute.targets",
    "AutoMLConfig": "stepwell.runtime.automl_config",
    "ComputeTarget": "stepwell.compute.targets",
    "CondaDependencies": "stepwell.environment",
    "DataPath": "stepwell.data.reference",
    "DataReference": "stepwell.data.reference",
    "DataType": "stepwell.data.options",
    "Dataset": "stepwell.data.dataset",
    "DatasetConsumptionConfig": "stepwell.data.consumption",
    "Datastore": "stepwell.data.datastore",
    "DockerCompute": "stepwell.compute.targets",
    "DsvmCompute": "stepwell.compute.targets",
    "Environment": "stepwell.environment",
    "FeaturizationConfig": "stepwell.runtime.automl_config",
    "FileDataset": "stepwell.data.dataset",
    "ForecastingParameters": "stepwell.runtime.automl_config",
    "HDFSOutputDatasetConfig": "stepwell.data.output",
    "HDInsightCompute": "stepwell.compute.targets",
    "LinkedService": "stepwell.compute.targets",
    "LivyCompute": "stepwell.compute.targets",
    "OutputFileDatasetConfig": "stepwell.data.output",
    "PromoteHeadersBehavior": "stepwell.data.options",
    "RemoteCompute": "stepwell.compute.targets",
    "RemoteDockerCompute": "stepwell.compute.targets",
    "RunConfiguration": "stepwell.environment",
    "SparkCompute": "stepwell.compute.targets",
    "SynapseCompute": "stepwell.compute.targets",
    "SynapseWorkspaceLinkedServiceConfiguration": "stepwell.compute.targets",
    "TabularDataset": "stepwell.data.dataset",
    "Workspace": "stepwell.workspace",
}

__all__ = ["__version__", *sorted(_WHERE)]

if TYPE_CHECKING:
    from stepwell.compute.targets import AmlCompute as AmlCompute
    from stepwell.compute.targets import ComputeTarget as ComputeTarget
    from stepwell.compute.targets import DockerCompute as DockerCompute
    from stepwell.compute.targets import DsvmCompute as DsvmCompute
    from stepwell.compute.targets import HDInsightCompute as HDInsightCompute
    from stepwell.compute.targets import LinkedService as LinkedService
    from stepwell.compute.targets import LivyCompute as LivyCompute
    from stepwell.compute.targets import RemoteCompute as RemoteCompute
    from stepwell.compute.targets import RemoteDockerCompute as RemoteDockerCompute
    from stepwell.compute.targets import SparkCompute as SparkCompute
    from stepwell.compute.targets import SynapseCompute as SynapseCompute
    from stepwell.compute.targets import (
        SynapseWorkspaceLinkedServiceConfiguration as SynapseWorkspaceLinkedServiceConfiguration,
    )
    from stepwell.data.consumption import DatasetConsumptionConfig as DatasetConsumptionConfig
    from stepwell.data.dataset import Dataset as Dataset
    from stepwell.data.dataset import FileDataset as FileDataset
    from stepwell.data.dataset import TabularDataset as TabularDataset
    from stepwell.data.datastore import Datastore as Datastore
    from stepwell.data.options import DataType as DataType
    from stepwell.data.options import PromoteHeadersBehavior as PromoteHeadersBehavior
    from stepwell.data.output import HDFSOutputDatasetConfig as HDFSOutputDatasetConfig
    from stepwell.data.output import OutputFileDatasetConfig as OutputFileDatasetConfig
    from stepwell.data.reference import DataPath as DataPath
    from stepwell.data.reference import DataReference as DataReference
    from stepwell.environment import CondaDependencies as CondaDependencies
    from stepwell.environment import Environment as Environment
    from stepwell.environment import RunConfiguration as RunConfiguration
    from stepwell.runtime.automl_config import AutoMLConfig as AutoMLConfig
    from stepwell.runtime.automl_config import FeaturizationConfig as FeaturizationConfig
    from stepwell.runtime.automl_config import ForecastingParameters as ForecastingParameters
    from stepwell.workspace import Workspace as Workspace


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
        globals()[name] = value  # once is enough
        return value
    if not name.startswith("_"):
        from stepwell.not_built import refuse

        refuse(name, importing=False)
    raise AttributeError(f"module 'stepwell' has no attribute {name!r}; it has {', '.join(sorted(_WHERE))}")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Explainer:
    """The last finder. ``from stepwell import X`` swallows what ``__getattr__`` says and looks for a module X instead:
    only here can it be told what is the matter.
    """

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> None:
        package, _, name = fullname.rpartition(".")
        if package == __name__ and name != "not_built":
            from stepwell.not_built import refuse

            refuse(name, importing=True)


# Once, also where this module is loaded again.
sys.meta_path[:] = [f for f in sys.meta_path if getattr(f, "__module__", None) != __name__]
sys.meta_path.append(_Explainer)
