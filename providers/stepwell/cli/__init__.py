"""``airflow stepwell …``; also ``python -m stepwell.cli …``, which needs no Airflow and starts at once.

Both are made from :data:`COMMANDS`. Airflow imports this module for every command that it runs: it must stay light, so
the commands' functions are named and imported when they are called.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from stepwell.errors import StepwellError

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand


class Argument(NamedTuple):
    """An argument of a command: its *flags* (or its name), and *options* that argparse and Airflow both know."""

    flags: tuple[str, ...]
    options: Mapping[str, Any]


class Command(NamedTuple):
    """A command.

    :param path: what is typed, with the groups in front: ``("runs", "list")``.
    :param function: module below ``stepwell.cli`` and function, which gets the parsed arguments: ``"runs:list_runs"``.
    """

    path: tuple[str, ...]
    help: str
    function: str
    arguments: tuple[Argument, ...] = ()


def _argument(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options)


_HELP = "Runs of steps, their datasets, gates and environments, and compute targets"
#: What stands beside a group in the help.
_GROUPS = {
    "runs": "Runs of steps",
    "environment": "Environments of steps",
    "computetarget": "Compute targets: where steps run",
}
_OUTPUT = _argument("-o", "--output", help="table or json", choices=("table", "json"), default="table")
_WORKSPACE = _argument("--workspace", help="name of the workspace", default="default")
_TARGET = _argument("--target", help="the compute target (default: local)", default="local")
_NAME = _argument("name", help="the compute target")
_OF_KIND = _argument("arguments", help="KIND --help shows them", nargs=argparse.REMAINDER, metavar="…")
_ATTACHED = _argument("kind", help="its kind, such as remote, docker, livy: see 'computetarget kinds'")
_CREATED = _argument("kind", help="its kind, such as amlcompute: see 'computetarget kinds'")
_FORCE = _argument("--force", help="also while jobs run there, which nobody collects then", action="store_true")
_RUN = _argument("run_id", help="the run, or how its id begins")

COMMANDS: tuple[Command, ...] = (
    Command(
        ("runs", "list"),
        "List runs, newest first",
        "runs:list_runs",
        (
            _argument("--dag", help="only runs of this DAG"),
            _argument("--status", help="only these", choices=("running", "completed", "failed", "cancelled")),
            _argument("--limit", help="how many, at most; 0 = all (default: 50)", type=int, default=50, metavar="N"),
            _OUTPUT,
            _WORKSPACE,
        ),
    ),
    Command(
        ("runs", "show"),
        "Show the record of one run, or its child runs",
        "runs:show_run",
        (
            _RUN,
            _argument("--children", help="its child runs (the trials of a search), best first", action="store_true"),
            _argument("--limit", help="of child runs, so many; 0 = all (default: 50)", type=int, metavar="N"),
            _OUTPUT,
            _WORKSPACE,
        ),
    ),
    Command(
        ("runs", "why"),
        "Say whether a step was reused, and why it was or was not",
        "runs:why",
        (
            _argument("run_id", help="the run, or how its id begins", nargs="?"),
            _argument("--dag", help="instead of a run: the newest one of this DAG"),
            _argument("--task", help="with --dag: the newest one of this task"),
            _OUTPUT,
            _WORKSPACE,
        ),
    ),
    Command(
        ("runs", "summary"),
        "Show the newest DAG run of a DAG, step by step",
        "runs:summary",
        (_argument("--dag", help="the DAG", required=True), _OUTPUT, _WORKSPACE),
    ),
    Command(
        ("runs", "best"),
        "Show the child run that is best by a metric",
        "children:best",
        (
            _RUN,
            _argument("--metric", help="the metric (default: the primary metric of the search)"),
            _argument("--direction", help="what is best of a metric of your own", choices=("max", "min")),
            _OUTPUT,
            _WORKSPACE,
        ),
    ),
    Command(
        ("environment", "prepare"),
        "Build an environment ahead, or find it",
        "environment:prepare",
        (
            _argument(
                "environment", help="a conda, requirements or project file, or a registered name (train, train:2)"
            ),
            _TARGET,
            _OUTPUT,
            _WORKSPACE,
        ),
    ),
    Command(
        ("environment", "list"),
        "List the environments on this machine",
        "environment:list_environments",
        (_TARGET, _OUTPUT, _WORKSPACE),
    ),
    Command(
        ("environment", "show"),
        "Show what an environment was made from, and the packages in it",
        "environment:show",
        (_argument("key", help="how its key begins"), _TARGET, _OUTPUT, _WORKSPACE),
    ),
    Command(
        ("environment", "remove"),
        "Remove environments that nobody uses",
        "environment:remove",
        (
            _argument("key", help="how its key begins", nargs="*"),
            _argument("--unused-for", help="instead of keys: those that nobody used for so long (30d, 12h)"),
            _argument("--force", help="also what a running job uses", action="store_true"),
            _TARGET,
            _OUTPUT,
            _WORKSPACE,
        ),
    ),
    Command(
        ("computetarget", "attach"),
        "Attach a machine, a cluster or a daemon",
        "computetarget:attach",
        (_ATTACHED, _OF_KIND),
    ),
    Command(
        ("computetarget", "create"), "Create a managed compute target", "computetarget:create", (_CREATED, _OF_KIND)
    ),
    Command(("computetarget", "kinds"), "List the kinds of compute targets", "computetarget:list_kinds", (_OUTPUT,)),
    Command(("computetarget", "list"), "List compute targets", "computetarget:list_targets", (_OUTPUT, _WORKSPACE)),
    Command(
        ("computetarget", "show"),
        "Show settings and dated facts of a compute target",
        "computetarget:show",
        (_NAME, _OUTPUT, _WORKSPACE),
    ),
    Command(
        ("computetarget", "probe"),
        "Look at a compute target now, and keep what was found",
        "computetarget:probe",
        (_NAME, _OUTPUT, _WORKSPACE),
    ),
    Command(
        ("computetarget", "wait"),
        "Wait until a compute target can work",
        "computetarget:wait",
        (
            _NAME,
            _argument("--timeout", help="at most so long: 90s, 10m, 1h (default: 10m)", default="10m"),
            _WORKSPACE,
        ),
    ),
    Command(
        ("computetarget", "detach"),
        "Remove an attached compute target from the workspace",
        "computetarget:detach",
        (_NAME, _FORCE, _WORKSPACE),
    ),
    Command(
        ("computetarget", "delete"),
        "Delete a managed compute target",
        "computetarget:delete",
        (_NAME, _FORCE, _WORKSPACE),
    ),
    Command(
        ("computetarget", "key"),
        "Print the public half of the workspace's own SSH key",
        "computetarget:key",
        (_WORKSPACE,),
    ),
    Command(
        ("apply",),
        "Make compute targets and linked services as a file says",
        "apply:apply",
        (
            _argument("-f", "--file", help="the file (YAML)", required=True),
            _argument("--yes", help="do it without asking", action="store_true"),
            _argument("--dry-run", help="only show the difference", action="store_true"),
            _OUTPUT,
            _argument("--workspace", help="name of the workspace (default: the file's, else default)"),
        ),
    ),
    Command(
        ("reap",),
        "Remove what ended jobs have left on compute targets",
        "computetarget:reap",
        (
            _argument("target", help="one compute target (default: all)", nargs="?"),
            _argument("--older-than", help="of jobs that ended so long ago (default: 24h)", default="24h"),
            _argument("--dry-run", help="only say what", action="store_true"),
            _OUTPUT,
            _WORKSPACE,
        ),
    ),
    Command(
        ("prune",),
        "Remove what nothing refers to any more; without --yes only say what",
        "prune:prune",
        (
            _argument("--older-than", help="keep runs that ended later: 30d, 36h, 2w (default: 30d)", default="30d"),
            _argument("--keep", help="keep that many completed runs of each step (default: 10)", default="10"),
            _argument("--datasets", help="remove older versions of these datasets, too: NAME or NAME,NAME"),
            _argument("--keep-versions", help="how many versions of these datasets stay"),
            _argument(
                "--environments-unused-for",
                help="keep environments that were used later (default: 90d)",
                default="90d",
            ),
            _argument(
                "--what",
                help="only these: runs,versions,snapshots,staging,quarantine,index,environments,jobs (default: all)",
            ),
            _argument("--yes", help="remove it", action="store_true"),
            _argument("--verbose", help="show each thing", action="store_true"),
            _OUTPUT,
            _WORKSPACE,
        ),
    ),
)


def get_commands() -> list[CLICommand]:
    """Return the commands that Airflow's command line takes in."""
    from airflow.cli import cli_config
    from airflow.cli.cli_config import ActionCommand, GroupCommand

    Arg: Any = cli_config.Arg  # untyped in Airflow
    found: list[CLICommand] = []
    groups: dict[str, list[CLICommand]] = {}
    for command in COMMANDS:
        *group, name = command.path
        into = found
        if group:
            if group[0] not in groups:
                groups[group[0]] = into = []
                found.append(GroupCommand(group[0], _GROUPS[group[0]], into))
            into = groups[group[0]]
        arguments = [Arg(a.flags, **a.options) for a in command.arguments]
        into.append(ActionCommand(name, command.help, _caller(command), arguments))
    return [GroupCommand("stepwell", _HELP, found)]


