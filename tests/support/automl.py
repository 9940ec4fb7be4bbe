"""Searches for tests: an environment that has the engine whose trials wait, and the processes of a search."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support.steps import Bench

from stepwell import AutoMLConfig, Dataset, Environment, OutputFileDatasetConfig
from stepwell.operators import AutoMLStepOperator

PAYLOAD_TESTS = Path(__file__).resolve().parents[1] / "payload"
#: The engine of ``tests/payload/automl_engine.py``.
ENGINE = "automl_engine:Scripted"
QUICK: dict[str, Any] = {
    "task": "classification",
    "label_column_name": "Survived",
    "primary_metric": "AUC_weighted",
    "allowed_models": ["LightGBM"],
    "n_cross_validations": 2,
    "enable_voting_ensemble": False,
    "enable_stack_ensemble": False,
    "model_explainability": False,
}


def environment(folder: Path, python: Path, wait: float = 0.02) -> Environment:
    """Return an environment like that of *python*, with the engine beside it.

    :param wait: how long a trial of the engine takes, in seconds.
    """
    root = folder / "environment"
    if not root.exists():
        subprocess.run([os.path.realpath(python), "-m", "venv", "--without-pip", str(root)], check=True)
        (packages,) = root.glob("lib/python*/site-packages")
        (source,) = python.parent.parent.glob("lib/python*/site-packages")
        (packages / "tests.pth").write_text(f"{source}\n{PAYLOAD_TESTS}\n")
    made = Environment("automl")
    made.python.user_managed_dependencies = True
    made.python.interpreter_path = str(root / "bin" / "python")
    made.environment_variables = {"AUTOML_ENGINE_WAIT": str(wait)}
    return made


def search(bench: Bench, titanic: Any, of: Environment, engine: str | None = None, **more: Any) -> AutoMLStepOperator:
    """Return a step that searches on the Titanic's passengers.

    :param titanic: a dataset, or the text of a file of the default datastore.
    :param more: of ``AutoMLConfig``; ``compute_target`` and Spark's sizes of the step.
    """
    if isinstance(titanic, str):
        bench.put({"titanic.csv": titanic})
        titanic = Dataset.Tabular.from_delimited_files((bench.datastore, "titanic.csv"))
    names = ("compute_target", "driver_memory", "executor_memory", "conf")
    own = {name: more.pop(name) for name in names if name in more}
    step = AutoMLStepOperator(
        task_id="automl",
        automl_config=AutoMLConfig(**{**QUICK, **more}, training_data=titanic),
        model_output=OutputFileDatasetConfig().register_on_complete("titanic_model"),
        environment=of,
        workspace=bench.ws,
        **own,
    )
    if engine is not None:
        step.automl["settings"]["engine"] = engine
    return step


def trials(folder: Path) -> list[dict[str, Any]]:
    """Return the trials of a search that are over, from its results folder or the jobs of a scratch folder."""
    files = sorted(folder.glob("trials.jsonl")) or sorted(
        folder.glob("a_dag.automl.*/code/outputs/automl/trials.jsonl"), key=lambda f: f.stat().st_mtime
    )
    return [json.loads(line) for line in files[-1].read_text().splitlines()] if files else []


def workers() -> list[int]:
    """Return the processes that run trials of the engine, on whichever executor."""
    return [pid for pid, words in _processes() if "stepwell.payload.automl.worker" in words and ENGINE in words]


def executor_of(pid: int) -> int:
    """Return the executor of Spark that a process descends from."""
    known = dict(_processes())
    while "CoarseGrainedExecutorBackend" not in " ".join(known.get(pid, [])):
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert pid > 1, "it runs on no executor"
    return pid


def _processes() -> list[tuple[int, list[str]]]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append((int(path.parent.name), path.read_bytes().decode(errors="replace").split("\0")))
        except OSError:
            continue
    return found
