"""Column types of delimited data: told from the first rows as v1 did, or set by the author."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, Mapping, Sequence

from stepwell.payload.errors import ReadError

#: How many rows decide about the types (v1's figure).
INFERENCE_ROWS = 200
#: What a column can be.
TYPES = ("string", "long", "float", "bool", "datetime")

_LONG = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})\Z")  # a leading zero is a code ("02134"), not a number
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z|[+-]?(?:inf|nan)\Z", re.IGNORECASE)
_CODE = re.compile(r"[+-]?0\d")
_BOOL = re.compile(r"(?:true|false)\Z", re.IGNORECASE)
_DATETIME = re.compile(r"\d{4}[-/]\d{2}[-/]\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?\Z")

#: One column's type: ``{"type": "long"}``, with ``formats`` for datetime or ``decimal_mark`` for float.
ColumnType = Dict[str, Any]


def infer(values: Iterable[str | None]) -> str:
    """Return the narrowest type that every non-empty value has; ``string`` when there is none."""
    candidates = ["bool", "long", "float", "datetime"]
    seen = False
    for value in values:
        if value is None or value == "":
            continue
        seen = True
        candidates = [c for c in candidates if _matches(c, value)]
        if not candidates:
            return "string"
    return candidates[0] if seen else "string"


def _matches(kind: str, value: str) -> bool:
    if kind == "long":
        return bool(_LONG.match(value))
    if kind == "float":
        return bool(_FLOAT.match(value)) and not _CODE.match(value)
    return bool((_BOOL if kind == "bool" else _DATETIME).match(value))


def decide(
    columns: Sequence[str], rows: Sequence[Sequence[str | None]], options: Mapping[str, Any]
) -> dict[str, ColumnType]:
    """Return the type of every column, from the first rows and the options of the definition.

    :param rows: the first rows as text, ``None`` for an empty field.
    :raises ReadError: ``set_column_types`` names a column or a type that there is not.
    """
    wanted = set_types(options)
    unknown = [c for c in wanted if c not in columns]
    if unknown:
        raise ReadError(f"set_column_types names the column {unknown[0]!r}, which is not there", allowed=columns)
    inferring = options.get("infer_column_types", True)
    if isinstance(inferring, Mapping):  # v1 also takes {'sample_size': …, 'column_type_hints': …}
        inferring = True
    types: dict[str, ColumnType] = {}
    for index, column in enumerate(columns):
        if column in wanted:
            types[column] = wanted[column]
        else:
            types[column] = {"type": infer(row[index] for row in rows) if inferring else "string"}
    return types


def set_types(options: Mapping[str, Any]) -> dict[str, ColumnType]:
    """Return ``set_column_types`` in one form, whether given as ``"long"`` or ``{"type": "long"}``.

    :raises ReadError: a type is unknown.
    """
    types: dict[str, ColumnType] = {}
    for column, given in (options.get("set_column_types") or {}).items():
        column_type: ColumnType = dict(given) if isinstance(given, Mapping) else {"type": str(given)}
        name = str(column_type.get("type", "")).lower()
        name = {"decimal": "float", "double": "float", "int": "long", "boolean": "bool", "str": "string"}.get(
            name, name
        )
        if name not in TYPES:
            raise ReadError(f"set_column_types gives the column {column!r} the type {given!r}", allowed=TYPES)
        types[str(column)] = {**column_type, "type": name}
    return types


def formats(column_type: ColumnType) -> list[str]:
    """Return the ``strptime`` formats of a datetime column; empty means ISO 8601."""
    given = column_type.get("formats") or column_type.get("format") or []
    return [given] if isinstance(given, str) else [str(f) for f in given]
