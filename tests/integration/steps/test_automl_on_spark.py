"""The same search on Spark: one word is different, and executors fit the models."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.steps import Bench

from stepwell import AutoMLConfig, ComputeTarget, Dataset, OutputFileDatasetConfig, SparkCompute
from stepwell.operators import AutoMLStepOperator

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_search_on_spark(bench: Bench, project: Path) -> None:
    ComputeTarget.attach(bench.ws, "link1-spark01", SparkCompute.attach_configuration(master="local[2]"))
    bench.put({"titanic.csv": (project / "include/data/Titanic.csv").read_text(encoding="utf-8")})
    people = Dataset.Tabular.from_delimited_files((bench.datastore, "titanic.csv"))
    suite = {"name": "s", "expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "score"}}]}
    step = AutoMLStepOperator(
        task_id="automl",
        automl_config=AutoMLConfig(
            task="classification",
            label_column_name="Survived",
            iterations=4,
            max_concurrent_iterations=2,
            n_cross_validations=2,
            allowed_models=["LightGBM", "ExtremeRandomTrees"],
            enable_voting_ensemble=False,
            enable_stack_ensemble=False,
            model_explainability=False,
            training_data=people,
        ),
        leaderboard_output=OutputFileDatasetConfig().validate_with(suite),
        compute_target="link1-spark01",
        driver_memory="1g",
        conf={"spark.log.level": "INFO"},
        workspace=bench.ws,
    )
    made = bench.run(step).references
    assert (made["leaderboard"]["rows"], made["leaderboard"]["verdict"]) == (4, "passed")
    assert "Running task 1.0 in stage" in bench.log.text, "two tasks of Spark watch over the two workers"
