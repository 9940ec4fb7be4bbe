"""``airflow stepwell environment …``: environments of steps, built ahead, looked at and removed."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.cli.table import plain, print_json, print_table, size, when
from stepwell.errors import ComputeTargetException, EnvironmentException, UserErrorException

if TYPE_CHECKING:
    from stepwell.environment.inventory import Entry


def prepare(args: Any) -> None:
    """Build an environment for a compute target, or find it there; the build log goes to stderr."""
    from stepwell.environment.registered import prepare as build

    def say(line: str) -> None:
        print(plain(line), file=sys.stderr, flush=True)

    with _ended_with_its_build():
        found = build(_workspace(args), args.environment, args.target, say)
    facts = {
        "key": found.key,
        "python": found.version,
        "interpreter": found.python,
        "folder": found.root,
        "user_managed": found.user_managed,
        "target": args.target,
    }
    if args.output == "json":
        return print_json(facts)
    print_table(["what", "value"], [[name, "" if value is None else str(value)] for name, value in facts.items()])


def list_environments(args: Any) -> None:
    """Print the environments of a compute target, the one that was used last first."""
    from stepwell.environment import inventory

    found = inventory.entries(*_places(args))
    if args.output == "json":
        return print_json([entry.to_dict() for entry in found])
    print_table(["key", "python", "packages", "size", "used", "built", "jobs"], [_row(entry) for entry in found])


def show(args: Any) -> None:
    """Print what an environment was made from, and the exact packages in it."""
    from stepwell.environment import build_log, inventory

    root, jobs = _places(args)
    entry = inventory.matching(root, jobs, args.key)
    log = build_log.path_of(root, entry.key)
    facts = {
        **entry.to_dict(),
        "specification": (entry.record or {}).get("specification"),
        "lock": (entry.record or {}).get("lock"),
        "log": str(log) if log.exists() else None,
    }
    if args.output == "json":
        return print_json(facts)
    lock = facts.pop("lock")
    facts.update(bytes=size(entry.size), used=_when(entry.used), built=_when(facts["built"]))
    rows = [[k, v if isinstance(v, str) else json.dumps(v, indent=1)] for k, v in facts.items() if v is not None]
    print_table(["what", entry.key[:12]], rows)
    print(plain(lock or ""))


def remove(args: Any) -> None:
    """Remove environments: by the beginnings of their keys, or those that were not used for some time."""
    from stepwell.environment import inventory

    if bool(args.key) == bool(args.unused_for):
        raise UserErrorException("What is to be removed is not clear", allowed=["KEY …", "--unused-for 30d"])
    root, jobs = _places(args)
    if args.unused_for:
        wanted = inventory.unused(root, jobs, inventory.seconds_of(args.unused_for))
        inventory.sweep(root)
    else:
        wanted = list({(e := inventory.matching(root, jobs, key)).key: e for key in args.key}.values())
    removed: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for entry in wanted:
        try:
            removed.append({"key": entry.key, "bytes": inventory.remove(root, jobs, entry.key, force=args.force)})
        except EnvironmentException as error:
            kept.append({"key": entry.key, "why": str(error)})
    if args.output == "json":
        print_json({"removed": removed, "kept": kept})
    else:
        for item in removed:
            print(f"removed {item['key'][:12]}, {size(item['bytes'])}")
        if not wanted:
            print("nothing to remove")
    if kept:
        raise EnvironmentException(" ".join(item["why"] for item in kept).rstrip("."))


@contextmanager
def _ended_with_its_build() -> Iterator[None]:
    """End the build, which runs in another thread, when the command is interrupted."""
    from stepwell.environment.running import stop_builds

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except SystemExit:
        stop_builds()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _row(entry: Entry) -> list[str]:
    record = entry.record or {}
    return [
        entry.key[:12],
        str(record.get("python", "not whole")),
        str(len(entry.packages)),
        size(entry.size),
        _when(entry.used),
        _when(record.get("built")),
        "\n".join(entry.jobs),
    ]


def _when(seconds: float | None) -> str:
    return "" if seconds is None else when(seconds)


def _workspace(args: Any) -> Any:
    from stepwell.workspace import Workspace

    return Workspace(args.workspace)


def _places(args: Any) -> tuple[Path, Path]:
    """Return the folders of a target's environments and jobs on this machine."""
    from stepwell.compute.resolve import target_for

    target = target_for(_workspace(args), args.target)
    root, jobs = getattr(target, "environments", None), getattr(target, "jobs", None)
    if root is None or jobs is None:
        raise ComputeTargetException(
            f"The compute target {args.target!r} ({target.kind}) keeps no environments on this machine"
        )
    return root, jobs
