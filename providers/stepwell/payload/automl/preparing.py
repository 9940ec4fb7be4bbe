"""From the data to the problem that is searched on, whatever the task: checked, featurized, split."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stepwell.payload.automl import guardrails, model, splits
from stepwell.payload.automl.checks import check, featurize
from stepwell.payload.automl.errors import AutoMLError
from stepwell.payload.automl.problem import Problem
from stepwell.runtime.names import nearest

Say = Callable[[str], None]


@dataclass
class Prepared(ABC):
    """A search, ready to begin.

    :param validation: how trials are judged, in words.
    :param frame: raw columns of rows that show what the model needs: those that are judged.
    :param target: their label: codes of classes, or numbers.
    :param test: rows kept aside for the end, their label and weights.
    :param weight: of *frame*.
    """

    problem: Problem
    featurizer: Any
    validation: str
    rows: int
    columns: int
    frame: pd.DataFrame
    target: np.ndarray
    test: tuple[pd.DataFrame, np.ndarray, np.ndarray | None] | None
    guardrails: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    weight: np.ndarray | None = None

    @abstractmethod
    def pipeline(self, estimator: Any, name: str, predictions: np.ndarray | None) -> Any:
        """Return the model that is handed on: from raw columns to labels or numbers.

        :param estimator: fitted on the problem's features.
        :param predictions: of the validation, for the judged rows in the order of the folds.
        """

    @abstractmethod
    def evaluation(self, predictions: np.ndarray | None, pipeline: Any) -> dict[str, Any] | None:
        """Return what a report shows of the predictions."""


def prepare(settings: Mapping[str, Any], data: Mapping[str, pd.DataFrame], say: Say) -> Prepared:
    """Check, featurize and split the data.

    :param data: ``training``, and maybe ``validation`` and ``test``.
    :raises AutoMLError: data and settings do not allow a search.
    """
    made = (_forecast if settings["task"] == "forecasting" else _table)(settings, data)
    for note in made.notes:
        say(f"note: {note}")
    for found in made.guardrails:
        if found["status"] == guardrails.WARNING:
            say(f"warning: {found['name']}: {found['description']}: {'; '.join(found['details'][:5])}".rstrip(": "))
    say(f"{made.rows:,} rows of {made.columns} columns, {made.problem.X.shape[1]} features; {made.validation}")
    return made


# -- rows without an order ---------------------------------------------------------------------------------------------


@dataclass
class _Table(Prepared):
    """A classification or a regression."""

    task: str = ""

    def pipeline(self, estimator: Any, name: str, predictions: np.ndarray | None) -> Any:
        return model.build(self.featurizer, estimator, self.task, self.problem.classes, name)

    def evaluation(self, predictions: np.ndarray | None, pipeline: Any) -> dict[str, Any] | None:
        if predictions is None:
            return None
        judged = np.concatenate([judge for _, judge in self.problem.folds])
        kind = "probabilities" if self.task == "classification" else "predictions"
        return {"source": "validation", "y_true": np.asarray(self.problem.y)[judged], kind: predictions}


def _table(settings: Mapping[str, Any], data: Mapping[str, pd.DataFrame]) -> Prepared:
    task = settings["task"]
    checked = check(data["training"], settings, data.get("validation"), data.get("test"))
    X, y, weight, given = checked.X, checked.target, checked.weight, checked.splits
    test = None if checked.test is None else (checked.test.X, checked.test.target, checked.test.weight)
    if test is None and settings.get("test_size"):
        stay, held = splits.hold_out(y, task, float(settings["test_size"]), int(settings.get("seed") or 1))
        test = (X.iloc[held].reset_index(drop=True), y[held], None if weight is None else weight[held])
        X, y, weight = X.iloc[stay].reset_index(drop=True), y[stay], None if weight is None else weight[stay]
        given = None if given is None else given.iloc[stay]
    extra = checked.validation
    order = splits.fair_order(y, task, int(settings.get("seed") or 1)) if given is None else np.arange(len(y))
    if extra is not None:
        order = np.concatenate([order, np.arange(len(y), len(y) + len(extra.X))])
        X = pd.concat([X, extra.X], ignore_index=True)
        y = np.concatenate([y, extra.target])
        if weight is not None:
            weight = np.concatenate([weight, np.ones(len(extra.X)) if extra.weight is None else extra.weight])
    y = y[order]
    folds, words = splits.folds(y, task, settings, 0 if extra is None else len(extra.X), given)
    splits.check_judged(y, folds, settings["primary_metric"], words)
    if len(folds) == 1:  # rows to learn from, then rows to judge by: a worker need not copy either
        learn, judge = folds[0]
        inside = np.concatenate([learn, judge])
        order, y = order[inside], y[inside]
        folds = [(np.arange(len(learn)), np.arange(len(learn), len(inside)))]
    known = len(order) - (0 if extra is None else len(extra.X))
    featurizer = featurize(X.iloc[:known], settings)
    facts: dict[str, Any] = {"task": task, "known": known}
    if task == "classification":
        facts["positive"] = checked.positive
    else:
        facts.update(y_min=float(np.min(y)), y_max=float(np.max(y)))
    features = featurizer.transform(X).iloc[order].reset_index(drop=True)
    problem = Problem(
        task,
        features,
        y,
        folds,
        settings["primary_metric"],
        None if weight is None else np.asarray(weight)[order],
        checked.classes,
        facts,
    )
    judged = np.unique(np.concatenate([judge for _, judge in folds]))
    return _Table(
        problem,
        featurizer,
        words,
        known,
        X.shape[1],
        X.iloc[order[judged]],
        y[judged],
        test,
        guardrails.guardrails(checked, featurizer, features.iloc[:known], y[:known], words, settings),
        list(checked.notes),
        None if problem.weight is None else problem.weight[judged],
        task=task,
    )


# -- rows in the order of time -----------------------------------------------------------------------------------------


@dataclass
class _Forecast(Prepared):
    """A forecast: a regression on features of the past."""

    past: Any = None

    def pipeline(self, estimator: Any, name: str, predictions: np.ndarray | None) -> Any:
        return copy.copy(self.past).model(estimator, predictions)

    def evaluation(self, predictions: np.ndarray | None, pipeline: Any) -> dict[str, Any] | None:
        found: dict[str, Any] | None = None if predictions is None else self.past.evaluation(predictions, pipeline)
        return found


def _forecast(settings: Mapping[str, Any], data: Mapping[str, pd.DataFrame]) -> Prepared:
    from stepwell.payload.automl import forecasting

    past = forecasting.prepare(data["training"], settings, data.get("validation"), relative=True)
    problem = Problem(
        "regression",
        past.X,
        past.y,
        past.folds,
        settings["primary_metric"],
        past.weight,
        None,
        {**past.facts, "task": "forecasting", "known": len(past.y)},
    )
    frame, label = data["training"], settings["label_column_name"]
    whole = past.y + past.level
    if float(np.min(whole)) == float(np.max(whole)):
        raise AutoMLError(f"The label {label!r} has the same value in every row: {float(whole[0]):g}")
    return _Forecast(
        problem,
        past.featurizer,
        past.validation,
        len(frame),
        frame.shape[1] - 1,
        frame.drop(columns=[label]).tail(1),
        np.asarray(past.y),
        None if data.get("test") is None else _later(data["test"], label),
        past.guardrails,
        past.notes,
        past=past,
    )


def _later(test: pd.DataFrame, label: str) -> tuple[pd.DataFrame, np.ndarray, None]:
    """Return rows that a forecast is judged by, and their label, NaN where it is missing.

    :raises AutoMLError: they have no label that could be forecast.
    """
    from stepwell.payload.automl.forecasting_table import read_target
    from stepwell.payload.automl.forecasting_times import ForecastError

    if not len(test):
        raise AutoMLError("The test data have no rows", hint="See what the step before wrote, or what a filter left")
    if label not in test.columns:
        raise AutoMLError(
            f"label_column_name: the test data have no column {label!r}", allowed=nearest(label, map(str, test.columns))
        )
    try:
        truth = read_target(test[label], label)
    except ForecastError as error:
        raise AutoMLError(f"The test data: {error.what}", hint=error.hint) from error
    if np.isnan(truth).all():
        raise AutoMLError(f"The label {label!r} of the test data has no values at all")
    return test.drop(columns=[label]), truth, None
