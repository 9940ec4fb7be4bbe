"""``airflow stepwell runs …``: what has run, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from stepwell.cli.table import print_json, print_table, size, when
from stepwell.errors import UserErrorException

_COLUMNS = ("step", "target", "status", "duration", "inputs", "outputs", "gate", "metrics")
#: What comes first when a record is shown; the rest follows by name.
_FIRST = (
    *("run_id", "step", "dag_id", "task_id", "map_index", "dag_run_id", "try_number", "target", "kind", "status"),
    *("error", "started", "ended", "seconds", "phase", "phases", "reuse", "reused_from", "inputs", "outputs"),
    *("verdicts", "metrics", "tags"),
)
#: Of a longer row of numbers, so many are shown.
_NUMBERS = 20


def list_runs(args: Any) -> None:
    """Print the runs, newest first."""
    from stepwell.tracking import history

    if args.limit < 0:
        raise UserErrorException(f"--limit {args.limit} is not right", allowed=["a whole number", "0 = all runs"])
    # One more than wanted tells whether there are more.
    records = history.runs(workspace(args), args.dag, status=args.status, limit=args.limit + 1 if args.limit else None)
    shown = records[: args.limit or None]
    if args.output == "json":
        print_json(shown)
    else:
        rows = ([r["run_id"], when(r["started"]), r["target"], r["status"], _reuse(r), duration(r)] for r in shown)
        print_table(["run", "started", "target", "status", "reuse", "duration"], rows)
    if len(shown) < len(records):
        print(f"There are older runs: --limit {2 * args.limit} shows more, --limit 0 all of them", file=sys.stderr)


def show_run(args: Any) -> None:
    """Print the record of a run, or its child runs."""
    from stepwell.tracking import history

    if args.children:
        from stepwell.cli.children import show_children

        return show_children(args)
    if args.limit is not None:
        raise UserErrorException("--limit goes with --children", hint="Leave it out: a record is shown whole")
    record = history.find(workspace(args), args.run_id)
    if args.output == "json":
        return print_json(record)
    known = [name for name in _FIRST if name in record]
    names = [*known, *sorted(record.keys() - set(known))]
    print_table(["what", record["run_id"]], [[name, _fact(name, record[name])] for name in names])


def why(args: Any) -> None:
    """Print what was decided about a run, and why."""
    from stepwell.tracking import history
    from stepwell.tracking.decision import told

    record = _asked(args, history)
    decided = told(record)
    if args.output == "json":
        of = {name: record[name] for name in ("run_id", "dag_id", "task_id", "dag_run_id", "map_index", "status")}
        return print_json({**of, **decided.to_dict()})
    rows = [
        ("decision", decided.word),
        ("reason", decided.reason),
        *(("change", change) for change in decided.changes),
        ("compared with", decided.compared_with),
        ("reused from", decided.origin),
    ]
    print_table(["what", record["run_id"]], [(name, value) for name, value in rows if value])


def summary(args: Any) -> None:
    """Print the newest DAG run of a DAG: a row per step, and where logs and reports are."""
    from stepwell.tracking import decision, history

    ws = workspace(args)
    records = history.latest_dag_run(ws, args.dag)
    if args.output == "json":
        return print_json(records)
    print_table(_COLUMNS, [_row(r) for r in records], title=f"{args.dag}, run {records[0]['dag_run_id']}")
    for record in records:
        print(f"{record['step']}:")
        origin = decision.told(record).origin
        if origin:
            print(f"  made by {origin}")
        print(f"  log     {_folder(ws, decision.has_log(record))}/logs/step.log")
        for gate in record["verdicts"]:
            print(f"  report  {_folder(ws, decision.has_report(record, gate))}/gates/{gate}.html")
        for name, reference in record["outputs"].items():
            print(f"  {name:<7} {reference['uri']}")


def workspace(args: Any) -> Any:
    """Return the workspace that is meant."""
    from stepwell.workspace import Workspace

    return Workspace(args.workspace)


def _asked(args: Any, history: Any) -> dict[str, Any]:
    """Return the record of the run that is meant: by its id, or the newest of a DAG, or of one of its tasks."""
    if (args.run_id is None) == (args.dag is None):
        raise UserErrorException(
            "Which run is not said", allowed=["its id, or how it begins", "--dag, for the newest one"]
        )
    if args.run_id is not None:
        if args.task is not None:
            raise UserErrorException(
                "--task goes with --dag", hint="Leave it out: the run's id says which task it is of"
            )
        return dict(history.find(workspace(args), args.run_id))
    found = history.runs(workspace(args), args.dag, task_id=args.task, limit=1)
    if not found:
        of = f"the task {args.task!r} of the DAG {args.dag!r}" if args.task else f"the DAG {args.dag!r}"
        raise UserErrorException(
            f"There is no run of {of} in the workspace {args.workspace}",
            hint="List them: airflow stepwell runs list",
        )
    return dict(found[0])


def _folder(ws: Any, run_id: str) -> str:
    return str(ws.store.local_path(f"runs/{run_id}") or f"{ws.root}/runs/{run_id}")


def _row(record: dict[str, Any]) -> list[str]:
    from stepwell.tracking.decision import told

    decided = told(record)
    made = record["status"] == "completed" and decided.origin
    return [
        record["step"],
        record["target"],
        decided.word if made else record["status"],
        duration(record),
        "\n".join(_reference(name, r) for name, r in record["inputs"].items()),
        "\n".join(_reference(name, r) for name, r in record["outputs"].items()),
        "\n".join(_gate(v) for v in record["verdicts"].values()),
        "\n".join(f"{k} {_figure(v)}" for k, v in record["metrics"].items() if not isinstance(v, dict)),
    ]


def duration(record: dict[str, Any]) -> str:
    """Return how long it took, as people write it; nothing while it runs."""
    seconds = record.get("seconds")
    return "" if seconds is None else f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"


def _reuse(record: dict[str, Any]) -> str:
    from stepwell.tracking.decision import told

    decided = told(record)
    return f"{decided.word}\nfrom {decided.origin}" if decided.origin else decided.word


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


# -- a record for people -----------------------------------------------------------------------------------------------


def _fact(name: str, value: Any) -> str:
    """Return a fact of a record, over several lines if there is more in it than one value."""
    if value is None:
        return ""
    if name in ("started", "ended"):
        return when(value)
    if name == "seconds":
        return f"{value} s"
    return "\n".join(lines(value))


def lines(value: Any) -> Iterator[str]:
    """Yield *value* as YAML would be written: names and values, what is nested indented; nothing for what is empty."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if inner is None or inner in ({}, []):
                continue
            text = [size(inner)] if name == "size" and isinstance(inner, int) else list(lines(inner))
            if _is_flat(inner):
                yield f"{name}: {text[0] if text else ''}"
                yield from (f"  {line}" for line in text[1:])
            else:
                yield f"{name}:"
                yield from (f"  {line}" for line in text)
    elif isinstance(value, list) and not _is_flat(value):
        for inner in value:
            if isinstance(inner, dict) and all(map(_is_flat, inner.values())):
                yield ", ".join(lines(inner))
            else:
                first, *rest = list(lines(inner)) or [""]
                yield f"- {first}"
                yield from (f"  {line}" for line in rest)
    elif isinstance(value, list):
        left = len(value) - _NUMBERS
        yield ", ".join(map(str, value[:_NUMBERS])) + (f", … ({left} more)" if left > 0 else "")
    else:
        yield from str(value).split("\n")


def _is_flat(value: Any) -> bool:
    """Whether it stands on one line: a value, or a few numbers."""
    if isinstance(value, list):
        return all(isinstance(v, int | float) for v in value)
    return not isinstance(value, dict)
