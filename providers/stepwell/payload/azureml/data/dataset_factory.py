"""How scripts define datasets: ``Dataset.Tabular.from_…`` and ``Dataset.File.from_files``."""

from __future__ import annotations

import os
from typing import Any

from stepwell.runtime import definition as definitions
from stepwell.runtime.errors import UserErrorException

from .._not_built import says_what_is_not_built
from ._dataset import FileDataset, TabularDataset


class PromoteHeadersBehavior:
    """What the header option can be."""

    NO_HEADERS, ONLY_FIRST_FILE_HAS_HEADERS, COMBINE_ALL_FILES_HEADERS, ALL_FILES_HAVE_SAME_HEADERS = (
        definitions.HEADERS
    )


class DataType:
    """Column types for ``set_column_types``."""

    @staticmethod
    def to_string() -> dict[str, Any]:
        """Text."""
        return {"type": "string"}

    @staticmethod
    def to_long() -> dict[str, Any]:
        """Whole numbers."""
        return {"type": "long"}

    @staticmethod
    def to_float(decimal_mark: str = ".") -> dict[str, Any]:
        """Numbers."""
        return {"type": "float", "decimal_mark": decimal_mark}

    @staticmethod
    def to_bool() -> dict[str, Any]:
        """True and false."""
        return {"type": "bool"}

    @staticmethod
    def to_datetime(formats: Any = None) -> dict[str, Any]:
        """Dates and times, in ``strptime`` *formats* (ISO 8601 by default)."""
        return {"type": "datetime", "formats": [formats] if isinstance(formats, str) else formats}


def _paths(path: Any) -> list[dict[str, str]]:
    result = []
    for one in path if isinstance(path, list) else [path]:
        if isinstance(one, tuple) and len(one) == 2 and hasattr(one[0], "name"):
            result.append({"datastore": one[0].name, "path": str(one[1])})
        elif isinstance(one, (str, os.PathLike)):
            text = os.fspath(one)
            result.append({"url": text if "://" in text else "file://" + os.path.abspath(text)})
        else:
            raise UserErrorException(f"{one!r} is not a path", allowed=["a URL or local path", "(datastore, 'path')"])
    return result


def _header(header: Any) -> str:
    if isinstance(header, bool):
        names = PromoteHeadersBehavior
        return names.ALL_FILES_HAVE_SAME_HEADERS if header else names.NO_HEADERS
    return str(header)


@says_what_is_not_built("Dataset.Tabular")
class TabularDatasetFactory:
    """Makes tabular datasets."""

    @staticmethod
    def from_delimited_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        infer_column_types: Any = True,
        set_column_types: dict[str, Any] | None = None,
        separator: str = ",",
        header: Any = True,
        partition_format: str | None = None,
        support_multi_line: bool = False,
        empty_as_string: bool = False,
        encoding: str = "utf8",
    ) -> TabularDataset:
        """Define a dataset of delimited files (lazily: *validate* has no effect inside a step)."""
        options = dict(
            include_path=include_path, infer_column_types=infer_column_types, set_column_types=set_column_types,
            separator=separator, header=_header(header), partition_format=partition_format,
            support_multi_line=support_multi_line, empty_as_string=empty_as_string, encoding=encoding,
        )  # fmt: skip
        return TabularDataset(definitions.make("tabular", "delimited", _paths(path), options))

    @staticmethod
    def from_parquet_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: dict[str, Any] | None = None,
        partition_format: str | None = None,
    ) -> TabularDataset:
        """Define a dataset of parquet files."""
        options = dict(include_path=include_path, set_column_types=set_column_types, partition_format=partition_format)
        return TabularDataset(definitions.make("tabular", "parquet", _paths(path), options))

    @staticmethod
    def from_json_lines_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: dict[str, Any] | None = None,
        partition_format: str | None = None,
        invalid_lines: str = "error",
        encoding: str = "utf8",
    ) -> TabularDataset:
        """Define a dataset of JSON lines files."""
        options = dict(
            include_path=include_path, set_column_types=set_column_types, partition_format=partition_format,
            invalid_lines=invalid_lines, encoding=encoding,
        )  # fmt: skip
        return TabularDataset(definitions.make("tabular", "json_lines", _paths(path), options))


@says_what_is_not_built("Dataset.File")
class FileDatasetFactory:
    """Makes file datasets."""

    @staticmethod
    def from_files(
        path: Any, validate: bool = True, partition_format: str | None = None, is_file: bool = False
    ) -> FileDataset:
        """Define a dataset of files."""
        return FileDataset(definitions.make("file", None, _paths(path), {"partition_format": partition_format}))
