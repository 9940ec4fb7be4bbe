from __future__ import annotations

import json

import pytest

from stepwell.errors import UserErrorException
from stepwell.runtime import definition as d

PLAIN = d.make("tabular", "delimited", [{"datastore": "x", "path": "a.csv"}])


def test_the_id_is_of_the_content_and_looks_like_v1s() -> None:
    again = json.loads(json.dumps(dict(reversed(PLAIN.items()))))
    assert d.content_id(PLAIN) == d.content_id(again)
    assert len(d.content_id(PLAIN)) == 36
    other = d.make("tabular", "delimited", [{"datastore": "x", "path": "a.csv"}], {"separator": ";"})
    assert d.content_id(other) != d.content_id(PLAIN)


def test_an_operation_makes_another_definition() -> None:
    changed = d.with_operation(PLAIN, d.take(3))
    assert PLAIN["plan"] == []
    assert changed["plan"] == [{"op": "take", "count": 3}]


def test_expressions_are_plain_json() -> None:
    wanted = (d.column("Age") > 30) & ~d.column("Cabin").isnull() | d.column("Sex").isin(["male", None])
    assert json.loads(json.dumps(wanted.tree)) == {
        "op": "or",
        "left": {
            "op": "and",
            "left": {"op": "gt", "left": {"column": "Age"}, "right": {"value": 30}},
            "right": {"op": "not", "operand": {"op": "isnull", "operand": {"column": "Cabin"}}},
        },
        "right": {"op": "isin", "operand": {"column": "Sex"}, "values": ["male", None]},
    }
    assert (30 < d.column("Age")).tree == (d.column("Age") > 30).tree


def test_and_instead_of_ampersand_is_refused() -> None:
    with pytest.raises(UserErrorException, match=r"Join filters with & \| ~"):
        _ = d.column("a") > 1 and d.column("b") > 2


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: d.take(-1), r"take\(-1\) needs a whole number"),
        (lambda: d.take(True), "whole number"),
        (lambda: d.sample(1.5, 1), "number from 0 to 1"),
        (lambda: d.split(0.5, 1, "middle"), "'middle' is not a part.*left, right"),
        (lambda: d.keep_columns([]), "one or more column names"),
        (lambda: d.filter(True), r"filter\(\) needs an expression"),
        (lambda: d.filter({"op": "exec", "operand": 1}), "is not part of a filter"),
        (lambda: d.column("a") > float("nan"), "cannot be compared"),
        (lambda: d.column("a") == object(), "cannot be compared"),
        (lambda: d.make("table", None, [{"url": "u"}]), "'table' is not a kind.*tabular, file"),
        (lambda: d.make("tabular", "xml", [{"url": "u"}]), "cannot have the format 'xml'"),
        (lambda: d.make("file", None, []), "at least one path"),
        (lambda: d.make("file", None, [{"url": "u"}, {"datastore": "d", "path": "p"}]), "cannot be mixed"),
        (lambda: d.make("tabular", "parquet", [{"url": "u"}], {"separator": ";"}), "no option 'separator'"),
        (lambda: d.check({**PLAIN, "plan": [{"op": "drop"}]}), "is not an operation"),
        (lambda: d.check({**PLAIN, "plan": [{"op": "take"}]}), "lacks 'count'"),
    ],
)
def test_bad_input(act, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserErrorException, match=message):
        act()
