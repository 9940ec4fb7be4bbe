"""Delimited files into pandas."""

from __future__ import annotations

import warnings
from typing import Any, Mapping, Sequence

from stepwell.payload import delimited
from stepwell.payload.column_types import ColumnType, decide, formats
from stepwell.payload.errors import ReadError


def read(paths: Sequence[str], options: Mapping[str, Any]) -> list[Any]:
    """Return one pandas frame for each of the local files, all with the same columns and types.

    Cells that do not have their column's type are missing values (v1's ``on_error='null'``).

    :raises RaggedRowError: a row has too many or too few fields; file and line are in the message.
    :raises ReadError: headers differ that ought to be the same, or the encoding is another one.
    """
    options = {**options, "escape": delimited.local_escape(paths, options)}
    head = delimited.local_head(paths, options)
    types = decide(head.columns, head.rows, options)
    return [
        _file(path, head.by_file[index], head.columns, types, options, _header(options, index))
        for index, path in enumerate(paths)
        if head.by_file[index]
    ]


def _header(options: Mapping[str, Any], index: int) -> bool:
    behaviour = options["header"]
    return behaviour in (delimited.SAME, delimited.COMBINE) or (behaviour == delimited.ONLY_FIRST and index == 0)


def _file(
    path: str,
    columns: list[str],
    all_columns: list[str],
    types: Mapping[str, ColumnType],
    options: Mapping[str, Any],
    has_header: bool,
) -> Any:
    text = _text_columns(columns, types)
    dtypes: dict[str, str] = {
        c: "object" if c in text else {"long": "Int64", "float": "float64"}[types[c]["type"]] for c in columns
    }
    try:
        frame = _parse(path, columns, dtypes, options, has_header, types)
        converted = text
    except (ValueError, OverflowError) as error:
        if isinstance(error, ReadError):
            raise
        # A later cell is not what the first rows promised: read text, and make what does not fit a missing value.
        frame = _parse(path, columns, {c: "object" for c in columns}, options, has_header, types)
        converted = columns
    if columns and (len(columns) == 1 or frame[columns[-1]].isna().any() or _is_blank(frame[columns[-1]])):
        delimited.check_short_rows(path, options, len(columns))
    for column in converted:
        frame[column] = convert(frame[column], types[column])
    for column in columns:
        if frame[column].dtype == "Int64":
            missing = frame[column].isna().any()
            frame[column] = frame[column].astype("float64" if missing else "int64")
    return frame if columns == all_columns else frame.reindex(columns=all_columns)


def _is_blank(series: Any) -> bool:
    return series.dtype == object and bool((series == "").any())


def _text_columns(columns: Sequence[str], types: Mapping[str, ColumnType]) -> list[str]:
    """Return the columns that pandas reads as text and we convert: its own parsers know no missing booleans."""
    return [
        c
        for c in columns
        if types[c]["type"] in ("string", "bool", "datetime") or types[c].get("decimal_mark", ".") not in (".", None)
    ]


def _parse(
    path: str,
    columns: list[str],
    dtypes: Mapping[str, str],
    options: Mapping[str, Any],
    has_header: bool,
    types: Mapping[str, ColumnType],
) -> Any:
    import pandas as pd

    keep_empty = options["empty_as_string"]
    try:
        with warnings.catch_warnings():
            # "Length of header or names does not match length of data": every row is too long.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            source: Any = path if options["escape"] == '"' else delimited.open_text(path, options)
            return pd.read_csv(
                source,
                sep=options["separator"],
                encoding=delimited.ENCODINGS[options["encoding"]],
                header=0 if has_header else None,
                names=columns,
                index_col=False,
                dtype=dict(dtypes),
                keep_default_na=False,
                na_values={c: [] if keep_empty and types[c]["type"] == "string" else [""] for c in columns},
                low_memory=False,
            )
    except UnicodeError as error:
        raise delimited.encoding_error(path, options, error) from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        with delimited.open_text(path, options) as lines:
            found = delimited.find_ragged(path, lines, options, len(columns))
        raise found or ReadError(f"{path!r} is not delimited text ({error})") from error


def convert(series: Any, column_type: ColumnType) -> Any:
    """Return a column of text as the type it ought to have; what does not fit becomes a missing value."""
    import pandas as pd

    kind = column_type["type"]
    if kind == "string":
        return series.where(series.notna(), None)
    if kind == "bool":
        values = series.str.lower().map({"true": True, "false": False})
        return values.astype(bool) if values.notna().all() else values.astype(object).where(values.notna(), None)
    if kind == "datetime":
        return _datetimes(series, formats(column_type))
    mark = column_type.get("decimal_mark") or "."
    numbers = pd.to_numeric(series.str.replace(mark, ".", regex=False) if mark != "." else series, errors="coerce")
    if kind == "float":
        return numbers.astype("float64")
    whole = numbers.notna() & (numbers % 1 == 0)
    return numbers.astype("int64") if whole.all() else numbers.where(whole).astype("float64")


def _datetimes(series: Any, patterns: Sequence[str]) -> Any:
    import pandas as pd

    if not patterns:
        text = series.str.replace("/", "-", regex=False)
        # Values with an offset are brought to UTC, and all are naive: v1's frames hold no time zones.
        return pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)
    result = pd.Series(pd.NaT, index=series.index, dtype="datetime64[ns]")
    for pattern in patterns:
        found = pd.to_datetime(series, errors="coerce", format=pattern, utc=True).dt.tz_localize(None)
        result = result.fillna(found.astype("datetime64[ns]"))
    return result
