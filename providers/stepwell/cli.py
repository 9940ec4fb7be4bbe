"""``airflow stepwell runs list|show|summary``; also ``python -m stepwell.cli``, which needs no Airflow and starts at
once.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stepwell.errors import StepwellError

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

_COLUMNS = ("step", "target", "status", "duration", "inputs", "outputs", "gate", "metrics")


def get_commands() -> list[CLICommand]:
    """Return the commands that Airflow's command line takes in."""
    from airflow.cli import cli_config
    from airflow.cli.cli_config import ActionCommand, GroupCommand

    Arg: Any = cli_config.Arg  # untyped in Airflow
    output = Arg(("-o", "--output"), help="table or json", choices=("table", "json"), default="table")
    workspace = Arg(("--workspace",), help="name of the workspace", default="default")
    dag = Arg(("--dag",), help="only runs of this DAG")
    return [
        GroupCommand(
            name="stepwell",
            help="Runs of steps, their datasets and their gates",
            subcommands=[
                GroupCommand(
                    name="runs",
                    help="Runs of steps",
                    subcommands=[
                        ActionCommand("list", "List runs, newest first", _told(list_runs), (dag, output, workspace)),
                        ActionCommand(
                            "show",
                            "Show the record of one run",
                            _told(show_run),
                            (Arg(("run_id",), help="the run"), output, workspace),
                        ),
                        ActionCommand(
                            "summary",
                            "Show the newest DAG run of a DAG, step by step",
                            _told(summary),
                            (Arg(("--dag",), help="the DAG", required=True), output, workspace),
                        ),
                    ],
                )
            ],
        )
    ]


def _told(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return *function* with its errors told as a sentence, not as a traceback."""

    def told(args: Any) -> None:
        try:
            function(args)
        except StepwellError as error:
            raise SystemExit(f"error: {error}") from None

    return told


def main(argv: list[str] | None = None) -> int:
    """Run a command without Airflow's command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="stepwell", description="Runs of steps, their datasets and their gates.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function, help_text in (
        ("list", list_runs, "list runs, newest first"),
        ("show", show_run, "show the record of one run"),
        ("summary", summary, "show the newest DAG run of a DAG, step by step"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.set_defaults(function=function)
        command.add_argument("--workspace", default="default")
        command.add_argument("-o", "--output", choices=("table", "json"), default="table")
        if name == "show":
            command.add_argument("run_id")
        else:
            command.add_argument("--dag", required=name == "summary")
    args = parser.parse_args(argv)
    _told(args.function)(args)
    return 0


def list_runs(args: Any) -> None:
    """Print the runs, newest first."""
    from stepwell.tracking import history

    records = history.runs(_workspace(args), args.dag)
    if args.output == "json":
        return _json(records)
    _print(["run", "started", *_COLUMNS[1:4]], [[r["run_id"], _when(r["started"]), *_row(r)[1:4]] for r in records])


def show_run(args: Any) -> None:
    """Print the record of a run."""
    from stepwell.tracking import history

    record = history.run(_workspace(args), args.run_id)
    if args.output == "json":
        return _json(record)
    _print(["what", args.run_id], [[k, v if isinstance(v, str) else json.dumps(v)] for k, v in sorted(record.items())])


def summary(args: Any) -> None:
    """Print the newest DAG run of a DAG: a row per step, and where logs and reports are."""
    from stepwell.tracking import history

    ws = _workspace(args)
    records = history.latest_dag_run(ws, args.dag)
    if args.output == "json":
        return _json(records)
    _print(_COLUMNS, [_row(r) for r in records], title=f"{args.dag}, run {records[0]['dag_run_id']}")
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


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _json(value: Any) -> None:
    print(json.dumps(value, indent=2, sort_keys=True))


def _print(columns: Any, rows: list[list[str]], title: str | None = None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def plain(value: str) -> Text:
        """What a script wrote is neither markup nor a sequence that controls the terminal."""
        return Text("".join(c if c == "\n" or c.isprintable() else "\ufffd" for c in value))

    table = Table(title=plain(title) if title else None, box=box.ROUNDED, show_lines=True, title_justify="left")
    for column in columns:
        table.add_column(plain(column), overflow="fold")
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    console = Console()
    if not console.is_terminal:  # a log file is as wide as it needs to be
        console = Console(width=160)
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
