"""Datasets as Airflow assets: one asset per dataset, with a stable URI; what changed is in the event's ``extra``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset, AssetAlias

from stepwell.runtime.names import check_name


def script_datasets(dag_id: str) -> AssetAlias:
    """Return the alias for datasets that scripts of the DAG *dag_id* register themselves.

    They are not known when the DAG is parsed; schedule on this to start when any of them has a new version.
    """
    return AssetAlias(f"stepwell_script_datasets.{dag_id}", group="stepwell")


def dataset_asset(dataset: Any, workspace: Any = None) -> Asset:
    """Return the asset of a registered dataset, to schedule a DAG on (several: joined by ``&`` or ``|``).

    :param dataset: a name, or an object with one (a registered ``Dataset``).
    :param workspace: the workspace or its name; default: the default workspace.
    """
    name = check_name("dataset", dataset if isinstance(dataset, str) else getattr(dataset, "name", None))
    where = workspace if isinstance(workspace, str) else None
    if isinstance(workspace, Mapping):
        where = workspace["name"]
    where = where or getattr(workspace, "name", None) or "default"
    return Asset(
        name=name if where == "default" else f"{where}/{name}", uri=f"stepwell://{where}/{name}", group="dataset"
    )
