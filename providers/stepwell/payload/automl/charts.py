"""Charts of a search: its scores as time goes by, where the time went, what the best model needs."""

from __future__ import annotations

import math
from typing import Any, Sequence

from stepwell.payload.automl import scores
from stepwell.payload.automl.charts_axes import COLOURS, Plot, bars, figure
from stepwell.payload.automl.report_markup import Safe, duration, number, tag

_UNITS = ((3 * 60, 1, "seconds"), (3 * 3600, 60, "minutes"), (math.inf, 3600, "hours"))


def progress(trials: Sequence[dict[str, Any]], metric: str, best: int | None) -> Safe | None:
    """Return the score of each trial against time, and the best so far; None without a score."""
    judged = sorted((t for t in trials if finite(t.get("score"))), key=_end)
    if not judged:
        return None
    places, x_label = _places(judged)
    low, high = _worth_seeing([t["score"] for t in judged], metric)
    pad = (high - low) * 0.06 or abs(high) * 0.05 or 0.5
    plot = Plot("progress", (0 if places[0] >= 0 else places[0], places[-1]), (low - pad, high + pad), width=980)
    plot.axes(x_label, metric)
    models = _colours(judged, metric)
    steps: list[tuple[float, float]] = []
    so_far = math.nan
    for place, trial in zip(places, judged):
        if scores.better(metric, trial["score"], so_far):
            steps += [] if math.isnan(so_far) else [(place, so_far)]
            so_far = trial["score"]
            steps.append((place, so_far))
    steps.append((places[-1], so_far))
    plot.line([(x, min(max(y, low), high)) for x, y in steps], "best")
    outside = 0
    for place, trial in zip(places, judged):
        says = f"Trial {trial['iteration']}, {trial.get('model')}: {number(trial['score'], 6)}"
        cls = models.get(str(trial.get("model")), "other")
        if low <= trial["score"] <= high:
            plot.dot(place, trial["score"], cls, 4 if len(judged) <= 300 else 3, says)
        else:
            outside += 1
            _at_the_edge(plot, place, trial["score"] < low, cls, says)
        if trial["iteration"] == best:
            ring = min(max(trial["score"], low), high)
            plot.add(tag("circle", cx=plot.x(place), cy=plot.y(ring), r=7.5, cls="ring"))
    legend = [("stroke best", "best so far"), *((cls, model) for model, cls in models.items() if cls != "other")]
    legend += [("other", "other models")] if "other" in models.values() else []
    note = f"One point is one trial; the ring is the best model.{_outside(outside)}"
    told = f"{len(judged)} trials; the best {metric} is {number(so_far)}."
    return figure("Score of the trials", plot.svg("Score of the trials", told), note=note, legend=legend, wide=True)


def time_per_model(trials: Sequence[dict[str, Any]], metric: str) -> Safe | None:
    """Return bars of the time that went into each model, with its trials and its best score."""
    models: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        models.setdefault(str(trial.get("model")), []).append(trial)
    rows: list[dict[str, Any]] = []
    for model, own in models.items():
        spent = math.fsum(t["seconds"] for t in own if finite(t.get("seconds")))
        best = best_score(own, metric)
        rows.append(
            {
                "label": model,
                "value": spent,
                "text": f"{duration(spent)}, {len(own)} ×",
                "says": f"{model}: {duration(spent)} in {len(own)} trials, best {metric} {number(best)}",
            }
        )
    rows.sort(key=lambda r: -float(r["value"]))
    if not rows or not rows[0]["value"]:
        return None
    told = "; ".join(str(r["says"]) for r in rows[:20])
    drawn = bars("times", "Time per model", told, rows[:20])
    return figure("Time per model", drawn, note="Time of all its trials, and their number.")


