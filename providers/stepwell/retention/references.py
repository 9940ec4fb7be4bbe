"""What refers to what in a workspace: runs, heads of steps, the index, versions and the files that they pin."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from stepwell.data import registry
from stepwell.errors import DatasetError, StepwellError, WorkspaceError
from stepwell.retention.places import Places, split_run, texts, unit
from stepwell.retention.rules import Rules
from stepwell.runtime.names import check_below, check_name
from stepwell.step.state import OVER

if TYPE_CHECKING:
    from stepwell.data.version import DatasetVersion
    from stepwell.workspace import Workspace

T = TypeVar("T")
Version = tuple[str, int]
_VERSION = re.compile(r"([1-9][0-9]*)\.json")
_MALFORMED = (StepwellError, KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class Run:
    """What a run's record says, as far as it matters here.

    :param step: the DAG, the task and the map index.
    :param ended: when it ended, else when it began, in seconds since 1970.
    :param names: runs that this one hands on something of.
    :param outputs: references of what it made or handed on.
    :param inputs: references of what it read.
    :param decided: it is noted whether the step was reused.
    """

    id: str
    step: tuple[str, str, int]
    status: str
    ended: float
    snapshot: str | None
    environment: str | None
    names: frozenset[str]
    outputs: tuple[Mapping[str, Any], ...]
    inputs: tuple[Mapping[str, Any], ...]
    decided: bool

    @property
    def is_over(self) -> bool:
        """Whether its record does not change any more."""
        return self.status in ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Head:
    """How far a step is."""

    slug: str
    generation: int
    phase: str

    @property
    def run_id(self) -> str:
        """The id of its newest run."""
        return f"{self.slug}-g{self.generation}"


@dataclass(frozen=True)
class Pinned:
    """What a registered version holds fast.

    :param places: of its files.
    :param files: datastore and unit of each of its files.
    :param ids: of the version itself, and of its definition.
    :param producer: texts that name the run that made it.
    """

    places: frozenset[str]
    files: frozenset[tuple[str, str]]
    ids: tuple[str, str]
    producer: str
    created: float
    size: int


@dataclass
class References:
    """A look at the workspace.

    :param damaged: runs whose record cannot be read, with the reason: nothing of them is touched.
    :param heads: by the step's name.
    :param last: runs that are the last ones of a step.
    """

    runs: dict[str, Run] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    bare: list[str] = field(default_factory=list)
    heads: dict[str, Head] = field(default_factory=dict)
    damaged_heads: set[str] = field(default_factory=set)
    last: set[str] = field(default_factory=set)
    versions: dict[Version, Pinned] = field(default_factory=dict)

    # -- what is under way -----------------------------------------------------------------------------------------

    def under_way(self, run_id: str) -> bool:
        """Whether a try may still go on with this run."""
        parts = split_run(run_id)
        if parts is None:
            return True  # not one of ours to judge
        slug, generation = parts
        if slug in self.damaged_heads:
            return True
        head = self.heads.get(slug)
        return head is not None and head.generation == generation and head.phase not in OVER

    def is_known(self, run_id: str) -> bool:
        """Whether the run is one of this workspace, and not of another one that shares a datastore with it."""
        parts = split_run(run_id)
        return run_id in self.runs or run_id in self.bare or (parts is not None and parts[0] in self.heads)

    def undecided(self) -> list[str]:
        """Return steps that have begun and may just be taking over what an earlier run has made."""
        found = []
        for slug, head in self.heads.items():
            run = self.runs.get(head.run_id)
            if head.phase == "begun" and not (run is not None and run.decided):
                found.append(slug)
        return found

    # -- what is kept ----------------------------------------------------------------------------------------------

    def kept(self, rules: Rules) -> dict[str, str]:
        """Return the runs that are kept, each with the reason."""
        found = {run_id: f"its record is damaged: {why}" for run_id, why in self.damaged.items()}
        by_step: dict[tuple[str, str, int], list[Run]] = defaultdict(list)
        for run in self.runs.values():
            why = self._why_kept(run, rules)
            if why is not None:
                found[run.id] = why
            if run.status == "completed":
                by_step[run.step].append(run)
        for runs in by_step.values():
            for run in sorted(runs, key=lambda run: -run.ended)[: rules.keep]:
                found.setdefault(run.id, f"one of the {rules.keep} newest of its step")
        waiting = list(found)
        while waiting:
            one = self.runs.get(waiting.pop())
            for name in one.names if one else ():
                if name not in found and name in self.runs:
                    found[name] = f"run {one.id if one else ''} hands on what it made"
                    waiting.append(name)
        return found

    def _why_kept(self, run: Run, rules: Rules) -> str | None:
        if self.under_way(run.id):
            return "under way"
        if rules.age(run.ended) < rules.older_than:
            return "young"
        return "the last one of its step" if run.id in self.last else None

    def spoken_for(self, runs: Iterable[str], versions: Iterable[Version]) -> Places:
        """Return the places of what these runs have made, of what runs under way read, and of what these versions pin.

        :raises WorkspaceError: a version's record is damaged.
        """
        places = Places()
        for run_id in runs:
            run = self.runs.get(run_id)
            if run is None:
                continue
            for reference in (*run.outputs, *(run.inputs if self.under_way(run_id) else ())):
                path, datastore = str(reference.get("path") or ""), str(reference.get("datastore") or "")
                # A registered version's files are pinned one by one; only what is not needs its folder held.
                if datastore and (path or not reference.get("dataset")):
                    places.add(texts(datastore, path, str(reference.get("uri") or "")))
        for version in versions:
            places.add(self.versions[version].places)
        return places

    def read_by_runs_under_way(self) -> set[Version]:
        """Return the versions that runs under way have as inputs."""
        found: set[Version] = set()
        for run in self.runs.values():
            if self.under_way(run.id):
                found.update((str(r["dataset"]), int(r["version"])) for r in run.inputs if r.get("dataset"))
        return found


def read(ws: Workspace, *, known: References | None = None, versions: bool = True) -> References:
    """Look at the workspace.

    :param known: an earlier look: what cannot have changed since is not read again.
    :param versions: also at what registered versions pin.
    :raises WorkspaceError: a version's record is damaged: what it pins is not known.
    """
    found = References()
    known = known or References()
    for run_id, run in _each(ws, ws.store.list("runs"), lambda name: _run(ws, name, known)):
        if isinstance(run, Run):
            found.runs[run_id] = run
        elif run is None:
            found.bare.append(run_id)
        else:
            found.damaged[run_id] = run
    _read_heads(ws, found)
    for _, runs in _each(ws, ws.store.list("reuse/last"), lambda name: _last(ws, name)):
        found.last |= runs
    if versions:
        wanted = [(name, number) for name in ws.store.list("datasets") for number in numbers(ws, name)]
        for version, pinned in _each(ws, wanted, lambda one: known.versions.get(one) or _pinned(ws, one)):
            if pinned is not None:
                found.versions[version] = pinned
    return found


def _read_heads(ws: Workspace, found: References) -> None:
    slugs = [n[: -len(".json")] for n in ws.store.list("jobs") if n.endswith(".json")]
    for slug, head in _each(ws, slugs, lambda name: _head(ws, name)):
        if head is None:
            found.damaged_heads.add(slug)
        elif head.generation:
            found.heads[slug] = head


def numbers(ws: Workspace, dataset: str) -> list[int]:
    """Return the numbers of the dataset's versions, the oldest first."""
    return sorted(int(m[1]) for m in map(_VERSION.fullmatch, ws.store.list(f"datasets/{dataset}")) if m)


