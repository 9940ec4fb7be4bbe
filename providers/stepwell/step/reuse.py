"""The index of what was made: by a step's fingerprint, the run that made the same, with its outputs proved.

``reuse/<two digits>/<fingerprint>.json`` names that run, ``reuse/last/<step>.json`` the last completed run of each
step, ``runs/<run id>/fingerprint.json`` what a run was made of. Finding takes as long in a workspace of 100,000 runs as
in one of ten. Nothing here is needed to read a dataset: an index that is lost or damaged costs a run, never a wrong
result.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.data import registry
from stepwell.errors import StepwellError, WorkspaceError
from stepwell.runtime.names import check_name
from stepwell.step import explain
from stepwell.step.fingerprint import Fingerprint
from stepwell.step.spec import JobKey
from stepwell.workspace.store import encode

if TYPE_CHECKING:
    from stepwell.data.registry import DatasetVersion
    from stepwell.step.spec import StepSpec
    from stepwell.workspace import Workspace

FORMAT = 1
#: A source file that is larger is not compared line by line, in bytes.
_LARGEST = 400_000


@dataclass(frozen=True)
class Earlier:
    """A run whose outputs can be handed on: they are there, and are what they were.

    :param run_id: whose record it is; the work may have been done in a run before that, see :attr:`origin`.
    :param versions: output → version, proved unchanged.
    :param by_script: references of what the script registered.
    :param stale: outputs whose gate is another one by now.
    """

    run_id: str
    record: Mapping[str, Any]
    versions: Mapping[str, DatasetVersion]
    by_script: Sequence[dict[str, Any]]
    stale: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """The run that did the work: its log and its files."""
        return str(self.record.get("reused_from") or self.run_id)


@dataclass(frozen=True)
class Decision:
    """Whether a step is reused, and why.

    :param earlier: the run whose outputs are handed on, or ``None``: the step runs.
    :param reason: a sentence.
    :param changes: what is different from the step's last completed run, one after another.
    :param last: that run.
    """

    reason: str
    earlier: Earlier | None = None
    changes: tuple[str, ...] = ()
    last: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as the run's record and XCom have it."""
        decision = "ran" if self.earlier is None else "revalidated" if self.earlier.stale else "reused"
        return {
            "decision": decision,
            "reason": self.reason,
            "changes": list(self.changes),
            "from": self.earlier.origin if self.earlier else None,
            "compared_with": self.last,
        }


@dataclass(frozen=True)
class Index:
    """The index of a workspace, as one step sees it."""

    ws: Workspace
    spec: StepSpec
    key: JobKey
    now: Fingerprint
    references: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    # -- where things are ------------------------------------------------------------------------------------------

    @property
    def entry(self) -> str:
        """Where the run is named that made the same."""
        return f"reuse/{self.now.digest[:2]}/{self.now.digest}.json"

    @property
    def claim(self) -> str:
        """Where it is noted who makes it now."""
        return f"reuse/{self.now.digest[:2]}/{self.now.digest}.claim.json"

    @property
    def last(self) -> str:
        """Where the step's last completed run is named, whatever DAG run that was."""
        return f"reuse/last/{JobKey('', self.key.dag_id, '', self.key.task_id, self.key.map_index).slug}.json"

    # -- looking up ------------------------------------------------------------------------------------------------

    def decide(self) -> Decision:
        """Decide by the index."""
        if self.spec.regenerate:
            return Decision("regenerate_outputs=True")
        if not self.spec.allow_reuse:
            return Decision("allow_reuse=False")
        found = self.look_up()
        if isinstance(found, Earlier):
            if not found.stale:
                return Decision(f"same code, environment, arguments and data as run {found.origin}", found)
            changed = explain.gates(self.now.gates, found.record.get("gates") or {})
            return Decision(f"validated anew: {'; '.join(changed)}; all else is as in run {found.origin}", found)
        return self._explained(found)

    def look_up(self) -> Earlier | str:
        """Return the run that made the same, with its outputs proved; or why there is none, ``""`` if nobody did."""
        try:
            entry = self.ws.store.read_json(self.entry)
        except FileNotFoundError:
            return ""
        except StepwellError as error:
            return f"what is known of the run that made the same is damaged: {error.what}"
        run_id = str(entry.get("run"))
        try:
            record = self.ws.store.read_json(f"runs/{check_name('run', run_id)}/run.json")
        except FileNotFoundError:
            return f"the record of run {run_id}, which made the same, is gone"
        except StepwellError as error:
            return f"the record of run {run_id}, which made the same, is damaged: {error.what}"
        gates = entry.get("gates")
        return self._proved(run_id, record, gates if isinstance(gates, dict) else {})

    def _proved(self, run_id: str, record: Mapping[str, Any], gates: Mapping[str, str]) -> Earlier | str:
        """Return the run if what it made is there, as it was."""
        try:
            references, by_script = record["outputs"], record.get("registered_by_script") or []
            promoted = {n for n, g in self.spec.validations.items() if g["promote_as"]}
            missing = ({*self.spec.outputs} | promoted) - {*references}
            if missing:
                return f"run {run_id} has not made {', '.join(sorted(missing))}"
            versions = {name: self._unchanged(reference) for name, reference in references.items()}
            for reference in by_script:
                self._unchanged(reference)
            stale = tuple(n for n, digest in self.now.gates.items() if gates.get(n) != digest)
            return Earlier(run_id, {**record, "gates": gates}, versions, by_script, stale)
        except StepwellError as error:
            return f"what run {run_id} made is not what it was: {error.what}"
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            return f"what run {run_id} made cannot be looked at: {error}"

    def _unchanged(self, reference: Mapping[str, Any]) -> DatasetVersion:
        version = registry.resolve_reference(self.ws, reference)
        if version.name is not None:  # what is not registered was pinned anew just now
            registry.verify(self.ws, version)
        return version

    # -- explaining ------------------------------------------------------------------------------------------------

    def _explained(self, because: str) -> Decision:
        """Return the decision to run, with what is different from the last time."""
        try:
            last = self.ws.store.read_json(self.last)
            run_id, made_of = check_name("run", last["run"]), check_name("run", last["made_of"])
            then = Fingerprint.from_dict(self.ws.store.read_json(f"runs/{made_of}/fingerprint.json"))
        except FileNotFoundError:
            return Decision(f"not reused: {because or 'no earlier run of this step has completed'}")
        except (StepwellError, KeyError, TypeError) as error:
            return Decision(f"not reused: {because or f'what is known of the last run is damaged: {error}'}")
        if because:
            return Decision(f"not reused: {because}", last=run_id)
        found = explain.changes(
            self.now, then, self.references, last.get("inputs") or {}, _Sources(self.ws, self.spec, then).contents
        )
        if not found:
            found = [f"what is known of run {run_id}, which made the same, is gone from the index"]
        return Decision(f"not reused: {'; '.join(found)}", changes=tuple(found), last=run_id)

    # -- writing ---------------------------------------------------------------------------------------------------

    def made(self, run_id: str) -> None:
        """Note that the run has made this, and that it is the step's last completed one."""
        self._write(self.entry, {"format": FORMAT, "run": run_id, "gates": dict(self.now.gates)})
        self._write(self.last, self._last(run_id, run_id))

    def reused(self, run_id: str, made_of: str) -> None:
        """Note that the run is the step's last completed one, unless that would say nothing new.

        :param made_of: the run that it was reused from, which has its fingerprint kept.
        """
        document = self._last(run_id, made_of)
        try:
            known = self.ws.store.read_json(self.last)
            if {**known, "run": run_id} == document:
                return
        except (FileNotFoundError, StepwellError):
            pass
        self._write(self.last, document)

    def _last(self, run_id: str, made_of: str) -> dict[str, Any]:
        inputs = {n: {k: r[k] for k in ("dataset", "version")} for n, r in self.references.items()}
        return {"format": FORMAT, "run": run_id, "made_of": made_of, "inputs": inputs}

    def _write(self, path: str, document: dict[str, Any]) -> None:
        self.ws.store.replace(path, encode(document), durable=False)


