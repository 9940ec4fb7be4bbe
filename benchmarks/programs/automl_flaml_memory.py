"""Search with FLAML in this process, and print its peak memory: ``automl_flaml_memory.py FILE SECONDS``."""

import json
import sys
import warnings

sys.modules["pyspark"] = None  # FLAML starts a session of Spark wherever it finds it

import pandas as pd  # noqa: E402
from flaml import AutoML  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

from stepwell.payload.automl import engines  # noqa: E402
from stepwell.runtime.automl import DEFAULT_MODELS  # noqa: E402

frame, seconds = pd.read_parquet(sys.argv[1]), float(sys.argv[2])
y = frame.pop("label")
learn = len(frame) - len(frame) // 10
trials = []


def metric(X_val, y_val, estimator, labels, X_train, y_train, *_):
    """Count the trials."""
    trials.append(len(y_train))
    return 1 - roc_auc_score(y_val, estimator.predict_proba(X_val)[:, 1]), {}


warnings.simplefilter("ignore")
AutoML().fit(
    X_train=frame.iloc[:learn],
    y_train=y.iloc[:learn],
    X_val=frame.iloc[learn:],
    y_val=y.iloc[learn:],
    task="classification",
    metric=metric,
    eval_method="holdout",
    estimator_list=engines.learners("classification", DEFAULT_MODELS["classification"]),
    time_budget=seconds,
    n_jobs=1,
    seed=1,
    retrain_full=False,
    early_stop=False,
    verbose=0,
    mlflow_logging=False,
)
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
print(json.dumps({"": int(peak.split()[1]) * 1024 / 1e6, "_trials": len(trials)}))