def main(argv: list[str] | None = None) -> int:
    """Run a command without Airflow's command line; return its exit code.

    ``list`` alone is ``runs list``, and so with the other commands of runs.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and ("runs", arguments[0]) in {c.path for c in COMMANDS}:
        arguments = ["runs", *arguments]
    parser = argparse.ArgumentParser(prog="stepwell", description=f"{_HELP}.")
    top = parser.add_subparsers(dest="command", required=True)
    groups: dict[str, Any] = {}
    for command in COMMANDS:
        *group, name = command.path
        into = top
        if group:
            if group[0] not in groups:
                made = top.add_parser(group[0], help=_GROUPS[group[0]])
                groups[group[0]] = made.add_subparsers(dest="subcommand", required=True)
            into = groups[group[0]]
        added = into.add_parser(name, help=command.help, description=command.help)
        added.set_defaults(call=_caller(command))
        for argument in command.arguments:
            added.add_argument(*argument.flags, **argument.options)
    args = parser.parse_args(arguments)
    args.call(args)
    return 0


def _caller(command: Command) -> Callable[[Any], None]:
    """Return the function of *command*, imported when called; its errors are told as a sentence, not as a traceback."""

    def call(args: Any) -> None:
        module, _, name = command.function.partition(":")
        try:
            getattr(import_module(f"{__name__}.{module}"), name)(args)
        except StepwellError as error:
            raise SystemExit(f"error: {error}") from None

    return call
