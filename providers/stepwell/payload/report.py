"""The report of a gate: a page that needs nothing but itself, with everything from the data escaped."""

from __future__ import annotations

import datetime as dt
from typing import Any

from stepwell.payload import wording

_ORDER = ("errored", "failed", "warned", "passed")
_MARK = {"passed": "✓", "warned": "!", "failed": "✗", "errored": "?"}
_MEANING = {
    "passed": "The data is as the suite expects.",
    "warned": "Some expectations of lower severity are not met.",
    "failed": "The data is not as the suite expects.",
    "errored": "Not every expectation could be evaluated, so the data is neither good nor bad: it is not judged.",
}


def render(result: dict[str, Any]) -> str:
    """Return the page for a verdict, as HTML.

    :param result: the content of ``gates/<name>.json``.
    """
    from jinja2 import Environment, StrictUndefined

    from stepwell.payload.report_template import PAGE

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    entries = [_entry(e) for e in sorted(result["expectations"], key=lambda e: _ORDER.index(e["outcome"]))]
    started = dt.datetime.fromtimestamp(result["started"], dt.timezone.utc)
    return environment.from_string(PAGE).render(
        name=result["name"],
        suite=result["suite"],
        verdict=result["verdict"],
        meaning="The data could not be judged." if result.get("reason") else _MEANING[result["verdict"]],
        mark=_MARK,
        reason=result.get("reason"),
        legend=[(outcome, result["statistics"][outcome]) for outcome in reversed(_ORDER)],
        expectations=entries,
        columns=[_column(c, result["rows"] or 0) for c in result["columns"]],
        rows=result["rows"],
        engine={"pandas": "pandas", "spark": "Spark"}.get(result["engine"], result["engine"]),
        when=f"{started:%Y-%m-%d %H:%M} UTC",
        seconds=result["seconds"],
        great_expectations=result["great_expectations"],
        with_samples=any(e["samples"] for e in entries),
        number=wording.number,
    )


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    share, text = _share(entry)
    mostly = entry["kwargs"].get("mostly")
    observed = entry["counts"].get("observed")
    return {
        "outcome": entry["outcome"],
        "column": entry["kwargs"].get("column"),
        "says": wording.expectation(entry),
        "message": entry["message"],
        "notes": entry.get("notes"),
        "severity": entry["severity"],
        "share": share,
        "share_text": text,
        "mostly": 100 * mostly if share is not None and isinstance(mostly, (int, float)) and mostly < 1 else None,
        "observed": None if observed is None else wording.number(observed),
        "samples": entry["counts"].get("samples") or [],
    }


def _share(entry: dict[str, Any]) -> tuple[float | None, str]:
    """Return how many per cent of the values are as expected, and that in words; None if it is not about values."""
    counts, kind = entry["counts"], entry["type"]
    if entry["outcome"] == "errored" or not entry["kwargs"].get("column"):
        if "unexpected" not in counts:
            return None, ""
    rows, nulls = counts.get("rows") or 0, counts.get("nulls") or 0
    if kind == "expect_column_values_to_not_be_null" and rows:
        return _percent(rows - nulls, rows)
    if "unexpected" in counts:
        total = rows - (0 if kind == "expect_column_values_to_be_null" else nulls)
        return _percent(total - counts["unexpected"], total) if total > 0 else (None, "")
    if entry["outcome"] == "passed" and kind.startswith(("expect_column_values_", "expect_column_value_lengths_")):
        mostly = entry["kwargs"].get("mostly", 1)
        mostly = mostly if isinstance(mostly, (int, float)) else 1
        return 100.0 * mostly, wording.percent(100 * mostly) + (" or more" if mostly < 1 else "")
    return None, ""


def _percent(part: int, whole: int) -> tuple[float, str]:
    share = 100 * part / whole
    return share, wording.percent(share)


def _column(column: dict[str, Any], rows: int) -> dict[str, Any]:
    share = 100 * (rows - column["nulls"]) / rows if rows else 0.0
    return {**column, "present": share, "present_text": wording.percent(share) if rows else "no rows"}
