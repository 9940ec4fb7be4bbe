"""What follows a search: ensembles, the best model fitted to all rows, what explains it, and the step's outputs.

The model is written last of all that can fail; what only explains it may fail without it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from stepwell.payload.automl import ensembles, model, scores
from stepwell.payload.automl.engine import Engine
from stepwell.payload.automl.errors import AutoMLError, SearchFailed
from stepwell.payload.automl.learning import metrics_of, predict
from stepwell.payload.automl.preparing import Prepared
from stepwell.payload.automl.request import Request
from stepwell.payload.automl.results import by_column, environment, forecasts, leaderboard, valued
from stepwell.payload.automl.search import Search
from stepwell.payload.automl.trial import COMPLETED, ENSEMBLE, FAILED, Trial

T = TypeVar("T")
Say = Callable[[str], None]
#: Longer than this the importances are not measured, in seconds.
EXPLAIN_SECONDS = 30.0
#: Fitting a model to each fold again, for the charts and the intervals, may take so long, in seconds.
CHART_SECONDS = 60.0


class Finish:
    """The end of a search.

    :param cores: how many the machine of this process has.
    """

    def __init__(
        self, request: Request, prepared: Prepared, search: Search, engine: Engine, cores: int, say: Say = print
    ) -> None:
        self.request = request
        self.prepared = prepared
        self.problem = prepared.problem
        self.search = search
        self.engine = engine
        self.cores = cores
        self.say = say
        self.metric = search.limits.metric
        self._made: dict[int, ensembles.Ensemble] = {}
        self._fitted: dict[int, Any] = {}
        self._judged: dict[int, np.ndarray | None] = {}

    def run(self) -> dict[str, Any]:
        """Finish, and return the summary.

        :raises SearchFailed: no trial was completed.
        """
        if self.search.best is None:
            self._write_report({}, None)
            raise self._nothing()
        self._may_fail("The ensembles", self._ensembles)
        best = self.search.best
        self.say(f"the best is iteration {best.iteration}: {best.pipeline}, {self.metric} {best.score:.5f}; fitting it")
        predictions = self._predictions(best.iteration)
        pipeline = self._pipeline(best.iteration)
        test = self._may_fail("The test", lambda: self._test(pipeline))
        explained = self._may_fail("The importances", lambda: self._importances(pipeline)) or []
        summary = self._summary(best, test)
        self._json("importances.json", explained)
        self._json("summary.json", summary)
        self._outputs(best, pipeline, test)
        evaluation = self._may_fail("The evaluation", lambda: self.prepared.evaluation(predictions, pipeline))
        more = {"importances": explained, "test_metrics": test and test["metrics"]}
        self._write_report({**more, "evaluation": evaluation or (test and test["evaluation"])}, best)
        return summary

    def _nothing(self) -> SearchFailed:
        failed = [t for t in self.search.trials if t.status == FAILED]
        reasons = list(dict.fromkeys(f"{t.model}: {t.reason}" for t in failed))
        return SearchFailed(
            f"No trial was completed ({len(failed)} failed; {self.search.over})",
            hint="The reasons:\n" + "\n".join(reasons[:5]) if reasons else "Give the search more time, or more memory",
        )

    def _may_fail(self, what: str, make: Callable[[], T]) -> T | None:
        """Return what *make* makes; what is only nice to have does not cost the model."""
        try:
            return make()
        except Exception as error:
            self.say(f"warning: {what} could not be made: {type(error).__name__}: {error}")
            return None

    # -- ensembles and fits ----------------------------------------------------------------------------------------

    def _ensembles(self) -> None:
        settings = self.request.settings
        wanted = [
            (settings.get("enable_voting_ensemble"), ensembles.voting),
            (settings.get("enable_stack_ensemble"), ensembles.stack),
        ]
        if not any(asked for asked, _ in wanted) or settings["task"] == "forecasting":
            return
        usable = [t for t in self.search.trials if t.iteration in self.search.predictions]
        chosen = ensembles.candidates(usable, self.metric)
        known = {number: np.load(self.search.predictions[number], allow_pickle=False) for number in chosen}
        if len(known) < 2:
            return
        judged = ensembles.Judged.of(self.problem)
        for asked, make in wanted:
            began, started = time.monotonic(), time.time()
            made = make(judged, known) if asked else None
            if made is None:
                continue
            if not ensembles.gains(judged, made, known[chosen[0]]):
                self.say(f"note: {made.name} with {made.score:.5f} is not better than one model by more than chance")
                continue
            number = self.search.take_number()
            self._made[number] = made
            members = {str(i): round(float(w), 6) for i, w in made.weights.items()}
            self.search.add(
                Trial(
                    number, f"{self.request.run_id}_{number}", made.name, made.name, {"members": members}, ENSEMBLE,
                    len(self.problem.folds[0][0]), COMPLETED, None, valued(made.metrics), made.score, started,
                    round(time.monotonic() - began, 3),
                )
            )  # fmt: skip

    def _trial(self, iteration: int) -> Trial:
        return next(t for t in self.search.trials if t.iteration == iteration)

    def _estimator(self, iteration: int) -> Any:
        """Return the trial's pipeline, fitted to all rows."""
        if iteration not in self._fitted:
            if iteration in self._made:
                ensemble = self._made[iteration]
                fitted = {number: self._estimator(number) for number in ensemble.weights}
                self._fitted[iteration] = ensemble.estimator(fitted)
            else:
                trial = self._trial(iteration)
                rows = np.arange(self.problem.facts["known"])
                everything = None if len(rows) == len(self.problem.y) else rows
                self._fitted[iteration] = self.engine.fit(
                    self.problem, trial.learner, trial.parameters, everything, self.cores
                )
        return self._fitted[iteration]

    def _predictions(self, iteration: int) -> np.ndarray | None:
        """Return what the trial predicted for the judged rows; where that is not known, by fitting it to each fold."""
        if iteration not in self._judged:
            self._judged[iteration] = self._predicted(iteration)
        return self._judged[iteration]

    def _predicted(self, iteration: int) -> np.ndarray | None:
        if iteration in self._made:
            return self._made[iteration].predictions
        if iteration in self.search.predictions:
            return np.asarray(np.load(self.search.predictions[iteration], allow_pickle=False))
        trial, problem = self._trial(iteration), self.problem
        if (trial.seconds or 0.0) * len(problem.folds[0][0]) / max(1, trial.rows) > CHART_SECONDS:
            self.say("note: no charts of the validation: the model would have to be fitted again, which takes long")
            return None

        def again() -> np.ndarray:
            parts = []
            for learn, judge in problem.folds:
                fitted = self.engine.fit(problem, trial.learner, trial.parameters, learn, self.cores)
                parts.append(predict(fitted, problem.X.iloc[judge], problem))
            return np.concatenate(parts)

        return self._may_fail("The predictions of the validation", again)

    def _pipeline(self, iteration: int) -> Any:
        predictions = self._predictions(iteration) if self.request.settings["task"] == "forecasting" else None
        return self.prepared.pipeline(self._estimator(iteration), self._trial(iteration).model, predictions)

    # -- judged and explained --------------------------------------------------------------------------------------

    def _test(self, pipeline: Any) -> dict[str, Any] | None:
        """Judge the model by the rows that were kept aside."""
        if self.prepared.test is None:
            return None
        frame, truth, weight = self.prepared.test
        if self.problem.task == "classification":
            predictions = np.asarray(pipeline.predict_proba(frame), dtype=float)
        else:
            predictions = np.asarray(forecasts(pipeline, frame, truth), dtype=float)
        there = np.isfinite(np.asarray(truth, dtype=float))  # of a forecast, labels may be missing
        metrics = valued(
            metrics_of(self.problem, truth[there], predictions[there], None if weight is None else weight[there])
        )
        score = f"{metrics[self.metric]:.5f}" if self.metric in metrics else "has no value for these labels"
        self.say(f"test data of {len(frame):,} rows: {self.metric} {score}")
        kind = "probabilities" if self.problem.task == "classification" else "predictions"
        evaluation = {"source": "test", "y_true": truth, kind: predictions}
        return {"metrics": metrics, "rows": len(frame), "evaluation": evaluation}

    def _importances(self, pipeline: Any) -> list[dict[str, Any]]:
        from stepwell.payload.automl import explain

        if not self.request.settings.get("model_explainability", True):
            return []
        task, facts = self.request.settings["task"], self.problem.facts
        more: dict[str, Any] = {"metric": self.metric, "facts": facts, "seconds": EXPLAIN_SECONDS, "say": self.say}
        if task == "forecasting":
            found = explain.importances(
                self._estimator(self._best.iteration), self.problem.X, self.problem.y, task="regression", **more
            )
            return by_column(found, self.prepared.featurizer.lineage)
        own = (self.prepared.frame, self.prepared.target, self.prepared.weight)
        frame, target, weight = self.prepared.test or own
        return explain.importances(pipeline, frame, target, task=task, weight=weight, **more)

    @property
    def _best(self) -> Trial:
        assert self.search.best is not None  # noqa: S101 - run() has looked
        return self.search.best

    # -- what is left behind ---------------------------------------------------------------------------------------

    def _summary(self, best: Trial, test: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "run_id": self.request.run_id,
            "task": self.request.settings["task"],
            "primary_metric": self.metric,
            "best": best.iteration,
            "best_trial": best.to_dict(),
            "trials": len(self.search.trials),
            "failed": sum(t.status == FAILED for t in self.search.trials),
            "seconds": round(self.search.spent, 1),
            "ended_because": self.search.over,
            "not_tried": self.search.untried,
            "validation": self.prepared.validation,
            "test": test and {"rows": test["rows"], "metrics": test["metrics"]},
        }

    def _outputs(self, best: Trial, pipeline: Any, test: dict[str, Any] | None) -> None:
        outputs = self.request.outputs
        for name, wanted in self.request.models.items():
            trial = self._wanted(name, wanted, best)
            made = pipeline if trial is best else self._pipeline(trial.iteration)
            self._save(made, trial, outputs[name], test if trial is best else None)
            self.say(f"output {name}: iteration {trial.iteration}, {trial.pipeline}")
        if "leaderboard" in outputs:
            os.makedirs(outputs["leaderboard"], exist_ok=True)
            leaderboard(self.search.trials, self.metric).to_parquet(
                os.path.join(outputs["leaderboard"], "leaderboard.parquet"), index=False
            )
        if "metrics" in outputs:
            os.makedirs(outputs["metrics"], exist_ok=True)
            found = {t.id: {n: [v] for n, v in t.metrics.items()} for t in self.search.trials}
            with open(os.path.join(outputs["metrics"], "metrics.json"), "w", encoding="utf-8") as file:
                json.dump(found, file)

    def _wanted(self, output: str, wanted: dict[str, Any], best: Trial) -> Trial:
        """Return the trial that an output is to hold.

        :raises AutoMLError: there is none such.
        """
        iteration, metric = wanted.get("iteration"), wanted.get("metric")
        done = [t for t in self.search.trials if t.status == COMPLETED]
        if iteration is not None:
            found = [t for t in done if t.iteration == iteration]
            if not found:
                raise AutoMLError(
                    f"The output {output!r} wants iteration {iteration}, which was not completed",
                    allowed=[t.iteration for t in done][:50],
                )
            return found[0]
        if metric is None:
            return best
        known = [t for t in done if metric in t.metrics]
        if not known:
            raise AutoMLError(f"The output {output!r} wants the best by {metric}, which has no value for these labels")
        return min(known, key=lambda t: scores.loss(metric, t.metrics[metric]))

    def _save(self, pipeline: Any, trial: Trial, folder: str, test: dict[str, Any] | None) -> None:
        model.save(
            pipeline,
            folder,
            task=self.request.settings["task"],
            label=self.request.settings["label_column_name"],
            example=self.prepared.frame,
            metric=self.metric,
            score=trial.score,
            metrics=trial.metrics,
            iteration=trial.iteration,
            name=trial.model,
            run_id=self.request.run_id,
            rows=int(self.problem.facts["known"]),
            more={"parameters": trial.parameters, "pipeline": trial.pipeline, "test": test and test["metrics"]},
        )

    def _write_report(self, found: dict[str, Any], best: Trial | None) -> None:
        self._may_fail("The report", lambda: self._report(found, best))

    def _report(self, found: dict[str, Any], best: Trial | None) -> None:
        from stepwell.payload.automl import report

        settings, trials = self.request.settings, self.search.trials
        results = {
            "title": f"AutoML: {settings['task']} of {settings['label_column_name']}",
            "run_id": self.request.run_id,
            "settings": settings,
            "task": settings["task"],
            "primary_metric": self.metric,
            "classes": self.problem.classes,
            "started": min((t.started for t in trials), default=time.time()),
            "seconds": self.search.spent,
            "data": {
                "rows": self.prepared.rows,
                "columns": self.prepared.columns,
                "validation": self.prepared.validation,
                "test_rows": len(self.prepared.test[1]) if self.prepared.test else None,
            },
            "trials": [t.to_dict() for t in trials],
            "best": None if best is None else best.iteration,
            "ended_because": self.search.over,
            "guardrails": self.prepared.guardrails,
            "importances": [],
            "featurization": self.prepared.featurizer.described,
            "evaluation": None,
            "test_metrics": None,
            "environment": environment(),
            **found,
        }
        with open(os.path.join(self.request.results, "report.html"), "w", encoding="utf-8") as file:
            file.write(report.render(results))

    def _json(self, name: str, value: Any) -> None:
        with open(os.path.join(self.request.results, name), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, default=str)
