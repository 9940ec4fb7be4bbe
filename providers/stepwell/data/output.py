"""What a step writes: ``OutputFileDatasetConfig`` (by upload), ``HDFSOutputDatasetConfig`` (written by Spark)."""

from __future__ import annotations

import copy
import re
from pathlib import PurePath
from typing import Any, ClassVar, TypeVar

from stepwell.data.consumption import DatasetConsumptionConfig
from stepwell.errors import UserErrorException
from stepwell.runtime.names import check_below, check_name, check_port
from stepwell.workspace.workspace import plain

#: Keys that a step's XCom holds beside its outputs.
RESERVED = frozenset({"return_value", "stepwell_run"})
ON_FAILURE = ("fail", "warn", "quarantine")
DEFAULT_DESTINATION = "dataset/{run-id}/{output-name}"
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
Self = TypeVar("Self", bound="OutputDatasetConfig")


class Port:
    """The identity that all copies of one output share: its name in the step, and the step that writes it."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.producer: Any = None
        self.waiting: list[Any] = []


class OutputDatasetConfig:
    """An output of a step; each method returns a changed copy, and all copies are the same output.

    :param name: the output's name in the step. ``None``: the registered name, else ``output_<position>`` (v1 takes a
        random one, which defeats reuse).
    :param destination: ``(datastore, path)``; the path may hold ``{run-id}`` and ``{output-name}``. Each run publishes
        into a folder of its own below it, so that two runs' files are never mixed.
    """

    mode: ClassVar[str] = "upload"

    def __init__(self, name: str | None = None, destination: Any = None) -> None:
        if name is not None and check_port("output", name) in RESERVED:
            raise UserErrorException(f"The output name {name!r} is reserved", hint="Choose another")
        self.port = Port(name)
        self.destination = _destination(destination)
        self.registration: dict[str, Any] | None = None
        self.read: dict[str, Any] = {}
        self.plan: list[dict[str, Any]] = []
        self.gate: dict[str, Any] | None = None

    @property
    def name(self) -> str | None:
        """The output's name, or ``None`` while it has none: a step gives it one."""
        return self.port.name

    @property
    def kind(self) -> str:
        """``tabular`` after ``read_…_files``, else ``file``."""
        return "tabular" if self.read else "file"

    def _copy(self: Self) -> Self:
        other = copy.copy(self)
        for field in ("registration", "read", "plan", "gate"):
            setattr(other, field, copy.deepcopy(getattr(self, field)))
        return other

    def register_on_complete(
        self: Self, name: str, description: str | None = None, tags: dict[str, str] | None = None
    ) -> Self:
        """Register what the step wrote as a new version of dataset *name*, once the step and its gate have passed.

        :raises UserErrorException: a bad name.
        """
        other = self._copy()
        other.registration = {"name": check_name("dataset", name), "description": description, "tags": dict(tags or {})}
        return other

    def validate_with(
        self: Self, suite: Any, on_failure: str = "fail", *, samples: bool = False, suite_name: str | None = None
    ) -> Self:
        """Judge what the step wrote by a Great Expectations suite, before anybody can read it.

        :param suite: path of the suite's JSON file (read when the step runs), or the suite as a dict.
        :param on_failure: ``fail``: publish nothing and fail for good; ``warn``: publish with the verdict "warned";
            ``quarantine``: keep the data aside and fail.
        :param samples: show offending values in the report (they are your data: off unless asked for).
        :raises UserErrorException: an unknown *on_failure*.
        """
        if on_failure not in ON_FAILURE:
            raise UserErrorException(f"on_failure={on_failure!r} is not known", allowed=ON_FAILURE)
        other = self._copy()
        suite = str(suite) if isinstance(suite, PurePath) else suite
        other.gate = {"suite": suite, "on_failure": on_failure, "samples": bool(samples), "suite_name": suite_name}
        return other

    def read_delimited_files(
        self: Self,
        include_path: bool = False,
        separator: str = ",",
        header: Any = True,
        partition_format: str | None = None,
        path_glob: str | None = None,
        set_column_types: dict[str, Any] | None = None,
    ) -> Self:
        """Make the output a tabular dataset of delimited text (see ``Dataset.Tabular.from_delimited_files``)."""
        return self._reading(
            "delimited",
            {
                "include_path": include_path,
                "separator": separator,
                "header": header,
                "partition_format": partition_format,
                "path_glob": path_glob,
                "set_column_types": set_column_types,
            },
        )

    def read_parquet_files(
        self: Self,
        include_path: bool = False,
        partition_format: str | None = None,
        path_glob: str | None = None,
        set_column_types: dict[str, Any] | None = None,
    ) -> Self:
        """Make the output a tabular dataset of parquet files."""
        return self._reading(
            "parquet",
            {
                "include_path": include_path,
                "partition_format": partition_format,
                "path_glob": path_glob,
                "set_column_types": set_column_types,
            },
        )

    def _reading(self: Self, format: str, options: dict[str, Any]) -> Self:
        from stepwell.data.options import normalise

        other = self._copy()
        other.read = {"format": format, "options": normalise(format, options)}
        return other

    def keep_columns(self: Self, columns: str | list[str]) -> Self:
        """Keep only *columns* of a tabular output."""
        return self._planned(
            {"op": "keep_columns", "columns": [columns] if isinstance(columns, str) else list(columns)}
        )

    def drop_columns(self: Self, columns: str | list[str]) -> Self:
        """Leave *columns* of a tabular output out."""
        return self._planned(
            {"op": "drop_columns", "columns": [columns] if isinstance(columns, str) else list(columns)}
        )

    def _planned(self: Self, op: dict[str, Any]) -> Self:
        if not self.read:
            raise UserErrorException(
                f"{op['op']}() needs a tabular output", hint="Call read_delimited_files() or read_parquet_files() first"
            )
        other = self._copy()
        other.plan = [*self.plan, op]
        return other

    def as_input(self, name: str | None = None) -> DatasetConsumptionConfig:
        """Return this output as an input of a later step; without *name* it is named by position (v1: at random)."""
        return DatasetConsumptionConfig(name, self, mode="direct")

    def serialize(self) -> dict[str, Any]:
        """Return plain data that is the same at each parse of a DAG file."""
        return {
            "mode": self.mode,
            "destination": dict(self.destination),
            "registration": self.registration,
            "read": self.read,
            "plan": self.plan,
            "gate": self.gate,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.destination})"


