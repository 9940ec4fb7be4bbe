"""Reading a dataset with Spark, and saying where it went wrong when Spark only names a file."""

from __future__ import annotations

import os
import re
from typing import Any, Iterator, Mapping, Sequence

from stepwell.payload import delimited, sources
from stepwell.payload.column_types import INFERENCE_ROWS, ColumnType, decide, formats, set_types
from stepwell.payload.errors import ReadError

#: Spark's names of the encodings that it reads without a legacy switch.
_ENCODINGS = {
    "utf8": "UTF-8",
    "utf8bom": "UTF-8",
    "iso88591": "ISO-8859-1",
    "latin1": "ISO-8859-1",
    "ascii": "US-ASCII",
    "utf16": "UTF-16",
    "utf32": "UTF-32",
}
#: Delimited files read in this process, by path: how many columns, and with which options. For :func:`explain`.
_reads: dict[str, tuple[int, dict[str, Any]]] = {}


def session() -> Any:
    """Return the active Spark session, or a new one."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


def read(spark: Any, format: str, options: dict[str, Any], definition: dict[str, Any], files: Sequence[str]) -> Any:
    """Return the files as a Spark frame with v1's columns and types; the plan is not yet applied."""
    wants_path = bool(options["include_path"] or options["partition_format"])
    if format == "delimited":
        frame = _delimited(spark, files, options, wants_path)
    else:
        paths = [sources.spark_path(f) for f in files]
        if format == "parquet":
            frame = spark.read.parquet(*paths)
        else:
            mode = "DROPMALFORMED" if options["invalid_lines"] == "drop" else "FAILFAST"
            frame = spark.read.json(paths, mode=mode, encoding=_encoding(options))
        if wants_path:
            frame = frame.select("*", "_metadata.file_path").withColumnRenamed("file_path", _FILE)
        frame = _retype(frame, options)
    return _with_paths(spark, frame, definition, files, options) if wants_path else frame


_FILE = "__stepwell_file"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _encoding(options: Mapping[str, Any]) -> str:
    name = options["encoding"]
    if name not in _ENCODINGS:
        raise ReadError(
            f"Spark does not read the encoding {name!r}", allowed=_ENCODINGS, hint="Read it with pandas instead"
        )
    return _ENCODINGS[name]


# -- delimited ------------------------------------------------------------------------------------------------------


def _delimited(spark: Any, files: Sequence[str], options: dict[str, Any], wants_path: bool) -> Any:
    options = {**options, "escape": _escape(spark, files, options)}
    head = _head(spark, files, options)
    if not head.columns:
        raise ReadError("The files of the dataset hold nothing, not even a header", hint=f"Look at {files[0]!r}")
    types = decide(head.columns, head.rows, options)
    behaviour = options["header"]
    parts: list[Any] = []
    if behaviour == delimited.COMBINE:
        groups = [([f], columns, True) for f, columns in zip(files, head.by_file) if columns]
    elif behaviour == delimited.ONLY_FIRST:
        groups = [([files[0]], head.columns, True), (list(files[1:]), head.columns, False)]
    else:
        groups = [(list(files), head.columns, behaviour == delimited.SAME)]
    for group, columns, has_header in groups:
        if group:
            parts.append(_group(spark, group, columns, types, options, has_header, wants_path))
    frame = parts[0]
    for part in parts[1:]:
        frame = frame.unionByName(part, allowMissingColumns=True)
    return frame


def _group(
    spark: Any,
    files: Sequence[str],
    columns: Sequence[str],
    types: Mapping[str, ColumnType],
    options: dict[str, Any],
    has_header: bool,
    wants_path: bool,
) -> Any:
    from pyspark.sql.types import StringType, StructField, StructType

    for file in files:
        _reads[sources.path_of(file)] = (len(columns), options)
    schema = StructType([StructField(c, StringType()) for c in columns])
    frame = (
        spark.read.options(**_reader_options(options))
        .option("header", has_header)
        # Every row is to be looked at whole, else a ragged one goes unseen when only some columns are used.
        .option("columnPruning", False)
        .option("enforceSchema", not has_header or _renamed(columns))
        .schema(schema)
        .csv([sources.spark_path(f) for f in files])
    )
    chosen = [_cast(c, types[c], options["empty_as_string"]) for c in columns]
    if wants_path:
        from pyspark.sql import functions as F

        chosen.append(F.col("_metadata.file_path").alias(_FILE))
    return frame.select(chosen)


def _renamed(columns: Sequence[str]) -> bool:
    """Whether a header may differ from the columns made of it (empty, repeated names): Spark must not compare."""
    return any(re.match(r"Column\d+\Z|.*_\d+\Z", c) for c in columns) or len({c.lower() for c in columns}) != len(
        columns
    )


def _reader_options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sep": options["separator"],
        "encoding": _encoding(options),
        "mode": "FAILFAST",
        "quote": '"',
        "escape": options["escape"],
        "nullValue": "",
        "emptyValue": "",
        # Wide encodings cannot be split at line ends.
        "multiLine": bool(options["support_multi_line"]) or options["encoding"] in ("utf16", "utf32"),
    }


