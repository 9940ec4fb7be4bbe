"""Whether a step runs at all, or an earlier run stands in for it: decide, claim, judge anew, hand on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from logging import Logger
from typing import TYPE_CHECKING, Any

from stepwell.compute import portal
from stepwell.errors import ActivityFailedException, StepwellError, WorkspaceError
from stepwell.step import handover, reuse
from stepwell.step.fingerprint import fingerprint
from stepwell.step.flight import Claim
from stepwell.step.resolve import ResolvedInput, resolve_inputs
from stepwell.step.reuse import Earlier, Index
from stepwell.step.spec import StepResult
from stepwell.step.tenure import Tenure

if TYPE_CHECKING:
    from stepwell.step.snapshot import Snapshot
    from stepwell.step.spec import JobKey, StepSpec
    from stepwell.workspace import Workspace


class Deciding(Tenure):
    """A try of a step that looks first whether the same was made before.

    :param mask: takes known secrets out of what is kept of arguments and parameters.
    """

    _until_end: ExitStack

    def __init__(
        self,
        ws: Workspace,
        spec: StepSpec,
        key: JobKey,
        try_number: int,
        log: Logger,
        mask: Callable[[Any], Any],
        turn: int | None = None,
    ) -> None:
        super().__init__(ws, spec, key, try_number, log, turn)
        self.mask = mask
        self.whole = spec  # as its author wrote it; what this try runs of it is self.spec
        self._index: Index | None = None
        self._earlier: Earlier | None = None
        self._claimed: Claim | None = None
        self._source_control: Future[dict[str, Any] | None] | None = None

    @abstractmethod
    def _packages(self, *, gated: bool = False) -> dict[str, Any]:
        """Return the environment's specification, with what the target brings into it."""

    def _decide(self, inputs: list[ResolvedInput], snapshot: Snapshot | None) -> Earlier | None:
        """Return the run that made the same, if what it made can be handed on; of equal steps, only one runs at a time.

        The decision is logged and kept, with what is different from the last time.
        """
        references = {i.name: i.version.reference() for i in inputs}
        specification = self._packages()
        now = fingerprint(
            self.spec,
            inputs,
            snapshot,
            environment_key=portal.call(self.target.environment_key(specification)),
            environment=specification,
            target=self.target.makes(),
            default_datastore=self.ws.get_default_datastore().name,
            mask=self.mask,
        )
        self._index = index = Index(self.ws, self.spec, self.key, now, references)
        decision = index.decide()
        if decision.earlier is None and self.spec.allow_reuse and not self.spec.regenerate:
            self._claim(wait=True)
            found = index.look_up()
            if isinstance(found, Earlier):  # whoever had the claim has made it
                decision = index.decided(found)
        self.log.info("%s", decision.reason[:1].upper() + decision.reason[1:])
        if self._source_control is not None:
            self.record.learn(source_control=self._source_control.result())
        self.record.learn(fingerprint=now.digest, reuse=decision.to_dict())
        if decision.earlier is None or decision.earlier.stale:
            self._index_may_fail(reuse.keep, self.ws, self.state.run_id, now)
        return decision.earlier

    def _claim(self, *, wait: bool) -> None:
        """Hold the right to make this until the end of this try.

        :param wait: until nobody else has it; otherwise go on without it.
        """
        if self._index is None:
            return
        claim = Claim(self.ws, self._index.claim, self.state.run_id, self.state.slug)
        try:
            if wait:
                claim.acquire(self._go_on, self.log.info)
            elif not claim.take_if_free():
                return
        except (WorkspaceError, OSError) as error:
            self.log.warning("Whether another run makes the same now is not known: %s", error)
            return
        self._claimed = claim
        self._until_end.enter_context(claim.held())

    def _index_may_fail(self, write: Callable[..., None], *arguments: Any) -> None:
        """Write what later runs would like to know; what they do not find costs them a run, and this one nothing."""
        try:
            write(*arguments)
        except (StepwellError, OSError) as error:
            self.log.warning("This run may not be found for reuse: %s", error)

    def _judge_only(self, earlier: Earlier) -> list[ResolvedInput]:
        """Become the step that judges what *earlier* has made, by the gates that are others now."""
        self._earlier = earlier
        self.spec = reuse.judging(self.whole, earlier)
        self.outputs = []
        judged = {"gates": dict(earlier.record["gates"]), "outputs": list(earlier.stale)}
        self.record.learn(validates={"run": earlier.run_id, **judged})
        return resolve_inputs(self.ws, self.spec.inputs, self.layout, self._reads(), (), self.log, self.target)

    def _recall(self) -> None:
        """Know again what the lost try has decided whose job this one goes on with."""
        now = reuse.kept(self.ws, self.state.run_id)
        if now is not None:
            self._index = Index(self.ws, self.spec, self.key, now, self.record.facts["inputs"])
            if self.spec.allow_reuse and not self.spec.regenerate:
                self._claim(wait=False)
        validates = self.record.facts.get("validates")
        if validates is not None:
            found: Earlier | str = "its record is damaged"
            sound = isinstance(validates, dict) and {"run", "gates", "outputs"} <= {*validates}
            if self._index is not None and sound:
                found = self._index.made_by(str(validates["run"]), dict(validates["gates"]))
            if not isinstance(found, Earlier):
                raise ActivityFailedException(f"What was being validated cannot be handed on any more: {found}")
            self._judge_only(replace(found, stale=tuple(validates["outputs"])))

    def _hand_on(self, earlier: Earlier, verdicts: Mapping[str, dict[str, Any]]) -> StepResult:
        """Hand on what *earlier* has made; *verdicts* are of gates that judged it anew."""
        run_id = self.state.run_id
        with self.record.phase("publish", quick=not verdicts):
            self._go_on()
            references = handover.versions(self.ws, self.whole, self.key, run_id, earlier, verdicts, self.log)
            by_script = handover.by_script(self.ws, self.key, run_id, earlier, self.log)
            taken = handover.facts(self.ws, run_id, earlier, verdicts)
            self.record.learn(outputs=references, registered_by_script=by_script, proofs=earlier.record["proofs"])
            self.record.learn(**taken)
            if self._index is not None and verdicts:
                self.record.note()  # the index must not name a run that does not say yet what it has made
                self._index_may_fail(self._index.made, run_id)
            elif self._index is not None:
                self._index_may_fail(self._index.reused, run_id, earlier.run_id)
        self._end("published")
        return StepResult(references, by_script)
