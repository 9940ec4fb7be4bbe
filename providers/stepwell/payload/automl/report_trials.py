"""The trials in the report of a search: a leaderboard with everything known of each, and those that have failed."""

from __future__ import annotations

import json
from typing import Any, Sequence

from stepwell.payload.automl import scores
from stepwell.payload.automl.charts import finite
from stepwell.payload.automl.report_markup import Safe, breakable, duration, number, tag
from stepwell.payload.wording import shorten

_ROWS = 200
#: What is shown beside the primary metric, if it is there.
_BESIDE = (
    "AUC_weighted",
    "accuracy",
    "f1_score_macro",
    "log_loss",
    "r2_score",
    "normalized_root_mean_squared_error",
    "mean_absolute_error",
)


def leaderboard(trials: Sequence[dict[str, Any]], metric: str, best: int | None) -> tuple[Safe, str]:
    """Return the trials with a score, best first, and a note on how many there are."""
    ranked = sorted(
        (t for t in trials if t.get("status", "Completed") == "Completed" and finite(t.get("score"))),
        key=lambda t: (scores.loss(metric, t["score"]), t["iteration"] != best, t["iteration"]),
    )
    if not ranked:
        return tag("p", "No trial has a score."), ""
    beside = [m for m in _BESIDE if m != metric and m in (ranked[0].get("metrics") or {})][:2]
    names = ["-#", "Model", f"-{metric}", *(f"-{m}" for m in beside), "-Rows", "-Time", "-Trial"]
    head = [tag("th", breakable(n.lstrip("-")), cls="number" if n[0] == "-" else None) for n in names]
    rows = [_row(rank, t, beside, t["iteration"] == best) for rank, t in enumerate(ranked[:_ROWS], 1)]
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", rows), cls="board")
    note = f"the best {_ROWS} of {len(ranked):,} trials" if len(ranked) > _ROWS else f"{len(ranked):,} completed trials"
    long = " long" if len(rows) > 15 else ""
    return tag("div", table, cls=f"scroll{long}"), note


def failures(trials: Sequence[dict[str, Any]]) -> Safe | None:
    """Return the trials that were not completed, with the reason of each."""
    failed = [t for t in trials if t.get("status", "Completed") != "Completed" or not finite(t.get("score"))]
    if not failed:
        return None
    rows = [
        tag(
            "tr",
            tag("td", t["iteration"], cls="number"),
            tag("td", t.get("model"), tag("small", t.get("pipeline"))),
            tag("td", tag("span", t.get("status") or "unknown", cls=f"badge {_tone(t)}")),
            tag("td", shorten(t.get("reason") or _unsaid(t), 600), cls="words"),
            tag("td", duration(t.get("seconds")), cls="number"),
        )
        for t in failed[:_ROWS]
    ]
    head = [tag("th", "Trial", cls="number"), *(tag("th", n) for n in ("Model", "Status", "Reason"))]
    head.append(tag("th", "Time", cls="number"))
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", rows), cls="board")
    of = f", {_ROWS} of them shown" if len(failed) > _ROWS else ""
    summary = f"{len(failed):,} trial{'s' if len(failed) > 1 else ''} without a score{of}"
    everything = len(failed) == len(trials)
    return tag("details", tag("summary", summary), tag("div", table, cls="scroll"), open="" if everything else None)


def plain(value: Any, limit: int = 400) -> str:
    """Return a parameter as text."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return shorten(value, limit)
    return shorten(json.dumps(value, ensure_ascii=False, default=str), limit)


def _row(rank: int, trial: dict[str, Any], beside: Sequence[str], best: bool) -> Safe:
    metrics = trial.get("metrics") or {}
    inner = [_pairs("Parameters", {k: plain(v) for k, v in (trial.get("parameters") or {}).items()})]
    inner.append(_pairs("Metrics", {k: number(v) for k, v in metrics.items()}))
    model = tag("b", trial.get("model"))
    pipeline = tag("small", trial.get("pipeline"))
    more = (
        tag("details", tag("summary", model, pipeline), tag("div", inner, cls="inner"))
        if any(inner)
        else [model, pipeline]
    )
    values = [number(trial["score"]), *(number(metrics.get(m)) for m in beside)]
    values += [number(trial.get("rows") or None), duration(trial.get("seconds"))]
    return tag(
        "tr",
        tag("td", rank, cls="number"),
        tag("td", more, cls="words"),
        [tag("td", v, cls="number") for v in (*values, trial["iteration"])],
        cls="top" if best else None,
    )


def _pairs(title: str, values: dict[str, str]) -> list[Safe] | None:
    if not values:
        return None
    entries = [tag("div", tag("dt", breakable(k)), tag("dd", v)) for k, v in values.items()]
    return [tag("b", title), tag("dl", entries, cls="pairs")]


def _tone(trial: dict[str, Any]) -> str:
    return "failed" if trial.get("status") == "Failed" else "warning"


def _unsaid(trial: dict[str, Any]) -> str:
    return "It has no value of the primary metric." if trial.get("status") == "Completed" else "–"
