"""v1's reading options, checked and brought into the plain form that a definition holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from stepwell.errors import UserErrorException
from stepwell.runtime import definition as definitions

ENCODINGS = ("utf8", "iso88591", "latin1", "ascii", "utf16", "utf32", "utf8bom", "windows1252")
_ALIASES = {"utf-8": "utf8", "iso-8859-1": "iso88591", "latin-1": "latin1", "utf-16": "utf16", "utf-32": "utf32"}
_TYPES = ("string", "long", "float", "bool", "datetime")


class PromoteHeadersBehavior(Enum):
    """How column names are found in delimited files (v1's names and numbers)."""

    NO_HEADERS = 0
    ONLY_FIRST_FILE_HAS_HEADERS = 1
    COMBINE_ALL_FILES_HEADERS = 2
    ALL_FILES_HAVE_SAME_HEADERS = 3


@dataclass(frozen=True)
class DataType:
    """The type of a column, for ``set_column_types`` (v1's ``DataType``)."""

    type: str
    decimal_mark: str | None = None
    formats: tuple[str, ...] | None = None

    @staticmethod
    def to_string() -> DataType:
        """Text."""
        return DataType("string")

    @staticmethod
    def to_long() -> DataType:
        """Whole numbers of 64 bits."""
        return DataType("long")

    @staticmethod
    def to_float(decimal_mark: str = ".") -> DataType:
        """Floating-point numbers, written with *decimal_mark* (``.`` or ``,``)."""
        if decimal_mark not in (".", ","):
            raise UserErrorException(f"{decimal_mark!r} is not a decimal mark", allowed=[".", ","])
        return DataType("float", decimal_mark=decimal_mark)

    @staticmethod
    def to_bool() -> DataType:
        """True or false."""
        return DataType("bool")

    @staticmethod
    def to_datetime(formats: str | list[str] | None = None) -> DataType:
        """Date and time; *formats*: ``strptime`` patterns to try, in order. ``None``: ISO 8601."""
        if formats is None:
            return DataType("datetime")
        return DataType("datetime", formats=(formats,) if isinstance(formats, str) else tuple(formats))

    @staticmethod
    def to_stream(*_: Any, **__: Any) -> DataType:
        """Not built yet.

        :raises UserErrorException: always.
        """
        raise UserErrorException("DataType.to_stream is not built yet", allowed=[f"to_{t}" for t in _TYPES])

    def serialize(self) -> dict[str, Any]:
        """Return the plain form."""
        plain: dict[str, Any] = {"type": self.type}
        if self.type == "float":
            plain["decimal_mark"] = self.decimal_mark or "."
        if self.type == "datetime":
            plain["formats"] = None if self.formats is None else list(self.formats)
        return plain


def normalise(format: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return *options* of v1's readers in the plain, complete form of a definition of *format*.

    ``path_glob`` is v1's for outputs and stands beside the options: it is kept when it is given.

    :param format: ``delimited``, ``parquet``, ``json_lines``, or ``None`` for a file dataset.
    :raises UserErrorException: an unknown option, or a value that is not allowed or not built yet.
    """
    given = dict(options)
    glob = given.pop("path_glob", None)
    known = definitions.OPTIONS[format]
    for name in given:
        if name not in known:
            raise UserErrorException(f"The option {name!r} is not known for {format or 'file'} datasets", allowed=known)
    plain: dict[str, Any] = {**known, **given}
    for name, check in _CHECKS.items():
        if name in plain:
            plain[name] = check(name, plain[name])
    if glob is not None:
        plain["path_glob"] = _text("path_glob", glob)
    return plain


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise UserErrorException(f"{name}={value!r} is not allowed", allowed=["a piece of text"])
    return value


def _text_or_none(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserErrorException(f"{name}={value!r} is not allowed", allowed=["True", "False"])
    return value


def _invalid_lines(name: str, value: Any) -> str:
    if value not in ("error", "drop"):
        raise UserErrorException(f"{name}={value!r} is not allowed", allowed=["error", "drop"])
    return str(value)


def _header(_: str, header: Any) -> str:
    if isinstance(header, bool):
        return "all_files_have_same_headers" if header else "no_headers"
    if isinstance(header, Enum):
        header = header.name
    if isinstance(header, str) and header.lower() in definitions.HEADERS:
        return header.lower()
    raise UserErrorException(
        f"header={header!r} is not allowed",
        allowed=["True", "False", *(f"PromoteHeadersBehavior.{b.name}" for b in PromoteHeadersBehavior)],
    )


def _encoding(_: str, encoding: Any) -> str:
    name = str(encoding).lower()
    name = _ALIASES.get(name, name)
    if name not in ENCODINGS:
        raise UserErrorException(f"encoding={encoding!r} is not known", allowed=ENCODINGS)
    return name


def _column_types(_: str, types: Any) -> dict[str, Any] | None:
    if types is None:
        return None
    if not isinstance(types, Mapping):
        raise UserErrorException(f"set_column_types={types!r} is not a dict of column name to DataType")
    plain = {}
    for name, kind in types.items():
        if isinstance(kind, DataType):
            plain[str(name)] = kind.serialize()
        elif isinstance(kind, Mapping) and kind.get("type") in _TYPES:
            plain[str(name)] = dict(kind)
        else:
            raise UserErrorException(
                f"The type {kind!r} of column {name!r} is not known", allowed=[f"DataType.to_{t}()" for t in _TYPES]
            )
    return plain


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "separator": _text,
    "header": _header,
    "encoding": _encoding,
    "invalid_lines": _invalid_lines,
    "set_column_types": _column_types,
    "infer_column_types": _flag,
    "include_path": _flag,
    "support_multi_line": _flag,
    "empty_as_string": _flag,
    "partition_format": _text_or_none,
}
