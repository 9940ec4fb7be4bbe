"""Searches of AutoML as processes of their own: what they are asked, and what their trials were."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.figures import Bench
from support.surroundings import PROJECT

CENSUS = PROJECT / "include" / "data" / "adult_train.parquet"
#: More iterations than anybody may ask for: time decides.
UNLIMITED = 1_000_000
#: Learners use no more cores than they are given, on both sides.
ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def python(bench: Bench) -> Path:
    """Return the interpreter that has FLAML, for both sides."""
    return bench.project / ".venv-payload" / "bin" / "python"


def variables(bench: Bench) -> dict[str, str]:
    """Return the variables of a search, and of FLAML called directly."""
    path = os.pathsep.join(str(bench.project / part) for part in ("providers", "benchmarks/programs"))
    telemetry = {"MLFLOW_DISABLE_TELEMETRY": "true", "MPLCONFIGDIR": str(bench.cache / "matplotlib")}
    return {**os.environ, **ONE_CORE, **telemetry, "PYTHONPATH": path}


def budget(bench: Bench, seconds: float, quick: float) -> float:
    """Return the seconds of a search: those of the figure, unless somebody only tries the benchmark."""
    return float(os.environ.get("BENCH_AUTOML_SECONDS", quick if bench.quick else seconds))


def settings(task: str, label: str, seconds: float, **more: Any) -> dict[str, Any]:
    """Return the settings of an ``AutoMLConfig``, but that time decides, and neither early stopping nor a count.

    :param seconds: of the search.
    """
    from stepwell import AutoMLConfig

    given = {"enable_early_stopping": False, "experiment_timeout_hours": seconds / 3600, **more}
    beyond = {name: given.pop(name) for name in ("engine", "iterations") if name in given}
    found: dict[str, Any] = AutoMLConfig(task=task, label_column_name=label, **given).settings
    return {**found, "iterations": UNLIMITED, **beyond}


def request(folder: Path, wanted: Mapping[str, Any], inputs: Mapping[str, Path]) -> Path:
    """Write a request below a fresh *folder* and return its path."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "work").mkdir(parents=True)
    document = {
        "run_id": "bench",
        "settings": dict(wanted),
        "results": str(folder / "results"),
        "work": str(folder / "work"),
        "outputs": {"model": str(folder / "model")},
        "models": {"model": {"iteration": None, "metric": None}},
        "inputs": {name: str(path) for name, path in inputs.items()},
    }
    path = folder / "request.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


def start(bench: Bench, path: Path) -> subprocess.Popen[bytes]:
    """Start the search of a request; what it says goes to the benchmark's log."""
    argv = [str(python(bench)), "-m", "stepwell.payload.automl.main", str(path)]
    return subprocess.Popen(argv, env=variables(bench), cwd=path.parent, stdin=subprocess.DEVNULL)


def search(bench: Bench, path: Path) -> list[dict[str, Any]]:
    """Search, and return the trials.

    :raises RuntimeError: the search failed; the log says why.
    """
    code = start(bench, path).wait()
    if code:
        raise RuntimeError(f"the search of {path} ended with {code}")
    return trials(path.parent / "results")


def trials(results: Path) -> list[dict[str, Any]]:
    """Return the trials of a results folder that were completed, without ensembles, in the order of their end."""
    with (results / "trials.jsonl").open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [t for t in found if t["status"] == "Completed" and t["learner"] != "ensemble"]


def ended(trial: Mapping[str, Any]) -> float:
    """Return when a trial was over, in seconds since the epoch."""
    return float(trial["started"]) + float(trial["seconds"])


def parquet(bench: Bench, csv: Path, file: Path) -> None:
    """Write a CSV file as the parquet file that a request names."""
    code = "import sys, pandas; pandas.read_csv(sys.argv[1]).to_parquet(sys.argv[2], index=False)"
    subprocess.run([python(bench), "-c", code, csv, file], check=True)
