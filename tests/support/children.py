"""Child runs as a search leaves them in its run's folder."""

from __future__ import annotations

import json
from typing import Any

LEARNERS = (
    ("LightGBM", "MaxAbsScaler, LightGBM", {"n_estimators": 120, "num_leaves": 31, "learning_rate": 0.08}),
    ("XGBoostClassifier", "SparseNormalizer, XGBoostClassifier", {"n_estimators": 64, "max_depth": 6}),
    ("RandomForest", "RandomForest", {"max_features": 0.4, "n_estimators": 200}),
    ("LogisticRegression", "StandardScaler, LogisticRegression", {"C": 1.25}),
)


def trial(n: int, score: float | None = None, status: str = "Completed", **more: Any) -> dict[str, Any]:
    """Return the trial of iteration *n*."""
    model, pipeline, parameters = LEARNERS[n % len(LEARNERS)]
    scored = status == "Completed" and score is not None
    return {
        "id": f"run-search_{n}", "name": f"run-search_{n}", "parent": "run-search", "status": status,
        "started": 1_790_000_000.0 + n, "seconds": None if status == "Running" else 1.5 + n / 10,
        "metrics": {"AUC_weighted": score, "accuracy": 0.9 - n / 100, "log_loss": 0.5 + n / 100} if scored else {},
        "parameters": parameters,
        "properties": {
            "iteration": n, "model": model, "pipeline": pipeline, "rows": 10_000, "worker": n % 2,
            "score": score if scored else None,
        },
        "tags": {}, "error": None, **more,
    }  # fmt: skip


#: Of six trials the fourth is best; one has failed, one runs.
TRIALS = [
    trial(0, 0.80), trial(1, 0.85), trial(2, status="Failed", error="it was killed (SIGKILL); out of memory?"),
    trial(3, 0.92), trial(4, 0.88), trial(5, status="Running"),
]  # fmt: skip


def document(children: list[dict[str, Any]]) -> str:
    """Return the content of ``children.json``."""
    return json.dumps({"format": 1, "children": children})
