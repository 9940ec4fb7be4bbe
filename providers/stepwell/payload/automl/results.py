"""What a search hands on beside its model: the leaderboard, its surroundings, figures in the form that files hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from stepwell.payload.automl import scores
from stepwell.payload.automl.trial import COMPLETED, Trial


def leaderboard(trials: list[Trial], metric: str) -> pd.DataFrame:
    """Return a row for each trial, the best first; those without a score last."""
    ordered = sorted(trials, key=lambda t: (scores.loss(metric, t.score), t.iteration))
    names = sorted({n for t in trials for n in t.metrics})
    rows = [
        {
            "rank": rank + 1 if t.status == COMPLETED else None,
            "iteration": t.iteration,
            "model": t.model,
            "pipeline": t.pipeline,
            "score": t.score,
            "seconds": t.seconds,
            "rows": t.rows,
            "status": t.status,
            "reason": t.reason,
            **{n: t.metrics.get(n) for n in names},
            "parameters": json.dumps(t.parameters),
        }
        for rank, t in enumerate(ordered)
    ]
    frame = pd.DataFrame(rows)
    frame["rank"] = frame["rank"].astype("Int64")
    for name in ["score", "seconds", *names]:
        frame[name] = frame[name].astype(float)
    return frame


def environment() -> dict[str, str]:
    """Return the versions of the packages that a search is made with."""
    from importlib import metadata

    names = ("flaml", "lightgbm", "xgboost-cpu", "scikit-learn", "pandas", "numpy", "mlflow-skinny")
    return {name: metadata.version(name) for name in names if _installed(name)}


def _installed(name: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def by_column(found: list[dict[str, Any]], lineage: dict[str, str]) -> list[dict[str, Any]]:
    """Return importances of features as those of the columns that they were made of."""
    columns: dict[str, dict[str, Any]] = {}
    for item in found:
        column = str(lineage[item["column"]])
        known = columns.setdefault(column, {"column": column, "importance": 0.0, "std": 0.0})
        known["importance"] += item["importance"]
        known["std"] = math.hypot(known["std"], item["std"])
    return sorted(columns.values(), key=lambda c: -c["importance"])


def forecasts(pipeline: Any, frame: pd.DataFrame, truth: np.ndarray) -> Any:
    """Return predictions; forecasts begin anew a horizon at a time, with what was true until then."""
    if not hasattr(pipeline, "rolling_forecast"):
        return pipeline.predict(frame)
    return pipeline.rolling_forecast(frame, truth)["_automl_target_col"]


def valued(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that have a value: JSON has no NaN."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
