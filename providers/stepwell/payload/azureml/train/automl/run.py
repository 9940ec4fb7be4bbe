"""The run of a search: its trials as child runs, the best of them, and its model."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Iterable, Mapping

from stepwell.runtime import automl
from stepwell.runtime.errors import UserErrorException

from ..._not_built import says_what_is_not_built
from ...core._offline import _OfflineRun
from ...core.run import Run

_COMPLETED = "Completed"


class _Trial:
    """What the run of a trial has beyond any run: it is over, and the search has written what is known of it."""

    _trial: dict[str, Any]

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,
        run_type: str | None = None,
        populate: bool = False,
        **_: Any,
    ) -> dict[str, Any]:
        """Return the metrics of the trial, and what a script has logged to it since."""
        own = _named(self._trial["metrics"], name)
        return {**own, **super().get_metrics(name)}  # type: ignore[misc]

    def get_properties(self) -> dict[str, Any]:
        """Return the properties under v1's names, as texts."""
        trial = self._trial
        known = {"iteration": trial["iteration"], "run_algorithm": trial["model"], "score": trial["score"]}
        return {**{k: str(v) for k, v in known.items()}, **super().get_properties()}  # type: ignore[misc]

    @property
    def properties(self) -> dict[str, Any]:
        """The properties."""
        return self.get_properties()

    def __repr__(self) -> str:
        trial = self._trial
        return f"Run(Id: {trial['id']}, Type: automl.child, Model: {trial['model']}, Status: {trial['status']})"


class _OnlineTrial(_Trial, Run):
    def __init__(self, parent: Any, trial: dict[str, Any]) -> None:
        name = trial["pipeline"] or trial["model"]
        super().__init__(parent.experiment, trial["id"], job=parent._job, child=trial["id"], name=name, parent=parent)
        self._trial, self._status = trial, trial["status"]


class _OfflineTrial(_Trial, _OfflineRun):
    def __init__(self, parent: Any, trial: dict[str, Any]) -> None:
        super().__init__(trial["id"], parent=parent)
        self.name = self.display_name = trial["pipeline"] or trial["model"]
        self._trial, self.status = trial, trial["status"]


