"""``airflow stepwell runs …``: what has run."""

from __future__ import annotations

import json
from typing import Any

from stepwell.cli.table import print_json, print_table, when

_COLUMNS = ("step", "target", "status", "duration", "inputs", "outputs", "gate", "metrics")


def list_runs(args: Any) -> None:
    """Print the runs, newest first."""
    from stepwell.tracking import history

    records = history.runs(_workspace(args), args.dag)
    if args.output == "json":
        return print_json(records)
    print_table(["run", "started", *_COLUMNS[1:4]], [[r["run_id"], when(r["started"]), *_row(r)[1:4]] for r in records])


def show_run(args: Any) -> None:
    """Print the record of a run."""
    from stepwell.tracking import history

    record = history.run(_workspace(args), args.run_id)
    if args.output == "json":
        return print_json(record)
    print_table(
        ["what", args.run_id], [[k, v if isinstance(v, str) else json.dumps(v)] for k, v in sorted(record.items())]
    )


def summary(args: Any) -> None:
    """Print the newest DAG run of a DAG: a row per step, and where logs and reports are."""
    from stepwell.tracking import history

    ws = _workspace(args)
    records = history.latest_dag_run(ws, args.dag)
    if args.output == "json":
        return print_json(records)
    print_table(_COLUMNS, [_row(r) for r in records], title=f"{args.dag}, run {records[0]['dag_run_id']}")
    for record in records:
        place = ws.store.local_path(f"runs/{record['run_id']}")
        folder = str(place or f"{ws.root}/runs/{record['run_id']}")
        print(f"{record['step']}:")
        print(f"  log     {folder}/logs/step.log")
        for gate in record["verdicts"]:
            print(f"  report  {folder}/gates/{gate}.html")
        for name, reference in record["outputs"].items():
            print(f"  {name:<7} {reference['uri']}")


def _workspace(args: Any) -> Any:
    from stepwell.workspace import Workspace

    return Workspace(args.workspace)


def _row(record: dict[str, Any]) -> list[str]:
    seconds = record["seconds"]
    return [
        record["step"],
        record["target"],
        record["status"],
        "" if seconds is None else f"{seconds:.1f} s",
        "\n".join(_reference(name, r) for name, r in record["inputs"].items()),
        "\n".join(_reference(name, r) for name, r in record["outputs"].items()),
        "\n".join(_gate(v) for v in record["verdicts"].values()),
        "\n".join(f"{k} {_figure(v)}" for k, v in record["metrics"].items() if not isinstance(v, dict)),
    ]


def _reference(name: str, reference: dict[str, Any]) -> str:
    if reference["dataset"]:
        return f"{reference['dataset']} v{reference['version']}"
    return f"{name} ({reference['id'][:8]})"


def _gate(verdict: dict[str, Any]) -> str:
    counts = verdict.get("statistics") or {}
    return f"{verdict['verdict']} ({counts.get('passed', '?')}/{counts.get('evaluated', '?')})"


def _figure(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_figure(v) for v in value) + "]"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
