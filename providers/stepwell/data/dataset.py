"""``Dataset``, ``TabularDataset``, ``FileDataset``: v1's names; lazy and immutable."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from stepwell.data import registry
from stepwell.data.consumption import DatasetConsumptionConfig
from stepwell.data.options import normalise
from stepwell.data.reference import definition_paths
from stepwell.data.version import DatasetVersion
from stepwell.errors import DatasetError, UserErrorException
from stepwell.runtime import definition as definitions
from stepwell.runtime.names import check_name
from stepwell.workspace.workspace import Workspace, resolve_workspace

Self = TypeVar("Self", bound="AbstractDataset")


class AbstractDataset:
    """What tabular and file datasets share.

    A dataset is a definition (made by ``Dataset.Tabular.from_…``), or a registered version (by name), or a definition
    made from a registered version by operations; the last two read the files that were pinned, and no others.
    """

    kind: str = ""

    def __init__(
        self,
        definition: Mapping[str, Any] | None = None,
        *,
        workspace: Workspace | None = None,
        name: str | None = None,
        version: int | str | None = None,
        source: DatasetVersion | None = None,
    ) -> None:
        self._given = None if definition is None else dict(definition)
        self._workspace = workspace
        self._name = name
        self._wanted = version
        self._source = source

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def definition(self) -> dict[str, Any]:
        """The definition as plain data. (A dataset by name is looked up for it.)"""
        if self._given is None:
            self._given = dict(self._registered().definition)
        return self._given

    @property
    def id(self) -> str:
        """The definition's content id."""
        return definitions.content_id(self.definition)

    @property
    def name(self) -> str | None:
        """The name that it is registered under, or ``None``."""
        return self._name

    @property
    def version(self) -> int | None:
        """The number of the version, or ``None`` if it is not registered."""
        return self._registered().version if self._name else None

    @property
    def tags(self) -> dict[str, str]:
        """The version's tags."""
        return dict(self._registered().tags) if self._name else {}

    @property
    def description(self) -> str | None:
        """The version's description."""
        return self._registered().description if self._name else None

    @property
    def workspace(self) -> Workspace:
        """The workspace that it is looked up in."""
        if self._workspace is None:
            self._workspace = resolve_workspace(None)
        return self._workspace

    def _registered(self) -> DatasetVersion:
        if self._source is None:
            if self._name is None:
                raise DatasetError("This dataset is not registered", hint="Call register(workspace, name) first")
            self._source = registry.get(self.workspace, self._name, self._wanted)
            if self.kind and self._source.kind != self.kind:
                raise DatasetError(
                    f"The dataset {self._name!r} is a {self._source.kind} dataset, not a {self.kind} one"
                )
        return self._source

    def pinned(self, workspace: Workspace | str | None = None) -> DatasetVersion:
        """Return it with its files pinned: the registered version, or what the definition means now.

        :raises DatasetError: a path does not exist, or a pattern matches nothing.
        :raises DatasetChangedError: files of the registered version (that this is, or was made from) have changed.
        """
        ws = resolve_workspace(workspace) if workspace is not None else self.workspace
        if self._name is None and self._source is None:
            return registry.unregistered(ws, self.definition)
        source = self._registered()
        if self._name is not None:
            registry.verify(ws, source)
            return source
        return registry.unregistered(ws, self.definition, {"name": source.name, "version": source.version})

    def input_source(self) -> dict[str, Any]:
        """Return where an input made of this dataset comes from, as plain data (no I/O)."""
        if self._name is not None:
            return {"name": self._name, "version": self._wanted or "latest"}
        if self._source is not None:
            base = {"name": self._source.name, "version": self._source.version}
            return {"definition": self.definition, "base": base}
        return {"definition": self.definition}

    # -- taking it -------------------------------------------------------------------------------------------------

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """Return it as an input of a step, called *name* there."""
        return DatasetConsumptionConfig(name, self)

    def register(
        self,
        workspace: Workspace | str | None,
        name: str,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        create_new_version: bool = False,
    ) -> Any:
        """Register it, with its files as they are now.

        :param create_new_version: make the next version if the name exists; the same definition with the same data is
            the version that exists already, as in v1.
        :returns: the registered dataset.
        :raises UserErrorException: a bad name, or one that exists (with *create_new_version* false).
        :raises DatasetError: a path does not exist, or a pattern matches nothing.
        """
        ws = resolve_workspace(workspace)
        check_name("dataset", name)
        pinned = self.pinned(ws)
        if create_new_version and name in registry.names(ws):
            latest = registry.get(ws, name)
            if (latest.id, latest.digest) == (pinned.id, pinned.digest):
                return from_version(ws, latest)
        version = registry.register(
            ws,
            name,
            pinned.definition,
            pinned.files,
            description=description,
            tags=tags,
            create_new_version=create_new_version,
        )
        return from_version(ws, version)

    def _with(self: Self, operation: definitions.Operation) -> Self:
        definition = definitions.with_operation(self.definition, operation)
        return type(self)(
            definition, workspace=self._workspace, source=self._registered() if self._name else self._source
        )

    def take(self: Self, count: int) -> Self:
        """Return the first *count* rows (file dataset: files)."""
        return self._with(definitions.take(count))

    def skip(self: Self, count: int) -> Self:
        """Return all but the first *count* rows (file dataset: files)."""
        return self._with(definitions.skip(count))

    def take_sample(self: Self, probability: float, seed: int | None = None) -> Self:
        """Return each row (file dataset: file) with *probability*; without a *seed* one is made of the definition."""
        return self._with(definitions.sample(probability, self._seed(seed)))

    def random_split(self: Self, percentage: float, seed: int | None = None) -> tuple[Self, Self]:
        """Return two datasets that share the rows (file dataset: files): about *percentage* of them, and the others."""
        chosen = self._seed(seed)
        left, right = (self._with(definitions.split(percentage, chosen, part)) for part in ("left", "right"))
        return left, right

    def _seed(self, seed: int | None) -> int:
        return seed if seed is not None else int(self.id[:7], 16)

    def __repr__(self) -> str:
        if self._name:
            return f"{type(self).__name__}({self._name!r}, version={self._wanted or 'latest'!r})"
        return f"{type(self).__name__}({self.definition['paths']!r})"

    def serialize(self) -> dict[str, Any]:
        """Return plain data that is the same at each parse of a DAG file."""
        return {"kind": self.kind, **self.input_source()}


