"""What this machine's compute targets keep: environments that nobody uses, job directories that nobody needs."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.compute import portal, records
from stepwell.compute.resolve import local_root, target_for
from stepwell.compute.target import JobDirectoryTarget
from stepwell.errors import StepwellError
from stepwell.retention.places import Measure
from stepwell.retention.rules import JOB_AGE, Rules

if TYPE_CHECKING:
    from stepwell.retention.references import References
    from stepwell.workspace import Workspace

#: A target that does not answer for so long is left alone, in seconds.
_PATIENCE = 60.0


def items(ws: Workspace, look: References, rules: Rules) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what may go of this machine's targets, and notes about what cannot be looked at.

    Targets that share a folder, as all of this machine do, are looked at once.
    """
    found: list[dict[str, Any]] = []
    notes: list[str] = []
    seen: set[str] = set()
    for name in records.names(ws):
        try:
            target = target_for(ws, name)
            root = getattr(target, "root", None)
            if not isinstance(target, JobDirectoryTarget) or not _is_here(target) or root in seen:
                continue
            seen.add(str(root))
            if "environments" in rules.what:
                found += _environments(name, target, look, rules)
            if "jobs" in rules.what:
                found += portal.call(_jobs(name, target, look, rules), timeout=_PATIENCE)
        except (StepwellError, OSError, TimeoutError) as error:
            said = error.what if isinstance(error, StepwellError) else str(error) or type(error).__name__
            notes.append(f"the compute target {name} is left alone: {said}")
    return found, notes


def job_ids(ws: Workspace) -> list[str]:
    """Return the jobs that have a directory on this machine."""
    try:
        return sorted(path.name for path in Path(local_root(ws), "jobs").iterdir())
    except OSError:
        return []


def environments_of(ws: Workspace, target: str) -> tuple[Path, Path]:
    """Return the folders of the environments and of the jobs of a target."""
    root = Path(str(getattr(target_for(ws, target), "root", "")))
    return root / "environments", root / "jobs"


def _is_here(target: Any) -> bool:
    from stepwell.compute.kinds.local import LocalTarget

    return isinstance(target, LocalTarget)


def _environments(name: str, target: Any, look: References, rules: Rules) -> list[dict[str, Any]]:
    from stepwell.environment import inventory

    needed = {run.environment for run in look.runs.values() if look.under_way(run.id)}
    folder = Path(target.root)
    found = []
    for entry in inventory.unused(folder / "environments", folder / "jobs", rules.environments_unused_for):
        if entry.key not in needed:
            found.append(
                {
                    "kind": "environments",
                    "path": str(entry.folder),
                    "there": Measure(entry.size, entry.used),
                    "why": "nobody has used it for long" if entry.record else "half-built, or half-removed",
                    "where": name,
                    "subject": entry.key,
                }
            )
    return found


async def _jobs(name: str, target: JobDirectoryTarget, look: References, rules: Rules) -> list[dict[str, Any]]:
    found = []
    for job_id in await target.files.names(posixpath.join(target.root, "jobs")):
        if look.under_way(job_id) and look.is_known(job_id):
            continue
        at = target.directory(job_id)
        if await target.files.modified(at.final) is None and await target.files.modified(at.pid) is not None:
            handle = await target.find(job_id)
            if handle is not None and not (await target.status([handle]))[0].ended:
                continue
        for path in (at.final, at.lease, at.document, at.path):  # the first that is there tells the age
            changed = await target.files.modified(path)
            if changed is not None:
                if rules.age(changed) >= JOB_AGE:
                    size = sum((await target.files.sizes(at.path)).values())
                    there = Measure(size, changed)
                    why = "its job has ended"
                    found.append(
                        {"kind": "jobs", "path": at.path, "there": there, "why": why, "where": name, "subject": job_id}
                    )
                break
    return found
