"""One DAG per fault, one task per kind of compute target; and what ends a worker at the moment that the fault wants."""

from __future__ import annotations

import json
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import dag

from stepwell import Environment
from stepwell.operators import PythonScriptStepOperator, SynapseSparkStepOperator
from stepwell.step.life import Life

FOLDER = Path(os.environ["MATRIX_FOLDER"])
PLAN = json.loads((FOLDER / "plan.json").read_text())
SPARK = {"driver_memory": "512m", "driver_cores": 1, "executor_memory": "512m", "executor_cores": 1, "num_executors": 1}


def environment(python: str) -> Environment:
    made = Environment("own")
    made.python.user_managed_dependencies = True
    made.python.interpreter_path = python
    return made


def step(row: dict[str, Any], kind: dict[str, Any]) -> None:
    limit = row["execution_timeout"]
    common = {
        "task_id": kind["name"],
        "source_directory": str(FOLDER / "source"),
        "arguments": ["{{ dag_run.run_id }}." + kind["name"] + ".marked", row["exit_code"]],
        "compute_target": kind["target"],
        "deferrable": row["deferrable"],
        "allow_reuse": False,
        "retries": row["retries"],
        "retry_delay": timedelta(seconds=1),
        "execution_timeout": timedelta(seconds=limit) if limit else None,
    }
    if kind["python"]:
        common["environment"] = environment(kind["python"])
    if kind["spark"]:
        SynapseSparkStepOperator(file="work.py", **SPARK, **common)
    else:
        PythonScriptStepOperator(script_name="work.py", **common)


def row(about: dict[str, Any]) -> None:
    limit = about["dagrun_timeout"]

    @dag(
        dag_id=about["name"],
        schedule=None,
        catchup=False,
        dagrun_timeout=timedelta(seconds=limit) if limit else None,
    )
    def made() -> None:
        for kind in PLAN["kinds"]:
            step(about, kind)

    made()


for ABOUT in PLAN["rows"]:
    row(ABOUT)


# -- the end of a worker, at a certain moment --------------------------------------------------------------------------


def die_if_asked(life: Life, moment: str) -> None:
    """End this worker as a machine that loses power does, once, if this cell is to have that."""
    asked = FOLDER / "die" / f"{life.key.dag_run_id}.{life.key.task_id}.{moment}"
    try:
        asked.rename(asked.with_suffix(".done"))
    except FileNotFoundError:
        return
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def dying(name: str, moment: str, *, after: bool = False) -> None:
    whole = getattr(Life, name)

    def wrapped(self: Life, *args: Any, **more: Any) -> Any:
        if not after:
            die_if_asked(self, moment)
        found = whole(self, *args, **more)
        if after:
            die_if_asked(self, moment)
        return found

    setattr(Life, name, wrapped)


if not getattr(Life, "_may_die", False):
    Life._may_die = True  # type: ignore[attr-defined]
    dying("_submit", "before_submit")
    dying("_submitted", "before_record")
    dying("_collect", "job_ended")
    dying("_judge", "collecting")