@says_what_is_not_built("run")
class AutoMLRun:
    """The run of a search. ``Experiment.submit(config)`` returns it when the search is over."""

    id: str
    _settings: dict[str, Any]
    _folder: str
    _summary: dict[str, Any]

    # -- the best ---------------------------------------------------------------------------------------------------

    def get_output(
        self, iteration: int | None = None, metric: str | None = None, return_onnx_model: bool = False, **_: Any
    ) -> tuple[Any, Any]:
        """Return a child run and its fitted model: the best one's, that of an iteration, or the best by a metric's.

        Only the best one's is there already: any other is fitted now, on the data of the search.

        :raises UserErrorException: both are given, there is no such iteration or metric, the iteration has failed, or
            an ONNX model is asked for.
        """
        if return_onnx_model:
            raise UserErrorException("return_onnx_model=True is not built", hint="The model is an MLflow model")
        if iteration is not None and metric is not None:
            raise UserErrorException("get_output() was given both iteration and metric", hint="Give one of the two")
        trial = self._best(metric) if iteration is None else self._completed(iteration)
        return self._run_of(trial), self._model_of(trial)

    def get_best_child(self, metric: str | None = None, onnx_compatible: bool = False, **_: Any) -> Any:
        """Return the child run that is best by *metric*, by default the primary one.

        :raises UserErrorException: no such metric is recorded, or no trial has it.
        """
        if onnx_compatible:
            raise UserErrorException("onnx_compatible=True is not built", hint="The model is an MLflow model")
        return self._run_of(self._best(metric))

    # -- all of them ------------------------------------------------------------------------------------------------

    def get_children(self, recursive: bool = False, **_: Any) -> Iterable[Any]:
        """Yield the child runs, one for each trial, the newest first."""
        for trial in reversed(self._trials()):
            yield self._run_of(trial)

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,
        run_type: str | None = None,
        populate: bool = False,
        **_: Any,
    ) -> dict[str, Any]:
        """Return the metrics of the best trial; with *recursive*, of all trials by run id.

        :param name: only this metric.
        """
        trials = self._trials()
        own = super().get_metrics(name)  # type: ignore[misc]
        if any(t["score"] is not None for t in trials):
            own = {**_named(self._best(None)["metrics"], name), **own}
        if not recursive:
            return dict(own)
        return {self.id: own, **{t["id"]: self._run_of(t).get_metrics(name) for t in trials}}

    def summary(self) -> list[list[Any]]:
        """Return a row for each model: its name, how many trials it had, its best score (NaN if none)."""
        metric = self._settings["primary_metric"]
        rows: dict[str, list[Any]] = {}
        for trial in self._trials():
            row = rows.setdefault(trial["model"], [trial["model"], 0, float("nan")])
            row[1] += 1
            if trial["score"] is not None and automl.better(metric, trial["score"], row[2]):
                row[2] = trial["score"]
        return list(rows.values())

    def get_guardrails(self, to_console: bool = True) -> dict[str, Any]:
        """Return what was checked of the data, and what was done about it, under ``faults``; print it as well."""
        try:
            with open(os.path.join(self._folder, "guardrails.json"), encoding="utf-8") as file:
                found = json.load(file)
        except FileNotFoundError:
            found = []
        for guardrail in found if to_console else ():
            print(f"{guardrail['name']}: {guardrail['status']}. {guardrail['description']}")
            for line in [*guardrail.get("details", []), guardrail.get("action")]:
                print(f"  {line}" if line else "", end="\n" if line else "")
        if to_console and not found:
            print("Guardrails: nothing was checked")
        return {"faults": found}

    # -- life -------------------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The id."""
        return self.id

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> dict[str, Any]:
        """Return the details: a search that was submitted in a script is over."""
        return self.get_details()  # type: ignore[attr-defined, no-any-return]

    def cancel(self) -> None:
        """Refused: the search is over.

        :raises UserErrorException: always.
        """
        raise UserErrorException(f"The search {self.id} is over and cannot be cancelled")

    def _begin(self) -> None:
        self._started = time.time()

    def _end(self, status: str, error: str | None = None, summary: Any = None) -> None:
        self._summary = summary if isinstance(summary, dict) else {}

    # -- trials -----------------------------------------------------------------------------------------------------

    def _trials(self) -> list[dict[str, Any]]:
        """Return the trials in their order; of one that was written twice, what was written last."""
        from stepwell.payload.automl.trial import Trial

        found: dict[int, dict[str, Any]] = {}
        try:
            with open(os.path.join(self._folder, "trials.jsonl"), encoding="utf-8") as file:
                for line in file:
                    trial = Trial.from_dict(json.loads(line)).to_dict()
                    found[trial["iteration"]] = trial
        except FileNotFoundError:
            pass
        return [found[n] for n in sorted(found)]

    def _completed(self, iteration: Any) -> dict[str, Any]:
        trials = {t["iteration"]: t for t in self._trials()}
        if iteration not in trials:
            numbers = [f"{min(trials)} to {max(trials)}"] if trials else []
            raise UserErrorException(f"The search {self.id} has no iteration {iteration!r}", allowed=numbers)
        trial = trials[iteration]
        if trial["status"] != _COMPLETED:
            raise UserErrorException(
                f"Iteration {iteration} has no model: it has {str(trial['status']).lower()} ({trial['reason']})",
                allowed=[n for n, t in trials.items() if t["status"] == _COMPLETED],
            )
        return trial

    def _best(self, metric: str | None) -> dict[str, Any]:
        primary = self._settings["primary_metric"]
        if metric is None or metric == primary:
            best = self._summary.get("best")
            if best is not None:
                return self._completed(int(best))
        name = automl.check_metric(self._settings["task"], metric or primary)
        best_trial = None
        for trial in self._trials():
            value = trial["metrics"].get(name)
            if trial["status"] != _COMPLETED or value is None or value != value:
                continue
            if best_trial is None or automl.better(name, value, best_trial["metrics"][name]):
                best_trial = trial
        if best_trial is None:
            raise UserErrorException(f"No trial of the search {self.id} has the metric {name!r}")
        return best_trial

    def _model_of(self, trial: dict[str, Any]) -> Any:
        if trial["iteration"] == self._best(None)["iteration"]:
            from stepwell.payload.automl import model

            return model.load(os.path.join(self._folder, "model"))
        from stepwell.payload.automl import in_script

        return in_script.fitted(self._folder, trial["iteration"])

    def _run_of(self, trial: dict[str, Any]) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"AutoMLRun(Id: {self.id}, Type: automl, Status: {self.get_status()})"  # type: ignore[attr-defined]


class OnlineAutoMLRun(AutoMLRun, Run):
    """In a step: a child run of the step."""

    @property
    def type(self) -> str:
        """v1's type of run."""
        return "automl"

    def _begin(self) -> None:
        super()._begin()
        self._tell("Running")

    def _end(self, status: str, error: str | None = None, summary: Any = None) -> None:
        super()._end(status, error, summary)
        self._status = status
        metrics = self._best(None)["metrics"] if status == _COMPLETED else {}
        self._tell(status, seconds=round(time.time() - self._started, 3), metrics=metrics, error=error)
        self.flush()

    def _tell(self, state: str, **more: Any) -> None:
        properties = {"task": self._settings["task"], "primary_metric": self._settings["primary_metric"]}
        parent = None if self._parent is None else self._parent.id
        self._job.emit(
            "child", id=self.id, name=self.display_name, parent=parent, state=state, started=self._started,
            properties=properties, **more,
        )  # fmt: skip

    def _run_of(self, trial: dict[str, Any]) -> Any:
        return _OnlineTrial(self, trial)


class OfflineAutoMLRun(AutoMLRun, _OfflineRun):
    """By hand: everything is printed, and the results stay below ``outputs/automl`` of the working directory."""

    def __init__(self, run_id: str, experiment: Any) -> None:
        super().__init__(run_id)
        self.type = "automl"
        self._experiment = experiment

    @property
    def experiment(self) -> Any:
        """The experiment that it was submitted to."""
        return self._experiment

    def _end(self, status: str, error: str | None = None, summary: Any = None) -> None:
        super()._end(status, error, summary)
        self.status = status
        if status == _COMPLETED:
            print(f"The results are in {self._folder}")

    def _run_of(self, trial: dict[str, Any]) -> Any:
        return _OfflineTrial(self, trial)


def _named(metrics: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    return {k: v for k, v in metrics.items() if name in (None, k)}


__all__ = ["AutoMLRun"]
