"""Verdicts and reports, in both engines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from payload_support import Job

from stepwell.payload.gate import run_gate, run_gates, summary
from stepwell.payload.report import render

pytestmark = pytest.mark.integration
Judge = Callable[..., dict[str, Any]]


def expect(type: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{type}", "kwargs": kwargs, "severity": severity}


@pytest.fixture(params=["pandas", "spark"])
def judge(request: pytest.FixtureRequest, job: Job) -> Judge:
    session = request.getfixturevalue("spark") if request.param == "spark" else None

    def run(*expectations: dict[str, Any], location: Path | None = None, **more: Any) -> dict[str, Any]:
        gate = job.gate(*expectations, engine=request.param, **{"location": str(location or job.data), **more})
        return run_gate(gate, session)

    return run


def outcomes(result: dict[str, Any]) -> list[str]:
    return [e["outcome"] for e in result["expectations"]]


def test_passed(judge: Judge) -> None:
    result = judge(
        expect("column_values_to_be_unique", column="PassengerId"),
        expect("compound_columns_to_be_unique", column_list=["Sex", "Age"]),
        expect("column_values_to_not_be_null", column="Age", mostly=0.7),
        expect("column_values_to_be_in_set", column="Sex", value_set=["male", "female"]),
        expect("table_row_count_to_be_between", min_value=4, max_value=4),
        expect("column_values_to_be_of_type", column="Fare", type_="float64"),
        expect("column_values_to_be_of_type", column="PassengerId", type_="LongType"),
    )
    assert result["verdict"] == "passed", summary(result)
    assert result["rows"] == 4
    assert {c["name"]: c["nulls"] for c in result["columns"]}["Age"] == 1
    assert result["statistics"] == {"evaluated": 7, "passed": 7, "warned": 0, "failed": 0, "errored": 0}


def test_severity_decides_between_warned_and_failed(judge: Judge) -> None:
    low = expect("column_values_to_be_between", "warning", column="Age", min_value=16, max_value=80)
    info = expect("column_mean_to_be_between", "info", column="Fare", max_value=3)
    result = judge(low, info)
    assert (result["verdict"], outcomes(result)) == ("warned", ["warned", "warned"])
    assert result["expectations"][0]["counts"] == {
        "rows": 4,
        "nulls": 1,
        "unexpected": 1,
        "unexpected_percent": pytest.approx(33.3, abs=0.1),
    }
    assert result["expectations"][0]["message"] == "1 of 3 values (33.3 %) are not as expected."
    assert result["expectations"][1]["counts"]["observed"] == pytest.approx(23.755, abs=0.01)
    result = judge(low, expect("column_values_to_be_unique", column="Sex"))
    assert (result["verdict"], outcomes(result)) == ("failed", ["warned", "failed"])


def test_what_cannot_be_evaluated_is_errored_and_takes_nothing_along(judge: Judge) -> None:
    result = judge(
        expect("column_values_to_be_between", column="Agee", min_value=0),
        expect("column_values_to_be_uniq", column="Age"),
        expect("column_values_to_be_unique", colum="Age"),
        expect("column_values_to_be_between", column="Name", min_value=0, max_value=9),
        expect("column_values_to_be_between", "fatal", column="Age", min_value=0),
        expect("column_values_to_be_unique", column="PassengerId"),
        expect("column_values_to_be_unique", column="Sex"),
        expect("column_to_exist", column="Agee"),
    )
    assert result["verdict"] == "errored"
    assert outcomes(result) == ["errored"] * 5 + ["passed", "failed", "failed"]
    messages = [e["message"] for e in result["expectations"]]
    assert messages[0] == "There is no column 'Agee'. Did you mean 'Age'?"
    assert "Did you mean expect_column_values_to_be_unique" in messages[1]
    assert "malformed" in messages[2]
    assert "'fatal' is not a severity" in messages[4]


def test_values_of_the_data_are_shown_only_when_asked_for(judge: Judge) -> None:
    bad = [
        expect("column_values_to_match_regex", column="Name", regex="^nothing$"),
        expect("column_distinct_values_to_be_in_set", column="Embarked", value_set=["S"]),
    ]
    hidden = judge(*bad)
    assert hidden["verdict"] == "failed"
    assert "Braund" not in json.dumps(hidden) + render(hidden)
    assert "observed" not in hidden["expectations"][1]["counts"]
    shown = judge(*bad, samples=True)
    assert "Braund, Mr. Owen Harris" in shown["expectations"][0]["counts"]["samples"]


def test_a_suite_without_expectations_lets_nothing_pass(judge: Judge) -> None:
    result = judge()
    assert result["verdict"] == "errored"
    assert "no expectations" in result["reason"]


def test_ragged_or_missing_data_is_errored_with_the_place(judge: Judge, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    any_ = expect("column_to_exist", column="a")
    assert "wrote nothing" in judge(any_, location=path)["reason"]
    (path / "part-0.csv").write_text("a,b\n" + "1,2\n" * 300 + "3\n")
    (path / "_SUCCESS").write_text("")
    result = judge(any_, location=path)
    assert result["verdict"] == "errored"
    assert "line 302 has 1 fields where 2 are expected" in result["reason"]
    assert "does not exist" in judge(any_, location=tmp_path / "gone")["reason"]


def test_read_options_and_plan_of_a_gate(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a;b\n1;x\n2;y\n")
    read = {"format": "delimited", "options": {"separator": ";"}}
    plan = [{"op": "keep_columns", "columns": ["a"]}]
    result = judge(expect("table_column_count_to_equal", value=1), location=tmp_path / "t.txt", read=read, plan=plan)
    assert result["verdict"] == "passed", summary(result)


def test_no_data_frame_is_cached(spark: Any, job: Job) -> None:
    run_gate(
        job.gate(expect("column_values_to_be_unique", column="Sex"), engine="spark", location=str(job.data)), spark
    )
    assert spark.sparkContext._jsc.getPersistentRDDs().isEmpty()


def test_verdict_and_report_are_written(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.gate(expect("column_values_to_be_unique", column="Sex"), location=str(job.data))
    assert run_gates(job.directory) == 0
    verdict = job.verdict()
    assert (verdict["format"], verdict["name"], verdict["suite"], verdict["verdict"]) == (
        1,
        "registered_dataset",
        "prepared",
        "failed",
    )
    assert "gate registered_dataset: FAILED (0 passed, 0 warned, 1 failed, 0 errored, 4 rows" in capsys.readouterr().out
    assert sorted(p.name for p in (job.directory / "gates").iterdir()) == [
        "registered_dataset.html",
        "registered_dataset.json",
    ]


def test_a_verdict_that_cannot_be_written_is_not_a_success(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.gate(expect("column_values_to_be_unique", column="Sex"), location=str(job.data))
    (job.directory / "gates" / "registered_dataset.json").mkdir(parents=True)
    assert run_gates(job.directory) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_report_needs_nothing_and_escapes_everything(job: Job, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    path = tmp_path / "evil.csv"
    path.write_text(f'"{evil}",b\n"<b>x</b>",1\n')
    regex = expect("column_values_to_match_regex", column=evil, regex="^<i>$")
    result = run_gate(job.gate(regex, location=str(path), samples=True, suite_name="<img src=x>"))
    page = render(result)
    assert result["verdict"] == "failed"
    for text in ("<script", "<b>x", "<i>", "<img"):
        assert text not in page.replace('<i style="width', "")
    assert not re.search(r"https?:|src=|@import|url\(|<link", page.replace("&lt;img src=x&gt;", ""))
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page


def test_the_real_titanic(judge: Judge, titanic: Path) -> None:
    result = judge(
        expect("column_values_to_be_unique", column="PassengerId"),
        expect("column_values_to_be_between", column="Age", min_value=0.1, max_value=80),
        expect("column_values_to_not_be_null", "warning", column="Cabin"),
        location=titanic,
    )
    assert (result["verdict"], result["rows"]) == ("warned", 891)
    assert result["expectations"][2]["message"] == "687 of 891 values (77.1 %) are not as expected."