class TabularDataset(AbstractDataset):
    """Rows and columns, read from delimited, parquet or JSON-lines files."""

    kind = "tabular"

    def keep_columns(self, columns: str | list[str], validate: bool = False) -> TabularDataset:
        """Return only *columns* (whether they exist shows when it is read)."""
        return self._with(definitions.keep_columns(columns))

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
        """Not built yet.

        :raises UserErrorException: always.
        """
        return DatasetConsumptionConfig(None, self).as_mount(path_on_compute)


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
        return FileDataset(definitions.make("file", None, definition_paths(path), options))


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
        return NamedDataset(resolve_workspace(workspace), check_name("dataset", name), version)

    @staticmethod
    def get_by_id(workspace: Workspace | str | None, id: str) -> Any:
        """Return the dataset with the content id *id*.

        :raises DatasetError: the workspace has none.
        """
        ws = resolve_workspace(workspace)
        definition = registry.load_definition(ws, id)
        return _class(definition["kind"])(definition, workspace=ws)

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

    def __init__(self, workspace: Workspace, name: str, version: int | str | None = "latest") -> None:
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
    return TabularDataset(definitions.make("tabular", format, definition_paths(path), normalise(format, options)))


def _class(kind: str) -> type[AbstractDataset]:
    return cast("type[AbstractDataset]", TabularDataset if kind == "tabular" else FileDataset)
