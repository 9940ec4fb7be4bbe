"""The child runs on a run's page, and the report of a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.support.children import TRIALS, document, trial

from stepwell.links import PREFIX

pytestmark = pytest.mark.usefixtures("database")
RUN_ID = "census.automl.0123456789-g1"
PAGE = f"/default/runs/{RUN_ID}"
REPORT = "<!doctype html><title>Search</title><p>the report of the search"
EVIL = "<script>alert(1)</script>"

Headers = Callable[..., dict[str, str]]
Write = Callable[..., str]


@pytest.fixture
def get(client: TestClient, log_in: Headers) -> Callable[..., Any]:
    """Get a page as a user who may see everything."""
    return lambda path: client.get(PREFIX + path, headers=log_in())


def test_the_trials_of_a_search_that_goes_on(get: Callable[..., Any], write_run: Write) -> None:
    write_run(RUN_ID, {"children.json": document(TRIALS)}, status="running", ended=None, seconds=None)
    page = get(PAGE).text
    table = page[page.index('id="children"') :]
    assert "4 completed, 1 failed, 1 running; the best first" in table
    assert ">AUC_weighted</th>" in table
    order = [table.index(f"<b>{score}</b>") for score in ("0.92", "0.88", "0.85", "0.8")]
    assert order == sorted(order)
    for shown in ("StandardScaler, LogisticRegression", "it was killed (SIGKILL)", "10,000 rows", "1.80 s", "log_loss"):
        assert shown in table
    assert "more: <code>" not in page
    assert "/automl" not in page, "the report comes when the search has ended"
    assert get(f"{PAGE}/automl").status_code == 404


def test_of_many_the_best_fifty(get: Callable[..., Any], write_run: Write) -> None:
    write_run(RUN_ID, {"children.json": document([trial(n, n / 1000) for n in range(260)])})
    page = get(PAGE).text
    assert page.count("<details>") == 50
    assert "<b>0.259</b>" in page
    assert "and 210 more:" in page
    assert len(page) < 200_000


def test_children_of_a_script_have_no_score(get: Callable[..., Any], write_run: Write) -> None:
    found = [
        {"id": "x", "name": "depth 3", "status": "Completed", "metrics": {"loss": [2, 1.5], "table": {"a": [1]}}},
        {"id": "y", "status": "Failed", "error": "no luck"},
    ]
    write_run(RUN_ID, {"children.json": document(found)})
    table = get(PAGE).text.partition('id="children"')[2]
    for shown in ("depth 3", "loss", "1.5", "no luck", "1 completed, 1 failed"):
        assert shown in table
    assert "best first" not in table


def test_a_run_without_children_has_no_table_and_damage_is_no_crash(get: Callable[..., Any], write_run: Write) -> None:
    write_run(RUN_ID)
    assert 'id="children"' not in get(PAGE).text
    write_run("census.automl.0123456789-g2", {"children.json": "{"})
    answer = get("/default/runs/census.automl.0123456789-g2")
    assert (answer.status_code, 'id="children"' in answer.text) == (200, False)


def test_what_a_script_wrote_is_text(get: Callable[..., Any], write_run: Write) -> None:
    evil = {
        "id": EVIL, "name": EVIL, "status": EVIL, "error": EVIL, "metrics": {EVIL: EVIL}, "parameters": {EVIL: EVIL},
        "properties": {"model": EVIL, "pipeline": [EVIL], "iteration": EVIL, "rows": EVIL, "score": EVIL,
                       "primary_metric": EVIL},
    }  # fmt: skip
    write_run(RUN_ID, {"children.json": document([evil, {**evil, "properties": {"score": 1, "primary_metric": EVIL}}])})
    answer = get(PAGE)
    assert answer.status_code == 200
    assert "&lt;script&gt;" in answer.text.partition('id="children"')[2]
    assert "<script" not in answer.text


def test_the_report_of_a_search(get: Callable[..., Any], write_run: Write) -> None:
    write_run(RUN_ID, {"children.json": document(TRIALS), "outputs/automl/report.html": REPORT})
    assert f'href="{PREFIX}{PAGE}/automl">AutoML report</a>' in get(PAGE).text
    answer = get(f"{PAGE}/automl")
    assert answer.text == REPORT
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("path", ["summary.json", "report.html", "../model/model.pkl", "..%2f..%2frun.json"])
def test_nothing_else_of_the_outputs_is_served(get: Callable[..., Any], write_run: Write, path: str) -> None:
    files = {"outputs/automl/report.html": REPORT, "outputs/automl/summary.json": "{}", "outputs/model/model.pkl": "x"}
    write_run(RUN_ID, files)
    assert get(f"{PAGE}/automl/{path}").status_code == 404
    assert get(f"{PAGE}/outputs/automl/report.html").status_code == 404
