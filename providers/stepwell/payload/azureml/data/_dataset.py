"""Tabular and file datasets as a script sees them: lazy, immutable, with v1's methods."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from typing import Any, Iterable, Sequence, TypeVar

from stepwell.payload import plan, reading, sources
from stepwell.payload.context import current
from stepwell.payload.errors import ReadError
from stepwell.runtime import definition as definitions
from stepwell.runtime.errors import UserErrorException
from stepwell.runtime.names import check_name

from .._not_built import says_what_is_not_built

D = TypeVar("D", bound="AbstractDataset")


@says_what_is_not_built("dataset")
class AbstractDataset:
    """What tabular and file datasets share.

    :param definition: see ``stepwell.runtime.definition``.
    :param files: the pinned files; ``None`` when the step was not given them.
    :param id: the id by which the step was given it: a registered version has one of its own.
    """

    def __init__(
        self,
        definition: dict[str, Any],
        files: Sequence[str] | None = None,
        *,
        name: str | None = None,
        version: int | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        id: str | None = None,
    ) -> None:
        self._definition = definitions.check(definition)
        self._files = None if files is None else list(files)
        self.name = name
        self.version = version
        self.description = description
        self.tags: dict[str, str] = dict(tags or {})
        self._id = id

    @property
    def id(self) -> str:
        """What ``Dataset.get_by_id`` finds it by; of a dataset made here, the id of its definition."""
        return self._id or definitions.content_id(self._definition)

    @property
    def definition(self) -> dict[str, Any]:
        """The definition, plain JSON."""
        return self._definition

    def files(self) -> list[str]:
        """Return the dataset's files (paths or URIs) before its plan.

        :raises ReadError: they are not known inside this step.
        """
        if self._files is not None:
            return self._files
        job = current()
        for entry in job.datasets.values() if job else ():
            known = entry["definition"]
            if known["paths"] == self._definition["paths"] and entry.get("files"):
                return [str(f) for f in entry["files"]]
        found: list[str] = []
        for path in self._definition["paths"]:
            if not path.get("url", "").startswith("file:"):
                raise ReadError(
                    f"The files of {path!r} cannot be read here: they are no input of this step",
                    hint="Give the dataset to the operator as an input",
                )
            matches = sorted(glob.glob(sources.local_path(path["url"]), recursive=True))
            if not matches:
                raise ReadError(f"{path['url']!r} matches no file")
            found += [
                m for match in matches for m in (sources.local_folder(match) if os.path.isdir(match) else [match])
            ]
        return found

    def skip(self: D, count: int) -> D:
        """Leave the first *count* rows (files) out."""
        return self._with(definitions.skip(count))

    def take(self: D, count: int) -> D:
        """Keep the first *count* rows (files)."""
        return self._with(definitions.take(count))

    def take_sample(self: D, probability: float, seed: int | None = None) -> D:
        """Keep each row (file) with *probability*."""
        return self._with(definitions.sample(probability, _seed(seed)))

    def random_split(self: D, percentage: float, seed: int | None = None) -> tuple[D, D]:
        """Return two datasets: about *percentage* (0 to 1) of the rows (files), and the others."""
        number = _seed(seed)
        left, right = (definitions.split(percentage, number, part) for part in ("left", "right"))
        return self._with(left), self._with(right)

    def register(
        self: D,
        workspace: Any,
        name: str,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        create_new_version: bool = False,
    ) -> D:
        """Have this dataset registered when the step succeeds; the version number is known only then.

        :raises UserErrorException: *name* is not a good name.
        """
        check_name("dataset", name)
        _register(name, self._definition, description, tags, create_new_version, None)
        return type(self)(self._definition, self._files, name=name, description=description, tags=tags)

    def as_named_input(self, name: str) -> Any:
        """Refused: inputs are declared where the pipeline is.

        :raises UserErrorException: always.
        """
        raise UserErrorException("as_named_input() is not possible inside a step", hint="Call it in the DAG file")

    def _with(self: D, operation: dict[str, Any]) -> D:
        return type(self)(definitions.with_operation(self._definition, operation), self._files, tags=self.tags)

    def __repr__(self) -> str:
        named = f", name={self.name!r}, version={self.version}" if self.name else ""
        return f"{type(self).__name__}(id={self.id!r}{named})"


@says_what_is_not_built("TabularDataset")
class TabularDataset(AbstractDataset):
    """Rows and columns."""

    def keep_columns(self, columns: str | Iterable[str], validate: bool = False) -> TabularDataset:
        """Keep only these columns; with *validate*, read the data now to see whether they are there."""
        return self._checked(self._with(definitions.keep_columns(columns)), validate)

    def drop_columns(self, columns: str | Iterable[str]) -> TabularDataset:
        """Leave these columns out."""
        return self._with(definitions.drop_columns(columns))

    def filter(self, expression: Any) -> TabularDataset:
        """Keep the rows for which *expression*, such as ``dataset['Age'] > 30``, is true."""
        return self._with(definitions.filter(expression))

    def __getitem__(self, column: str) -> definitions.Expression:
        """Return the column, for a filter."""
        return definitions.column(column)

    def to_pandas_dataframe(self, on_error: str = "null", out_of_range_datetime: str = "null") -> Any:
        """Return the data as a pandas frame; cells that do not have their column's type are missing.

        :raises UserErrorException: ``'fail'`` is asked for, which is not built yet.
        """
        for option, value in (("on_error", on_error), ("out_of_range_datetime", out_of_range_datetime)):
            if value != "null":
                raise UserErrorException(f"{option}={value!r} is not built yet", allowed=["null"])
        return reading.to_pandas(self._definition, self.files())

    def to_spark_dataframe(self) -> Any:
        """Return the data as a Spark frame, lazily, on the active session."""
        return reading.to_spark(self._definition, self.files())

    @staticmethod
    def _checked(dataset: TabularDataset, validate: bool) -> TabularDataset:
        if validate:
            dataset.take(1).to_pandas_dataframe()
        return dataset


@says_what_is_not_built("FileDataset")
class FileDataset(AbstractDataset):
    """Files as they are."""

    def to_path(self) -> list[str]:
        """Return the paths of the files below their common folder, each with a leading slash."""
        return ["/" + p for p in _below_common(self._chosen())]

    def download(
        self, target_path: str | None = None, overwrite: bool = False, ignore_not_found: bool = False
    ) -> list[str]:
        """Copy the files below *target_path* (a new temporary folder by default) and return the local paths.

        :raises UserErrorException: a file is there already and *overwrite* is not set.
        :raises ReadError: a file is gone and *ignore_not_found* is not set.
        """
        target = os.path.abspath(target_path or tempfile.mkdtemp(prefix="dataset-"))
        result = []
        chosen = self._chosen()
        for file, below in zip(chosen, _below_common(chosen)):
            destination = os.path.join(target, below)
            if os.path.exists(destination) and not overwrite:
                raise UserErrorException(
                    f"{destination!r} exists already", hint="Give overwrite=True or another folder"
                )
            os.makedirs(os.path.dirname(destination), exist_ok=True)
            if _fetch(file, destination, ignore_not_found):
                result.append(destination)
        return result

    def mount(self, mount_point: str | None = None) -> MountContext:
        """Return a context manager that puts the files below a folder (they are copied, not mounted)."""
        return MountContext(self, mount_point)

    def _chosen(self) -> list[str]:
        return plan.run_files(self.files(), self._definition["plan"])


class MountContext:
    """The files of a dataset below :attr:`mount_point`, from :meth:`start` to :meth:`stop`."""

    def __init__(self, dataset: FileDataset, mount_point: str | None) -> None:
        self._dataset = dataset
        self._own = mount_point is None
        self.mount_point = mount_point or tempfile.mkdtemp(prefix="dataset-")

    def start(self) -> None:
        """Put the files there."""
        self._dataset.download(self.mount_point, overwrite=True)

    def stop(self) -> None:
        """Take the folder away, if it was made for this."""
        if self._own:
            shutil.rmtree(self.mount_point, ignore_errors=True)

    def __enter__(self) -> MountContext:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _seed(seed: int | None) -> int:
    """Without a seed each call draws another one, and both parts of a split share it (it stands in the definition)."""
    return int.from_bytes(os.urandom(4), "big") if seed is None else int(seed)


def _below_common(files: Sequence[str]) -> list[str]:
    paths = [sources.path_of(f) for f in files]
    common = os.path.dirname(paths[0]) if len(paths) == 1 else (os.path.commonpath(paths) if paths else "")
    return [os.path.relpath(p, common) for p in paths]


def _fetch(file: str, destination: str, ignore_not_found: bool) -> bool:
    if "://" in file and not file.startswith("file:"):
        from stepwell.payload.spark_driver import live_session

        spark = live_session()
        if spark is None:
            raise ReadError(
                f"{file!r} cannot be copied without Spark", hint="Give the input to the step with as_download()"
            )
        path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path
        source = path(file)
        filesystem = source.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
        if not filesystem.exists(source):
            return _gone(file, ignore_not_found)
        filesystem.copyToLocalFile(False, source, path("file://" + destination), True)
        return True
    local = sources.local_path(file)
    if not os.path.exists(local):
        return _gone(file, ignore_not_found)
    shutil.copyfile(local, destination)
    return True


def _gone(file: str, ignore: bool) -> bool:
    if ignore:
        return False
    raise ReadError(f"The file {file!r} does not exist", hint="Give ignore_not_found=True to go on without it")


def _register(
    name: str,
    definition: dict[str, Any],
    description: str | None,
    tags: dict[str, str] | None,
    create_new_version: bool,
    data: dict[str, Any] | None,
) -> None:
    job = current()
    if job is None:
        print(f"Attempted to register the dataset {name}")
        return
    job.emit(
        "register",
        name=name,
        definition=definition,
        description=description,
        tags={str(k): str(v) for k, v in (tags or {}).items()},
        create_new_version=bool(create_new_version),
        data=data,
    )
    job.flush()
