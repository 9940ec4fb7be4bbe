"""What an earlier try of the same step has left before it failed, so that the next one can go on from there."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass
from functools import cached_property
from logging import Logger
from typing import TYPE_CHECKING, Any

from stepwell.compute import portal
from stepwell.compute.contract import Transfer
from stepwell.errors import StepwellError
from stepwell.step import reuse
from stepwell.step.record import RunRecord

if TYPE_CHECKING:
    from stepwell.compute.contract import Target
    from stepwell.step.spec import StepSpec
    from stepwell.step.state import StepState
    from stepwell.workspace import Workspace

#: Where in the job directory it is.
FOLDER = "resume"
_PIECE = 1 << 20


@dataclass(frozen=True)
class KeptFile:
    """A file that a run has left in the workspace, as something to copy.

    :param path: relative to the workspace's root.
    """

    ws: Workspace
    path: str

    @cached_property
    def _measured(self) -> tuple[int, str]:
        """Its size in bytes, and its sha256."""
        size, digest = 0, hashlib.sha256()
        with self.ws.store.open(self.path) as reader:
            while piece := reader.read(_PIECE):
                size += len(piece)
                digest.update(piece)
        return size, digest.hexdigest()

    @property
    def digest(self) -> str:
        """Of its content."""
        return f"sha256:{self._measured[1]}"

    def files(self) -> list[tuple[str, int]]:
        """Return its name and its size in bytes; nothing if it is empty, or not there."""
        try:
            size = self._measured[0]
        except FileNotFoundError:
            return []
        return [(posixpath.basename(self.path), size)] if size else []

    def open(self, name: str) -> Any:
        """Return a binary reader of it."""
        return self.ws.store.open(self.path)


def left_for(
    ws: Workspace, spec: StepSpec, state: StepState, fingerprint: str | None, target: Target, log: Logger
) -> tuple[Transfer, ...]:
    """Return the file that this step resumes from, as the newest earlier try has left it; or nothing.

    Only a try counts that has not completed and had the same code, settings and data: after one that has completed, a
    step that runs again begins anew.

    :param fingerprint: the step's, by content; None = not known.
    """
    if spec.resumes is None or fingerprint is None:
        return ()
    for generation in range(state.generation - 1, 0, -1):
        run_id = f"{state.slug}-g{generation}"
        try:
            record = ws.store.read_json(f"runs/{run_id}/run.json")
            if record.get("status") == "completed":
                return ()
            then = reuse.kept(ws, run_id)
            if then is None or then.digest != fingerprint:
                continue
            _bring(ws, run_id, target, log)
            file = KeptFile(ws, f"runs/{run_id}/{spec.resumes}")
            if file.files():
                log.info("Going on with what run %s has left (%s)", run_id, record.get("error") or record["status"])
                return (Transfer(file, FOLDER),)
        except (StepwellError, OSError, KeyError, AttributeError) as error:
            log.warning("What run %s has left cannot be used: %s", run_id, error)
    return ()


def _bring(ws: Workspace, run_id: str, target: Target, log: Logger) -> None:
    """Fetch what a run has left on its target, if nobody could fetch it when the run ended."""
    handle = portal.call(target.find(run_id))
    if handle is None:
        return
    (status,) = portal.call(target.status([handle]))
    if not status.ended:
        return
    try:
        record = RunRecord(ws, run_id)
        record.facts = ws.store.read_json(f"{record.folder}/run.json")
        record.fetch(target, handle)
        portal.call(target.forget(handle))
    except (StepwellError, OSError) as error:
        log.warning("What run %s has left on %s could not be fetched: %s", run_id, target.name, error)
