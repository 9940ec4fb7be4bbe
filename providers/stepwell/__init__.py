"""Stepwell: machine-learning pipelines made of steps, on any compute target, passing versioned and validated datasets.

What authors write comes from here, under the names of the Azure ML SDK v1; operators come from ``stepwell.operators``.
Everything is loaded on first use: importing this package imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "AmlCompute": "stepwell.compute.targets",
    "ComputeTarget": "stepwell.compute.targets",
    "CondaDependencies": "stepwell.environment",
    "DataType": "stepwell.data.options",
    "Dataset": "stepwell.data.dataset",
    "DatasetConsumptionConfig": "stepwell.data.consumption",
    "Datastore": "stepwell.data.datastore",
    "Environment": "stepwell.environment",
    "HDFSOutputDatasetConfig": "stepwell.data.output",
    "LinkedService": "stepwell.compute.targets",
    "OutputFileDatasetConfig": "stepwell.data.output",
    "PromoteHeadersBehavior": "stepwell.data.options",
    "RunConfiguration": "stepwell.environment",
    "SparkCompute": "stepwell.compute.targets",
    "SynapseCompute": "stepwell.compute.targets",
    "SynapseWorkspaceLinkedServiceConfiguration": "stepwell.compute.targets",
    "Workspace": "stepwell.workspace",
}

__all__ = ["__version__", *sorted(_WHERE)]

if TYPE_CHECKING:
    from stepwell.compute.targets import AmlCompute as AmlCompute
    from stepwell.compute.targets import ComputeTarget as ComputeTarget
    from stepwell.compute.targets import LinkedService as LinkedService
    from stepwell.compute.targets import SparkCompute as SparkCompute
    from stepwell.compute.targets import SynapseCompute as SynapseCompute
    from stepwell.compute.targets import (
        SynapseWorkspaceLinkedServiceConfiguration as SynapseWorkspaceLinkedServiceConfiguration,
    )
    from stepwell.data.consumption import DatasetConsumptionConfig as DatasetConsumptionConfig
    from stepwell.data.dataset import Dataset as Dataset
    from stepwell.data.datastore import Datastore as Datastore
    from stepwell.data.options import DataType as DataType
    from stepwell.data.options import PromoteHeadersBehavior as PromoteHeadersBehavior
    from stepwell.data.output import HDFSOutputDatasetConfig as HDFSOutputDatasetConfig
    from stepwell.data.output import OutputFileDatasetConfig as OutputFileDatasetConfig
    from stepwell.environment import CondaDependencies as CondaDependencies
    from stepwell.environment import Environment as Environment
    from stepwell.environment import RunConfiguration as RunConfiguration
    from stepwell.workspace import Workspace as Workspace


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
        globals()[name] = value  # once is enough
        return value
    raise AttributeError(f"module 'stepwell' has no attribute {name!r}; it has {', '.join(sorted(_WHERE))}")


def __dir__() -> list[str]:
    return sorted(__all__)
