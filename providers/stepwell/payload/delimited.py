"""Delimited files: what both engines share (headers, encodings, first rows), and where a ragged row stands."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import lzma
import re
import sys
from typing import IO, Any, Iterable, Iterator, Mapping, Sequence, cast

from stepwell.payload.column_types import INFERENCE_ROWS
from stepwell.payload.errors import RaggedRowError, ReadError
from stepwell.runtime.definition import HEADERS, OPTIONS

NO_HEADERS, ONLY_FIRST, COMBINE, SAME = HEADERS
#: v1's names of encodings → Python's.
ENCODINGS = {
    "utf8": "utf-8",
    "utf8bom": "utf-8-sig",
    "iso88591": "iso-8859-1",
    "latin1": "iso-8859-1",
    "ascii": "ascii",
    "utf16": "utf-16",
    "utf32": "utf-32",
    "windows1252": "cp1252",
}
_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


def complete(options: Mapping[str, Any], format: str = "delimited") -> dict[str, Any]:
    """Return *options* with the defaults of the format filled in and the forms that v1 also takes made one.

    :raises ReadError: an option's value cannot be honoured.
    """
    full = {**OPTIONS[format], **options}
    if "header" in full:
        header = full["header"]
        if isinstance(header, bool):
            header = SAME if header else NO_HEADERS
        if header not in HEADERS:
            raise ReadError(f"{full['header']!r} is not a header behaviour", allowed=HEADERS)
        full["header"] = header
    if "separator" in full and (not isinstance(full["separator"], str) or len(full["separator"]) != 1):
        raise ReadError(
            f"The separator {full['separator']!r} is not one character", hint=r"Write for example ',' or '\t'"
        )
    if "encoding" in full:
        name = str(full["encoding"]).lower().replace("-", "").replace("_", "")
        if name not in ENCODINGS:
            raise ReadError(f"{full['encoding']!r} is not an encoding", allowed=ENCODINGS)
        full["encoding"] = name
    return full


def open_bytes(path: str) -> IO[bytes]:
    """Open a local file for reading, decompressed by its suffix."""
    for suffix, opener in _OPENERS.items():
        if path.endswith(suffix):
            return opener(path, "rb")  # type: ignore[operator, no-any-return]
    return open(path, "rb")


def open_text(path: str, options: Mapping[str, Any]) -> IO[str]:
    """Open a local file as text in the definition's encoding, line ends untouched; a byte order mark is not data.

    Quotes come out doubled, however the file escapes them.
    """
    encoding = ENCODINGS[options["encoding"]]
    text = io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="")
    return cast("IO[str]", _Doubled(text)) if options.get("escape") == "\\" else text


# -- quotes ---------------------------------------------------------------------------------------------------------
# Quotes inside of quotes are doubled (RFC 4180), except in what Spark writes by default: it puts a backslash before
# them. v1's datasets did not say which, so the file has to.


def backslash_pattern(options: Mapping[str, Any]) -> str:
    """Return the pattern of a quote that only a backslash can have escaped: no end of a field follows it."""
    return r'\\"[^"\r\n{}]'.format(re.escape(options["separator"]))


def local_escape(paths: Iterable[str], options: Mapping[str, Any]) -> str:
    """Return what escapes a quote in these local files: another quote, or a backslash."""
    if options["encoding"] in ("utf16", "utf32"):
        return '"'
    pattern = re.compile(backslash_pattern(options).encode("utf-8"))
    for path in paths:
        with open_bytes(path) as file:
            last = b""
            for block in iter(lambda: file.read(1 << 22), b""):
                block = last + block
                if b'\\"' in block and pattern.search(block):
                    return "\\"
                last = block[-8:]
    return '"'


_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r'\\(["\\])')


def doubled(lines: Iterable[str]) -> Iterator[str]:
    """Yield *lines*, whose quoted fields escape quotes and backslashes by a backslash, with quotes doubled instead.

    Lines that belong to one quoted field come out as one.
    """
    open_field = ""
    for line in lines:
        if not open_field and "\\" not in line and line.count('"') % 2 == 0:
            yield line
            continue
        text = open_field + line
        # A quote is left over: the field goes on in the next line, unless it never ends.
        if '"' in _QUOTED.sub("", text) and len(text) < 1 << 20:
            open_field = text
            continue
        open_field = ""
        yield _QUOTED.sub(_requoted, text)
    if open_field:
        yield open_field


def _requoted(field: re.Match[str]) -> str:
    return '"' + _ESCAPE.sub(lambda m: '""' if m[1] == '"' else "\\", field[1]) + '"'


class _Doubled(io.TextIOBase):
    """A text file whose backslash-escaped quotes come out doubled."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text
        self._lines = doubled(text)
        self._left = ""

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> str:
        wanted = sys.maxsize if size is None or size < 0 else size
        parts, length = [self._left], len(self._left)
        while length < wanted:
            line = next(self._lines, None)
            if line is None:
                break
            parts.append(line)
            length += len(line)
        block = "".join(parts)
        self._left = block[wanted:]
        return block[:wanted]

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return self._lines

    def close(self) -> None:
        self._text.close()
        super().close()


