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
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.data import registry
from stepwell.data.pinning import listed
from stepwell.errors import DatasetChangedError, StepwellError, WorkspaceError
from stepwell.runtime.names import check_name
from stepwell.step import explain
from stepwell.step.fingerprint import Fingerprint, proof_of
from stepwell.step.spec import REGENERATE, JobKey
from stepwell.workspace.store import encode

if TYPE_CHECKING:
    from stepwell.data.registry import DatasetVersion
    from stepwell.step.spec import StepSpec
    from stepwell.workspace import Workspace

FORMAT = 1
#: A source file that is larger is not compared line by line, in bytes.
_LARGEST = 400_000
#: The archive of a far workspace is not fetched for counting lines if it is larger, in bytes.
_LARGEST_ARCHIVE = 50_000_000
#: A reason is cut here, in characters.
_LONGEST = 2000
#: What a reused run's record takes over from the run that it was reused from: mappings, all of them.
HANDED_ON = ("metrics", "metric_counts", "parent_metrics", "parent_metric_counts", "tags")


@dataclass(frozen=True)
class Earlier:
    """A run whose outputs can be handed on: they are there, and are what they were.

    :param run_id: whose record it is; the work may have been done in a run before that, see :attr:`origin`.
    :param versions: output → version, proved unchanged.
    :param by_script: versions that the script registered, proved unchanged.
    :param stale: outputs whose gate is another one by now.
    """

    run_id: str
    record: Mapping[str, Any]
    versions: Mapping[str, DatasetVersion]
    by_script: Sequence[DatasetVersion]
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
            return Decision(f"{REGENERATE}=True")
        if not self.spec.allow_reuse:
            return Decision("allow_reuse=False")
        return self.decided(self.look_up())

    def decided(self, found: Earlier | str) -> Decision:
        """Return the decision that follows from what :meth:`look_up` has found."""
        if isinstance(found, str):
            return self._explained(found)
        if not found.stale:
            return Decision(f"same code, environment, arguments and data as run {found.origin}", found)
        changed = explain.gates(self.now.gates, found.record.get("gates") or {})
        return Decision(f"validated anew: {'; '.join(changed)}; all else is as in run {found.origin}", found)

    def look_up(self) -> Earlier | str:
        """Return the run that made the same, with its outputs proved; or why there is none, ``""`` if nobody did."""
        try:
            entry = self.ws.store.read_json(self.entry)
        except FileNotFoundError:
            return ""
        except (StepwellError, OSError) as error:
            return f"what is known of the run that made the same is damaged: {error}"
        gates = entry.get("gates")
        return self.made_by(str(entry.get("run")), gates if isinstance(gates, dict) else {})

    def made_by(self, run_id: str, gates: Mapping[str, str]) -> Earlier | str:
        """Return the run *run_id*, which made the same, with its outputs proved; or why it cannot be handed on.

        :param gates: output → digest of the gate that has judged it.
        """
        try:
            record = self.ws.store.read_json(f"runs/{check_name('run', run_id)}/run.json")
        except FileNotFoundError:
            return f"the record of run {run_id}, which made the same, is gone"
        except (StepwellError, OSError) as error:
            return f"the record of run {run_id}, which made the same, is damaged: {error}"
        try:
            if not all(_is_sound(name, record.get(name)) for name in ("verdicts", *HANDED_ON)):
                return f"the record of run {run_id}, which made the same, is damaged"
            return self._proved(run_id, record, gates)
        except StepwellError as error:
            return f"what run {run_id} made is not what it was: {error.what}"
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            return f"what run {run_id} made cannot be looked at: {error}"

    def _proved(self, run_id: str, record: Mapping[str, Any], gates: Mapping[str, str]) -> Earlier | str:
        """Return the run if what it made is there, as it was."""
        promoted = {n for n, g in self.spec.validations.items() if g["promote_as"]}
        missing = ({*self.spec.outputs} | promoted) - {*record["outputs"]}
        if missing:
            return f"run {run_id} has not made {', '.join(sorted(missing))}"
        versions = {name: self._unchanged(reference) for name, reference in record["outputs"].items()}
        for name in self.spec.outputs:
            self._whole(name, versions[name], record["proofs"][name])
        by_script = tuple(self._unchanged(reference) for reference in record.get("registered_by_script") or [])
        stale = tuple(n for n, digest in self.now.gates.items() if gates.get(n) != digest)
        return Earlier(run_id, {**record, "gates": gates}, versions, by_script, stale)

    def _unchanged(self, reference: Mapping[str, Any]) -> DatasetVersion:
        version = registry.resolve_reference(self.ws, reference)
        if version.name is not None:  # what is not registered was pinned anew just now
            registry.verify(self.ws, version)
        return version

    def _whole(self, name: str, version: DatasetVersion, proof: str) -> None:
        """Make sure that the folder of an output holds the files that were published, and no others.

        :raises DatasetChangedError: it does not.
        """
        there = listed(self.ws, version.definition)
        more = sorted(path for _, path in there - {(f.datastore, f.path) for f in version.files})
        if more:
            raise DatasetChangedError(f"the output {name} has got files that it had not: {', '.join(more[:5])}")
        if proof_of(version) != proof:
            raise DatasetChangedError(f"the files of the output {name} have other names")

    # -- explaining ------------------------------------------------------------------------------------------------

    def _explained(self, because: str) -> Decision:
        """Return the decision to run, with what is different from the last time."""
        try:
            last = self.ws.store.read_json(self.last)
            run_id, made_of = check_name("run", last["run"]), check_name("run", last["made_of"])
            if because:
                return _ran([because], last=run_id)
            then = Fingerprint.from_dict(self.ws.store.read_json(f"runs/{made_of}/fingerprint.json"))
            with _Sources(self.ws, self.spec, then) as sources:
                found = explain.changes(self.now, then, self.references, last["inputs"], sources.contents)
        except FileNotFoundError:
            return _ran([because or "no earlier run of this step has completed"])
        except (StepwellError, OSError, KeyError, TypeError, AttributeError, ValueError, RecursionError):
            return _ran([because or "the last run cannot be compared: what is known of it is damaged, or too old"])
        if not found:
            return _ran([f"what is known of run {run_id}, which made the same, is gone from the index"], last=run_id)
        return _ran(found, changes=tuple(found), last=run_id)

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


