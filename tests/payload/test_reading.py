"""Delimited, parquet and JSON lines files into pandas and Spark: the same data, the same errors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from payload_support import delimited

from stepwell.payload.errors import RaggedRowError, ReadError
from stepwell.payload.reading import to_pandas, to_spark
from stepwell.payload.spark_reading import explain
from stepwell.runtime.definition import column, filter, keep_columns, make, sample, skip, split, take, with_operation

Read = Callable[..., pd.DataFrame]


@pytest.fixture(params=["pandas", pytest.param("spark", marks=pytest.mark.integration)])
def read(request: pytest.FixtureRequest) -> Read:
    """Read with one engine and return pandas, an error explained as a step's log would."""
    if request.param == "pandas":
        return lambda definition, *files: to_pandas(definition, [str(f) for f in files])
    spark = request.getfixturevalue("spark")

    def with_spark(definition: dict[str, Any], *files: Path) -> pd.DataFrame:
        try:
            frame = to_spark(definition, [str(f) for f in files], spark).toPandas()
            return frame.astype(object).where(frame.notna(), None).infer_objects()
        except ReadError:
            raise
        except Exception as error:
            raise explain(error, spark) or error from error

    return with_spark


def cells(frame: pd.DataFrame, name: str) -> list[Any]:
    return [None if pd.isna(v) else v for v in frame[name]]


def test_types_and_quotes_and_missing_values(read: Read, passengers: Path) -> None:
    frame = read(delimited(), passengers)
    assert cells(frame, "PassengerId") == [1, 2, 3, 4]
    assert cells(frame, "Age") == [22, 38, 15, None]
    assert cells(frame, "Fare") == [7.25, 71.2833, 8.0292, 8.4583]
    assert cells(frame, "Name")[2] == 'McGowan, Miss. Anna "Annie"'
    assert cells(frame, "Embarked") == ["S", "C", "Q", None]


