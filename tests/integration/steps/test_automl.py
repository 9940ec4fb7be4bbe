"""A search as a step, on this machine, in the environment that the step brings: outputs, gate, and a kill."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.support.steps import Bench, until

from stepwell import AutoMLConfig, Dataset, OutputFileDatasetConfig
from stepwell.data import registry
from stepwell.errors import ActivityFailedException, GateFailedException
from stepwell.operators import AutoMLStepOperator

pytestmark = pytest.mark.integration

QUICK: dict[str, Any] = {
    "task": "classification",
    "label_column_name": "Survived",
    "allowed_models": ["LightGBM"],
    "n_cross_validations": 2,
    "enable_voting_ensemble": False,
    "enable_stack_ensemble": False,
    "model_explainability": False,
}


def search(bench: Bench, project: Path, leaderboard: Any = None, **more: Any) -> AutoMLStepOperator:
    bench.put({"titanic.csv": (project / "include/data/Titanic.csv").read_text(encoding="utf-8")})
    people = Dataset.Tabular.from_delimited_files((bench.datastore, "titanic.csv"))
    return AutoMLStepOperator(
        task_id="automl",
        automl_config=AutoMLConfig(**{**QUICK, **more}, training_data=people),
        model_output=OutputFileDatasetConfig().register_on_complete("titanic_model"),
        leaderboard_output=leaderboard,
        workspace=bench.ws,
    )


def board(column: str) -> OutputFileDatasetConfig:
    suite = {"name": "s", "expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": column}}]}
    return OutputFileDatasetConfig().validate_with(suite).register_on_complete("titanic_board")


def names(bench: Bench, name: str) -> set[str]:
    return {Path(file.path).name for file in registry.get(bench.ws, name).files}


def test_a_search_hands_on_its_model_its_leaderboard_and_its_metrics(bench: Bench, project: Path) -> None:
    step = search(bench, project, board("score"), iterations=3)
    step.get_output(metric="log_loss")
    made = bench.run(step).references
    assert {*made} == {"model", "leaderboard", "metrics", "model_log_loss"}
    assert "MLmodel" in names(bench, "titanic_model")
    assert names(bench, "titanic_board") == {"leaderboard.parquet"}
    assert (made["leaderboard"]["rows"], made["leaderboard"]["verdict"]) == (3, "passed")
    results = bench.run_folder() / "outputs/automl"
    assert len((results / "trials.jsonl").read_text().splitlines()) == 3
    assert (results / "report.html").stat().st_size < 3_000_000
    assert bench.record()["kind"] == "automl"


@pytest.mark.slow
def test_a_leaderboard_that_its_gate_turns_down_takes_the_model_with_it(bench: Bench, project: Path) -> None:
    with pytest.raises(GateFailedException, match="leaderboard"):
        bench.run(search(bench, project, board("no_such_column"), iterations=1))
    assert bench.registered() == []
    assert (bench.run_folder() / "outputs/automl/report.html").exists()


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_where_it_was(bench: Bench, project: Path, scratch: Path) -> None:
    step = search(bench, project, iterations=25)

    def trials() -> list[dict[str, Any]]:
        """What the newest job has done so far."""
        jobs = sorted((scratch / "jobs").glob("a_dag.automl.*/code/outputs/automl/trials.jsonl"))
        return [json.loads(line) for line in jobs[-1].read_text().splitlines()] if jobs else []

    with bench.meanwhile(step) as end:
        until(lambda: len(trials()) >= 3, 120)
        (pid,) = (scratch / "jobs").glob("a_dag.automl.*/pid")
        os.kill(json.loads(pid.read_text())["pid"], signal.SIGKILL)
    assert isinstance(end[0], ActivityFailedException)
    kept = (bench.run_folder() / "outputs/automl/trials.jsonl").read_text().splitlines()
    assert 3 <= len(kept) < 25, "the launcher was killed while the search went on"
    result = bench.run(step, try_number=2)
    assert result.references["model"]["version"] == 1
    assert f"going on after {len(kept)} trials of an earlier try" in bench.log.text
    now = [json.loads(line) for line in (bench.run_folder() / "outputs/automl/trials.jsonl").read_text().splitlines()]
    assert [trial["iteration"] for trial in now[: len(kept)]] == [json.loads(line)["iteration"] for line in kept]
    assert len(now) == 25
