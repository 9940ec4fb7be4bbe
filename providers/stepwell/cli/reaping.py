"""``airflow stepwell reap``: what ended jobs have left on compute targets, and nobody will fetch any more, goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.cli.asking import say
from stepwell.cli.table import print_json, print_table
from stepwell.errors import ComputeTargetException, StepwellError

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: How long one target may take, in seconds: there may be much to remove.
_PATIENCE = 600.0


def reap(ws: Workspace, name: str | None, older_than: float, *, dry_run: bool, output: str) -> None:
    """Remove what jobs have left that ended, or never started, at least *older_than* seconds ago.

    :param name: of one compute target; None = all. Those that share a folder are looked at once.
    :raises ComputeTargetException: a target could not be looked at; the others were.
    """
    from stepwell.compute import portal, records
    from stepwell.compute.resolve import target_for

    found: list[dict[str, Any]] = []
    failed: list[str] = []
    seen: set[Any] = set()
    for one in [name] if name else records.names(ws):
        try:
            target = target_for(ws, one)
            place = (type(target).__name__, getattr(target, "root", one), records.read(ws, one).get("connection_id"))
            if place in seen:
                continue
            seen.add(place)
            jobs = portal.call(target.reapable(older_than) if dry_run else target.reap(older_than), _PATIENCE)
            found += [{"target": one, "job": job} for job in jobs]
        except (StepwellError, OSError, TimeoutError) as error:
            if name and isinstance(error, StepwellError):
                raise
            failed.append(one)
            say(f"Left alone: {one}: {error or type(error).__name__}")
    if output == "json":
        print_json({"dry_run": dry_run, "jobs": found, "failed": failed})
    elif not found:
        say("There is nothing to remove")
    else:
        print_table(["target", "job"], [[one["target"], one["job"]] for one in found],
                    "Would be removed" if dry_run else "Removed")  # fmt: skip
    if failed:
        raise ComputeTargetException(f"These compute targets could not be looked at: {', '.join(failed)}")
