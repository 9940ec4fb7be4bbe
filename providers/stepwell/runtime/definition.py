"""What a dataset is before anything is read: a definition, its content id, and its lazy plan. Plain JSON throughout.

A definition::

    {"kind": "tabular" | "file",
     "format": "delimited" | "parquet" | "json_lines" | null,      # null for kind "file"
     "paths": [{"datastore": "name", "path": "glob"}, …]  or  [{"url": "https://…"}, …],
     "options": {…},                                               # always complete: see OPTIONS
     "plan": [{"op": …}, …]}                                       # see the functions below

Filters are expression trees. A node is one of::

    {"column": "Age"}                                              # a column
    {"value": 30}                                                  # a string, number, boolean or null
    {"op": "eq|ne|lt|le|gt|ge", "left": node, "right": node}
    {"op": "and|or", "left": node, "right": node}
    {"op": "not", "operand": node}
    {"op": "isnull", "operand": node}
    {"op": "isin", "operand": node, "values": [constant, …]}
    {"op": "startswith|endswith|contains", "operand": node, "text": "literal text"}

A comparison with null is neither true nor false, and only rows for which the filter is true are kept (SQL's rule).
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from typing import Any, Dict, Iterable, Union

from stepwell.runtime.errors import UserErrorException

Definition = Dict[str, Any]
Operation = Dict[str, Any]
Constant = Union[None, bool, int, float, str]

KINDS = ("tabular", "file")
FORMATS = ("delimited", "parquet", "json_lines")
HEADERS = (
    "no_headers",
    "only_first_file_has_headers",
    "combine_all_files_headers",
    "all_files_have_same_headers",
)
#: Options of each format with their defaults (v1's). ``set_column_types`` is null or ``{column: type}``, a type being
#: ``{"type": "string"}`` (or ``long``, ``bool``), ``{"type": "float", "decimal_mark": "."}`` or
#: ``{"type": "datetime", "formats": [strptime pattern, …] or null}``.
OPTIONS: dict[str | None, dict[str, Any]] = {
    "delimited": {
        "separator": ",",
        "header": "all_files_have_same_headers",
        "encoding": "utf8",
        "infer_column_types": True,
        "set_column_types": None,
        "include_path": False,
        "partition_format": None,
        "support_multi_line": False,
        "empty_as_string": False,
    },
    "parquet": {"set_column_types": None, "include_path": False, "partition_format": None},
    "json_lines": {
        "encoding": "utf8",
        "invalid_lines": "error",
        "set_column_types": None,
        "include_path": False,
        "partition_format": None,
    },
    None: {"partition_format": None},
}
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_TEXT = ("startswith", "endswith", "contains")


def canonical(value: Any) -> str:
    """Return the one JSON text of *value*: sorted keys, no spaces, no NaN.

    :raises UserErrorException: *value* is not plain JSON.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserErrorException(
            f"A dataset definition can hold only plain values, and this one does not: {error}",
            hint="Use strings, numbers, booleans, lists and dicts",
        ) from error


def content_id(definition: Definition) -> str:
    """Return the id of *definition*: a digest of its content in the shape of a UUID, as v1's dataset ids have."""
    h = hashlib.sha256(canonical(definition).encode("utf-8")).hexdigest()
    return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:32]))


def make(
    kind: str, format: str | None, paths: Iterable[dict[str, str]], options: dict[str, Any] | None = None
) -> Definition:
    """Return a new definition with complete options and an empty plan.

    :raises UserErrorException: an unknown kind, format or option.
    """
    definition = {
        "kind": kind,
        "format": format,
        "paths": [dict(p) for p in paths],
        "options": dict(OPTIONS.get(format, {}), **(options or {})),
        "plan": [],
    }
    return check(definition)


