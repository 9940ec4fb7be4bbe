"""The example pipeline on pairs of kinds: a few of them, or all by ``make pair-table``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.pairs.kinds import PREPARE, TRAIN, USERS, Ground
from tests.pairs.results import keep, selected
from tests.support.examples import on_targets

from stepwell.data import registry
from stepwell.tracking import history

#: The first time, environments are built.
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(("prepare", "train"), [pytest.param(*pair, id="-".join(pair)) for pair in selected()])
def test_the_example_by_changing_compute_target(
    ground: Ground, attached: Callable[..., str], project: Path, dags: Path, prepare: str, train: str
) -> None:
    try:
        cell = run(
            ground, attached(PREPARE[prepare]), attached(TRAIN[train]), project, dags / f"{prepare}_and_{train}.py"
        )
    except (Exception, pytest.skip.Exception, pytest.fail.Exception) as error:
        why = str(error).strip().partition("\n")[0][:300] or type(error).__name__
        keep(prepare, train, {"ok": False, "why": why})
        raise
    keep(prepare, train, {"ok": True, **cell})


def run(ground: Ground, prepare: str, train: str, project: Path, file: Path) -> dict[str, Any]:
    """Run the example with its two steps on these targets and return what is told of it."""
    from airflow.dag_processing.dagbag import DagBag

    ground.be(USERS.get(prepare, ground.user))
    text = on_targets(project, "titanic_pipeline", file.stem, prepare=prepare, train=train)
    # What another pair has prepared on the same kind may be handed on; the training is what the pair is about.
    assert text.count("environment=training,") == 1
    file.write_text(text.replace("environment=training,", "environment=training,\n        allow_reuse=False,"))
    bag = DagBag(str(file))
    assert not bag.import_errors
    state = bag.dags[file.stem].test().state
    records = {record["task_id"]: record for record in history.latest_dag_run(ground.ws, file.stem)}
    errors = [f"{task}: {r.get('error') or r['status']}" for task, r in records.items() if r["status"] != "completed"]
    assert state == "success", "; ".join(errors) or state
    first, second = records["synapse-spark"], records["train"]
    assert (first["target"], second["target"]) == (prepare, train)
    prepared = registry.get(ground.ws, f"{file.stem}_registered_dataset")
    assert prepared.rows in (None, 891)
    assert second["inputs"]["step2_input"]["version"] == prepared.version
    assert registry.get(ground.ws, f"{file.stem}_titanic_model").producer["run"] == second["run_id"]
    assert second["metrics"]["accuracy"] > 0.7
    return {
        "reused": first["status"] == "completed" and (first.get("reuse") or {}).get("decision") == "reused",
        "prepare_seconds": first["seconds"],
        "train_seconds": second["seconds"],
        "accuracy": second["metrics"]["accuracy"],
    }
