"""``airflow stepwell prune``: remove what nothing refers to any more; without ``--yes`` only say what that is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from stepwell.cli.table import plain, print_json, print_table, size
from stepwell.errors import StepwellError

if TYPE_CHECKING:
    from stepwell.retention.items import Item

_COLUMNS = ("what", "count", "size")
_DETAILS = ("what", "where", "size", "age", "why")


def prune(args: Any) -> None:
    """Print what may go, or with ``--yes`` remove it and print what was freed."""
    from stepwell.retention import plan, rules, sweep
    from stepwell.workspace import Workspace

    ws = Workspace(args.workspace)
    wanted = rules.rules(
        older_than=args.older_than,
        keep=args.keep,
        datasets=args.datasets,
        keep_versions=args.keep_versions,
        environments_unused_for=args.environments_unused_for,
        what=args.what,
    )
    found, _ = plan.make(ws, wanted)
    for note in found.notes:
        _say(f"Note: {note}")
    if not args.yes:
        if args.output == "json":
            return print_json({"dry_run": True, **found.to_dict()})
        _table(found.items, f"May go of {ws.name} ({ws.root})", details=args.verbose)
        if found.items:
            print("Nothing was removed; with --yes it is")
        return
    done = sweep.sweep(ws, found, _say)
    for item, reason in done.left:
        _say(f"Left: {item.path}: {reason}")
    if args.output == "json":
        print_json({"dry_run": False, **done.to_dict(), "notes": found.notes})
    else:
        _table(done.removed, f"Removed of {ws.name} ({ws.root})", details=args.verbose)
    if done.failed:
        raise StepwellError(f"{len(done.failed)} things could not be removed", hint="See above why, then run it again")


def _table(items: list[Item], title: str, *, details: bool) -> None:
    from stepwell.retention.items import totals

    if details:
        print_table(_DETAILS, [_row(item) for item in items])
    rows = [[kind, f"{one['count']:,}", size(one["bytes"])] for kind, one in totals(items).items()]
    rows.append(["all", f"{len(items):,}", size(sum(item.size for item in items))])
    print(f"{title}:")
    print_table(_COLUMNS, rows)


def _row(item: Item) -> list[str]:
    where = f"{item.where}: {item.path}" if item.where else item.path
    age = "" if item.age is None else f"{item.age / 86400:.1f} days"
    return [item.kind, where, size(item.size), age, item.why]


def _say(line: str) -> None:
    print(plain(line), file=sys.stderr, flush=True)