def best_per_model(trials: Sequence[dict[str, Any]], metric: str) -> Safe | None:
    """Return the best score of each model on one scale, as points, for scores seldom begin at 0."""
    found = {}
    for model in dict.fromkeys(str(t.get("model")) for t in trials):
        best = best_score([t for t in trials if str(t.get("model")) == model], metric)
        if best is not None:
            found[model] = best
    rows = sorted(found.items(), key=lambda item: scores.loss(metric, item[1]))[:20]
    if len(rows) < 2:
        return None
    low, high = _worth_seeing([score for _, score in rows], metric)
    pad = (high - low) * 0.08
    height = 22 * len(rows)
    plot = Plot("models", (low - pad, high + pad), (len(rows), 0), height=height + 46, margins=(4, 76, 42, 150))
    plot.axes(metric, "", y_ticks=[])
    for position, (model, score) in enumerate(rows):
        inside = min(max(score, low), high)
        at = plot.y(position + 0.5)
        plot.add(
            tag("line", x1=plot.left, x2=plot.right, y1=at, y2=at, cls="grid"),
            tag("text", model, x=plot.left - 8, y=at + 4, cls="end ink"),
        )
        plot.dot(inside, position + 0.5, "s0" if inside == score else "hollow s0", 5, f"{model}: {number(score, 6)}")
        plot.text(plot.right + 8, at + 4, number(score), "ink")
    told = "; ".join(f"{model} {number(score)}" for model, score in rows)
    return figure(
        "Best score of each model", plot.svg("Best score of each model", told), note="Best first; mind the scale."
    )


def importances(entries: Sequence[dict[str, Any]], metric: str) -> Safe | None:
    """Return bars of the most important columns."""
    known = [e for e in entries if finite(e.get("importance"))][:20]
    if not known:
        return None
    rows = [
        {
            "label": e["column"],
            "value": float(e["importance"]),
            "spread": float(e["std"]) if finite(e.get("std")) else 0.0,
            "text": number(e["importance"], 3),
        }
        for e in known
    ]
    told = "; ".join(f"{r['label']} {r['text']}" for r in rows)
    return bars("importance", f"Importance of columns for {metric}", told, rows, width=980, left=240)


def best_score(trials: Sequence[dict[str, Any]], metric: str) -> float | None:
    """Return the best score among trials; None if none has one."""
    found = [float(t["score"]) for t in trials if finite(t.get("score"))]
    return min(found, key=lambda score: scores.loss(metric, score)) if found else None


def finite(value: Any) -> bool:
    """Return whether a value is there and a number."""
    try:
        return value is not None and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _end(trial: dict[str, Any]) -> tuple[float, int]:
    return float(trial.get("started") or 0) + float(trial.get("seconds") or 0), int(trial["iteration"])


def _places(judged: Sequence[dict[str, Any]]) -> tuple[list[float], str]:
    """Return where trials are on the axis of time; of iterations, if times are unknown or have a night in them."""
    ends = [_end(t)[0] for t in judged]
    begin = min(float(t.get("started") or 0) for t in judged)
    gaps = [b - a for a, b in zip(ends, ends[1:])]
    if not begin or not ends[-1] > begin or (len(gaps) > 4 and max(gaps) > 0.5 * (ends[-1] - begin)):
        return [float(n) for n in range(1, len(judged) + 1)], "trials, as they ended"
    unit, name = next((unit, name) for limit, unit, name in _UNITS if ends[-1] - begin <= limit)
    return [(end - begin) / unit for end in ends], f"{name} since the first trial began"


def _worth_seeing(values: Sequence[float], metric: str) -> tuple[float, float]:
    """Return the range of scores without the hopeless ones, which would press all others together."""
    ordered = sorted(values, key=lambda v: scores.loss(metric, v))
    best, quarter = ordered[0], ordered[(3 * (len(ordered) - 1)) // 4]
    limit = quarter + 1.5 * (quarter - best)
    kept = [v for v in ordered if (v >= limit if limit < best else v <= limit)] if quarter != best else ordered
    return min(kept), max(kept)


def _colours(judged: Sequence[dict[str, Any]], metric: str) -> dict[str, str]:
    """Return a colour for each of the best models."""
    names = {str(t.get("model")) for t in judged}
    best = {n: best_score([t for t in judged if str(t.get("model")) == n], metric) for n in names}
    ordered = sorted(names, key=lambda n: (scores.loss(metric, best[n]), n))
    shown = ordered if len(ordered) <= COLOURS else ordered[: COLOURS - 1]
    return {n: f"s{shown.index(n)}" if n in shown else "other" for n in ordered}


def _at_the_edge(plot: Plot, place: float, below: bool, cls: str, says: str) -> None:
    x = plot.x(place)
    y, tip = (plot.bottom - 8, 6) if below else (plot.top + 8, -6)
    points = f"{x - 3.5:g},{y} {x + 3.5:g},{y} {x:g},{y + tip}"
    plot.add(tag("polygon", tag("title", says), points=points, cls=f"dot {cls}"))


def _outside(count: int) -> str:
    if not count:
        return ""
    return f" {count} much worse {'one is a triangle' if count == 1 else 'ones are triangles'} at the edge."
