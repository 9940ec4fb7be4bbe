"""Expectations and their outcomes in words."""

from __future__ import annotations

from typing import Any, Callable, Dict

Kwargs = Dict[str, Any]


def shorten(value: Any, limit: int = 80) -> str:
    """Return *value* as text of at most *limit* characters."""
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _between(kwargs: Kwargs) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    above = "more than" if kwargs.get("strict_min") else "at least"
    below = "less than" if kwargs.get("strict_max") else "at most"
    if low is not None and high is not None:
        return f"between {low} and {high}"
    return f"{above} {low}" if low is not None else f"{below} {high}" if high is not None else "anything"


def _set(kwargs: Kwargs, key: str = "value_set") -> str:
    values = list(kwargs.get(key) or [])
    text = ", ".join(shorten(v, 24) for v in values[:8])
    return "{" + text + (f", … {len(values)} in all" if len(values) > 8 else "") + "}"


_SAYINGS: dict[str, Callable[[Kwargs], str]] = {
    "expect_table_row_count_to_be_between": lambda k: f"the number of rows is {_between(k)}",
    "expect_table_row_count_to_equal": lambda k: f"the number of rows is {k.get('value')}",
    "expect_table_column_count_to_equal": lambda k: f"the number of columns is {k.get('value')}",
    "expect_table_column_count_to_be_between": lambda k: f"the number of columns is {_between(k)}",
    "expect_table_columns_to_match_set": lambda k: f"the columns are {_set(k, 'column_set')}",
    "expect_table_columns_to_match_ordered_list": lambda k: f"the columns are, in order, {_set(k, 'column_list')}",
    "expect_column_to_exist": lambda k: "the column exists",
    "expect_column_values_to_not_be_null": lambda k: "values are present",
    "expect_column_values_to_be_null": lambda k: "values are missing",
    "expect_column_values_to_be_unique": lambda k: "values are unique",
    "expect_compound_columns_to_be_unique": lambda k: f"{' + '.join(k.get('column_list') or [])} are unique together",
    "expect_column_values_to_be_between": lambda k: f"values are {_between(k)}",
    "expect_column_values_to_be_in_set": lambda k: f"values are in {_set(k)}",
    "expect_column_values_to_not_be_in_set": lambda k: f"values are not in {_set(k)}",
    "expect_column_distinct_values_to_be_in_set": lambda k: f"distinct values are in {_set(k)}",
    "expect_column_distinct_values_to_contain_set": lambda k: f"distinct values contain {_set(k)}",
    "expect_column_distinct_values_to_equal_set": lambda k: f"distinct values are exactly {_set(k)}",
    "expect_column_values_to_match_regex": lambda k: f"values match {k.get('regex')}",
    "expect_column_values_to_not_match_regex": lambda k: f"values do not match {k.get('regex')}",
    "expect_column_values_to_be_of_type": lambda k: f"values are of type {k.get('type_')}",
    "expect_column_values_to_be_in_type_list": lambda k: f"values are of a type in {_set(k, 'type_list')}",
    "expect_column_value_lengths_to_be_between": lambda k: f"lengths of values are {_between(k)}",
    "expect_column_value_lengths_to_equal": lambda k: f"values have {k.get('value')} characters",
    "expect_column_mean_to_be_between": lambda k: f"the mean is {_between(k)}",
    "expect_column_median_to_be_between": lambda k: f"the median is {_between(k)}",
    "expect_column_min_to_be_between": lambda k: f"the smallest value is {_between(k)}",
    "expect_column_max_to_be_between": lambda k: f"the largest value is {_between(k)}",
    "expect_column_sum_to_be_between": lambda k: f"the sum is {_between(k)}",
    "expect_column_stdev_to_be_between": lambda k: f"the standard deviation is {_between(k)}",
    "expect_column_unique_value_count_to_be_between": lambda k: f"the number of distinct values is {_between(k)}",
    "expect_column_proportion_of_unique_values_to_be_between": lambda k: f"the share of unique values is {_between(k)}",
    "expect_column_pair_values_a_to_be_greater_than_b": lambda k: (
        f"{k.get('column_A')} is greater than {'or equal to ' if k.get('or_equal') else ''}{k.get('column_B')}"
    ),
    "expect_column_pair_values_to_be_equal": lambda k: f"{k.get('column_A')} equals {k.get('column_B')}",
}


def expectation(entry: dict[str, Any]) -> str:
    """Return what an expectation says, such as "values are between 0 and 100, for at least 90 %"."""
    kwargs = entry["kwargs"]
    say = _SAYINGS.get(entry["type"])
    if say:
        text = say(kwargs)
    else:
        rest = {k: v for k, v in kwargs.items() if k not in ("column", "mostly")}
        text = entry["type"].replace("expect_", "", 1).replace("_", " ")
        text += (": " + ", ".join(f"{k} = {shorten(v, 40)}" for k, v in rest.items())) if rest else ""
    mostly = kwargs.get("mostly")
    if isinstance(mostly, (int, float)) and mostly < 1:
        text += f", for at least {percent(100 * mostly)}"
    return text


def outcome(entry: dict[str, Any]) -> str:
    """Return what came of an expectation, in one sentence without values of the data."""
    counts, result = entry["counts"], entry["outcome"]
    if result == "passed":
        return "As expected."
    if "unexpected" in counts:
        total = counts.get("rows")
        if (
            entry["type"] not in ("expect_column_values_to_not_be_null", "expect_column_values_to_be_null")
            and total is not None
        ):
            total -= counts.get("nulls") or 0
        share = f" of {total:,}" if total else ""
        rate = f" ({percent(100 * counts['unexpected'] / total)})" if total else ""
        return f"{counts['unexpected']:,}{share} values{rate} are not as expected."
    if "observed" in counts:
        return f"Observed {number(counts['observed'])}."
    return "Not as expected."


def percent(value: float) -> str:
    """Return a percentage that shows neither 0 % nor 100 % for what is not exactly that."""
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return f"{value:.1f} %" if value % 1 else f"{value:.0f} %"


def number(value: Any) -> str:
    """Return a number with thousands marked and no more digits than help."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return shorten(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
