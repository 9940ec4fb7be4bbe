"""``Dataset``, ``TabularDataset``, ``FileDataset``: v1's names; lazy and immutable."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from stepwell.data import registry
from stepwell.data.abstract import AbstractDataset
from stepwell.data.consumption import DatasetConsumptionConfig
from stepwell.data.options import normalise
from stepwell.data.reference import definition_paths, workspace_of
from stepwell.data.version import DatasetVersion
from stepwell.errors import UserErrorException
from stepwell.not_built import says_what_is_not_built
from stepwell.runtime import definition as definitions
from stepwell.runtime.names import check_name
from stepwell.workspace.workspace import Workspace, resolve_workspace


@says_what_is_not_built("TabularDataset")
class TabularDataset(AbstractDataset):
    """Rows and columns, read from delimited, parquet or JSON-lines files."""

    kind = "tabular"

    def keep_columns(self, columns: str | list[str], validate: bool = False) -> TabularDataset:
        """Return only *columns*.

        :param validate: read the data now to see whether they are there; without it, that shows when it is read.
        """
        kept = self._with(definitions.keep_columns(columns))
        if validate:
            kept.take(1).to_pandas_dataframe()
        return kept

    def drop_columns(self, columns: str | list[str]) -> TabularDataset:
        """Return all but *columns*."""
        return self._with(definitions.drop_columns(columns))

    def filter(self, expression: definitions.Expression) -> TabularDataset:
        """Return the rows for which *expression* is true: ``dataset.filter(dataset["Age"] > 30)``."""
        return self._with(definitions.filter(expression))

    def __getitem__(self, column: str) -> definitions.Expression:
        if not isinstance(column, str):
            raise UserErrorException(
                f"dataset[{column!r}] needs the name of one column", hint="Use keep_columns([...])"
            )
        return definitions.column(column)

    def __iter__(self) -> Iterator[Any]:
        raise UserErrorException("A dataset cannot be iterated over", hint="Use to_pandas_dataframe()")

    def to_pandas_dataframe(self, on_error: str = "null", out_of_range_datetime: str = "null") -> Any:
        """Read it into a pandas frame; files that are not on this machine's disk are fetched first.

        :raises UserErrorException: an argument other than the default, which is not built yet.
        """
        for name, value in (("on_error", on_error), ("out_of_range_datetime", out_of_range_datetime)):
            if value != "null":
                raise UserErrorException(f"{name}={value!r} is not built yet", allowed=["null"])
        from stepwell.payload import reading

        version = self.pinned()
        with tempfile.TemporaryDirectory(prefix="stepwell-") as folder:
            return reading.to_pandas(version.definition, local_files(self.workspace, version, Path(folder)))

    def to_spark_dataframe(self) -> Any:
        """Read it into a frame of the active Spark session, lazily."""
        from stepwell.payload import reading

        version = self.pinned()
        return reading.to_spark(version.definition, [f.uri for f in version.files])


@says_what_is_not_built("FileDataset")
class FileDataset(AbstractDataset):
    """Files, whatever is in them."""

    kind = "file"

    def to_path(self) -> list[str]:
        """Return the files' paths below their common folder, each with a leading ``/`` (as in v1)."""
        return ["/" + name for name in relative_names(self.pinned())]

    def download(
        self, target_path: str | None = None, overwrite: bool = False, ignore_not_found: bool = False
    ) -> list[str]:
        """Copy the files into a local folder.

        :param target_path: the folder; default: a new temporary one.
        :returns: the paths of the copies.
        :raises UserErrorException: a file exists there and *overwrite* is false. Nothing was copied then.
        """
        if ignore_not_found:
            raise UserErrorException("ignore_not_found=True is not built yet: the files of a version are pinned")
        folder = Path(target_path or tempfile.mkdtemp(prefix="stepwell-")).absolute()
        version = self.pinned()
        targets = [folder / name for name in relative_names(version)]
        if not overwrite:
            for target in targets:
                if target.exists():
                    raise UserErrorException(
                        f"The file {target} exists already", hint="Pass overwrite=True to replace it"
                    )
        for file, target in zip(version.files, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            self.workspace.datastore(file.datastore).backend.get(file.path, target)
        return [str(t) for t in targets]

    def as_download(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """Return it as an input of a step, copied to the compute target; its name there is by position."""
        return DatasetConsumptionConfig(None, self).as_download(path_on_compute)

    def as_hdfs(self) -> DatasetConsumptionConfig:
        """Return it as an input of a Spark step, by its URL; its name there is by position."""
        return DatasetConsumptionConfig(None, self).as_hdfs()

    def as_mount(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """Return it as an input that is mounted on the compute target, read-only; its name there is by position.

        :param path_on_compute: where, relative to the script's working directory; default: a folder of the job.
        """
        return DatasetConsumptionConfig(None, self).as_mount(path_on_compute)


@says_what_is_not_built("Dataset.Tabular")
class _Tabular:
    """How tabular datasets are made: ``Dataset.Tabular.from_…``. Files are looked at when the dataset is first used."""

    @staticmethod
    def from_delimited_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        infer_column_types: bool = True,
        set_column_types: Mapping[str, Any] | None = None,
        separator: str = ",",
        header: Any = True,
        partition_format: str | None = None,
        support_multi_line: bool = False,
        empty_as_string: bool = False,
        encoding: str = "utf8",
    ) -> TabularDataset:
        """Return the dataset of delimited text files.

        :param path: ``(datastore, path)``, a URL, or a list of them; paths may hold ``*`` and ``**``.
        :param validate: without meaning here: that the data can be read shows when it is used (v1 reads it at once).
        :raises UserErrorException: a path or an option that is not understood.
        """
        options = {
            "include_path": include_path,
            "infer_column_types": infer_column_types,
            "set_column_types": set_column_types,
            "separator": separator,
            "header": header,
            "partition_format": partition_format,
            "support_multi_line": support_multi_line,
            "empty_as_string": empty_as_string,
            "encoding": encoding,
        }
        return _tabular("delimited", path, options)

    @staticmethod
    def from_parquet_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: Mapping[str, Any] | None = None,
        partition_format: str | None = None,
    ) -> TabularDataset:
        """Return the dataset of parquet files; parameters as in :meth:`from_delimited_files`."""
        options = {
            "include_path": include_path,
            "set_column_types": set_column_types,
            "partition_format": partition_format,
        }
        return _tabular("parquet", path, options)

    @staticmethod
    def from_json_lines_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: Mapping[str, Any] | None = None,
        partition_format: str | None = None,
        invalid_lines: str = "error",
        encoding: str = "utf8",
    ) -> TabularDataset:
        """Return the dataset of files with one JSON object per line; parameters as in :meth:`from_delimited_files`.

        :param invalid_lines: ``error``, or ``drop`` to leave them out.
        """
        options = {
            "include_path": include_path,
            "set_column_types": set_column_types,
            "partition_format": partition_format,
            "invalid_lines": invalid_lines,
            "encoding": encoding,
        }
        return _tabular("json_lines", path, options)


