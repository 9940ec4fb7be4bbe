"""A search that cannot be made, as a step: the reason is the step's error, and nothing is registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support import automl
from tests.support.steps import Bench

from stepwell.errors import ActivityFailedException
from stepwell.tracking import children

pytestmark = pytest.mark.integration


@pytest.fixture
def failed(bench: Bench, project: Path, tmp_path: Path, payload_python: Path) -> Any:
    text = (project / "include/data/Titanic.csv").read_text(encoding="utf-8")
    environment = automl.environment(tmp_path, payload_python)

    def run(**more: Any) -> str:
        with pytest.raises(ActivityFailedException) as error:
            bench.run(automl.search(bench, text, environment, automl.ENGINE, **{"iterations": 3, **more}))
        assert bench.registered() == []
        assert bench.staged() == []
        assert bench.record()["status"] == "failed"
        return str(error.value)

    return run


def test_data_that_allow_no_search(bench: Bench, failed: Any) -> None:
    reason = failed(label_column_name="survived")
    assert "label_column_name: the training data have no column 'survived'. Allowed: Survived" in reason
    assert children.of_record(bench.ws, bench.record()) == []
    assert "holds fractions with" in failed(label_column_name="Fare")
    assert "which a regression cannot predict" in failed(
        task="regression", label_column_name="Sex", primary_metric="r2_score"
    )


def test_trials_that_all_fail_are_kept_with_their_reasons(bench: Bench, failed: Any) -> None:
    assert "No trial was completed (3 failed" in failed(allowed_models=["ExtremeRandomTrees"])
    found = children.of_record(bench.ws, bench.record())
    assert [child["status"] for child in found] == ["Failed"] * 3
    assert {child["error"] for child in found} == {"it always fails"}
    assert (bench.run_folder() / "outputs/automl/report.html").exists()
