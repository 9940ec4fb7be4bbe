"""Records of runs as steps write them, for what only reads them: the pages and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_record(workspace: Path, run_id: str, files: dict[str, str] | None = None, **facts: Any) -> str:
    """Write the record of a run below the root *workspace*, and *files* beside it; return its id."""
    folder = workspace / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({**RECORD, "run_id": run_id, **facts}))
    for path, content in (files or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return run_id


REFERENCE = {
    "dataset": "passengers",
    "version": 3,
    "id": "180a998b-87a3-5144-6573-59f7b66f4d5e",
    "uri": "file:///data/passengers",
    "kind": "tabular",
    "rows": 12345,
    "files": 2,
    "size": 60302,
    "verdict": "warned",
}
RECORD: dict[str, Any] = {
    "format": 1,
    "step": "prepare",
    "kind": "spark",
    "target": "pool",
    "experiment": "titanic",
    "version": None,
    "dag_id": "titanic",
    "task_id": "prepare",
    "dag_run_id": "manual__2026-01-01T00:00:00+00:00",
    "map_index": -1,
    "try_number": 1,
    "status": "completed",
    "started": 1_790_000_000.0,
    "ended": 1_790_000_042.5,
    "seconds": 42.5,
    "phases": {"run": 40.0, "resolve": 0.5, "environment": 2.0},
    "inputs": {"raw": {**REFERENCE, "dataset": None, "version": None, "verdict": None, "rows": None}},
    "outputs": {"prepared": REFERENCE},
    "verdicts": {
        "prepared": {
            "verdict": "warned",
            "suite": "prepared",
            "rows": 12345,
            "statistics": {"evaluated": 13, "passed": 12, "warned": 1, "failed": 0, "errored": 0},
            "seconds": 6.0,
            "engine": "spark",
        }
    },
    "metrics": {"accuracy": 0.825139, "loss": [3.0, 2.0, 1.5], "pairs": {"a": [1, 2], "b": [3, 4]}},
    "tags": {"colour": "blue"},
    "error": None,
}
