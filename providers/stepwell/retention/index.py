"""Entries of the reuse index, and claims: those whose run is gone or goes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from stepwell.errors import StepwellError
from stepwell.retention.places import measure
from stepwell.retention.rules import YOUNG, Rules

if TYPE_CHECKING:
    from stepwell.data.stores.base import Backend
    from stepwell.retention.references import References
    from stepwell.workspace import Workspace

_CLAIM = ".claim.json"


def items(
    ws: Workspace, files: Backend, look: References, doomed: Collection[str], rules: Rules
) -> Iterator[dict[str, Any]]:
    """Yield the items of the index that may go.

    :param files: the workspace's files.
    :param doomed: runs that go.
    """
    for folder in ws.store.list("reuse"):
        for name in ws.store.list(f"reuse/{folder}"):
            path = f"reuse/{folder}/{name}"
            kind = "claims" if name.endswith(_CLAIM) else "index"
            run_id = named(ws, path)
            if kind == "index" and run_id in doomed:
                yield _item(kind, path, files, f"names run {run_id}, which goes", str(run_id))
            elif "index" in rules.what and not _is_there(run_id, look, claim=kind == "claims"):
                item = _item(kind, path, files, f"run {run_id} is gone" if run_id else "it is damaged", run_id or "")
                there = item["there"]
                if there and there.modified is not None and rules.age(there.modified) >= YOUNG:
                    yield item


def named(ws: Workspace, path: str) -> str | None:
    """Return the run that an entry or a claim names; None if it is damaged or gone."""
    try:
        run_id = ws.store.read_json(path).get("run")
        return run_id if isinstance(run_id, str) else None
    except (StepwellError, FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _is_there(run_id: str | None, look: References, *, claim: bool) -> bool:
    if run_id is None:
        return False
    if claim:  # whoever has it beats; what is left behind is of no use, whether its run is there or not
        return False
    return run_id in look.runs or run_id in look.damaged or run_id in look.bare or look.under_way(run_id)


def _item(kind: str, path: str, files: Backend, why: str, run_id: str) -> dict[str, Any]:
    if kind == "claims":
        why = f"left by run {run_id}" if run_id else why
    return {"kind": kind, "path": path, "there": measure(files, path), "why": why, "subject": run_id}
