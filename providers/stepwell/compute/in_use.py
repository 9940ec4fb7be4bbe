"""Who uses a compute target: jobs that have not ended, and targets that stand on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.compute import portal, records, resolve
from stepwell.compute.contract import Handle
from stepwell.errors import ComputeTargetException, StepwellError

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: A target that does not say how its jobs are within so many seconds is taken at the workspace's word.
_PATIENCE = 30.0
_MOST_NAMED = 5


def refuse(ws: Workspace, record: records.Record, what: str) -> None:
    """Raise if somebody uses the target.

    :param what: what is refused, for the message: "cannot be removed".
    :raises ComputeTargetException: runs or targets use it; they are named.
    """
    name = record["name"]
    on_it = targets_on(ws, name)
    if on_it:
        raise ComputeTargetException(
            f"The compute target {name!r} {what}: {', '.join(on_it)} runs its jobs there", hint="Remove that one first"
        )
    found = runs(ws, record)
    if found:
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise ComputeTargetException(
            f"The compute target {name!r} {what}: {', '.join(found[:_MOST_NAMED])}{more} "
            f"{'has' if len(found) == 1 else 'have'} not ended",
            hint="Wait for it, or cancel it (mark its task failed); or use --force (force=True): then nobody collects "
            "what it makes",
        )


def targets_on(ws: Workspace, name: str) -> list[str]:
    """Return the names of compute targets that run their jobs on the target *name*."""
    every = (records.read(ws, other) for other in records.names(ws) if other != name)
    return [r["name"] for r in every if r["configuration"].get("backing_target") == name]


def runs(ws: Workspace, record: records.Record) -> list[str]:
    """Return the runs that have not ended on the target.

    The workspace knows which runs nobody has collected; the target says which of those have ended all the same.
    """
    from stepwell.step.state import OVER

    begun: list[str] = []
    handles: dict[str, Handle] = {}
    for file in ws.store.list("jobs"):
        state = _json(ws, f"jobs/{file}")
        if not state or state.get("phase") in OVER:
            continue
        run_id = f"{state.get('slug')}-g{state.get('generation')}"
        handle = state.get("handle")
        if handle is None:
            if (_json(ws, f"runs/{run_id}/run.json") or {}).get("target") == record["name"]:
                begun.append(run_id)
        elif handle.get("target") == record["name"]:
            handles[run_id] = Handle.from_dict(handle)
    return sorted([*begun, *_not_ended(ws, record, handles)])


def _not_ended(ws: Workspace, record: records.Record, handles: dict[str, Handle]) -> list[str]:
    if not handles:
        return []
    try:
        target = resolve.target_of(ws, record)
        states = portal.call(target.status(list(handles.values())), _PATIENCE)
    except (StepwellError, TimeoutError, OSError):
        return list(handles)
    return [run_id for run_id, state in zip(handles, states, strict=True) if not state.ended]


def _json(ws: Workspace, path: str) -> dict[str, Any] | None:
    try:
        return ws.store.read_json(path)
    except (FileNotFoundError, ValueError, StepwellError):
        return None
