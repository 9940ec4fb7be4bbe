"""Fits another iteration of a search to all rows: ``… -m stepwell.payload.automl.refit <request> <n> <folder>``."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import pandas as pd

from stepwell.payload.automl import ensembles, model
from stepwell.payload.automl.engines import engine_of
from stepwell.payload.automl.errors import AutoMLError
from stepwell.payload.automl.problem import Problem
from stepwell.payload.automl.request import Request
from stepwell.payload.automl.search import read_history
from stepwell.payload.automl.trial import COMPLETED, ENSEMBLE, Trial


def refit(request: Request, iteration: int, folder: str, prefix: str = "search.") -> None:
    """Write the model of *iteration* to *folder*.

    :raises AutoMLError: there is no such iteration, or it is a stack, whose meta learner is not kept.
    """
    problem = Problem.load(os.path.join(request.work, "problem"), prefix)
    trials = {t.iteration: t for t in read_history(request.results, ensembles=True) if t.status == COMPLETED}
    if iteration not in trials:
        raise AutoMLError(f"There is no completed iteration {iteration}", allowed=sorted(trials)[:50])
    engine = engine_of(request.settings.get("engine") or "flaml")
    known = np.arange(problem.facts["known"])

    def fit(trial: Trial) -> Any:
        if trial.learner != ENSEMBLE:
            return engine.fit(problem, trial.learner, trial.parameters, known)
        if trial.model != ensembles.VOTING:
            raise AutoMLError(
                f"Iteration {trial.iteration} is a {trial.model}, which is kept only where it is the best"
            )
        weights = {int(i): float(w) for i, w in trial.parameters["members"].items()}
        made = ensembles.Ensemble(trial.model, weights, np.empty(0), {}, 0.0, len(problem.classes or ()))
        return made.estimator({i: fit(trials[i]) for i in weights})

    trial = trials[iteration]
    best = model.load(request.outputs["model"])
    task, label = request.settings["task"], request.settings["label_column_name"]
    if task == "forecasting":
        best.regressor = fit(trial)
        pipeline = best
    else:
        pipeline = model.build(best.steps[0][1], fit(trial), task, problem.classes, trial.model)
    example = pd.read_json(os.path.join(request.outputs["model"], "input_example.json"), orient="split")
    more: dict[str, Any] = {
        "metric": request.settings["primary_metric"],
        "score": trial.score,
        "metrics": trial.metrics,
    }
    model.save(pipeline, folder, task=task, label=label, example=example, name=trial.model, iteration=iteration, **more)


if __name__ == "__main__":
    try:
        refit(Request.read(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    except AutoMLError as error:
        sys.exit(f"AutoMLError: {error}")
