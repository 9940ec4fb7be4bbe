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


def test_what_passes_or_only_warns_is_registered_with_its_verdict(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "suite.json"
    file.write_text(json.dumps(suite(between("age", 0, 300))))
    step = writes(
        BAD,
        out("good").validate_with(file),
        out("let_through").validate_with(AGES, on_failure="warn"),
        out("mild").validate_with(suite(between("age", 0, 120, severity="warning"))),
    )
    references = bench.run(step).references
    assert {name: r["verdict"] for name, r in references.items()} == {
        "good": "passed",
        "let_through": "warned",
        "mild": "warned",
    }
    assert references["good"]["rows"] == 2
    assert [column["name"] for column in references["good"]["schema"]] == ["name", "age"]
    for name in references:
        assert registry.get(bench.ws, name).verdict == references[name]["verdict"]
        assert "people" in (bench.run_folder() / f"gates/{name}.html").read_text()
    assert bench.record()["verdicts"]["good"]["verdict"] == "passed"


def test_what_fails_keeps_the_whole_step_from_being_published(bench: Bench) -> None:
    step = writes(
        BAD,
        out("ungated"),
        out("failed").validate_with(AGES),
        out("kept").validate_with(AGES, on_failure="quarantine"),
        out("errored").validate_with(suite(between("aeg", 0, 1))),
    )
    with pytest.raises(GateFailedException) as caught:
        bench.run(step)
    message, folder = str(caught.value), bench.run_folder()
    assert "failed did not pass its expectations" in message
    assert "expect_column_values_to_be_between(age) failed" in message
    assert "expect_column_values_to_be_between(aeg) errored" in message, "a missing column is no failed expectation"
    assert str(folder / "gates") in message
    assert bench.registered() == []
    assert bench.staged() == []
    assert [p for p in (bench.data / "dataset").rglob("*") if p.is_file()] == []
    for name in ("failed", "kept", "errored"):
        assert (folder / f"gates/{name}.html").exists(), "the report is there to see why"
    result = json.loads((folder / "gates/errored.json").read_text())
    assert result["verdict"] == "errored"
    assert "aeg" in result["expectations"][0]["message"]
    assert bench.record()["status"] == "failed"

    quarantine = bench.data / ".stepwell/quarantine" / bench.record()["run_id"]
    assert [p.name for p in quarantine.iterdir()] == ["kept"]
    assert "222" in (quarantine / "kept/people.csv").read_text()
    assert str(quarantine / "kept") in bench.log.text
    with pytest.raises(DatasetError):  # no pattern finds it
        registry.pin(bench.ws, Dataset.File.from_files((bench.datastore, "**/people.csv")).definition)


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


def test_a_registered_table_is_judged_through_its_own_plan_and_let_through_by_warn(bench: Bench) -> None:
    bench.put({"raw/1.csv": "name;age\nAnn;1\nBob;222\n"})
    people = Dataset.Tabular.from_delimited_files((bench.datastore, "raw/*.csv"), separator=";")
    people.filter(people["age"] > 100).register(bench.ws, "old")
    old = Dataset.get_by_name(bench.ws, "old")
    step = ValidateDatasetOperator(task_id="v", dataset=old, suite=AGES, on_failure="warn", promote_as="judged")
    bench.run(step)
    version = registry.get(bench.ws, "judged")
    assert (version.verdict, version.rows) == ("warned", 1)
    assert version.definition == registry.get(bench.ws, "old").definition
