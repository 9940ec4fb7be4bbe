"""Gates as the step sees them: suites read, verdicts read back, and which of them stop the step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepwell.errors import UserErrorException
from stepwell.quality import gates


def test_a_suite_is_a_file_or_a_dict(tmp_path: Path) -> None:
    suite = {"name": "n", "expectations": [{"type": "t", "kwargs": {}}]}
    path = tmp_path / "suite.json"
    path.write_text(json.dumps(suite))
    assert gates.suite_of(str(path)) == gates.suite_of(suite) == suite
    path.write_text("{")
    with pytest.raises(UserErrorException, match=r"suite\.json cannot be read: Expecting"):
        gates.suite_of(str(path))
    path.write_text("[]")
    with pytest.raises(UserErrorException, match=r"suite\.json holds no list 'expectations'"):
        gates.suite_of(str(path))


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"verdict": "fine"}', '{"verdict": true}'])
def test_a_verdict_that_is_missing_or_damaged_is_no_pass(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "gates").mkdir()
    if text is not None:
        (tmp_path / "gates/out.json").write_text(text)
    verdict = gates.verdict_of(tmp_path, "out")
    assert verdict["verdict"] == "errored"
    assert "has left no verdict" in gates.sentence(verdict)


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
    words = gates.sentence(verdict)
    assert words == "failed, 1 of 3 expectations passed: expect_b(y) failed; expect_c() errored"


def test_what_could_not_be_judged_has_its_reason_and_no_counts() -> None:
    assert gates.sentence({"verdict": "errored", "reason": "no rows", "statistics": {}}) == "errored: no rows"


@pytest.mark.parametrize(
    ("verdict", "on_failure", "fatal"),
    [
        ("passed", "fail", False),
        ("warned", "fail", False),
        ("failed", "fail", True),
        ("failed", "warn", False),
        ("failed", "quarantine", True),
        ("errored", "warn", True),  # nobody knows what it is
    ],
)
def test_which_verdicts_stop_the_step(verdict: str, on_failure: str, fatal: bool) -> None:
    assert gates.fatal({"verdict": verdict}, on_failure) is fatal
