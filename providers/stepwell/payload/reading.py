"""Reading a dataset: its definition and its pinned files into pandas or Spark."""

from __future__ import annotations

import json
from typing import Any, Dict, Sequence

from stepwell.payload import delimited, plan, sources
from stepwell.payload.column_types import set_types
from stepwell.payload.errors import ReadError

Definition = Dict[str, Any]
#: Name of the column that ``include_path=True`` adds (v1's).
PATH_COLUMN = "Path"


def to_pandas(definition: Definition, files: Sequence[str]) -> Any:
    """Return the dataset as a pandas frame.

    :param definition: a tabular definition (see ``stepwell.runtime.definition``); left out options have v1's defaults.
    :param files: its files, local (paths or ``file:`` URIs), in order.
    :raises RaggedRowError: a row of a delimited file has too many or too few fields; file and line are in the message.
    :raises ReadError: anything else that is wrong with files, options or plan.
    """
    format, options = _start(definition, files)
    paths = [sources.local_path(f) for f in files]
    for path in paths:
        _check_exists(path)
    if format == "delimited":
        from stepwell.payload import delimited_pandas

        frames = delimited_pandas.read(paths, options)
        read = [p for p in paths if not _is_empty(p)]
    elif format == "parquet":
        frames, read = [_parquet(p) for p in paths], paths
    else:
        frames, read = [_json_lines(p, options) for p in paths], paths
    if format != "delimited":
        frames = [_retype(frame, options) for frame in frames]
    if options["include_path"] or options["partition_format"]:
        frames = _with_paths(frames, read, definition, files, paths, options)
    return plan.run_pandas(_concatenate(frames), definition.get("plan") or [])


def to_spark(definition: Definition, files: Sequence[str], spark: Any = None) -> Any:
    """Return the dataset as a Spark frame, lazily.

    A ragged row or a file of another format shows when the rows are used;
    :func:`stepwell.payload.spark_reading.explain` then says in which file and line.

    :param files: its files, as paths or URIs that every executor can read.
    :param spark: the session; the active one, or a new one, when left out.
    :raises ReadError: something is wrong with files, options or plan.
    """
    from stepwell.payload import spark_reading

    format, options = _start(definition, files)
    frame = spark_reading.read(spark or spark_reading.session(), format, options, definition, files)
    return plan.run_spark(frame, definition.get("plan") or [])


def _start(definition: Definition, files: Sequence[str]) -> tuple[str, dict[str, Any]]:
    if definition.get("kind") == "file":
        raise ReadError(
            "A file dataset has no rows to read",
            hint="Define it with Dataset.Tabular.from_delimited_files or from_parquet_files, or read its files"
            " yourself",
        )
    if not files:
        raise ReadError("The dataset has no files", hint="Its path matched nothing when it was pinned")
    format = definition.get("format") or "delimited"
    if format not in ("delimited", "parquet", "json_lines"):
        raise ReadError(f"{format!r} is not a format of tabular data", allowed=["delimited", "parquet", "json_lines"])
    return format, delimited.complete(definition.get("options") or {}, format)


def _check_exists(path: str) -> None:
    import os

    if not os.path.isfile(path):
        raise ReadError(f"The file {path!r} does not exist", hint="It was there when the dataset was pinned")


def _is_empty(path: str) -> bool:
    import os

    return os.path.getsize(path) == 0


def _parquet(path: str) -> Any:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise ReadError(
            "Parquet files cannot be read in this environment: it has neither pyarrow nor fastparquet",
            hint="Add pyarrow to the step's conda_dependencies.yml",
        ) from error
    except (ValueError, OSError) as error:  # pyarrow.ArrowInvalid is a ValueError
        _check_names(path)
        raise ReadError(f"{path!r} is not a parquet file ({error})") from error


def _check_names(path: str) -> None:
    """Say which name several columns of a parquet file have, if that is why it cannot be read."""
    try:
        from pyarrow import parquet

        names = parquet.read_schema(path).names
    except (ImportError, ValueError, OSError):
        return
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ReadError(
            f"{path!r} has several columns with the name {', '.join(map(repr, double[:5]))}",
            hint="Rename or drop them where the file is written",
        )


def _json_lines(path: str, options: dict[str, Any]) -> Any:
    import pandas as pd

    rows: list[Any] = []
    with delimited.open_text(path, options) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("not an object")
            except ValueError as error:
                if options["invalid_lines"] == "drop":
                    continue
                raise ReadError(
                    f"{path!r} line {number} is not a JSON object ({error})",
                    hint="Correct the line, or give invalid_lines='drop'",
                ) from error
            rows.append(row)
    return pd.DataFrame(rows)


def _retype(frame: Any, options: dict[str, Any]) -> Any:
    """Return *frame* with ``set_column_types`` applied (delimited files have their types already)."""
    from stepwell.payload.delimited_pandas import convert

    wanted = set_types(options)
    for column, column_type in wanted.items():
        if column not in frame.columns:
            raise ReadError(f"set_column_types names the column {column!r}, which is not there", allowed=frame.columns)
        series = frame[column]
        if column_type["type"] == "datetime" and series.dtype.kind == "M":
            continue
        text = series.astype(object).where(series.notna(), None).map(lambda v: v if v is None else str(v))
        frame[column] = convert(text, column_type)
    return frame


def _with_paths(
    frames: list[Any],
    read: list[str],
    definition: Definition,
    files: Sequence[str],
    paths: list[str],
    options: dict[str, Any],
) -> list[Any]:
    relative = dict(zip(paths, sources.relative_paths(definition, files)))
    result = []
    for frame, path in zip(frames, read):
        added: dict[str, Any] = {}
        if options["include_path"]:
            added[PATH_COLUMN] = relative[path]
        if options["partition_format"]:
            partition = sources.PartitionFormat(options["partition_format"])
            added.update(zip(partition.columns, partition.values(relative[path])))
        frame = frame.drop(columns=[c for c in added if c in frame.columns])
        for position, (column, value) in enumerate(added.items()):
            frame.insert(position, column, value)
        result.append(frame)
    return result


def _concatenate(frames: list[Any]) -> Any:
    import pandas as pd

    if len(frames) == 1:
        return frames[0]
    # Frames without rows would turn whole numbers of the others into objects.
    filled = [f for f in frames if len(f)] or frames[:1]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def count_rows(definition: Definition, files: Sequence[str], spark: Any | None = None) -> int:
    """Return how many rows the dataset has."""
    if spark is not None:
        return int(to_spark(definition, files, spark).count())
    return len(to_pandas(definition, files))
