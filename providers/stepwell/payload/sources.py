"""The files of a dataset: where they are, how they are called, what their paths mean."""

from __future__ import annotations

import datetime as dt
import fnmatch
import os
import re
from typing import Any, Dict, Iterable, Sequence

from stepwell.payload.errors import ReadError

Definition = Dict[str, Any]


def local_path(uri: str) -> str:
    """Return the path of a local file given as a path or a ``file:`` URI.

    :raises ReadError: the URI has another scheme; pandas reads local files only.
    """
    scheme, separator, _ = uri.partition("://")
    if scheme == "file" and separator:
        return path_of(uri)
    if separator:
        raise ReadError(
            f"{uri!r} is not a local file",
            allowed=["a path", "file:///…"],
            hint="Read it with Spark, or give the input to the step with as_download()",
        )
    return uri[5:] if uri.startswith("file:/") else uri


def spark_path(uri: str) -> str:
    r"""Return *uri* as Spark wants it: plain local paths become ``file:`` URIs, whatever the default filesystem is.

    Spark takes ``{}[]*?\`` in a path for a glob, so they are escaped: a file is named, never searched.
    """
    if "://" not in uri and not uri.startswith("file:"):
        uri = "file://" + os.path.abspath(uri)
    elif uri.startswith("file://"):
        uri = "file://" + path_of(uri)
    return re.sub(r"([{}\[\]*?\\])", r"\\\1", uri)


def path_of(uri: str) -> str:
    """Return the path part of *uri*, starting with a slash. It is taken as it stands, as Hadoop does: nothing is
    escaped.
    """
    if "://" in uri:
        return "/" + uri.partition("://")[2].partition("/")[2]
    return os.path.abspath(uri)


def local_folder(location: str, suffixes: Sequence[str] = ()) -> list[str]:
    """List the data files of a local folder, sorted; markers (``_SUCCESS``, dot files) and empty files are not data.

    :param location: a folder or one file, as a path or ``file:`` URI.
    :raises ReadError: it does not exist.
    """
    root = local_path(location)
    if os.path.isfile(root):
        return [root]
    if not os.path.isdir(root):
        raise ReadError(f"{location!r} does not exist", hint="The step did not write this output")
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(("_", ".")))
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not name.startswith(("_", ".")) and (not suffixes or name.endswith(tuple(suffixes))):
                if os.path.getsize(path):
                    found.append(path)
    return found


def detect_format(names: Iterable[str]) -> str:
    """Tell the format of files from their names: ``parquet``, ``json_lines``, else ``delimited``.

    :raises ReadError: there are files of several formats.
    """
    formats = set()
    for name in names:
        stem = re.sub(r"\.(gz|bz2|zst|snappy|lz4)$", "", name.lower())
        if stem.endswith((".parquet", ".pq")):
            formats.add("parquet")
        elif stem.endswith((".json", ".jsonl", ".ndjson")):
            formats.add("json_lines")
        else:
            formats.add("delimited")
    if len(formats) > 1:
        raise ReadError(
            f"The folder holds files of several formats: {', '.join(sorted(formats))}",
            hint="Say which one to read: read_delimited_files(path_glob=…) or read_parquet_files(path_glob=…)",
        )
    return formats.pop() if formats else "delimited"


def _glob(pattern: str) -> re.Pattern[str]:
    parts = []
    for part in pattern.strip("/").split("/"):
        parts.append("(?:[^/]+/)*" if part == "**" else fnmatch.translate(part)[4:-3].replace(".*", "[^/]*") + "/")
    text = "".join(parts)
    return re.compile((text[:-1] if text.endswith("/") else text + "[^/]+") + r"\Z")


def relative_paths(definition: Definition, files: Sequence[str]) -> list[str]:
    """Return for each file its path on the datastore, starting with a slash (v1's ``Path`` column).

    It is found by laying the definition's path over the end of the file's; a file staged elsewhere keeps its name.
    """
    patterns = [str(p.get("path") or p.get("url") or "") for p in definition.get("paths") or []]
    patterns = [path_of(p) if "://" in p else p for p in patterns]
    compiled = [_glob(p) for p in patterns if p]
    compiled += [_glob(p.rstrip("/") + "/**/*") for p in patterns if p]
    return ["/" + _relative(path_of(f), compiled) for f in files]


