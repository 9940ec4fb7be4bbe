"""How a step takes a dataset: its name inside the step, and the mode in which it gets there."""

from __future__ import annotations

import copy
from typing import Any

from stepwell.errors import UserErrorException
from stepwell.runtime.names import check_below, check_port
from stepwell.workspace.workspace import plain

MODES = ("direct", "download", "mount", "hdfs")
_NO_TABULAR = "A tabular dataset is handed over by its id; only a file dataset can be {how}"
_RISKY = frozenset({"path", "ld_library_path", "user", "logname", "home", "pwd", "shell", "pythonpath"})


class DatasetConsumptionConfig:
    """One input of a step (v1's class of that name).

    The same value reaches the script twice, as v1 has it: where the config stands in ``arguments``, and in an
    environment variable of the input's name. The value is the dataset id (``direct``), a local path (``download``,
    ``mount``) or a URL that Spark reads (``hdfs``). A dataset defined by the path of one file gives the file itself;
    anything else gives its folder.

    :param name: the input's name in the step; letters, digits, ``_``. ``None``: ``input_<position>``, the same at each
        parse.
    :param dataset: a ``TabularDataset`` or ``FileDataset``, an output of an earlier step, ``(workspace, name[,
        version])``, or a dataset reference (the plain dict on XCom, or the ``XComArg`` that will carry it).
    :param mode: ``direct``, ``download``, ``mount`` or ``hdfs``.
    :param path_on_compute: for ``download`` and ``mount``: where the data shall stand, relative to the script's working
        directory.
    :raises UserErrorException: a bad name, an unknown mode, a mode that this kind of dataset does not support.
    """

    def __init__(
        self, name: str | None, dataset: Any, mode: str = "direct", path_on_compute: str | None = None
    ) -> None:
        if name is not None:
            check_port("input", name)
            if name.lower() in _RISKY:
                raise UserErrorException(
                    f"The input name {name!r} would overwrite the environment variable of that name",
                    hint="Choose another",
                )
        if mode not in MODES:
            raise UserErrorException(f"{mode!r} is not a mode of an input", allowed=MODES)
        if mode != "direct" and _is_tabular(dataset):
            raise UserErrorException(
                _NO_TABULAR.format(how="downloaded, mounted or read as HDFS path"),
                hint="Use as_direct(), or Dataset.File.from_files(...) for the files",
            )
        if path_on_compute is not None:
            if mode not in ("download", "mount"):
                raise UserErrorException(
                    f"path_on_compute={path_on_compute!r} has no meaning for an input by {mode}: nothing is copied",
                    hint="Use as_download(path_on_compute) or as_mount(path_on_compute), or leave it out",
                )
            if path_on_compute.startswith("/"):
                raise UserErrorException(
                    f"path_on_compute={path_on_compute!r} is absolute, which is not supported yet",
                    hint="Give a path relative to the script's working directory",
                )
            check_below("path_on_compute", path_on_compute)
        self.name = name
        self.dataset = dataset
        self.mode = mode
        self.path_on_compute = path_on_compute

    def as_direct(self) -> DatasetConsumptionConfig:
        """Hand over the dataset's id; the script reads it with ``Dataset.get_by_id`` or ``run.input_datasets``."""
        return self._with(mode="direct", path_on_compute=None)

    def as_download(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """Copy the files onto the compute target and hand over their path.

        :param path_on_compute: where to, relative to the script's working directory; default: a folder of the job.
        """
        return self._with(mode="download", path_on_compute=path_on_compute)

    def as_hdfs(self) -> DatasetConsumptionConfig:
        """Hand over a path that Spark reads itself (``hdfs://…``, or ``file:///…`` on a local datastore)."""
        return self._with(mode="hdfs", path_on_compute=None)

    def as_mount(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """Mount the files on the compute target, read-only, and hand over their path: only what is read is moved.

        :param path_on_compute: where, relative to the script's working directory; default: a folder of the job.
        """
        return self._with(mode="mount", path_on_compute=path_on_compute)

    def _with(self, **changes: Any) -> DatasetConsumptionConfig:
        settings: dict[str, Any] = {"mode": self.mode, "path_on_compute": self.path_on_compute, **changes}
        return DatasetConsumptionConfig(self.name, self.dataset, **settings)

    def renamed(self, name: str) -> DatasetConsumptionConfig:
        """Return the same input under *name*."""
        other = copy.copy(self)
        other.name = check_port("input", name)
        return other

    def source(self) -> dict[str, Any]:
        """Return where the data comes from, as plain data: ``definition``, ``name`` and ``version``, or ``reference``.

        ``workspace`` (see :func:`stepwell.workspace.workspace.plain`) is beside the first two if somebody said which.

        :raises UserErrorException: an input cannot be made of it.
        """
        dataset = self.dataset
        if isinstance(dataset, tuple):
            if not 2 <= len(dataset) <= 3:
                raise UserErrorException(f"{dataset!r} is not (workspace, name) or (workspace, name, version)")
            where = {} if dataset[0] is None else {"workspace": plain(dataset[0])}
            return {"name": dataset[1], "version": dataset[2] if len(dataset) == 3 else "latest", **where}
        if hasattr(dataset, "input_source"):
            return dict(dataset.input_source())
        if isinstance(dataset, dict) and "id" in dataset:
            return {"reference": dataset}
        if hasattr(dataset, "resolve"):  # an XComArg: Airflow replaces it by what it carries, and draws the edge
            return {"reference": dataset}
        raise UserErrorException(
            f"An input cannot be made of {dataset!r}",
            allowed=["a Dataset", "an output of a step", "(workspace, name, version)", "a dataset reference from XCom"],
        )

    def __repr__(self) -> str:
        return f"DatasetConsumptionConfig({self.name!r}, mode={self.mode!r})"

    def serialize(self) -> dict[str, Any]:
        """Return plain data that is the same at each parse of a DAG file."""
        return {"input": self.name, "mode": self.mode}


def _is_tabular(dataset: Any) -> bool:
    return getattr(dataset, "kind", None) == "tabular"