def _escape(spark: Any, files: Sequence[str], options: Mapping[str, Any]) -> str:
    """Return what escapes a quote: by looking into local files, and into remote ones that Spark has written."""
    remote = [f for f in files if _is_remote(f)]
    if len(remote) < len(files):
        local = [sources.local_path(f) for f in files if not _is_remote(f)]
        if delimited.local_escape([p for p in local if os.path.isfile(p)], options) == "\\":
            return "\\"
    written = [f for f in remote if os.path.basename(sources.path_of(f)).startswith("part-")]
    if written and options["encoding"] in ("utf8", "utf8bom", "ascii"):
        lines = spark.read.text([sources.spark_path(f) for f in written])
        if lines.where(lines["value"].rlike(delimited.backslash_pattern(options))).limit(1).count():
            return "\\"
    return '"'


def _is_remote(file: str) -> bool:
    return "://" in file and not file.startswith("file:")


def _head(spark: Any, files: Sequence[str], options: dict[str, Any]) -> delimited.Head:
    behaviour = options["header"]
    look_at = files if behaviour == delimited.COMBINE else files[:1]
    firsts: list[list[tuple[int, list[str]]]] = []
    rows = 0
    for file in files:
        if file not in look_at and rows >= INFERENCE_ROWS:
            break
        found = _first_records(spark, file, options)
        rows += len(found)
        firsts.append(found)
    return delimited.Head(list(files), firsts, options)


def _first_records(spark: Any, file: str, options: dict[str, Any]) -> list[tuple[int, list[str]]]:
    if not _is_remote(file):
        path = sources.local_path(file)
        if os.path.exists(path):  # the driver's own disk: no Spark job for a few lines
            return delimited.first_records(path, options, INFERENCE_ROWS + 1)
        raise ReadError(f"The file {file!r} does not exist", hint="It was there when the dataset was pinned")
    texts = (str(row[0]) + "\n" for row in _text(spark, file, options).limit(4 * INFERENCE_ROWS).collect())
    lines = delimited.doubled(texts) if options["escape"] == "\\" else texts
    found = []
    for record in delimited.records(lines, options):
        found.append(record)
        if len(found) > INFERENCE_ROWS:
            break
    return found


def _text(spark: Any, file: str, options: Mapping[str, Any]) -> Any:
    if options["encoding"] in ("utf8", "utf8bom", "ascii"):
        return spark.read.text(sources.spark_path(file))
    # The text reader is UTF-8 only; a delimiter that cannot occur makes the delimited one give whole lines.
    return (
        spark.read.options(sep="\u0001", quote="", encoding=_encoding(options), header=False)
        .option("multiLine", False)
        .schema("value string")
        .csv(sources.spark_path(file))
    )


_STRPTIME = {
    "%Y": "yyyy", "%y": "yy", "%m": "MM", "%d": "dd", "%H": "HH", "%I": "hh", "%M": "mm", "%S": "ss", "%f": "SSSSSS",
    "%p": "a", "%b": "MMM", "%B": "MMMM", "%a": "EEE", "%A": "EEEE", "%z": "xx", "%Z": "z", "%j": "DDD", "%%": "%",
}  # fmt: skip


def _java_pattern(pattern: str) -> str:
    result = ""
    for token in re.findall(r"%.|[A-Za-z]+|[^%A-Za-z]+", pattern):
        if token.startswith("%"):
            if token not in _STRPTIME:
                raise ReadError(f"The datetime format {pattern!r} uses {token!r}", allowed=_STRPTIME)
            result += _STRPTIME[token]
        else:
            result += f"'{token}'" if token.isalpha() else token.replace("'", "''")
    return result


def _cast(column: str, column_type: ColumnType, keep_empty: bool) -> Any:
    from pyspark.sql import functions as F

    return _typed(F.col(_quoted(column)), column_type, keep_empty).alias(column)


def _typed(text: Any, column_type: ColumnType, keep_empty: bool) -> Any:
    """Return a column of text as its type; what does not fit is null, whether the session is in ANSI mode or not."""
    from pyspark.sql import functions as F

    kind = column_type["type"]
    if kind == "string":
        return F.coalesce(text, F.lit("")) if keep_empty else text
    if kind == "long":
        return text.try_cast("bigint")
    if kind == "float":
        mark = column_type.get("decimal_mark") or "."
        return (F.replace(text, F.lit(mark), F.lit(".")) if mark != "." else text).try_cast("double")
    if kind == "bool":
        lower = F.lower(text)
        return F.when(lower == "true", True).when(lower == "false", False)
    patterns = formats(column_type)
    if patterns:
        return F.coalesce(*[F.try_to_timestamp(text, F.lit(_java_pattern(p))) for p in patterns])
    return F.replace(text, F.lit("/"), F.lit("-")).try_cast("timestamp")


