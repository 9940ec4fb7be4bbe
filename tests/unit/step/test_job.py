"""From a step to the job document: arguments, variables, gates; and verdicts read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepwell.errors import GateFailedException, UserErrorException
from stepwell.step import job
from stepwell.step.spec import StepSpec

SPEC = StepSpec("s", "python", "local")


def test_arguments_are_filled_with_what_the_ports_resolved_to() -> None:
    given = ("--in", {"input": "a"}, {"output": "b"}, 3)
    assert SPEC.fill(given, {"a": "/in/a"}, {"b": "/out/b"}) == ["--in", "/in/a", "/out/b", "3"]


@pytest.mark.parametrize("port", ["input", "output"])
def test_an_argument_that_names_a_port_that_is_not_there(port: str) -> None:
    with pytest.raises(UserErrorException, match=f"name the {port} 'x', which the step has not. Allowed: a"):
        SPEC.fill(({port: "x"},), {"a": ""}, {"a": ""})


def test_a_suite_is_a_file_or_a_dict(tmp_path: Path) -> None:
    suite = {"name": "n", "expectations": [{"type": "t", "kwargs": {}}]}
    path = tmp_path / "suite.json"
    path.write_text(json.dumps(suite))
    assert job.suite_of(str(path)) == job.suite_of(suite) == suite
    path.write_text("{")
    with pytest.raises(UserErrorException, match=r"suite\.json cannot be read: Expecting"):
        job.suite_of(str(path))
    path.write_text("[]")
    with pytest.raises(UserErrorException, match=r"suite\.json holds no list 'expectations'"):
        job.suite_of(str(path))


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"verdict": "fine"}', '{"verdict": true}'])
def test_a_verdict_that_is_missing_or_damaged_is_no_pass(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "gates").mkdir()
    if text is not None:
        (tmp_path / "gates/out.json").write_text(text)
    with pytest.raises(GateFailedException, match="'out' has left no verdict"):
        job.verdict_of(tmp_path, "out")


def test_a_verdict_in_words_names_what_is_wrong() -> None:
    verdict = {
        "verdict": "failed",
        "statistics": {"evaluated": 3, "passed": 1},
        "expectations": [
            {"type": "expect_a", "kwargs": {"column": "x"}, "outcome": "passed"},
            {"type": "expect_b", "kwargs": {"column": "y"}, "outcome": "failed"},
            {"type": "expect_c", "kwargs": {}, "outcome": "errored"},
        ],
    }
    words = job.sentence(verdict)
    assert words == "failed, 1 of 3 expectations passed: expect_b(y) failed, expect_c() errored"
