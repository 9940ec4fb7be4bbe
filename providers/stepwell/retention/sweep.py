"""Removing what a plan lists, in an order in which being killed at any moment harms nobody.

First what leads to a run (the index), then its data, then its record, by which the next prune finds what this one did
not get to; the head of its step last. Before each group it is looked anew what may go: a run that began meanwhile, and
what it needs, is spared.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.errors import StepwellError, WorkspaceError
from stepwell.retention import index, journal, machine, plan, references
from stepwell.retention.alone import alone
from stepwell.retention.items import Item, Plan, totals
from stepwell.retention.places import files_of, split_run
from stepwell.retention.references import References
from stepwell.retention.rules import YOUNG
from stepwell.step.state import OVER

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: How long a step that may just be taking over what an earlier run has made is waited for, in seconds.
PATIENCE = 30.0
#: What is removed together, after one more look by the rules of its group. Heads need to see all else gone.
_STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("versions", ("versions",)),
    ("staging", ("staging", "drafts")),
    ("quarantine", ("quarantine",)),
    ("jobs", ("jobs",)),
    ("runs", ("outputs", "manifests", "validations", "runs")),
    ("versions", ("data",)),
    ("runs", ("heads",)),
    ("snapshots", ("snapshots",)),
    ("environments", ("environments",)),
)
#: How often the progress is told, in seconds.
_SAY = 5.0


@dataclass
class Swept:
    """What a sweep has done.

    :param left: what it has not removed, each with the reason.
    :param failed: those of them that could not be removed, although they may go.
    """

    removed: list[Item] = field(default_factory=list)
    left: list[tuple[Item, str]] = field(default_factory=list)
    failed: list[Item] = field(default_factory=list)

    def totals(self) -> dict[str, dict[str, int]]:
        """Return for each kind how many things were removed, and how many bytes."""
        return totals(self.removed)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        left = [{**item.to_dict(), "reason": reason} for item, reason in self.left]
        return {
            "totals": self.totals(),
            "removed": [item.to_dict() for item in self.removed],
            "left": left,
        }


def sweep(ws: Workspace, wanted: Plan, say: Callable[[str], None] = lambda line: None) -> Swept:
    """Remove what *wanted* lists and what may still go now.

    What cannot be removed is left, with the reason, and the rest goes on.

    :param say: gets a line about every five seconds.
    :raises WorkspaceError: another process prunes this workspace.
    """
    with alone(ws, say) as go_on:
        return _Sweeper(ws, wanted, say, go_on).sweep()


class _Sweeper:
    def __init__(self, ws: Workspace, wanted: Plan, say: Callable[[str], None], go_on: Callable[[], None]) -> None:
        self.ws = ws
        self.wanted = wanted
        self.say = say
        self.go_on = go_on
        self.done = Swept()
        self.look: References | None = None
        self._told = time.monotonic()
        self._postponed: set[str] = set()
        self._failed: set[str] = set()

    def sweep(self) -> Swept:
        self._index()
        for group, kinds in _STAGES:
            items = [item for item in self.wanted.items if item.kind in kinds]
            if items and group in self.wanted.rules.what:
                self._stage(group, kinds, items)
            if kinds == ("data",) and "versions" in self.wanted.rules.what:
                self._close_journal()
        return self.done

    def _index(self) -> None:
        items = [item for item in self.wanted.items if item.kind in ("index", "claims")]
        if not items:
            return
        self._remove_all(items)
        entered = {item.subject for item in items if item.kind == "index"}
        if "runs" in self.wanted.rules.what and not self._settled():
            # Whoever has just begun may have found one of these runs a moment ago: they wait for the next prune.
            self._postponed = entered

    def _settled(self) -> bool:
        """Wait until each step that had begun has noted whether it takes over what an earlier run has made."""
        files, said = files_of(self.ws), False
        until = time.monotonic() + PATIENCE
        while True:
            self.go_on()
            self.look = references.read(self.ws, known=self.look, versions=False)
            waiting = []
            for slug in self.look.undecided():
                info = files.stat(f"jobs/{slug}.json")
                if info is not None and self.wanted.rules.age(info.modified) < YOUNG:
                    waiting.append(slug)
            if not waiting:
                return True
            if time.monotonic() > until:
                return False
            if not said:
                self.say(f"Waiting for {len(waiting)} steps that have just begun")
                said = True
            time.sleep(0.5)

    def _stage(self, group: str, kinds: tuple[str, ...], items: list[Item]) -> None:
        """Look once more, then remove what may still go."""
        self.go_on()
        rules = replace(self.wanted.rules, what=frozenset({group}))
        now, self.look = plan.make(self.ws, rules, known=self.look)
        still = {item.key for item in now.items}
        going = []
        for item in items:
            if item.subject in self._postponed or item.kind == "heads" and self._postponed:
                self.done.left.append((item, "a step that has just begun may be taking it over; next time"))
            elif item.key in still:
                going.append(item)
            else:
                self.done.left.append((item, "it is needed by now, or gone"))
        going.sort(key=lambda item: kinds.index(item.kind))
        self._remove_all(going)

    def _remove_all(self, items: list[Item]) -> None:
        for position, item in enumerate(items):
            self.go_on()
            if time.monotonic() - self._told > _SAY:
                self._told = time.monotonic()
                self.say(f"Removing {item.kind}: {position} of {len(items)}")
            try:
                if item.kind in ("runs", "heads") and item.subject in self._failed:
                    raise WorkspaceError("its data could not be removed")
                reason = self._remove(item)
            except (StepwellError, OSError, TimeoutError) as error:
                reason = error.what if isinstance(error, StepwellError) else str(error) or type(error).__name__
                self._failed.add(item.subject)
                self.done.failed.append(item)
                parts = split_run(item.subject)
                self._failed.update(parts[:1] if parts else ())
            if reason:
                self.done.left.append((item, reason))
            else:
                self.done.removed.append(item)

    # -- one thing -------------------------------------------------------------------------------------------------

    def _remove(self, item: Item) -> str | None:
        """Remove *item*; return why it stays, if it does."""
        if item.kind == "environments":
            return self._environment(item)
        if item.kind == "jobs":
            return self._job(item)
        if item.kind == "versions":
            return self._version(item)
        if item.kind in ("index", "claims"):
            return self._entry(item)
        if item.kind == "heads":
            return self._head(item)
        if item.where:
            self.ws.datastore(item.where).backend.delete(item.path, recursive=True)
        elif item.kind == "drafts":
            files_of(self.ws).delete(item.path, recursive=True)
        else:
            self.ws.store.delete(item.path, recursive=item.kind == "runs")
        return None

    def _entry(self, item: Item) -> str | None:
        """Remove an entry of the index, or a claim, if it is still the one that was looked at."""
        with self.ws.store.lock(item.path):
            if (index.named(self.ws, item.path) or "") != item.subject:
                return "it names another run by now"
            self.ws.store.delete(item.path)
        return None

    def _head(self, item: Item) -> str | None:
        with self.ws.store.lock(item.path):  # as a step does that begins
            try:
                if self.ws.store.read_json(item.path).get("phase") not in OVER:
                    return "the step has begun again"
            except FileNotFoundError:
                return None
            slug = split_run(f"{item.subject}-g1")
            if slug is None:
                return "it is no step"
            self.ws.store.delete(item.path)
        return None

    def _version(self, item: Item) -> str | None:
        """Remove a version's record; first it is noted what it pinned, so that this is found whatever happens."""
        name, _, number = item.subject.rpartition("/")
        pinned = self.look.versions.get((name, int(number))) if self.look else None
        if pinned is None:
            return "it is gone"
        journal.write(self.ws, item.subject, pinned.files)
        self.ws.store.delete(item.path)
        self.ws.store.delete(f"manifests/{pinned.ids[0]}.json")
        return None

    def _close_journal(self) -> None:
        """Forget what versions have left, once none of it may go any more: it is gone, or somebody needs it."""
        subjects = list(journal.read(self.ws))
        if not subjects:
            return
        rules = replace(self.wanted.rules, what=frozenset({"versions"}), versions={})
        now, self.look = plan.make(self.ws, rules, known=self.look)
        waiting = {item.subject for item in now.items} | now.pending
        for subject in subjects:
            if subject not in waiting:
                journal.forget(self.ws, subject)

    def _environment(self, item: Item) -> str | None:
        from stepwell.environment import inventory

        root, jobs = machine.environments_of(self.ws, item.where)
        inventory.remove(Path(root), jobs, item.subject)
        return None

    def _job(self, item: Item) -> str | None:
        from stepwell.compute import portal
        from stepwell.compute.contract import Handle
        from stepwell.compute.resolve import target_for

        handle = Handle(item.where, item.subject, item.path)
        portal.call(target_for(self.ws, item.where).forget(handle), timeout=60)
        return None
