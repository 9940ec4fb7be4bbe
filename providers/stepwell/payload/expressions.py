"""Filters, evaluated: the expression trees of ``stepwell.runtime.definition`` in pandas and in Spark.

SQL's rule in both engines: a comparison with a missing value is neither true nor false, ``&``, ``|`` and ``~`` follow
from that, and a row is kept only if the filter is true.
"""

from __future__ import annotations

import operator
from typing import Any, Callable, Dict, Iterable

from stepwell.payload.errors import ReadError
from stepwell.runtime.names import nearest

Tree = Dict[str, Any]
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def columns_of(tree: Tree) -> list[str]:
    """Return the names of the columns that an expression reads."""
    if "column" in tree:
        return [tree["column"]]
    return [name for key in ("left", "right", "operand") if key in tree for name in columns_of(tree[key])]


def check_columns(what: str, wanted: Iterable[str], there: Iterable[str]) -> None:
    """Raise unless every column of *wanted* is *there*.

    :raises ReadError: one is missing; the nearest names are in the message.
    """
    there = list(there)
    for name in wanted:
        if name not in there:
            raise ReadError(f"{what} names the column {name!r}, which is not there", allowed=nearest(name, there))


def keep_pandas(frame: Any, tree: Tree) -> Any:
    """Return the rows of a pandas *frame* for which the expression is true."""
    check_columns("filter", columns_of(tree), frame.columns)
    true = _pandas(frame, tree)
    if isinstance(true, _Constant):
        return frame if true.value is True else frame.iloc[0:0]
    return frame[true.fillna(False).astype(bool)]


def keep_spark(frame: Any, tree: Tree) -> Any:
    """Return the rows of a Spark *frame* for which the expression is true (lazily)."""
    check_columns("filter", columns_of(tree), frame.columns)
    return frame.where(_spark(tree))


class _Constant:
    def __init__(self, value: Any) -> None:
        self.value = value


def _pandas(frame: Any, tree: Tree) -> Any:
    """Return a nullable boolean Series for a condition, a Series for a column, a :class:`_Constant` for a constant."""
    if "column" in tree:
        return frame[tree["column"]]
    if "op" not in tree:
        return _Constant(tree["value"])
    op = tree["op"]
    if op in _COMPARE:
        return _compare(frame, op, _pandas(frame, tree["left"]), _pandas(frame, tree["right"]))
    if op in ("and", "or"):
        left, right = (_whole(frame, _pandas(frame, tree[side])).astype("boolean") for side in ("left", "right"))
        return left & right if op == "and" else left | right
    operand = _whole(frame, _pandas(frame, tree["operand"]))
    if op == "not":
        return ~operand.astype("boolean")
    if op == "isnull":
        return operand.isna().astype("boolean")
    return _isin(operand, tree["values"]) if op == "isin" else _text(operand, op, tree["text"])


def _whole(frame: Any, value: Any) -> Any:
    """Return a Series, also for a constant."""
    import pandas as pd

    return pd.Series([value.value] * len(frame), index=frame.index) if isinstance(value, _Constant) else value


def _isin(operand: Any, values: list[Any]) -> Any:
    given = [v for v in values if v is not None]
    result = _typed(operand, given).isin(given).astype("boolean")
    missing = operand.isna()
    if len(given) != len(values):
        missing = missing | ~result.astype(bool)  # x in (…, null) is unknown when x is none of the others
    return result.mask(missing)


def _text(operand: Any, op: str, wanted: str) -> Any:
    missing = operand.isna()
    text = operand.astype(object).where(~missing, "").astype(str).str
    if op == "contains":
        result = text.contains(wanted, regex=False)
    else:
        result = text.startswith(wanted) if op == "startswith" else text.endswith(wanted)
    return result.astype("boolean").mask(missing)


def _compare(frame: Any, op: str, left: Any, right: Any) -> Any:
    import pandas as pd

    sides = [left, right]
    for index, side in enumerate(sides):
        if isinstance(side, _Constant):
            if side.value is None:
                return pd.Series(pd.NA, index=frame.index, dtype="boolean")
            other = sides[1 - index]
            value = side.value
            if not isinstance(other, _Constant) and pd.api.types.is_datetime64_any_dtype(other):
                value = pd.Timestamp(value)
            sides[index] = value
    missing = pd.Series(False, index=frame.index)
    for side in (left, right):
        if not isinstance(side, _Constant):
            missing = missing | side.isna()
    present = ~missing
    values = [side[present] if isinstance(side, pd.Series) else side for side in sides]
    result = pd.Series(pd.NA, index=frame.index, dtype="boolean")
    try:
        result[present] = _COMPARE[op](*values)
    except TypeError as error:
        raise ReadError(
            f"A filter compares values that cannot be compared ({error})",
            hint="Compare text with text and numbers with numbers, or set the column's type",
        ) from error
    return result


def _typed(series: Any, values: list[Any]) -> Any:
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(series) and values and isinstance(values[0], str):
        return series.map(lambda v: v.isoformat() if not pd.isna(v) else v)
    return series


def _spark(tree: Tree) -> Any:
    from pyspark.sql import functions as F

    if "column" in tree:
        return F.col("`" + tree["column"].replace("`", "``") + "`")
    if "op" not in tree:
        return F.lit(tree["value"])
    op = tree["op"]
    if op in ("and", "or"):
        left, right = _spark(tree["left"]), _spark(tree["right"])
        return left & right if op == "and" else left | right
    if op == "not":
        return ~_spark(tree["operand"])
    if op in _COMPARE:
        return _COMPARE[op](_spark(tree["left"]), _spark(tree["right"]))
    operand = _spark(tree["operand"])
    if op == "isnull":
        return operand.isNull()
    if op == "isin":
        return operand.isin(tree["values"]) if tree["values"] else F.lit(False)
    text = operand.cast("string")
    return {"startswith": text.startswith, "endswith": text.endswith, "contains": text.contains}[op](
        F.lit(tree["text"])
    )