def _retype(frame: Any, options: Mapping[str, Any]) -> Any:
    from pyspark.sql import functions as F

    for column, column_type in set_types(options).items():
        if column not in frame.columns:
            raise ReadError(f"set_column_types names the column {column!r}, which is not there", allowed=frame.columns)
        frame = frame.withColumn(column, _typed(F.col(_quoted(column)).cast("string"), column_type, True))
    return frame


# -- paths ----------------------------------------------------------------------------------------------------------


def _with_paths(
    spark: Any, frame: Any, definition: dict[str, Any], files: Sequence[str], options: Mapping[str, Any]
) -> Any:
    from pyspark.sql import functions as F

    relative = sources.relative_paths(definition, files)
    # Spark reports files as Hadoop writes their URIs, so Hadoop writes the keys as well.
    path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path
    keys = [path(_unescaped(sources.spark_path(f))).toUri().toString() for f in files]
    keys = [re.sub(r"^file:/+", "file:/", k) for k in keys]  # it writes local files now with one slash, now with three
    file = F.regexp_replace(F.col(_FILE), "^file:/+", "file:/")
    values: dict[str, list[Any]] = {}
    kinds: dict[str, str] = {}
    if options["include_path"]:
        values["Path"], kinds["Path"] = list(relative), "string"
    if options["partition_format"]:
        partition = sources.PartitionFormat(options["partition_format"])
        rows = [partition.values(p) for p in relative]
        for index, column in enumerate(partition.columns):
            values[column] = [row[index] for row in rows]
            kinds[column] = "timestamp" if column in partition.dates else "string"
    added = []
    for column, cells in values.items():
        pairs = [F.lit(x) for pair in zip(keys, cells) for x in pair]
        added.append(F.element_at(F.create_map(*pairs), file).cast(kinds[column]).alias(column))
    kept = [F.col(_quoted(c)) for c in frame.columns if c != _FILE and c not in values]
    return frame.select(*added, *kept)


def _unescaped(path: str) -> str:
    return re.sub(r"\\(.)", r"\1", path)


# -- explanation ----------------------------------------------------------------------------------------------------

_READING = re.compile(r"Encountered error while reading file (\S+?)\.\s")


def explain(error: BaseException, spark: Any | None = None) -> ReadError | None:
    """Return what is wrong with the delimited file that a Spark job failed on, or ``None`` if it is something else.

    The file is read once more, up to the row in question: a price paid only for a failure.
    """
    match = _READING.search(str(error) + " ")
    if not match:
        return None
    file = match.group(1)
    known = _reads.get(sources.path_of(file))
    if known is None:
        return None
    expected, options = known
    try:
        return delimited.find_ragged(file, _lines(spark, file, options), options, expected) or _other(file, str(error))
    except UnicodeError as problem:
        return delimited.encoding_error(file, options, problem)
    except Exception:  # the explanation must never hide what it explains
        return None


def _lines(spark: Any | None, file: str, options: Mapping[str, Any]) -> Iterator[str]:
    if file.startswith("file:"):
        with delimited.open_text(sources.local_path(file), options) as lines:
            yield from lines
    else:
        texts = (str(row[0]) + "\n" for row in _text(spark or session(), file, options).toLocalIterator())
        yield from delimited.doubled(texts) if options["escape"] == "\\" else texts


def _other(file: str, text: str) -> ReadError | None:
    header = re.search(r"CSV header does not conform to the schema\.\s*Header: (.*)\s*Schema: (.*)", text)
    if header:
        return ReadError(
            f"The header of {file!r} ({header.group(1).strip()}) differs from that of the first file "
            f"({header.group(2).strip()})",
            hint="Use header=PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS, or read them as two datasets",
        )
    return None


# -- folders --------------------------------------------------------------------------------------------------------


def list_folder(spark: Any, location: str) -> list[str]:
    """List the data files of a folder on any filesystem that Spark knows, sorted; markers and empty files are no data.

    :raises ReadError: the folder does not exist, or its filesystem cannot be reached.
    """
    context = spark.sparkContext
    path = context._jvm.org.apache.hadoop.fs.Path(location)
    try:
        filesystem = path.getFileSystem(context._jsc.hadoopConfiguration())
        if not filesystem.exists(path):
            raise ReadError(f"{location!r} does not exist", hint="The step did not write this output")
        found = filesystem.listFiles(path, True)
        files = []
        base = path.toUri().getPath().rstrip("/")
        while found.hasNext():
            status = found.next()
            below = status.getPath().toUri().getPath()[len(base) :].lstrip("/")
            hidden = any(part.startswith(("_", ".")) for part in below.split("/"))
            if status.getLen() and not hidden:
                files.append(status.getPath().toString())
    except ReadError:
        raise
    except Exception as error:
        cause = str(getattr(error, "java_exception", None) or error).splitlines()[0]
        raise ReadError(f"{location!r} cannot be listed ({cause})", hint="See whether the storage is up") from error
    return sorted(files)