def keep(ws: Workspace, run_id: str, now: Fingerprint) -> None:
    """Keep what a run is made of, for explaining the next one."""
    ws.store.replace(f"runs/{run_id}/fingerprint.json", encode(now.to_dict()), durable=False)


def kept(ws: Workspace, run_id: str) -> Fingerprint | None:
    """Return what :func:`keep` kept, if it did."""
    try:
        return Fingerprint.from_dict(ws.store.read_json(f"runs/{run_id}/fingerprint.json"))
    except (FileNotFoundError, KeyError, WorkspaceError):
        return None


class _Sources:
    """The source files of a step then (in the snapshot's archive) and now (in the source directory)."""

    def __init__(self, ws: Workspace, spec: StepSpec, then: Fingerprint) -> None:
        self.ws = ws
        self.folder = Path(spec.source_directory or "")
        self.archive = f"snapshots/{then.parts.get('code')}.zip"

    def contents(self, path: str) -> tuple[bytes | None, bytes | None]:
        """Return the file's content then and now; ``None`` for what is gone, or too large to be compared."""
        return self._then(path), self._now(path)

    def _now(self, path: str) -> bytes | None:
        try:
            place = self.folder / path
            return place.read_bytes() if place.stat().st_size <= _LARGEST else None
        except OSError:
            return None

    def _then(self, path: str) -> bytes | None:
        try:
            local = self.ws.store.local_path(self.archive)
            if local is not None:
                return _member(local, path)
            with tempfile.TemporaryDirectory(prefix="stepwell-") as folder:
                fetched = Path(folder, "code.zip")
                self.ws.store.get_file(self.archive, fetched)
                return _member(fetched, path)
        except (OSError, KeyError, zipfile.BadZipFile, StepwellError):
            return None


def _member(archive: Path, path: str) -> bytes | None:
    with zipfile.ZipFile(archive) as opened:
        return opened.read(path) if opened.getinfo(path).file_size <= _LARGEST else None


def judging(spec: StepSpec, earlier: Earlier) -> StepSpec:
    """Return the step that only judges what *earlier* has made, by the gates that are others now."""
    inputs: dict[str, dict[str, Any]] = {}
    validations: dict[str, dict[str, Any]] = {}
    for name in earlier.stale:
        gate = spec.outputs[name]["gate"]
        reference = earlier.record["outputs"][name]
        inputs[name] = {"mode": "direct", "path_on_compute": None, "source": {"reference": reference}}
        # What is published already cannot be put aside any more.
        on_failure = "warn" if gate["on_failure"] == "warn" else "fail"
        validations[name] = {**gate, "on_failure": on_failure, "promote_as": None}
    return replace(
        spec,
        kind="none",
        source_directory=None,
        script=None,
        arguments=(),
        command=(),
        inputs=inputs,
        outputs={},
        validations=validations,
    )