def _ran(reasons: Sequence[str], **more: Any) -> Decision:
    reason = f"not reused: {'; '.join(reasons)}"
    return Decision(reason if len(reason) <= _LONGEST else reason[: _LONGEST - 1] + "…", **more)


def _is_sound(name: str, facts: Any) -> bool:
    """Whether *facts* of a record, which may be damaged, can be handed on under that name."""
    if facts is None:
        return True
    kinds = {"verdicts": dict, "metric_counts": int, "parent_metric_counts": int}
    return isinstance(facts, dict) and all(isinstance(value, kinds.get(name, object)) for value in facts.values())


def keep(ws: Workspace, run_id: str, now: Fingerprint) -> None:
    """Keep what a run is made of, for explaining the next one."""
    ws.store.replace(f"runs/{run_id}/fingerprint.json", encode(now.to_dict()), durable=False)


def kept(ws: Workspace, run_id: str) -> Fingerprint | None:
    """Return what :func:`keep` kept, if it did."""
    try:
        return Fingerprint.from_dict(ws.store.read_json(f"runs/{run_id}/fingerprint.json"))
    except (OSError, KeyError, TypeError, WorkspaceError):
        return None


class _Sources(ExitStack):
    """The source files of a step then (in the snapshot's archive) and now (in the source directory)."""

    def __init__(self, ws: Workspace, spec: StepSpec, then: Fingerprint) -> None:
        super().__init__()
        self.ws = ws
        self.folder = Path(spec.source_directory or "")
        self.archive = f"snapshots/{then.parts['code']}.zip"

    def contents(self, path: str) -> tuple[bytes | None, bytes | None]:
        """Return the file's content then and now; ``None`` for what is gone, or too large to be compared."""
        try:
            place = self.folder / path
            now = place.read_bytes() if place.stat().st_size <= _LARGEST else None
        except OSError:
            now = None
        return self._then(path), now

    def _then(self, path: str) -> bytes | None:
        try:
            if self._opened is None or self._opened.getinfo(path).file_size > _LARGEST:
                return None
            return self._opened.read(path)
        except (OSError, KeyError, zipfile.BadZipFile):
            return None

    @cached_property
    def _opened(self) -> zipfile.ZipFile | None:
        place = self.ws.store.local_path(self.archive)
        try:
            if place is None:
                folder = self.enter_context(tempfile.TemporaryDirectory(prefix="stepwell-"))
                place = Path(folder, "code.zip")
                with self.ws.store.open(self.archive) as source:
                    content = source.read(_LARGEST_ARCHIVE + 1)
                if len(content) > _LARGEST_ARCHIVE:
                    return None
                place.write_bytes(content)
            return self.enter_context(zipfile.ZipFile(place))
        except (OSError, zipfile.BadZipFile, StepwellError):
            return None


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
        variables={},
        secrets={},  # a gate needs none
        validations=validations,
        module=None,
        settings={},
        packages=(),
        resumes=None,
    )