def test_quotes_escaped_by_backslash_as_spark_writes_them(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "part-0.csv"
    path.write_text('a,b\n1,"Nasser, Mrs. \\"Nick\\" A"\n2,"C:\\\\dir, x"\n3,plain\\back\n')
    assert cells(read(delimited(), path), "b")[0] == 'Nasser, Mrs. "Nick" A'


@pytest.mark.integration
def test_what_spark_writes_by_default_comes_back_the_same(spark: Any, tmp_path: Path) -> None:
    texts = ['say "hi", twice', "a\\b", "end\\", "comma, and \\ back", 'q"', "plain"]
    out = tmp_path / "out"
    spark.createDataFrame(list(enumerate(texts)), "i int, t string").coalesce(1).write.option("header", True).csv(
        str(out)
    )
    files = sorted(str(p) for p in out.glob("part-*"))
    assert cells(to_pandas(delimited(), files), "t") == texts
    assert [r.t for r in to_spark(delimited(), files, spark).collect()] == texts


def test_types_are_told_from_the_first_200_rows_and_later_misfits_are_missing(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "late.csv"
    path.write_text("n,z\n" + "7,02134\n" * 250 + "seven,02134\n")
    frame = read(delimited(), path)
    assert cells(frame, "n")[:2] == [7, 7]
    assert cells(frame, "n")[-1] is None
    assert cells(frame, "z")[0] == "02134"  # a code, not a number


def test_booleans_and_datetimes(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("b,d\nTrue,2019-05-01T10:00:00\nfalse,2019/05/02 11:30:00\n,\n")
    frame = read(delimited(), path)
    assert cells(frame, "b") == [True, False, None]
    assert cells(frame, "d") == [dt.datetime(2019, 5, 1, 10), dt.datetime(2019, 5, 2, 11, 30), None]


def test_set_column_types(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b;c\n007;1,5;01.02.2020\n8;x;bad\n")
    types = {
        "a": "string",
        "b": {"type": "float", "decimal_mark": ","},
        "c": {"type": "datetime", "formats": ["%d.%m.%Y"]},
    }
    frame = read(delimited(separator=";", set_column_types=types), path)
    assert cells(frame, "a") == ["007", "8"]
    assert cells(frame, "b") == [1.5, None]
    assert cells(frame, "c") == [dt.datetime(2020, 2, 1), None]


def test_no_inference_and_empty_as_string(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,\n2,x\n")
    frame = read(delimited(infer_column_types=False, empty_as_string=True), path)
    assert frame.to_dict("list") == {"a": ["1", "2"], "b": ["", "x"]}


def test_header_behaviours(read: Read, tmp_path: Path) -> None:
    one, two = tmp_path / "1.csv", tmp_path / "2.csv"
    one.write_text("a,b\n1,x\n")
    two.write_text("b,c\ny,2\n")
    assert list(read(delimited(header="no_headers"), one).columns) == ["Column1", "Column2"]
    combined = read(delimited(header="combine_all_files_headers"), one, two)
    assert [cells(combined, c) for c in "abc"] == [[1, None], ["x", "y"], [None, 2]]
    only_first = read(delimited(header="only_first_file_has_headers", infer_column_types=False), one, two)
    assert cells(only_first, "a") == ["1", "b", "y"]
    with pytest.raises(ReadError, match=r"2\.csv.*differs"):
        read(delimited(), one, two)


@pytest.mark.parametrize(
    ("rows", "line", "got"), [("1,2\n", 2, 2), ("1,2,3\n" * 300 + "4,5\n", 302, 2), ("1,2,3,4\n", 2, 4)]
)
def test_a_ragged_row_is_named_with_file_and_line(read: Read, tmp_path: Path, rows: str, line: int, got: int) -> None:
    path = tmp_path / "ragged.csv"
    path.write_text("a,b,c\n" + rows)
    with pytest.raises(RaggedRowError, match=rf"ragged\.csv' line {line} has {got} fields where 3 are expected"):
        read(delimited(), path)


def test_a_short_row_is_found_among_quotes_and_missing_last_values(tmp_path: Path) -> None:
    path = tmp_path / "ragged.csv"
    path.write_text('a,b\n"x, ""y""",\n' * 1 + '"two\nlines",1\n' + "1,2\n" * 300 + '"alone"\n')
    with pytest.raises(RaggedRowError, match="line 305 has 1 fields"):
        to_pandas(delimited(), [str(path)])


def test_a_wrong_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("name\nJosé\n".encode("latin-1"))
    with pytest.raises(ReadError, match="is not utf8.*encoding="):
        to_pandas(delimited(), [str(path)])
    assert cells(to_pandas(delimited(encoding="latin1"), [str(path)]), "name") == ["José"]


def test_paths_and_partitions_become_columns(read: Read, tmp_path: Path) -> None:
    files = []
    for dept, day in (("toys", "2019/05/01"), ("food x", "2019/06/02")):
        path = tmp_path / "root" / dept / day / "data.csv"
        path.parent.mkdir(parents=True)
        path.write_text("n\n1\n")
        files.append(path)
    definition = delimited("*/*/*/*/data.csv", include_path=True, partition_format="/{dept}/{day:yyyy/MM/dd}/data.csv")
    frame = read(definition, *files)
    assert list(frame.columns) == ["Path", "dept", "day", "n"]
    assert cells(frame, "Path") == ["/toys/2019/05/01/data.csv", "/food x/2019/06/02/data.csv"]
    assert cells(frame, "dept") == ["toys", "food x"]
    assert cells(frame, "day") == [dt.datetime(2019, 5, 1), dt.datetime(2019, 6, 2)]


def test_parquet_and_json_lines(read: Read, tmp_path: Path) -> None:
    parquet, lines = tmp_path / "t.parquet", tmp_path / "t.jsonl"
    pd.DataFrame({"a": [1, 2], "b": ["x", None]}).to_parquet(parquet)
    lines.write_text('{"a": 1, "b": "x"}\n{"a": 2}\n')
    for format, path in (("parquet", parquet), ("json_lines", lines)):
        frame = read(make("tabular", format, [{"datastore": "s", "path": path.name}]), path)
        assert [cells(frame, "a"), cells(frame, "b")] == [[1, 2], ["x", None]]


def test_a_bad_json_line_is_named_or_dropped(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1}\n{"a": \n')
    definition = make("tabular", "json_lines", [{"datastore": "s", "path": "t.jsonl"}])
    with pytest.raises(ReadError, match="line 2 is not a JSON object"):
        to_pandas(definition, [str(path)])
    definition["options"]["invalid_lines"] = "drop"
    assert len(to_pandas(definition, [str(path)])) == 1


def test_the_plan(read: Read, passengers: Path) -> None:
    definition = delimited()
    for operation in (
        filter((column("Age") > 16) | column("Age").isnull()),
        keep_columns(["Name", "PassengerId"]),
        skip(1),
    ):
        definition = with_operation(definition, operation)
    frame = read(definition, passengers)
    assert list(frame.columns) == ["PassengerId", "Name"]
    assert cells(frame, "PassengerId") == [2, 4]
    assert cells(read(with_operation(definition, take(1)), passengers), "PassengerId") == [2]


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        (column("Age") > 16, [1, 2]),
        (~(column("Age") > 16), [3]),  # a missing age is neither
        (column("Age") != 22, [2, 3]),
        (column("Sex").isin(["female", None]), [2, 3]),
        (~column("Sex").isin(["female", None]), []),  # SQL's rule
        (column("Cabin").isnull() & (column("Fare") < 8), [1]),
        (column("Name").startswith("Mc") | column("Name").endswith("James"), [3, 4]),
        (column("Name").contains("Mr. "), [1, 4]),  # text, not a pattern
        (~column("Cabin").contains("C"), []),
    ],
)
def test_filters_follow_sql_in_both_engines(read: Read, passengers: Path, expression: Any, kept: list[int]) -> None:
    assert cells(read(with_operation(delimited(), filter(expression)), passengers), "PassengerId") == kept


def test_a_split_is_complementary_and_repeatable(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text("n\n" + "".join(f"{i}\n" for i in range(1000)))
    left, right = (
        set(cells(read(with_operation(delimited(), split(0.7, 5, part)), path), "n")) for part in ("left", "right")
    )
    assert left | right == set(range(1000))
    assert not left & right
    assert 600 < len(left) < 800
    drawn = with_operation(delimited(), sample(0.1, 3))
    assert cells(read(drawn, path), "n") == cells(read(drawn, path), "n")


def test_a_column_that_is_not_there_is_named_with_the_nearest(read: Read, passengers: Path) -> None:
    for operation in (keep_columns(["Agee"]), filter(column("Agee") > 1)):
        with pytest.raises(ReadError, match="'Agee', which is not there. Allowed: Age"):
            read(with_operation(delimited(), operation), passengers)


def test_pandas_refuses_what_is_not_local() -> None:
    with pytest.raises(ReadError, match="as_download"):
        to_pandas(delimited(), ["hdfs://host:8020/x.csv"])


def test_the_real_titanic(read: Read, titanic: Path) -> None:
    frame = read(delimited("Titanic.csv"), titanic)
    assert frame.shape == (891, 12)
    assert frame["Age"].isna().sum() == 177
    assert frame["Cabin"].isna().sum() == 687
    assert frame["PassengerId"].astype(int).sum() == 891 * 892 // 2


@pytest.mark.parametrize("name", ["with space.csv", "100%41.csv", "a#b?c.csv"])
def test_a_uri_is_taken_as_it_stands(read: Read, tmp_path: Path, name: str) -> None:
    """As Hadoop takes it: a file whose name looks escaped is that file, not another one."""
    (tmp_path / name).write_text("a\n1\n")
    assert cells(read(delimited(), f"file://{tmp_path}/{name}"), "a") == [1]