def _relative(path: str, patterns: Sequence[re.Pattern[str]]) -> str:
    parts = path.strip("/").split("/")
    for pattern in patterns:
        # The longest match: a pattern that starts with ** would otherwise keep only the file's name.
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            if pattern.match(tail):
                return tail
    return parts[-1]


_FIELD = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}|(\*)")
_DATE_PARTS = {"yyyy": r"\d{4}", "MM": r"\d{2}", "dd": r"\d{2}", "HH": r"\d{2}", "mm": r"\d{2}", "ss": r"\d{2}"}


class PartitionFormat:
    """v1's ``partition_format``: columns out of paths, such as ``'/{Dept}/{Date:yyyy/MM/dd}/data.csv'``.

    :raises ReadError: it names no column, or a date part that is not one of yyyy, MM, dd, HH, mm, ss.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.columns: list[str] = []
        self._dates: dict[str, list[str]] = {}
        pattern, end, group = "", 0, 0
        for match in _FIELD.finditer(text):
            pattern += re.escape(text[end : match.start()])
            end = match.end()
            if match.group(3):
                pattern += "[^/]*"
                continue
            name, date = match.group(1), match.group(2)
            if name not in self.columns:
                self.columns.append(name)
            if date is None:
                pattern += f"(?P<g{group}_{self.columns.index(name)}>[^/]+)"
                group += 1
                continue
            for token in re.findall(r"[A-Za-z]+|[^A-Za-z]+", date):
                if token in _DATE_PARTS:
                    pattern += f"(?P<g{group}_{self.columns.index(name)}>{_DATE_PARTS[token]})"
                    self._dates.setdefault(name, []).append(token)
                    group += 1
                elif token[0].isalpha():
                    raise ReadError(f"partition_format {text!r} has the date part {token!r}", allowed=_DATE_PARTS)
                else:
                    pattern += re.escape(token)
        if not self.columns:
            raise ReadError(
                f"partition_format {text!r} names no column",
                hint="Write for example '/{Department}/{Day:yyyy/MM/dd}/*'",
            )
        pattern += re.escape(text[end:])
        self._regex = re.compile(("" if text.startswith("/") else "(?:.*/)?") + pattern.rstrip("/"))

    @property
    def dates(self) -> list[str]:
        """The columns that hold a date and time; the others hold text."""
        return list(self._dates)

    def values(self, path: str) -> list[Any]:
        """Return the values of :attr:`columns` that *path* carries.

        :raises ReadError: the path does not look like the format.
        """
        # v1 lays the format over the end of the path: what stands before it does not matter.
        match: re.Match[str] | None = None
        for start in [0] + [i for i, c in enumerate(path) if c == "/" and i]:
            match = self._regex.fullmatch(path[start:]) or self._regex.match(path[start:])
            if match:
                break
        if not match:
            raise ReadError(f"The path {path!r} does not have the form of partition_format {self.text!r}")
        parts: list[list[str]] = [[] for _ in self.columns]
        for key, value in sorted(match.groupdict().items(), key=lambda item: int(item[0][1:].split("_")[0])):
            parts[int(key.split("_")[1])].append(value)
        return [self._value(name, found) for name, found in zip(self.columns, parts)]

    def _value(self, name: str, found: list[str]) -> Any:
        if name not in self._dates:
            return found[0]
        numbers = dict(zip(self._dates[name], map(int, found)))
        order: tuple[tuple[str, int], ...] = (("yyyy", 1), ("MM", 1), ("dd", 1), ("HH", 0), ("mm", 0), ("ss", 0))
        year, *rest = (numbers.get(token, default) for token, default in order)
        month, day, hour, minute, second = rest
        return dt.datetime(year, month, day, hour, minute, second)
