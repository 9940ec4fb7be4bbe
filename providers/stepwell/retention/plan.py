"""What may go, as plain data: making a plan reads, and changes nothing."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from stepwell.errors import DatasetError, StepwellError
from stepwell.retention import index, journal, machine, references
from stepwell.retention.items import Item, Plan
from stepwell.retention.places import (
    Measure,
    Places,
    digest_of,
    digests_in,
    files_of,
    measure,
    names,
    own_folder,
    published,
    texts,
)
from stepwell.retention.references import References, Version
from stepwell.retention.rules import YOUNG, Rules
from stepwell.runtime.names import check_below, nearest
from stepwell.step.publish import QUARANTINE, STAGING

if TYPE_CHECKING:
    from stepwell.data.stores.base import Backend
    from stepwell.workspace import Workspace

_DRAFTS = (".stepwell/tmp", ".stepwell/drafts")


def make(ws: Workspace, rules: Rules, *, known: References | None = None) -> tuple[Plan, References]:
    """Return what may go by these *rules*, and the look at the workspace that says so.

    :param known: an earlier look.
    :raises DatasetError: a dataset whose versions are to go does not exist.
    :raises WorkspaceError: a version's record is damaged: what it pins is not known.
    """
    for name in rules.versions:
        if not references.numbers(ws, name):
            raise DatasetError(
                f"There is no dataset {name!r} in the workspace {ws.name!r}",
                allowed=nearest(name, ws.store.list("datasets")),
            )
    look = references.read(ws, known=known, versions=bool({"runs", "versions"} & rules.what))
    planner = _Planner(ws, rules, look)
    planner.plan()
    return planner.result, look


class _Planner:
    def __init__(self, ws: Workspace, rules: Rules, look: References) -> None:
        self.ws = ws
        self.rules = rules
        self.look = look
        self.files = files_of(ws)
        self.result = Plan(rules)
        self.doomed: dict[str, str] = {}
        self.bare: set[str] = set()
        self.versions: list[Version] = []
        self.places = Places()
        self._backends: dict[str, Backend | str] = {}
        self._left: set[str] = set()
        self._planned: set[tuple[str, str]] = set()

    def plan(self) -> None:
        what, look = self.rules.what, self.look
        self._choose()
        for group, planned in (
            ("runs", self._runs),
            ("versions", self._version_records),
            ("versions", self._data),
            ("snapshots", self._snapshots),
            ("staging", lambda: self._aside("staging", STAGING, YOUNG)),
            ("staging", self._drafts),
            ("quarantine", lambda: self._aside("quarantine", QUARANTINE, self.rules.older_than)),
            ("runs", self._validations),
        ):
            if group in what:
                planned()
        if {"index", "runs"} & what:
            self._take(index.items(self.ws, self.files, look, self.doomed, self.rules))
        if {"environments", "jobs"} & what:
            found, notes = machine.items(self.ws, look, self.rules)
            self._take(found)
            self.result.notes += notes
        if "runs" in what:
            self._heads()

    def _choose(self) -> None:
        """Say which runs and versions go, and which places are spoken for by what stays."""
        what, look = self.rules.what, self.look
        if "versions" in what:
            self.versions = self._versions()
        if "runs" in what:
            kept = look.kept(self.rules)
            self.doomed = {r: "old, and not one of those that are kept" for r in look.runs if r not in kept}
            self._spare_unreachable()
            for run_id, why in sorted(look.damaged.items()):
                self._note(f"run {run_id} is left alone: its record is damaged ({why})")
        if {"runs", "versions"} & what:
            self.places = look.spoken_for(self._alive(), set(look.versions) - set(self.versions))

    def _alive(self) -> list[str]:
        return [run_id for run_id in self.look.runs if run_id not in self.doomed]

    # -- runs ------------------------------------------------------------------------------------------------------

    def _runs(self) -> None:
        """Plan the folders of runs, what they have published unless it is spoken for, and what their outputs' ids say.

        Data that somebody else needs stays, and the run's record may go all the same.
        """
        ids_kept = self._ids(self._alive())
        ids_kept |= {identity for v, pinned in self.look.versions.items() for identity in pinned.ids}
        folders: dict[str, list[str]] = {}
        for run_id, why in self.doomed.items():
            age = self.rules.age(self.look.runs[run_id].ended)
            found = measure(self.files, f"runs/{run_id}")
            self._add("runs", f"runs/{run_id}", found, why, subject=run_id, age=age)
            for datastore, folder in self._published(run_id):
                backend = self._backend(datastore)
                if isinstance(backend, str):
                    continue
                there = self._measured(backend, datastore, folder)
                if there is not None:
                    self._add("outputs", folder, there, f"made by run {run_id}", datastore, run_id, age=age)
                folders.setdefault(run_id, []).append(f"{datastore}:{folder}")
        for run_id in self.look.bare:
            there = measure(self.files, f"runs/{run_id}")
            if self.look.under_way(run_id) or there is None or there.modified is None:
                continue
            if self.rules.age(there.modified) >= self.rules.older_than:
                self.bare.add(run_id)
                self._add("runs", f"runs/{run_id}", there, "a run without a record", subject=run_id)
        gone = Places(place for places in folders.values() for place in places)
        for run_id in self.doomed:
            for identity in sorted(self._ids([run_id]) - ids_kept):
                self._manifest(identity, gone, run_id)
                ids_kept.add(identity)  # once is enough

    def _published(self, run_id: str) -> list[tuple[str, str]]:
        """Return the folders, named after the run, that it has published and that nobody else needs."""
        found: dict[tuple[str, str], None] = {}
        for reference in self.look.runs[run_id].outputs:
            datastore, path = reference.get("datastore"), str(reference.get("path") or "")
            if not datastore or reference.get("reused_from"):
                continue  # what it handed on is another run's
            folder = own_folder(check_below("path", path.lstrip("/")), run_id) if path else None
            backend = self._backend(str(datastore))
            if folder is None or isinstance(backend, str):
                continue
            for candidate in (folder, path):  # beside a part that is needed, the rest may go
                if not self._is_spoken_for(backend, str(datastore), candidate):
                    found[str(datastore), candidate] = None
                    break
        return list(found)

    def _spare_unreachable(self) -> None:
        """Keep runs whose data cannot be looked at: without their record nobody would find it again."""
        for run_id in list(self.doomed):
            for reference in self.look.runs[run_id].outputs:
                backend = self._backend(str(reference["datastore"])) if reference.get("datastore") else ""
                if isinstance(backend, str) and backend:
                    self._note(f"runs with data in the datastore {reference['datastore']} are left alone: {backend}")
                    self.doomed.pop(run_id, None)

    def _ids(self, runs: Iterable[str]) -> set[str]:
        """Return the ids of unregistered datasets that *runs* name."""
        found: set[str] = set()
        for run_id in runs:
            run = self.look.runs[run_id]
            found |= {str(r["id"]) for r in (*run.inputs, *run.outputs) if r.get("id") and not r.get("dataset")}
        return found

    def _manifest(self, identity: str, gone: Places, run_id: str) -> None:
        """Plan what an id stands for, if that is data that goes, and nothing else."""
        from stepwell.data import manifests

        try:
            manifest = manifests.load(self.ws, identity)
        except (StepwellError, KeyError, TypeError, ValueError):
            return
        paths = (manifest.definition or {}).get("paths") if manifest else None
        if not paths or not all("url" not in p and gone.hold(f"{p['datastore']}:{p['path']}") for p in paths):
            return
        path = f"manifests/{identity}.json"
        there = measure(self.files, path)
        if there is not None and there.modified is not None and self.rules.age(there.modified) >= YOUNG:
            self._add("manifests", path, there, f"means data of run {run_id}", subject=run_id)

    def _validations(self) -> None:
        for name in self.ws.store.list("validations"):
            run_id = name.removesuffix(".json").rpartition(".")[0]
            there = None
            if run_id not in self.doomed:
                if run_id in self.look.runs or run_id in self.look.damaged or run_id in self.look.bare:
                    continue
                there = measure(self.files, f"validations/{name}")
                if there is None or there.modified is None or self.rules.age(there.modified) < self.rules.older_than:
                    continue
            path = f"validations/{name}"
            self._add("validations", path, there or measure(self.files, path), f"of run {run_id}", subject=run_id)

    def _heads(self) -> None:
        """Plan the heads of steps of which nothing is left.

        A step without its head begins at its first generation again: no trace of an older one may be in its way.
        """
        stays = {digest for trace in self._traces() for digest in digests_in(trace)}
        for slug, head in self.look.heads.items():
            path = f"jobs/{slug}.json"
            if digest_of(slug) in stays or self.look.under_way(head.run_id):
                continue
            there = measure(self.files, path)
            if there and there.modified is not None and self.rules.age(there.modified) >= self.rules.older_than:
                self._add("heads", path, there, "of a step whose runs are gone", subject=slug)

    def _traces(self) -> Iterator[str]:
        """Yield texts that name the runs of which something stays."""
        going = {item.key for item in self.result.items}
        yield from self.look.damaged
        yield from {*self.look.runs, *self.look.bare} - {*self.doomed, *self.bare}
        yield from self.places
        yield from (p.producer for version, p in self.look.versions.items() if version not in self.versions)
        if "versions" not in self.rules.what:  # else it goes now
            yield from (path for left in journal.read(self.ws).values() for _, path in left)
        for name in self._datastores():
            backend = self._backend(name)
            for kind, folder in (("staging", STAGING), ("quarantine", QUARANTINE)):
                for run_id in [] if isinstance(backend, str) else names(backend, folder):
                    if (kind, name, posixpath.join(folder, run_id)) not in going:
                        yield run_id
        jobs = {item.subject for item in self.result.items if item.kind == "jobs"}
        yield from (job for job in machine.job_ids(self.ws) if job not in jobs)

    # -- versions --------------------------------------------------------------------------------------------------

    def _versions(self) -> list[Version]:
        needed = self.look.read_by_runs_under_way()
        found = []
        for name, keep in self.rules.versions.items():
            for number in references.numbers(self.ws, name)[:-keep]:
                pinned = self.look.versions.get((name, number))
                if pinned is None or self.rules.age(pinned.created) < YOUNG:
                    continue
                if (name, number) in needed:
                    self._note(f"{name} version {number} is left alone: a run that is under way reads it")
                    continue
                found.append((name, number))
        return found

    def _version_records(self) -> None:
        for name, number in self.versions:
            pinned = self.look.versions[name, number]
            path = f"datasets/{name}/{number}.json"
            why = f"older than the {self.rules.versions[name]} newest versions"
            age = self.rules.age(pinned.created)
            self._add("versions", path, measure(self.files, path), why, subject=f"{name}/{number}", age=age)

    def _data(self) -> None:
        """Plan files that versions pinned which go, or went: only what a step has published, never a user's own."""
        pinned = {f"{name}/{number}": self.look.versions[name, number].files for name, number in self.versions}
        for subject, left in journal.read(self.ws).items():
            pinned.setdefault(subject, left)
        seen = set()
        for subject, files in pinned.items():
            for datastore, path in sorted(files):
                folder, backend = published(path), self._backend(datastore)
                if folder is None:
                    continue
                if isinstance(backend, str):
                    self._note(f"what {subject} has pinned in the datastore {datastore} is left for later: {backend}")
                    self.result.pending.add(subject)
                    continue
                for candidate in (folder, path):
                    if not self._is_spoken_for(backend, datastore, candidate):
                        there = (
                            None if (datastore, candidate) in seen else self._measured(backend, datastore, candidate)
                        )
                        seen.add((datastore, candidate))
                        if there is not None:
                            self._add("data", candidate, there, f"pinned by {subject} only", datastore, subject)
                        break

    # -- what is aside, snapshots ----------------------------------------------------------------------------------

    def _aside(self, kind: str, folder: str, least: float) -> None:
        """Plan what runs have left aside on datastores.

        A datastore may belong to several workspaces: what is of a run that nobody here knows is left alone.
        """
        for name in self._datastores():
            backend = self._backend(name)
            if isinstance(backend, str):
                self._note(f"the datastore {name} is left alone: {backend}")
                continue
            for run_id in names(backend, folder):
                path = posixpath.join(folder, run_id)
                if self.look.under_way(run_id) or not self.look.is_known(run_id):
                    continue
                there = self._measured(backend, name, path)
                if there is not None and (there.modified is None or self.rules.age(there.modified) >= least):
                    self._add(kind, path, there, f"left by run {run_id}", name, run_id)

    def _drafts(self) -> None:
        """Plan what processes that were killed were writing, or removing."""
        places: list[tuple[str, Backend, str]] = [("", self.files, ".tmp")]
        for name in self._datastores():
            backend = self._backend(name)
            if not isinstance(backend, str):
                places += [(name, backend, folder) for folder in _DRAFTS]
        for where, backend, folder in places:
            for name in names(backend, folder):
                path = posixpath.join(folder, name)
                there = self._measured(backend, where or "the workspace", path)
                if there and there.modified is not None and self.rules.age(there.modified) >= YOUNG:
                    self._add("drafts", path, there, "left by a process that was killed", where)

    def _snapshots(self) -> None:
        named = {self.look.runs[run_id].snapshot for run_id in self._alive()}
        for name in self.ws.store.list("snapshots"):
            path = f"snapshots/{name}"
            if name.removesuffix(".zip") in named:
                continue
            there = measure(self.files, path)
            if there and there.modified is not None and self.rules.age(there.modified) >= YOUNG:
                self._add("snapshots", path, there, "no run names it")

    # -- small parts -----------------------------------------------------------------------------------------------

    def _datastores(self) -> list[str]:
        from stepwell.data.datastore import Datastore

        known = set(Datastore.all(self.ws)) | {self.ws.get_default_datastore().name}
        for run in self.look.runs.values():
            known |= {str(r["datastore"]) for r in run.outputs if r.get("datastore")}
        return sorted(known)

    def _backend(self, name: str) -> Backend | str:
        """Return the datastore's files, or why they cannot be had."""
        if name not in self._backends:
            try:
                backend = self.ws.datastore(name).backend
                backend.is_dir("")
                self._backends[name] = backend
            except (StepwellError, OSError) as error:
                self._backends[name] = error.what if isinstance(error, StepwellError) else str(error)
        return self._backends[name]

    def _is_spoken_for(self, backend: Backend, datastore: str, path: str) -> bool:
        return any(self.places.touches(place) for place in texts(datastore, path, backend.uri(path)))

    def _measured(self, backend: Backend, where: str, path: str) -> Measure | None:
        try:
            return measure(backend, path)
        except (StepwellError, OSError) as error:
            self._note(f"{path} in {where} is left alone: {error.what if isinstance(error, StepwellError) else error}")
            return None

    def _note(self, text: str) -> None:
        if text not in self._left:
            self._left.add(text)
            self.result.notes.append(text)

    def _add(
        self,
        kind: str,
        path: str,
        there: Measure | None,
        why: str,
        where: str = "",
        subject: str = "",
        age: float | None = None,
    ) -> None:
        if there is None:
            return
        if age is None and there.modified is not None:
            age = self.rules.age(there.modified)
        if (where, path) not in self._planned:  # what a run has published may be what a version pins
            self._planned.add((where, path))
            self.result.items.append(Item(kind, path, there.size, age, why, where, subject))

    def _take(self, found: Iterable[dict[str, Any]]) -> None:
        for item in found:
            self._add(**item)