class OutputFileDatasetConfig(OutputDatasetConfig):
    """A folder that the script fills on the compute target and that is uploaded when the step has succeeded.

    v1's default is a mount; mounts are not built yet, so upload is the default here and :meth:`as_mount` says so.

    :param source: not supported yet: the path that the script writes to is the job's own folder.
    """

    def __init__(
        self,
        name: str | None = None,
        destination: Any = None,
        source: str | None = None,
        partition_format: str | None = None,
    ) -> None:
        for what, value in (("source", source), ("partition_format", partition_format)):
            if value is not None:
                raise UserErrorException(
                    f"OutputFileDatasetConfig({what}={value!r}) is not built yet", hint="Leave it out"
                )
        super().__init__(name, destination)

    def as_upload(self, overwrite: bool = False, source_globs: Any = None) -> OutputFileDatasetConfig:
        """Upload at the end of the step (the default).

        :param overwrite: without meaning here: each run publishes into a folder of its own.
        :param source_globs: not built yet.
        """
        if source_globs:
            raise UserErrorException(f"source_globs={source_globs!r} is not built yet", hint="Leave it out")
        return self._copy()

    def as_mount(self, disable_metadata_cache: bool = False) -> OutputFileDatasetConfig:
        """Not built yet.

        :raises UserErrorException: always.
        """
        raise UserErrorException("Outputs by mount are not built yet", hint="Use as_upload()")


class HDFSOutputDatasetConfig(OutputDatasetConfig):
    """A folder that Spark writes to by its URL: ``hdfs://…``, or ``file:///…`` on a local datastore."""

    mode = "hdfs"


def _destination(destination: Any) -> dict[str, Any]:
    """Return ``{"datastore": name or None, "path": …}`` of v1's ``(datastore, path)``.

    ``workspace`` (see :func:`stepwell.workspace.workspace.plain`) is beside them if the datastore says which it is.
    """
    if destination is None:
        return {"datastore": None, "path": DEFAULT_DESTINATION}
    if isinstance(destination, str) or not hasattr(destination, "__len__") or len(destination) != 2:
        raise UserErrorException(f"destination={destination!r} is not (datastore, path)")
    datastore, path = destination
    default = getattr(datastore, "is_default", False)  # its name is looked up when the step runs
    name = None if default else datastore if isinstance(datastore, str) else getattr(datastore, "name", None)
    if not default and not isinstance(name, str):
        raise UserErrorException(f"{datastore!r} is not a datastore", hint="Give a Datastore or its name")
    if not isinstance(path, str) or not path.strip("/ "):
        raise UserErrorException(f"The destination path {path!r} is empty")
    for placeholder in _PLACEHOLDER.findall(path.replace("{{", "").replace("}}", "")):
        if placeholder not in ("run-id", "output-name"):
            raise UserErrorException(
                f"The destination {path!r} holds the unknown placeholder {{{placeholder}}}",
                allowed=["{run-id}", "{output-name}"],
            )
    workspace = plain(getattr(datastore, "given_workspace", None))
    where = {} if workspace is None else {"workspace": workspace}
    return {"datastore": name, "path": check_below("destination", path.lstrip("/")), **where}