@says_what_is_not_built("Dataset.File")
class _File:
    """How file datasets are made: ``Dataset.File.from_files``."""

    @staticmethod
    def from_files(
        path: Any, validate: bool = True, partition_format: str | None = None, is_file: bool = False
    ) -> FileDataset:
        """Return the dataset of files.

        :param path: ``(datastore, path)``, a URL, or a list of them; paths may hold ``*`` and ``**``.
        :param is_file: without meaning here: a path that names a file is one.
        :raises UserErrorException: a path that is not understood.
        """
        options = normalise(None, {"partition_format": partition_format})
        definition = definitions.make("file", None, definition_paths(path), options)
        return FileDataset(definition, workspace=workspace_of(path))


@says_what_is_not_built("Dataset")
class Dataset:
    """Where datasets come from: made of files (``Dataset.Tabular``, ``Dataset.File``), or found by name or id."""

    Tabular = _Tabular
    File = _File

    @staticmethod
    def get_by_name(workspace: Workspace | str | None, name: str, version: int | str = "latest") -> Any:
        """Return the registered dataset *name*. It is looked up when it is used: a DAG file must parse fast.

        What it is then, tabular or file, is not known before; it can do what both can.

        :raises UserErrorException: a bad name.
        """
        ws = None if workspace is None else resolve_workspace(workspace)
        return NamedDataset(ws, check_name("dataset", name), version)

    @staticmethod
    def get_by_id(workspace: Workspace | str | None, id: str) -> Any:
        """Return the dataset with this id: the registered version whose own id it is, or what is not registered.

        :raises DatasetError: the workspace has none.
        """
        ws = resolve_workspace(workspace)
        found = registry.look_up(ws, id)
        if found.registered is not None:
            return from_version(ws, found.registered)
        return _class(found.definition["kind"])(found.definition, workspace=ws, source=found.base)

    @staticmethod
    def get_all(workspace: Workspace | str | None) -> dict[str, Any]:
        """Return the registered datasets by name, each in its latest version."""
        ws = resolve_workspace(workspace)
        return {name: Dataset.get_by_name(ws, name) for name in registry.names(ws)}


