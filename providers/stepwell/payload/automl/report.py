"""The report of a search: one page that needs nothing but itself, with everything from the data escaped."""

from __future__ import annotations

import datetime as dt
from typing import Any, Callable, Sequence

from stepwell.payload.automl import charts, scores
from stepwell.payload.automl.report_markup import Safe, breakable, duration, join, number, tag
from stepwell.payload.automl.report_style import STYLE
from stepwell.payload.automl.report_trials import failures, leaderboard, plain
from stepwell.payload.wording import shorten

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_MARK = {"passed": "✓", "done": "•", "warning": "!"}
#: Rows of the tables of columns; a wide table is not read to its end.
_ROWS = 300


def render(results: dict[str, Any]) -> str:
    """Return the page for a search, as HTML.

    :param results: what the search has found; every part but ``trials`` may be missing or None. Of its
        ``evaluation``, ``y_true`` holds codes of classes (classification) or numbers.
    """
    results = {**results, "trials": [dict(t) for t in results.get("trials") or []]}
    results["settings"] = results.get("settings") or {}
    results["primary_metric"] = results.get("primary_metric") or results["settings"].get("primary_metric") or "score"
    sections = [(name, title, part(results)) for name, title, part in _PARTS]
    shown = [(name, title, content) for name, title, content in sections if content]
    links = tag("nav", [tag("a", title, href=f"#{name}") for name, title, _ in shown]) if len(shown) > 1 else None
    title = results.get("title") or "Search for a model"
    head = tag(
        "head",
        Safe('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Safe('<meta name="color-scheme" content="light dark">'),
        Safe(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("title", title),
        tag("style", Safe(STYLE)),
    )
    body = tag("main", _header(results, title, links), [content for _, _, content in shown], _footer(results))
    return f'<!doctype html>\n<html lang="en">{head}<body>{body}</body></html>\n'


def _header(results: dict[str, Any], title: str, links: Safe | None) -> Safe:
    trials, best, metric = results["trials"], _best(results), results["primary_metric"]
    done = sum(1 for t in trials if t.get("status") == "Completed")
    failed = sum(1 for t in trials if t.get("status") == "Failed")
    data = results.get("data") or {}
    task = results.get("task") or results["settings"].get("task")
    size = f"{number(data.get('rows'))} × {number(data.get('columns'))}" if data.get("rows") is not None else None
    facts = [
        ("Trials", f"{len(trials):,}" + (f" ({failed:,} failed)" if failed else "")),
        ("Took", duration(results["seconds"]) if charts.finite(results.get("seconds")) else None),
        ("Data, rows × columns", size),
        ("Validation", data.get("validation")),
        ("Held-out test rows", number(data["test_rows"]) if data.get("test_rows") else None),
        ("Started", _when(results.get("started"))),
        ("Run", results.get("run_id")),
    ]
    return tag(
        "header",
        tag("h1", tag("span", task, cls="badge done") if task else None, title),
        _ending(results),
        _hero(results, best, metric) if best else _no_model(trials, done),
        tag("dl", [tag("div", tag("dt", k), tag("dd", v)) for k, v in facts if v], cls="facts"),
        links,
        cls=f"card {'passed' if best else 'failed'}",
    )


def _ending(results: dict[str, Any]) -> Safe | None:
    """The search ended because… ; whatever the case, a sentence."""
    text = str(results.get("ended_because") or "").strip()
    return (
        tag("p", text[:1].upper() + text[1:] + ("" if text.endswith((".", "!")) else "."), cls="soft") if text else None
    )


def _hero(results: dict[str, Any], best: dict[str, Any], metric: str) -> Safe:
    test = (results.get("test_metrics") or {}).get(metric)
    validation = (results.get("data") or {}).get("validation")
    figures = [(f"{metric}, {validation}" if validation else metric, best.get("score"))]
    figures += [(f"{metric}, held-out test rows", test)] if test is not None else []
    return tag(
        "div",
        tag("div", tag("small", "Best model"), tag("strong", best.get("model")), tag("span", best.get("pipeline"))),
        [
            tag("div", tag("small", breakable(k)), tag("strong", number(v)), tag("span", _direction(metric)))
            for k, v in figures
        ],
        cls="hero",
    )


def _direction(metric: str) -> str:
    return "smaller is better" if scores.is_loss(metric) else "larger is better"


def _no_model(trials: Sequence[dict[str, Any]], done: int) -> Safe:
    if not trials:
        return tag("p", "No trial was run, so there is no model.", cls="reason")
    if done:
        return tag("p", "No trial has a score, so there is no best model.", cls="reason")
    reasons = [shorten(t["reason"], 300) for t in trials if t.get("reason")]
    common = max(set(reasons), key=reasons.count) if reasons else None
    text = "No trial was completed, so there is no model."
    return tag("p", text, common and f" Most often: {common}", cls="reason")


def _search(results: dict[str, Any]) -> Safe | None:
    trials, metric = results["trials"], results["primary_metric"]
    drawn = [
        _attempt(charts.progress, trials, metric, results.get("best")),
        _attempt(charts.best_per_model, trials, metric),
        _attempt(charts.time_per_model, trials, metric),
    ]
    return _section("search", "The search", tag("div", drawn, cls="charts")) if any(drawn) else None


def _quality(results: dict[str, Any]) -> Safe | None:
    evaluation, best = results.get("evaluation"), _best(results)
    drawn: list[Any] = []
    note = None
    if evaluation:
        test = evaluation.get("source") == "test"
        note = (
            "charts from held-out test rows"
            if test
            else "charts from validation rows, predicted by models that had not seen them"
        )
        drawn = _evaluation(results, evaluation)
    validated = {k: v for k, v in ((best or {}).get("metrics") or {}).items()}
    tested = results.get("test_metrics") or {}
    table = _metrics(validated, tested) if validated or tested else None
    if not drawn and not table:
        return None
    return _section("quality", "The best model", drawn and tag("div", drawn, cls="charts"), table, note=note)


def _evaluation(results: dict[str, Any], evaluation: dict[str, Any]) -> list[Any]:
    from stepwell.payload.automl import charts_classification, charts_values

    if evaluation.get("probabilities") is not None:
        try:
            judged = charts_classification.Judged(
                evaluation["y_true"], evaluation["probabilities"], results.get("classes"), _positive(results)
            )
        except Exception as problem:
            return [_undrawn(problem)]
        parts: list[Callable[[Any], Any]] = [
            charts_classification.confusion,
            charts_classification.roc,
            charts_classification.precision_recall,
            charts_classification.calibration,
        ]
        return [_attempt(part, judged) for part in parts] if len(judged.truth) else []
    if evaluation.get("predictions") is None:
        return []
    first = [_attempt(charts_values.forecasts, evaluation)] if evaluation.get("time") is not None else []
    return [*first, _attempt(charts_values.all_of, evaluation)]


def _positive(results: dict[str, Any]) -> int | None:
    label, classes = results["settings"].get("positive_label"), [str(c) for c in results.get("classes") or []]
    return classes.index(str(label)) if label is not None and str(label) in classes else None


def _attempt(draw: Callable[..., Any], *arguments: Any) -> Any:
    """Draw a chart; one that cannot be drawn costs neither the others nor the report."""
    try:
        return draw(*arguments)
    except Exception as problem:
        return _undrawn(problem)


def _undrawn(problem: Exception) -> Safe:
    return tag("p", f"A chart could not be drawn: {type(problem).__name__}: {shorten(problem, 200)}", cls="soft")


def _metrics(validated: dict[str, Any], tested: dict[str, Any]) -> Safe:
    columns = [(n, m) for n, m in (("Validation", validated), ("Held-out test", tested)) if m]
    names = sorted({*validated, *tested}, key=str.lower)
    head = tag("tr", tag("th", "Metric"), [tag("th", n, cls="number") for n, _ in columns])
    rows = [
        tag("tr", tag("td", tag("code", n)), [tag("td", number(m.get(n)), cls="number") for _, m in columns])
        for n in names
    ]
    half = -(-len(rows) // 2)
    tables = [tag("table", tag("thead", head), tag("tbody", part)) for part in (rows[:half], rows[half:]) if part]
    return join([tag("h3", "All its metrics"), tag("div", tables, cls="charts")])


def _leaderboard(results: dict[str, Any]) -> Safe | None:
    if not results["trials"]:
        return None
    board, note = leaderboard(results["trials"], results["primary_metric"], results.get("best"))
    return _section("leaderboard", "Leaderboard", board, failures(results["trials"]), note=note)


def _importances(results: dict[str, Any]) -> Safe | None:
    entries = sorted(results.get("importances") or [], key=lambda e: -_value(e))
    drawn = _attempt(charts.importances, entries, results["primary_metric"])
    if not drawn:
        return None
    note = f"by how much {results['primary_metric']} gets worse when the values of a column are shuffled"
    rest = None
    if len(entries) > 20:
        rows = [
            tag(
                "tr",
                tag("td", tag("code", e["column"])),
                [tag("td", number(e.get(k)), cls="number") for k in ("importance", "std")],
            )
            for e in entries[20 : 20 + _ROWS]
        ]
        more = f"{len(entries) - 20:,} more columns" + (f", the first {_ROWS}" if len(entries) > 20 + _ROWS else "")
        rest = tag("details", tag("summary", more), _table(("Column", "-Importance", "-Spread"), rows))
    return _section("columns", "Which columns matter", drawn, rest, note=note)


def _value(entry: dict[str, Any]) -> float:
    return float(entry["importance"]) if charts.finite(entry.get("importance")) else float("-inf")


def _guardrails(results: dict[str, Any]) -> Safe | None:
    order = ("warning", "done", "passed")
    found = [g for g in results.get("guardrails") or []]
    rows = []
    for rail in sorted(found, key=lambda g: order.index(g["status"]) if g.get("status") in order else 3):
        status = str(rail.get("status"))
        details = rail.get("details") or []
        listed = tag("div", [tag("small", shorten(d, 300)) for d in details[:20]])
        if len(details) > 4:
            listed = tag("details", tag("summary", f"{len(details)} details"), listed)
        rows.append(
            tag(
                "tr",
                tag(
                    "td",
                    tag("span", f"{_MARK.get(status, '')} {status}", cls=f"badge {status if status in order else ''}"),
                ),
                tag("td", rail.get("name")),
                tag("td", rail.get("description"), listed if details else None, cls="words"),
                tag("td", rail.get("action") or tag("span", "–", cls="soft"), cls="words"),
            )
        )
    return _section("guardrails", "Guardrails", _table(("", "Check", "Found", "Done about it"), rows)) if rows else None


def _featurization(results: dict[str, Any]) -> Safe | None:
    entries = results.get("featurization") or []
    rows = [
        tag(
            "tr",
            tag("td", tag("code", shorten(e.get("column"), 120))),
            tag("td", e.get("purpose")),
            tag(
                "td",
                tag("span", "dropped", cls="badge warning")
                if e.get("dropped")
                else ", ".join(map(str, e.get("steps") or [])) or "as it is",
                cls="words",
            ),
            tag("td", number(e.get("features")), cls="number"),
        )
        for e in entries[:_ROWS]
    ]
    if not rows:
        return None
    note = f"{len(entries):,} columns" + (f", the first {_ROWS} are shown" if len(entries) > _ROWS else "")
    table = _table(("Column", "Purpose", "Steps", "-Features"), rows)
    return _section("featurization", "What became of the columns", table, note=note)


def _settings(results: dict[str, Any]) -> Safe | None:
    parts = []
    for title, values in (("Settings", results["settings"]), ("Environment", results.get("environment") or {})):
        given = {k: v for k, v in values.items() if v is not None}
        left = [k for k, v in values.items() if v is None]
        if given:
            pairs = [tag("div", tag("dt", k), tag("dd", tag("code", plain(v, 1000)))) for k, v in given.items()]
            parts += [tag("h3", title), tag("dl", pairs, cls="pairs inner")]
        if left:
            parts.append(tag("p", "Not set: " + ", ".join(left) + ".", cls="soft"))
    if not parts:
        return None
    return tag(
        "section",
        tag("details", tag("summary", "Settings and environment"), parts, cls="block"),
        cls="card",
        id="settings",
    )


_PARTS: tuple[tuple[str, str, Callable[[dict[str, Any]], Safe | None]], ...] = (
    ("search", "The search", _search),
    ("quality", "The best model", _quality),
    ("columns", "Which columns matter", _importances),
    ("leaderboard", "Leaderboard", _leaderboard),
    ("guardrails", "Guardrails", _guardrails),
    ("featurization", "Columns", _featurization),
    ("settings", "Settings", _settings),
)


def _section(name: str, title: str, *content: Any, note: str | None = None) -> Safe:
    return tag("section", tag("h2", title, note and tag("small", note)), *content, cls="card", id=name)


def _table(head: Sequence[str], rows: Sequence[Safe]) -> Safe:
    """A table; names of columns with a dash before them are of numbers."""
    names = [tag("th", h.lstrip("-"), cls="number" if h.startswith("-") else None) for h in head]
    long = " long" if len(rows) > 30 else ""
    return tag("div", tag("table", tag("thead", tag("tr", names)), tag("tbody", list(rows))), cls=f"scroll{long}")


def _best(results: dict[str, Any]) -> dict[str, Any] | None:
    return next((t for t in results["trials"] if t.get("iteration") == results.get("best")), None)


def _when(started: Any) -> str | None:
    if charts.finite(started) and not isinstance(started, str):
        return f"{dt.datetime.fromtimestamp(float(started), dt.timezone.utc):%Y-%m-%d %H:%M} UTC"
    return str(started) if started else None


def _footer(results: dict[str, Any]) -> Safe:
    versions = results.get("environment") or {}
    engine = next((f" with FLAML {v}" for k, v in versions.items() if k.lower() == "flaml"), "")
    return tag("footer", tag("p", f"Stepwell AutoML{engine}. Point at a mark of a chart to read its values."))
