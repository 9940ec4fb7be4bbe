"""The example of AutoML on Airflow: the census data, searched on Spark and, with one word changed, on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepwell import Workspace
from stepwell.data import registry
from stepwell.tracking import children, history

#: The first time, environments are built.
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

ITERATIONS = 8


def run(ws: Workspace, project: Path, file: Path, target: str) -> dict[str, Any]:
    """Run the example with fewer iterations and return step → record."""
    from airflow.dag_processing.dagbag import DagBag

    text = (project / "dags" / "automl_pipeline.py").read_text()
    for old, new in {
        "SEARCH_ON = POOL": f"SEARCH_ON = {target}",
        "iterations=40,": f"iterations={ITERATIONS},",
        "def automl_pipeline(": f"def {file.stem}(",
        "\nautoml_pipeline()": f"\n{file.stem}()",
        "Path(__file__).parents[1]": f"Path({str(project)!r})",
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text)
    bag = DagBag(str(file))
    assert not bag.import_errors
    assert bag.dags[file.stem].test().state == "success"
    return {record["step"]: record for record in history.latest_dag_run(ws, file.stem)}


@pytest.mark.parametrize("target", ["POOL", '"local"'])
def test_the_census_pipeline(ws: Workspace, project: Path, more_dags: Path, target: str) -> None:
    records = run(ws, project, more_dags / f"census_{target.lower().strip(chr(34))}.py", target)
    prepare, search, score = records["prepare"], records["automl"], records["score"]
    assert prepare["metrics"]["rows"] == 32537
    assert prepare["verdicts"]["prepared"]["verdict"] == "warned", "one expectation of the suite only warns"
    assert search["target"] == ("link1-spark01" if target == "POOL" else "local")
    assert search["inputs"]["training_data"]["dataset"] == "census"

    trials = children.of_record(ws, search)
    assert sum(t["properties"]["model"] not in ("VotingEnsemble", "StackEnsemble") for t in trials) == ITERATIONS
    assert all(t["status"] == "Completed" for t in trials)
    best = children.best_child(ws, search["run_id"])
    assert best["metrics"]["AUC_weighted"] > 0.8
    model = registry.get(ws, "census_model")
    assert model.producer is not None
    assert model.producer["run"] == search["run_id"]
    files = {Path(f.path).name: f.uri.removeprefix("file://") for f in model.files}
    assert {"MLmodel", "model.pkl", "requirements.txt", "stepwell.json"} <= files.keys()
    about = json.loads(Path(files["stepwell.json"]).read_text())
    assert about["iteration"] == best["properties"]["iteration"]
    assert registry.get(ws, "census_leaderboard").rows in (None, len(trials))

    assert score["inputs"]["model"]["version"] == model.version
    assert score["metrics"]["AUC_weighted"] == pytest.approx(best["metrics"]["AUC_weighted"], abs=0.03)
    assert score["metrics"]["accuracy"] > 0.76, "better than to say that nobody earns much"
    report = ws.store.read(f"runs/{search['run_id']}/outputs/automl/report.html").decode()
    assert "AUC_weighted" in report