class NamedDataset(FileDataset, TabularDataset):
    """A dataset by its name, of either kind: which one shows when it is looked up.

    Steps take it as it is. An operation on it, or reading it, looks it up and goes on with what it is.
    """

    kind = ""

    def __init__(self, workspace: Workspace | None, name: str, version: int | str | None = "latest") -> None:
        super().__init__(workspace=workspace, name=name, version=version)

    def found(self) -> AbstractDataset:
        """Look it up.

        :raises DatasetError: there is no such dataset or version.
        """
        return from_version(self.workspace, self._registered())

    def _with(self, operation: definitions.Operation) -> Any:
        return self.found()._with(operation)

    def _tabular(self) -> TabularDataset:
        found = self.found()
        if not isinstance(found, TabularDataset):
            raise UserErrorException(
                f"The dataset {self._name!r} is a file dataset and has no rows", hint="Use download()"
            )
        return found

    def to_pandas_dataframe(self, on_error: str = "null", out_of_range_datetime: str = "null") -> Any:
        return self._tabular().to_pandas_dataframe(on_error, out_of_range_datetime)

    def to_spark_dataframe(self) -> Any:
        return self._tabular().to_spark_dataframe()


def from_version(workspace: Workspace, version: DatasetVersion) -> AbstractDataset:
    """Return the dataset object of a registered version."""
    return _class(version.kind)(workspace=workspace, name=version.name, version=version.version, source=version)


def relative_names(version: DatasetVersion) -> list[str]:
    """Return the files' names below their common folder."""
    base = version.path.rpartition("/")[0] if version.is_single_file else version.path
    return [f.path[len(base) :].lstrip("/") if base else f.path for f in version.files]


def local_files(ws: Workspace, version: DatasetVersion, folder: Path) -> list[str]:
    """Return local paths of the version's files; what is not on this machine's disk is copied below *folder*."""
    paths = []
    for file, name in zip(version.files, relative_names(version), strict=True):
        backend = ws.datastore(file.datastore).backend
        place = backend.local_path(file.path)
        if place is None:
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            backend.get(file.path, place)
        paths.append(str(place))
    return paths


def _tabular(format: str, path: Any, options: Mapping[str, Any]) -> TabularDataset:
    definition = definitions.make("tabular", format, definition_paths(path), normalise(format, options))
    return TabularDataset(definition, workspace=workspace_of(path))


def _class(kind: str) -> type[AbstractDataset]:
    return cast("type[AbstractDataset]", TabularDataset if kind == "tabular" else FileDataset)
