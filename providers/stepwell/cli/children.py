"""``airflow stepwell runs show RUN --children`` and ``… best RUN``: the child runs of a run, also while it runs."""

from __future__ import annotations

import sys
from typing import Any

from stepwell.cli.runs import duration, lines, workspace
from stepwell.cli.table import print_json, print_table
from stepwell.errors import UserErrorException

#: How many are shown unless more are asked for.
LIMIT = 50
#: Of children that are not scored, so many metrics are shown.
_METRICS = 3
#: What the best child's own facts begin with.
_FIRST = ("id", "name", "status", "seconds", "error")


def show_children(args: Any) -> None:
    """Print the child runs of a run, the best score first."""
    from stepwell.tracking import children, history

    if args.limit is not None and args.limit < 0:
        raise UserErrorException(f"--limit {args.limit} is not right", allowed=["a whole number", "0 = all of them"])
    ws = workspace(args)
    record = history.find(ws, args.run_id)
    found = children.ranked(children.of_record(ws, record))
    if not found:
        raise children.none_there(record)
    limit = LIMIT if args.limit is None else args.limit
    shown = found[: limit or None]
    if args.output == "json":
        print_json(shown)
    else:
        primary = children.primary_metric(found)
        metrics = [primary] if primary else list(dict.fromkeys(m for c in found for m in c["metrics"]))[:_METRICS]
        columns = ["child", "model", "status", *metrics, "duration", "reason"]
        print_table(columns, [_row(child, metrics) for child in shown], title=_title(record, found))
    if len(shown) < len(found):
        print(f"There are {len(found) - len(shown)} more: --limit 0 shows all of them", file=sys.stderr)


def best(args: Any) -> None:
    """Print the child run that is best by a metric."""
    from stepwell.tracking import children, history

    ws = workspace(args)
    record = history.find(ws, args.run_id)
    found = children.best_child(ws, record["run_id"], args.metric, args.direction)
    if args.output == "json":
        return print_json(found)
    metric = args.metric or children.primary_metric(children.of_record(ws, record))
    rows = [(metric, _score(found["metrics"].get(str(metric))))]
    rows += [(name, duration(found) if name == "seconds" else str(found[name])) for name in _FIRST if found[name]]
    rows += [(name, "\n".join(lines(found[name]))) for name in ("metrics", "parameters", "properties", "tags")]
    print_table(["what", "the best child"], [(str(name), value) for name, value in rows if value])


def _row(child: dict[str, Any], metrics: list[str]) -> list[str]:
    properties = child["properties"]
    iteration, model = properties.get("iteration"), str(properties.get("model") or "")
    pipeline = str(properties.get("pipeline") or "")
    return [
        child["name"] or child["id"] if iteration is None else str(iteration),
        "\n".join(dict.fromkeys(text for text in (model, pipeline) if text)),
        child["status"],
        *(_score(child["metrics"].get(metric)) for metric in metrics),
        duration(child),
        str(child["error"] or ""),
    ]


def _title(record: dict[str, Any], found: list[dict[str, Any]]) -> str:
    counts = {
        status: sum(c["status"] == status for c in found) for status in ("Completed", "Running", "Failed", "Canceled")
    }
    said = ", ".join(f"{count} {status.lower()}" for status, count in counts.items() if count)
    return f"{record['run_id']} ({record['status']}), child runs: {said}"


def _score(value: Any) -> str:
    """Return a metric with digits enough to tell trials apart; of a series, the last value."""
    value = value[-1] if isinstance(value, list) and value else value
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