def _each(ws: Workspace, names: Iterable[Any], work: Callable[[Any], T]) -> Iterable[tuple[Any, T]]:
    """Return each name with what *work* makes of it; many at a time where an answer takes its time."""
    listed = list(names)
    if ws.store.local_path("runs") is not None or len(listed) < 2:
        return [(name, work(name)) for name in listed]
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(zip(listed, pool.map(work, listed), strict=True))


def _run(ws: Workspace, run_id: str, known: References) -> Run | str | None:
    """Return the run; or what is wrong with its record; or None if it has none (yet)."""
    before = known.runs.get(run_id)
    if before is not None and before.is_over:
        return before
    try:
        check_name("run", run_id)
        record = ws.store.read_json(f"runs/{run_id}/run.json")
        return _parsed(run_id, record)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _MALFORMED as error:
        return error.what if isinstance(error, StepwellError) else f"{type(error).__name__}: {error}"


def _parsed(run_id: str, record: Mapping[str, Any]) -> Run:
    outputs = [dict(r) for r in (record.get("outputs") or {}).values()]
    outputs += [dict(r) for r in record.get("registered_by_script") or []]
    inputs = [dict(r) for r in (record.get("inputs") or {}).values()]
    for reference in outputs:
        check_below("path", str(reference.get("path") or "").lstrip("/"))
    names = {record.get("reused_from"), (record.get("validates") or {}).get("run")}
    names |= {v.get("run") for v in (record.get("verdicts") or {}).values()}
    names |= {r.get("reused_from") for r in outputs}
    return Run(
        id=run_id,
        step=(str(record["dag_id"]), str(record["task_id"]), int(record["map_index"])),
        status=str(record["status"]),
        ended=float(record.get("ended") or record["started"]),
        snapshot=(record.get("snapshot") or {}).get("digest"),
        environment=(record.get("environment") or {}).get("key"),
        names=frozenset(str(n) for n in names if n and n != run_id),
        outputs=tuple(outputs),
        inputs=tuple(inputs),
        decided=bool(record.get("reuse")),
    )


def _head(ws: Workspace, slug: str) -> Head | None:
    """Return the head; None if it is damaged; generation 0 if it has just gone."""
    try:
        document = ws.store.read_json(f"jobs/{slug}.json")
        return Head(slug, int(document["generation"]), str(document["phase"]))
    except FileNotFoundError:
        return Head(slug, 0, "failed")
    except _MALFORMED:
        return None


def _last(ws: Workspace, name: str) -> set[str]:
    try:
        document = ws.store.read_json(f"reuse/last/{name}")
        return {str(document[key]) for key in ("run", "made_of") if document.get(key)}
    except (FileNotFoundError, *_MALFORMED):
        return set()


def _pinned(ws: Workspace, version: Version) -> Pinned | None:
    try:
        return _held(registry.get(ws, *version))
    except DatasetError:
        return None  # it has just gone
    except _MALFORMED as error:
        raise WorkspaceError(
            f"The record of {version[0]} version {version[1]} is damaged, so nobody knows which files it pins: {error}",
            hint="Restore or remove it first; or prune what has no data: --what snapshots,environments,jobs,staging",
        ) from error


def _held(found: DatasetVersion) -> Pinned:
    places: set[str] = set()
    files: set[tuple[str, str]] = set()
    for file in found.files:
        if file.datastore:
            check_below("path", file.path)
            root, held = file.uri[: len(file.uri) - len(file.path)], unit(file.path)
            files.add((file.datastore, held))
            places.update(texts(file.datastore, held, root + held))
    producer = found.producer or {}
    return Pinned(
        places=frozenset(places),
        files=frozenset(files),
        ids=(found.id, found.definition_id),
        producer=" ".join(str(producer.get(key) or "") for key in ("run", "key", "reused_from")),
        created=found.created,
        size=found.size,
    )
