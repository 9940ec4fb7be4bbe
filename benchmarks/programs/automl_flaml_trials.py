"""Count the trials of FLAML called directly: ``automl_flaml_trials.py raw|features REQUEST SECONDS``.

The request is one of a search of ours that is over: the same rows, split, learners, metrics and seed.
"""

import json
import sys
import time
import warnings

sys.modules["pyspark"] = None  # FLAML starts a session of Spark wherever it finds it

import pandas as pd  # noqa: E402
from flaml import AutoML  # noqa: E402
from flaml.automl.model import LGBMEstimator  # noqa: E402

from stepwell.payload.automl import engines, scores, splits  # noqa: E402
from stepwell.payload.automl.checks import check  # noqa: E402
from stepwell.payload.automl.learning import metrics_of, predict  # noqa: E402
from stepwell.payload.automl.problem import Problem  # noqa: E402
from stepwell.payload.automl.request import Request  # noqa: E402

side, path, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
request = Request.read(path)
settings = request.settings
problem = Problem.load(f"{request.work}/problem", "search.")
learn, judge = problem.folds[0]
if side == "raw":
    checked = check(pd.read_parquet(request.inputs["training"]), settings)
    order = splits.fair_order(checked.target, "classification", settings["seed"])
    (positions,), _ = splits.folds(checked.target[order], "classification", settings, 0, None)
    X, y = checked.X, checked.target
    learn, judge = (order[part] for part in positions)
    assert (y[judge] == problem.y[problem.folds[0][1]]).all()
else:
    X, y = problem.X, problem.y
begun, ended = [], []


def metric(X_val, y_val, estimator, labels, X_train, y_train, weight_val=None, *_):
    """Judge a trial as a search of ours does."""
    found = metrics_of(problem, y_val, predict(estimator, X_val, problem), weight_val)
    ended.append((time.monotonic(), len(y_train)))
    return scores.loss(problem.primary_metric, found[problem.primary_metric]), {}


def first_fit(self, *args, **kwargs):
    """Note when the first trial begins."""
    begun.append(time.monotonic())
    LGBMEstimator.fit = fit
    return fit(self, *args, **kwargs)


fit, LGBMEstimator.fit = LGBMEstimator.fit, first_fit
warnings.simplefilter("ignore")
AutoML().fit(
    X_train=X.iloc[learn],
    y_train=y[learn],
    X_val=X.iloc[judge],
    y_val=y[judge],
    task="classification",
    metric=metric,
    estimator_list=engines.learners("classification", engines.models(settings)),
    eval_method="holdout",
    time_budget=seconds + 5,
    n_jobs=1,
    seed=settings["seed"],  # that of the first worker of a search
    skip_transform=side != "raw",
    retrain_full=False,
    early_stop=False,
    verbose=0,
    mlflow_logging=False,
)
inside = [rows for when, rows in ended if when <= begun[0] + seconds]
print(json.dumps({"trials": len(inside), "whole": sum(rows >= len(learn) for rows in inside)}))
