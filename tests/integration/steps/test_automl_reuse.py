"""The same search again: its outputs, its trials and its report are those of the run that made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support import automl
from tests.support.steps import Bench

from stepwell.tracking import children

pytestmark = pytest.mark.integration


def test_the_same_search_is_reused_and_another_one_is_not(
    bench: Bench, project: Path, tmp_path: Path, payload_python: Path
) -> None:
    text = (project / "include/data/Titanic.csv").read_text(encoding="utf-8")
    environment = automl.environment(tmp_path, payload_python)

    def searched(run: str, **more: Any) -> Any:
        step = automl.search(bench, text, environment, automl.ENGINE, **{"iterations": 3, **more})
        return bench.run(step, dag_run_id=run, reuse=True)

    first, again = searched("run 1"), searched("run 2")
    made, reused = bench.record(0), bench.record(1)
    assert reused["reused_from"] == made["run_id"]
    for name, reference in first.references.items():
        for key in ("dataset", "version", "id", "uri"):
            assert again.references[name][key] == reference[key], name
    found = children.of_record(bench.ws, reused)
    assert [child["id"] for child in found] == [f"{made['run_id']}_{number}" for number in range(3)]
    assert children.best_child(bench.ws, reused["run_id"])["id"] == f"{made['run_id']}_2"
    assert (bench.run_folder(0) / "outputs/automl/report.html").exists()
    assert reused["metrics"] == made["metrics"]

    searched("run 3", iterations=4)
    assert bench.record(2).get("reused_from") is None
    assert len(children.of_record(bench.ws, bench.record(2))) == 4