def check(definition: Any) -> Definition:
    """Return *definition* if it is one.

    :raises UserErrorException: it is not; the message says which part.
    """
    if not isinstance(definition, dict) or set(definition) != {"kind", "format", "paths", "options", "plan"}:
        raise UserErrorException(
            f"{definition!r} is not a dataset definition",
            allowed=["kind", "format", "paths", "options", "plan"],
        )
    kind, format = definition["kind"], definition["format"]
    if kind not in KINDS:
        raise UserErrorException(f"{kind!r} is not a kind of dataset", allowed=KINDS)
    if (kind == "file") != (format is None) or (kind == "tabular" and format not in FORMATS):
        raise UserErrorException(
            f"A {kind} dataset cannot have the format {format!r}",
            allowed=FORMATS if kind == "tabular" else ["None"],
        )
    unknown = sorted(set(definition["options"]) - set(OPTIONS[format]))
    if unknown:
        raise UserErrorException(
            "{} datasets have no option {}".format(format or "File", ", ".join(map(repr, unknown))),
            allowed=OPTIONS[format],
        )
    if not definition["paths"]:
        raise UserErrorException("A dataset needs at least one path")
    for path in definition["paths"]:
        if not isinstance(path, dict) or set(path) not in ({"datastore", "path"}, {"url"}):
            raise UserErrorException(
                f"{path!r} is not a path of a dataset", allowed=['{"datastore": …, "path": …}', '{"url": …}']
            )
    if len({"url" in path for path in definition["paths"]}) > 1:
        raise UserErrorException("URLs and datastore paths cannot be mixed in one dataset")
    for operation in definition["plan"]:
        _check_operation(operation)
    canonical(definition)
    return definition


def with_operation(definition: Definition, operation: Operation) -> Definition:
    """Return a copy of *definition* with *operation* appended to its plan."""
    changed = copy.deepcopy(definition)
    changed["plan"].append(_check_operation(operation))
    return changed


# -- the plan -------------------------------------------------------------------------------------------------------


def keep_columns(columns: str | Iterable[str]) -> Operation:
    """Keep only these columns, in the order of the data."""
    return {"op": "keep_columns", "columns": _columns("keep_columns", columns)}


def drop_columns(columns: str | Iterable[str]) -> Operation:
    """Leave these columns out."""
    return {"op": "drop_columns", "columns": _columns("drop_columns", columns)}


def filter(expression: Any) -> Operation:
    """Keep the rows for which *expression* (an :class:`Expression` or its tree) is true."""
    tree = expression.tree if isinstance(expression, Expression) else expression
    if isinstance(tree, bool) or not isinstance(tree, dict):
        raise UserErrorException(
            f"filter() needs an expression, not {tree!r}", hint="Write for example dataset['Age'] > 30"
        )
    return {"op": "filter", "expression": check_expression(tree)}


def take(count: int) -> Operation:
    """Keep the first *count* rows (of a file dataset: files)."""
    return {"op": "take", "count": _count("take", count)}


def skip(count: int) -> Operation:
    """Leave the first *count* rows (of a file dataset: files) out."""
    return {"op": "skip", "count": _count("skip", count)}


def sample(probability: float, seed: int) -> Operation:
    """Keep each row with *probability*; the same *seed* keeps the same rows in the same engine."""
    return {"op": "sample", "probability": _fraction("take_sample", "probability", probability), "seed": int(seed)}


def split(percentage: float, seed: int, part: str) -> Operation:
    """Keep one *part* ("left": about *percentage* of the rows, "right": the others); both need the same *seed*."""
    if part not in ("left", "right"):
        raise UserErrorException(f"{part!r} is not a part of a split", allowed=["left", "right"])
    fraction = _fraction("random_split", "percentage", percentage)
    return {"op": "split", "percentage": fraction, "seed": int(seed), "part": part}


def _columns(what: str, columns: str | Iterable[str]) -> list[str]:
    names = [columns] if isinstance(columns, str) else list(columns)
    if not names or not all(isinstance(n, str) and n for n in names):
        raise UserErrorException(f"{what}({columns!r}) needs one or more column names")
    return names


