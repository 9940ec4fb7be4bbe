"""The life of a step, from top to bottom: resolve, snapshot, reuse, environment, submit, watch, collect, gate, publish.

It may be lived by two workers: the first one ends once the job is submitted, the second one begins when that has ended.

Each phase can be gone through again by another try of the task: what is under way is adopted, what is done is found.
Nothing is registered when a step fails, and no reader sees data that has not been judged.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from logging import Logger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.compute import portal
from stepwell.compute.contract import EnvironmentRef, Handle, Job, Outcome
from stepwell.compute.resolve import target_for
from stepwell.environment import gates_specification, merge, spark_packages
from stepwell.environment.spark import with_packages
from stepwell.errors import (
    ActivityFailedException,
    GateFailedException,
    UserErrorException,
)
from stepwell.quality import gates
from stepwell.step import job, publish, resume, state
from stepwell.step.fingerprint import proof_of
from stepwell.step.leaving import PATIENCE, Leaving
from stepwell.step.logged import brief_metrics
from stepwell.step.relay import Relay
from stepwell.step.resolve import ResolvedInput, resolve_inputs
from stepwell.step.snapshot import Snapshot, check_script, take
from stepwell.step.source_control import state_of
from stepwell.step.spec import StepResult
from stepwell.step.waiting import Waiting

if TYPE_CHECKING:
    from stepwell.step.spec import JobKey, StepSpec
    from stepwell.workspace import Workspace


#: What of a run's record is on XCom.
_IN_SUMMARY = (
    *("run_id", "step", "target", "status", "seconds", "metrics", "inputs", "outputs", "verdicts", "error"),
    *("reuse", "reused_from"),
)


class Life(Leaving):
    """One try of one step.

    :param triggering: references of the asset events that started the DAG run.
    :param log: takes the step's log, line by line, while it runs.
    :param mask: takes known secrets out of what is kept of arguments and parameters.
    :param turn: a number that a clear of the task changes and a retry does not; None: not known.
    """

    def __init__(
        self,
        ws: Workspace,
        spec: StepSpec,
        key: JobKey,
        *,
        try_number: int,
        triggering: Sequence[dict[str, Any]],
        log: Logger,
        mask: Callable[[Any], Any] = lambda value: value,
        turn: int | None = None,
    ) -> None:
        super().__init__(ws, spec, key, try_number, log, mask, turn)
        self.triggering = triggering
        self._environment: dict[str, Any] | None = None

    # -- the story -------------------------------------------------------------------------------------------------

    def live(self) -> StepResult:
        """Live the step's life.

        :raises UserErrorException: the step cannot be run as it is written.
        :raises ActivityFailedException: it ran, and failed.
        :raises GateFailedException: it ran, and its data did not pass.
        """
        self._begin()
        with self._lived():
            result = self._until_submitted()
            return self._to_the_end() if result is None else result

    def start(
        self,
        *,
        defer: bool | None = None,
        deadline: float | None = None,
        patience: float = PATIENCE,
        alone: bool = False,
    ) -> StepResult | Waiting:
        """Live the step's life until its job is submitted, and leave the waiting to others; else as :meth:`live`.

        :param defer: whether others wait; None: as its target says.
        :param deadline: when the step has taken too long, in seconds since the epoch.
        :param patience: a job that ends within so many seconds is waited for here all the same.
        :param alone: all workers of Airflow are on this machine.
        """
        self._begin()
        with self._lived():
            result = self._until_submitted()
            if result is not None:
                return result
            if self._leaves(defer, patience, alone):
                return self._hand_over(deadline)
            return self._to_the_end()

    def resume(self, owner: str | None = None, stop: BaseException | None = None) -> StepResult:
        """Go on with this try where :meth:`start` has left it. What its job has come to is what this try comes to.

        :param owner: the token of who waited; None: whoever did.
        :param stop: raised as soon as the step is held again; so everything that it has under way is ended.
        :raises ActivityFailedException: the step was cancelled meanwhile, or a newer try has it.
        """
        since = self._come_back(owner)
        with self._lived():
            if stop is not None:
                raise stop
            self._lay_out()
            self._recall()
            self.record.spent("run", max(0.0, time.time() - since))
            return self._to_the_end()

    @contextmanager
    def _lived(self) -> Iterator[None]:
        with self._failing_cleanly(), ExitStack() as self._until_end:
            yield

    def _until_submitted(self) -> StepResult | None:
        """Live until the job is submitted; return what an earlier run has made, if that is handed on instead."""
        self._plan()
        if self.state.handle is not None:
            self._recall()
            return None
        with self.record.phase("resolve"):
            inputs = self._resolve()
        with self.record.phase("snapshot", quick=True):
            snapshot = self._snapshot()
        with self.record.phase("reuse", quick=True):
            earlier = self._decide(inputs, snapshot)
        if earlier is not None and not earlier.stale:
            return self._hand_on(earlier, {})
        if earlier is not None:
            inputs, snapshot = self._judge_only(earlier), None
        with self.record.phase("environment"):
            environment, gates_in = self._prepare()
        with self.record.phase("submit"):
            self._submit(inputs, snapshot, environment, gates_in)
        return None

    def _to_the_end(self) -> StepResult:
        """Live from the submitted job to the published outputs."""
        with self.record.phase("run"):
            self._watch()
        with self.record.phase("collect"):
            outcome = self._collect()
        verdicts = self._judge(outcome)
        if self._earlier is not None:
            return self._hand_on(self._earlier, verdicts)
        with self.record.phase("publish"):
            result = self._publish(outcome, verdicts)
        self._end("published")
        return result

    def summary(self) -> dict[str, Any]:
        """Return what the task puts on XCom about its run: plain, small data."""
        record = getattr(self, "record", None)
        if record is None:
            return {}
        facts = record.facts
        summary = {"workspace": self.ws.name, **{name: facts.get(name) for name in _IN_SUMMARY}}
        return {**summary, "metrics": brief_metrics(facts.get("metrics") or {}, facts.get("metric_counts"))}

    # -- the phases ------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        """Look whether the step can run there at all, plan its outputs, and take over what is under way."""
        self._lay_out()
        self._take()

    def _lay_out(self) -> None:
        """Look whether the step can run there at all, and plan its outputs."""
        self.target = target_for(self.ws, self.spec.compute_target)
        if job.entry_kind(self.spec, self.target) not in self.target.runs:
            raise UserErrorException(
                f"The compute target {self.target.name!r} ({self.target.kind}) does not run {self.spec.kind} steps",
                allowed=sorted(self.target.runs - {"none"}),
            )
        if self.key.map_index >= 0 and any(o["registration"] for o in self.spec.outputs.values()):
            raise UserErrorException(
                "A mapped step cannot register an output under a fixed name: its instances would overtake each other",
                hint="Leave register_on_complete out, or collect in a step behind it",
            )
        if self.spec.module is not None and self.target.engine != "spark":
            self.spec = replace(self.spec, spark=None)  # sizes of executors that are not there
        self.layout = self.target.layout(self.state.run_id)
        self.outputs = publish.plan_outputs(self.ws, self.spec.outputs, self.state.run_id, self.layout, self._reads())

    def _resolve(self) -> list[ResolvedInput]:
        """Pin the inputs."""
        inputs = resolve_inputs(
            self.ws, self.spec.inputs, self.layout, self._reads(), self.triggering, self.log, self.target
        )
        self.record.learn(inputs={i.name: i.version.reference() for i in inputs})
        return inputs

    def _snapshot(self) -> Snapshot | None:
        """Look at the source directory: by content, so that the same code is the same anywhere."""
        source = self.spec.source_directory
        if source is None:
            return None
        self._source_control = portal.later(state_of, source, log=self.log.info)  # git takes its time
        cache = self.ws.store.local_path(".cache/snapshots") or Path.home() / ".cache" / "stepwell" / "snapshots"
        snapshot = take(source, log=self.log.warning, note=self.log.info, cache=cache)
        if self.spec.script is not None:
            self.spec = replace(self.spec, script=check_script(source, self.spec.script, snapshot))
        self.record.learn(snapshot={"digest": snapshot.digest, "files": len(snapshot.files), "size": snapshot.size})
        self.log.info(
            "Snapshot %s: %d files, %s bytes", snapshot.digest[:12], len(snapshot.files), f"{snapshot.size:,}"
        )
        return snapshot

    def _prepare(self) -> tuple[EnvironmentRef, EnvironmentRef | None]:
        """Build or find the environment of the step, and that of its gates if they run apart."""
        gated = bool(self.spec.validations) or any(o["gate"] for o in self.spec.outputs.values())
        spec = self._packages(gated=gated)
        apart = gated and job.engine_of(self.spec, self.target) == "pandas"
        say = self.log.info
        gates_in = portal.call(self.target.prepare(gates_specification(), say)) if apart else None
        if self.spec.kind == "none" and gates_in is not None:
            environment = gates_in
        else:
            environment = portal.call(self.target.prepare(spec, say))
        if gated and gates_in is None:
            gates_in = environment  # the same Spark application judges what it wrote
        self.record.note(environment={"key": environment.key, "python": environment.python})
        return environment, gates_in

    def _packages(self, *, gated: bool = False) -> dict[str, Any]:
        """Return the environment's specification, with what the target brings into it."""
        if self._environment is None:
            environment = job.environment_of(self.ws, self.spec, self.log.info)
            self._environment = merge(environment, self.spec.packages) if self.spec.packages else environment
            if self.spec.spark is not None and environment["spark"]:
                self.spec = replace(self.spec, spark=with_packages(self.spec.spark, environment["spark"]))
        if job.engine_of(self.spec, self.target) == "spark" and not self._environment["user_managed"]:
            return merge(self._environment, spark_packages(gated=gated))
        return self._environment

    def _archive(self, snapshot: Snapshot | None) -> Path | None:
        """Return the snapshot's archive on this machine; it is made once per content."""
        if snapshot is None:
            return None
        stored = f"snapshots/{snapshot.digest}.zip"
        here = self.ws.store.local_path(stored)
        if not self.ws.store.exists(stored):
            with tempfile.TemporaryDirectory(prefix="stepwell-") as folder:
                archive = Path(folder, "code.zip")
                snapshot.write_archive(archive, earlier=self._earlier_archive(snapshot))
                self.ws.store.put_file(archive, stored)
        if here is not None:
            return here
        self._aside = tempfile.TemporaryDirectory(prefix="stepwell-", ignore_cleanup_errors=True)  # goes with this try
        fetched = Path(self._aside.name, "code.zip")
        self.ws.store.get_file(stored, fetched)
        return fetched

    def _earlier_archive(self, snapshot: Snapshot) -> Path | None:
        """Return where the archive is of what the source directory was before, if it is on this machine."""
        return self.ws.store.local_path(f"snapshots/{snapshot.earlier}.zip") if snapshot.earlier else None

    def _submit(
        self,
        inputs: list[ResolvedInput],
        snapshot: Snapshot | None,
        environment: EnvironmentRef,
        gates_in: EnvironmentRef | None,
    ) -> None:
        """Stage code and inputs, then start the job, exactly once."""
        archive = self._archive(snapshot)
        fingerprint = self._index.now.digest if self._index is not None else None
        left = resume.left_for(self.ws, self.spec, self.state, fingerprint, self.target, self.log)
        at = resume.FOLDER if left else None
        who = (self.state.run_id, self.state.owner, self.try_number)
        plan = job.Blueprint(self.ws, self.spec, self.key, *who, inputs, self.outputs, at)
        self._go_on()
        publish.prepare(self.outputs, self.state.earlier)
        one = Job(
            self.state.run_id,
            job.document(plan, self.target, self.layout, environment, gates_in),
            archive,
            (*(t for i in inputs for t in i.transfers), *left),
            job.secrets_of(self.spec),
        )
        staged = Handle(self.target.name, self.state.run_id, self.layout.root)
        self.state.handle = staged.to_dict()  # not noted yet; but what goes wrong from here on is cleaned up there
        portal.call(self.target.stage(one))
        self._go_on()
        self._submitted(portal.call(self.target.submit(one)))
        self._go_on()

    def _watch(self) -> None:
        """Relay the log until the job has ended, and note its child runs."""
        handle = self._handle()
        relay = Relay(self.log.info, self._place("logs/step.log"))
        children = self.record.children.follow(
            self.target, handle, self.log, lambda: state.is_owned(self.ws, self.state)
        )
        with portal.during(self._keep(handle)), portal.during(children):
            for chunk in portal.iterate(self.target.logs(handle, self._shown)):
                relay.feed(chunk)
        relay.close()

    def _collect(self) -> Outcome:
        """Fetch what the job left; without a final status saying "succeeded" the step has failed."""
        outcome = self.record.fetch(self.target, self._handle())
        self._fetched = True
        final = outcome.final
        last = "\n".join(final.get("last_lines") or [])
        if final["status"] == "succeeded":
            if final.get("reason"):  # a full disk, which costs lines and not the work
                self.log.warning("The step %r has succeeded, but %s. Its last lines:\n%s", self.spec.name,
                                 final["reason"], last)  # fmt: skip
            return outcome
        if final["status"] == "cancelled":
            raise ActivityFailedException(f"The step {self.spec.name!r} was cancelled: {final.get('reason')}")
        raise ActivityFailedException(
            f"The step {self.spec.name!r} failed on {self.spec.compute_target}: {final.get('reason')}",
            hint=f"The whole log is {self._place('logs/step.log')}. Its last lines:\n{last}",
        )

    def _judge(self, outcome: Outcome) -> dict[str, dict[str, Any]]:
        """Read the gates' verdicts and stop here if one is fatal. A verdict that is missing is fatal."""
        asked = {n: o["gate"] for n, o in self.spec.outputs.items() if o["gate"]} | dict(self.spec.validations)
        verdicts = {name: gates.verdict_of(outcome.directory, name) for name in asked}
        self.record.note(verdicts={name: gates.brief(v) for name, v in verdicts.items()})
        judged = self._earlier.record["outputs"] if self._earlier else self.record.facts["inputs"]
        publish.keep_validations(self.ws, self.state.run_id, self.spec.validations, judged, verdicts)
        bad = {n: v for n, v in verdicts.items() if gates.fatal(v, asked[n]["on_failure"])}
        if bad:
            self._quarantined = frozenset(n for n in bad if asked[n]["on_failure"] == "quarantine")
            if self._quarantined:
                publish.upload([o for o in self.outputs if o.name in self._quarantined], outcome.uploads, self.log)
            raise GateFailedException(
                "; ".join(f"{name} did not pass its expectations: {gates.sentence(v)}" for name, v in bad.items()),
                hint=f"Read the report: {', '.join(self._place(f'gates/{name}.html') for name in bad)}",
            )
        return {n: {**v, "verdict": "warned"} if v["verdict"] == "failed" else v for n, v in verdicts.items()}

    def _publish(self, outcome: Outcome, verdicts: Mapping[str, Mapping[str, Any]]) -> StepResult:
        """Publish the outputs and register what is to be registered."""
        self._go_on()
        publish.upload(self.outputs, outcome.uploads, self.log)
        producer = self.key.producer(self.state.run_id)
        asked = publish.asked_by_script(self.ws, outcome.events)
        settled = publish.settle(self.ws, self.outputs)
        self._go_on()
        self.state.phase = "judged"
        self._save()
        by_script = publish.register_from_script(self.ws, asked, producer, self.log)
        versions = publish.register(self.ws, settled, verdicts, producer, self.log)
        judged = self.record.facts["inputs"]
        versions |= publish.promote(self.ws, self.spec.validations, judged, verdicts, producer, self.log)
        publish.sweep(self.outputs)
        result = StepResult({n: v.reference() for n, v in versions.items()}, [v.reference() for v in by_script])
        proofs = {name: proof_of(versions[name]) for name in self.spec.outputs}
        self.record.note(outputs=result.references, registered_by_script=result.registered_by_script, proofs=proofs)
        if self._index is not None:
            self._index_may_fail(self._index.made, self.state.run_id)
        return result
