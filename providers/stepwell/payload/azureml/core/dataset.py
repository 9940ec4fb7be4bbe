"""Finding the step's datasets by id or name."""

from __future__ import annotations

from typing import Any, Union

from stepwell.payload.context import JobContext, current
from stepwell.runtime.errors import UserErrorException
from stepwell.runtime.names import nearest

from .._not_built import says_what_is_not_built
from ..data._dataset import FileDataset, TabularDataset
from ..data.dataset_factory import FileDatasetFactory, TabularDatasetFactory

AnyDataset = Union[TabularDataset, FileDataset]


def from_entry(entry: dict[str, Any]) -> AnyDataset:
    """Return the dataset that an entry of ``job.json``'s "datasets" describes."""
    kind = FileDataset if entry["definition"]["kind"] == "file" else TabularDataset
    return kind(
        entry["definition"],
        entry.get("files"),
        name=entry.get("name"),
        version=entry.get("version"),
        description=entry.get("description"),
        tags=entry.get("tags"),
        id=entry.get("id"),
    )


def _job() -> JobContext:
    job = current()
    if job is None:
        raise UserErrorException(
            "Datasets cannot be looked up: this script does not run as a step",
            hint="Run it through a Stepwell operator, or use stepwell.Dataset by hand",
        )
    return job


@says_what_is_not_built("Dataset")
class Dataset:
    """v1's entry point to datasets."""

    Tabular = TabularDatasetFactory()
    File = FileDatasetFactory()

    @staticmethod
    def get_by_id(workspace: Any, id: str, **_: Any) -> AnyDataset:
        """Return the dataset that an argument of the script names by its id.

        :raises UserErrorException: the step was not given a dataset with this id.
        """
        datasets = _job().datasets
        if id not in datasets:
            raise UserErrorException(
                f"The step was given no dataset with the id {id!r}",
                allowed=[f"{key} ({e.get('name') or 'unregistered'})" for key, e in datasets.items()],
                hint="Give the dataset to the operator as an input: inputs=[dataset.as_named_input('name')]",
            )
        return from_entry(datasets[id])

    @staticmethod
    def get_by_name(workspace: Any, name: str, version: Any = "latest", **_: Any) -> AnyDataset:
        """Return a registered dataset that the step was given as an input; "latest" is the newest of those.

        :raises UserErrorException: the step was not given it.
        """
        entries = [e for e in _job().datasets.values() if e.get("name") == name]
        if version not in ("latest", None):
            entries = [e for e in entries if str(e.get("version")) == str(version)]
        if not entries:
            there = sorted({str(e["name"]) for e in _job().datasets.values() if e.get("name")})
            wanted = name if version in ("latest", None) else f"{name} version {version}"
            raise UserErrorException(
                f"The step was given no dataset {wanted!r}",
                allowed=nearest(name, there),
                hint="Give it to the operator as an input: what a step reads is decided before it starts",
            )
        return from_entry(max(entries, key=lambda e: int(e.get("version") or 0)))

    @staticmethod
    def get_all(workspace: Any) -> dict[str, AnyDataset]:
        """Return the registered datasets that the step was given, by name (the newest version of each)."""
        names: list[str] = sorted({e["name"] for e in _job().datasets.values() if e.get("name")})
        return {name: Dataset.get_by_name(workspace, name) for name in names}