def _count(what: str, count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise UserErrorException(f"{what}({count!r}) needs a whole number, 0 or more")
    return count


def _fraction(what: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UserErrorException(f"{what}({name}={value!r}) needs a number from 0 to 1")
    return float(value)


def _check_operation(operation: Any) -> Operation:
    """Return *operation* if it is one of the plan's, else raise with the ones that are."""
    builders = {
        "keep_columns": lambda o: keep_columns(o["columns"]),
        "drop_columns": lambda o: drop_columns(o["columns"]),
        "filter": lambda o: filter(o["expression"]),
        "take": lambda o: take(o["count"]),
        "skip": lambda o: skip(o["count"]),
        "sample": lambda o: sample(o["probability"], o["seed"]),
        "split": lambda o: split(o["percentage"], o["seed"], o["part"]),
    }
    build = builders.get(str(operation.get("op"))) if isinstance(operation, dict) else None
    if build is None:
        raise UserErrorException(f"{operation!r} is not an operation on a dataset", allowed=builders)
    try:
        return build(operation)
    except KeyError as missing:
        raise UserErrorException(f"The operation {operation!r} lacks {missing}") from missing


# -- expressions ----------------------------------------------------------------------------------------------------


def check_expression(tree: Any) -> dict[str, Any]:
    """Return *tree* if it is an expression tree (see the head of this module).

    :raises UserErrorException: it is not; the message shows the node.
    """
    if isinstance(tree, dict):
        keys = set(tree)
        op = tree.get("op")
        if keys == {"column"} and isinstance(tree["column"], str):
            return tree
        if keys == {"value"}:
            _constant(tree["value"])
            return tree
        if op in _COMPARISONS + ("and", "or") and keys == {"op", "left", "right"}:
            check_expression(tree["left"])
            check_expression(tree["right"])
            return tree
        if op in ("not", "isnull") and keys == {"op", "operand"}:
            check_expression(tree["operand"])
            return tree
        if op == "isin" and keys == {"op", "operand", "values"}:
            check_expression(tree["operand"])
            for value in tree["values"]:
                _constant(value)
            return tree
        if op in _TEXT and keys == {"op", "operand", "text"} and isinstance(tree["text"], str):
            check_expression(tree["operand"])
            return tree
    raise UserErrorException(f"{tree!r} is not part of a filter", hint="Write for example dataset['Age'] > 30")


def _constant(value: Any) -> Constant:
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise UserErrorException(
        f"{value!r} cannot be compared with in a filter",
        allowed=["a string", "a finite number", "a boolean", "None"],
    )


class Expression:
    """A filter on rows, built with Python's operators: ``(dataset["Age"] > 30) & ~dataset["Cabin"].isnull()``.

    :param tree: the JSON form.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = check_expression(tree)

    def _binary(self, op: str, other: Any) -> Expression:
        right = other.tree if isinstance(other, Expression) else {"value": _constant(other)}
        return Expression({"op": op, "left": self.tree, "right": right})

    def __eq__(self, other: Any) -> Expression:  # type: ignore[override]
        return self._binary("eq", other)

    def __ne__(self, other: Any) -> Expression:  # type: ignore[override]
        return self._binary("ne", other)

    def __lt__(self, other: Any) -> Expression:
        return self._binary("lt", other)

    def __le__(self, other: Any) -> Expression:
        return self._binary("le", other)

    def __gt__(self, other: Any) -> Expression:
        return self._binary("gt", other)

    def __ge__(self, other: Any) -> Expression:
        return self._binary("ge", other)

    def __and__(self, other: Any) -> Expression:
        return self._binary("and", other)

    def __or__(self, other: Any) -> Expression:
        return self._binary("or", other)

    def __invert__(self) -> Expression:
        return Expression({"op": "not", "operand": self.tree})

    def __bool__(self) -> bool:
        raise UserErrorException(
            "A filter has no truth value of its own",
            hint="Join filters with & | ~ and parentheses, not with 'and', 'or', 'not'",
        )

    def isnull(self) -> Expression:
        """True where the value is missing."""
        return Expression({"op": "isnull", "operand": self.tree})

    def isin(self, values: Iterable[Any]) -> Expression:
        """True where the value is one of *values*."""
        return Expression({"op": "isin", "operand": self.tree, "values": [_constant(v) for v in values]})

    def startswith(self, text: str) -> Expression:
        """True where the value starts with *text*."""
        return Expression({"op": "startswith", "operand": self.tree, "text": text})

    def endswith(self, text: str) -> Expression:
        """True where the value ends with *text*."""
        return Expression({"op": "endswith", "operand": self.tree, "text": text})

    def contains(self, text: str) -> Expression:
        """True where *text* stands in the value (literally, not as a pattern)."""
        return Expression({"op": "contains", "operand": self.tree, "text": text})

    def __repr__(self) -> str:
        return f"Expression({canonical(self.tree)})"


def column(name: str) -> Expression:
    """Return the expression that stands for the column *name*."""
    return Expression({"column": name})