def records(lines: Iterable[str], options: Mapping[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number where it starts, fields) of each record; blank lines are no records."""
    reader = csv.reader(lines, delimiter=options["separator"], doublequote=True, strict=False)
    line = 1
    for fields in reader:
        if fields:
            yield line, fields
        line = reader.line_num + 1


def first_records(path: str, options: Mapping[str, Any], count: int) -> list[tuple[int, list[str]]]:
    """Return the first *count* records of a local file.

    :raises ReadError: its bytes are not text in the definition's encoding.
    """
    try:
        with open_text(path, options) as lines:
            return list(itertools.islice(records(lines, options), count))
    except UnicodeError as error:
        raise encoding_error(path, options, error) from error


def encoding_error(path: str, options: Mapping[str, Any], error: UnicodeError) -> ReadError:
    """Return the error for a file that is not in the encoding that the definition gives."""
    return ReadError(
        f"The file {path!r} is not {options['encoding']} ({error})",
        allowed=ENCODINGS,
        hint="Give the right encoding= to from_delimited_files",
    )


def column_names(fields: Sequence[str | None], has_header: bool) -> list[str]:
    """Return names for columns, each once: from the header, else ``Column1`` … as v1 calls them."""
    names: list[str] = []
    for index, field in enumerate(fields):
        name = (field or "") if has_header else ""
        name = name or f"Column{index + 1}"
        unique, number = name, 1
        while unique in names:
            unique, number = f"{name}_{number}", number + 1
        names.append(unique)
    return names


class Head:
    """What the beginning of a set of files says: columns, and the first rows as text.

    :param firsts: the first records of each file, for as many files as were looked at (those after it are not needed).
    """

    def __init__(self, files: Sequence[str], firsts: Sequence[list[tuple[int, list[str]]]], options: Mapping[str, Any]):
        header = options["header"]
        self.columns: list[str] = []
        #: Columns of each file, where they differ by file.
        self.by_file: list[list[str]] = []
        self.rows: list[list[str | None]] = []
        for index, (file, found) in enumerate(zip(files, firsts)):
            has_header = header in (SAME, COMBINE) or (header == ONLY_FIRST and index == 0)
            if not found:
                self.by_file.append([])
                continue
            if has_header or not self.columns:
                columns = column_names(found[0][1], has_header)
            else:
                columns = self.columns
            if has_header and header == SAME and self.columns and columns != self.columns:
                raise ReadError(
                    f"The header of {file!r} ({', '.join(columns)}) differs from that of {files[0]!r} "
                    f"({', '.join(self.columns)})",
                    hint="Use header=PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS, or read them as two datasets",
                )
            self.by_file.append(columns)
            self.columns += [c for c in columns if c not in self.columns] if self.columns else columns
            for line, fields in found[1:] if has_header else found:
                if len(fields) != len(columns):
                    raise ragged(file, line, len(fields), len(columns))
                if len(self.rows) < INFERENCE_ROWS:
                    row = dict(zip(columns, fields))
                    self.rows.append([row.get(c) or None for c in self.columns])
        for row_ in self.rows:
            row_.extend([None] * (len(self.columns) - len(row_)))


def local_head(paths: Sequence[str], options: Mapping[str, Any]) -> Head:
    """Return the :class:`Head` of local files.

    :raises ReadError: headers that ought to be the same differ, or a file is not in the encoding.
    :raises RaggedRowError: one of the first rows has too many or too few fields.
    """
    firsts, rows = [], 0
    for path in paths:
        # Once enough rows are seen, only the headers of further files matter.
        found = first_records(path, options, INFERENCE_ROWS + 1 if rows < INFERENCE_ROWS else 1)
        rows += len(found)
        firsts.append(found)
    return Head(paths, firsts, options)


def ragged(file: str, line: int, got: int, expected: int) -> RaggedRowError:
    """Return the error for a row with a wrong number of fields."""
    return RaggedRowError(
        f"{file!r} line {line} has {got} fields where {expected} are expected",
        hint="Correct the row, quote fields that hold the separator, or give the right separator=",
    )


def find_ragged(file: str, lines: Iterable[str], options: Mapping[str, Any], expected: int) -> RaggedRowError | None:
    """Return the error for the first ragged row among *lines*, or ``None`` when every row has *expected* fields."""
    for line, fields in records(lines, options):
        if len(fields) != expected:
            return ragged(file, line, len(fields), expected)
    return None


def check_short_rows(path: str, options: Mapping[str, Any], expected: int) -> None:
    """Raise if a row of a local file has too few fields; pandas would quietly fill them up.

    Counting separators settles it for a file without quotes, at the speed of the disk; else every record is looked at.

    :raises RaggedRowError: a row has too few fields.
    """
    if options["encoding"] not in ("utf16", "utf32") and _separators_add_up(path, options["separator"], expected):
        return
    with open_text(path, options) as lines:
        error = find_ragged(path, lines, options, expected)
    if error:
        raise error


def _separators_add_up(path: str, separator: str, expected: int) -> bool:
    mark = separator.encode("utf-8")
    separators = lines = 0
    last = b"\n"
    with open_bytes(path) as file:
        while True:
            block = file.read(1 << 22)
            if not block:
                break
            if b'"' in block or b"\r" in block or b"\n\n" in last + block:
                return False
            separators += block.count(mark)
            lines += block.count(b"\n")
            last = block[-1:]
    return separators == (lines + (last != b"\n")) * (expected - 1)
