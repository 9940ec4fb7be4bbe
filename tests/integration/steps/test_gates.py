"""Gates on pandas: nothing that was not judged is seen, and what a bad verdict means is up to the output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.steps import Bench

from stepwell import Dataset, DatasetConsumptionConfig, OutputFileDatasetConfig
from stepwell.data import registry
from stepwell.errors import DatasetError, GateFailedException, UserErrorException
from stepwell.operators import CommandStepOperator, ValidateDatasetOperator

pytestmark = pytest.mark.integration


def suite(*expectations: dict[str, Any]) -> dict[str, Any]:
    return {"name": "people", "expectations": list(expectations)}


def between(column: str, least: int, most: int, **more: Any) -> dict[str, Any]:
    kwargs = {"column": column, "min_value": least, "max_value": most}
    return {"type": "expect_column_values_to_be_between", "kwargs": kwargs, **more}


AGES = suite(between("age", 0, 120))
GOOD, BAD = "name,age\\nAnn,1\\nBob,22\\n", "name,age\\nAnn,1\\nBob,222\\n"


def writes(text: str, *outputs: Any, task_id: str = "w") -> CommandStepOperator:
    """Return a step that writes *text* to each of its outputs."""
    script = f'for folder in "$@"; do printf "{text}" > "$folder/people.csv"; done'
    return CommandStepOperator(task_id=task_id, command=["sh", "-c", script, "sh", *outputs], outputs=outputs)


def out(name: str = "out") -> OutputFileDatasetConfig:
    return OutputFileDatasetConfig(name).register_on_complete(name)


def test_what_passes_is_registered_with_its_verdict(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "suite.json"
    file.write_text(json.dumps(AGES))
    reference = bench.run(writes(GOOD, out().validate_with(file))).references["out"]
    assert (reference["verdict"], reference["rows"]) == ("passed", 2)
    assert [column["name"] for column in reference["schema"]] == ["name", "age"]
    assert registry.get(bench.ws, "out").verdict == "passed"
    assert bench.record()["verdicts"]["out"]["verdict"] == "passed"
    assert "people" in (bench.run_folder() / "gates/out.html").read_text()


def test_what_fails_is_not_registered_and_nothing_is_left(bench: Bench) -> None:
    ungated = out("other")
    with pytest.raises(GateFailedException) as caught:
        bench.run(writes(BAD, out().validate_with(AGES), ungated))
    message = str(caught.value)
    assert "out did not pass its expectations" in message
    assert "expect_column_values_to_be_between(age) failed" in message
    assert str(bench.run_folder() / "gates") in message
    assert bench.registered() == [], "nor is the output of the same step that has no gate"
    assert bench.staged() == []
    assert not (bench.data / "dataset").exists()
    assert (bench.run_folder() / "gates/out.html").exists(), "the report is there to see why"
    assert bench.record()["status"] == "failed"


def test_a_warning_publishes_with_the_verdict_warned(bench: Bench) -> None:
    reference = bench.run(writes(BAD, out().validate_with(AGES, on_failure="warn"))).references["out"]
    assert reference["verdict"] == "warned"
    assert bench.versions("out") == [1]


def test_an_expectation_of_less_than_critical_severity_only_warns(bench: Bench) -> None:
    mild = suite(between("age", 0, 120, severity="warning"))
    assert bench.run(writes(BAD, out().validate_with(mild))).references["out"]["verdict"] == "warned"


def test_quarantine_keeps_the_data_aside(bench: Bench) -> None:
    with pytest.raises(GateFailedException):
        bench.run(writes(BAD, out().validate_with(AGES, on_failure="quarantine")))
    kept = bench.data / ".stepwell/quarantine" / bench.record()["run_id"] / "out/people.csv"
    assert "222" in kept.read_text()
    assert str(kept.parent) in bench.log.text
    assert bench.registered() == []
    assert bench.staged() == []
    with pytest.raises(DatasetError):
        registry.pin(bench.ws, Dataset.File.from_files((bench.datastore, "**/people.csv")).definition)


def test_a_suite_that_names_a_missing_column_is_errored_not_failed(bench: Bench) -> None:
    with pytest.raises(GateFailedException) as caught:
        bench.run(writes(GOOD, out().validate_with(suite(between("aeg", 0, 1)))))
    assert "errored" in str(caught.value)
    assert "aeg" in str(caught.value)
    result = json.loads((bench.run_folder() / "gates/out.json").read_text())
    assert result["verdict"] == "errored"
    (expectation,) = result["expectations"]
    assert "aeg" in expectation["message"]
    assert bench.registered() == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("no/such/suite.json", r"suite no/such/suite\.json does not exist.*looked for from"),
        ({"expectations": []}, "holds no list 'expectations'.*Great Expectations suite as JSON"),
    ],
)
def test_a_suite_that_is_none_stops_the_step_before_it_starts(bench: Bench, given: Any, words: str) -> None:
    marker = bench.folder / "ran"
    step = CommandStepOperator(task_id="w", command=["touch", marker], outputs=[out().validate_with(given)])
    with pytest.raises(UserErrorException, match=words):
        bench.run(step)
    assert not marker.exists()


def test_a_gate_without_a_verdict_is_no_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    life = bench.life(writes(GOOD, out().validate_with(AGES)))
    judge = life._judge

    def lost(outcome: Any) -> Any:
        (outcome.directory / "gates/out.json").unlink()
        return judge(outcome)

    monkeypatch.setattr(life, "_judge", lost)
    with pytest.raises(GateFailedException, match="'out' has left no verdict"):
        life.live()
    assert bench.registered() == []


# -- ValidateDatasetOperator -------------------------------------------------------------------------------------------


def published(bench: Bench, text: str) -> DatasetConsumptionConfig:
    """Return an ungated dataset that is published, as another task hands it over."""
    return DatasetConsumptionConfig("people", bench.run(writes(text, out("raw"))).references["raw"])


def test_what_passes_is_promoted_under_the_gated_name(bench: Bench) -> None:
    step = ValidateDatasetOperator(task_id="v", dataset=published(bench, GOOD), suite=AGES, promote_as="judged")
    reference = bench.run(step).references["dataset"]
    assert (reference["dataset"], reference["version"], reference["verdict"]) == ("judged", 1, "passed")
    raw, judged = registry.get(bench.ws, "raw"), registry.get(bench.ws, "judged")
    assert judged.files == raw.files, "the same files, not a copy"
    assert judged.producer is not None
    assert judged.producer["validated"] == raw.id
    name = f"validations/{bench.record()['run_id']}.dataset.json"
    assert bench.ws.store.read_json(name)["verdict"]["verdict"] == "passed"


def test_what_fails_is_not_promoted_and_stays_where_it_is(bench: Bench) -> None:
    step = ValidateDatasetOperator(task_id="v", dataset=published(bench, BAD), suite=AGES, promote_as="judged")
    with pytest.raises(GateFailedException, match="expect_column_values_to_be_between"):
        bench.run(step)
    assert bench.registered() == ["raw"]
    registry.verify(bench.ws, registry.get(bench.ws, "raw"))


def test_what_is_let_through_is_promoted_with_the_verdict_warned(bench: Bench) -> None:
    step = ValidateDatasetOperator(
        task_id="v", dataset=published(bench, BAD), suite=AGES, on_failure="warn", promote_as="judged"
    )
    bench.run(step)
    assert registry.get(bench.ws, "judged").verdict == "warned"


def test_a_registered_table_is_judged_through_its_own_plan(bench: Bench) -> None:
    bench.put({"raw/1.csv": "name;age\nAnn;1\nBob;222\n"})
    people = Dataset.Tabular.from_delimited_files((bench.datastore, "raw/*.csv"), separator=";")
    young = people.filter(people["age"] < 100)
    young.register(bench.ws, "young")
    step = ValidateDatasetOperator(task_id="v", dataset=Dataset.get_by_name(bench.ws, "young"), suite=AGES)
    assert bench.run(step).references == {}
    assert bench.record()["verdicts"]["dataset"]["rows"] == 1
