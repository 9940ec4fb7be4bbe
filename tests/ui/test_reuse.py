"""What the pages show of runs that did not do the work themselves, and to whom."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.support.children import TRIALS, document

from stepwell.links import PREFIX

pytestmark = pytest.mark.usefixtures("database")
DAG_RUN = "manual__2026-01-01T00:00:00+00:00"
FIRST, RUN_ID = "payroll.pay.0123456789-g1", "titanic.prepare.0123456789-g1"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
VERDICT = {
    "verdict": "passed", "suite": "prepared", "rows": 3, "statistics": {"evaluated": 3, "passed": 3}, "seconds": 1.0,
    "engine": "spark",
}  # fmt: skip
REUSED = {
    "decision": "reused",
    "reason": f"same code, environment, arguments and data as run {FIRST}",
    "changes": [],
    "from": FIRST,
    "compared_with": None,
}

Headers = Callable[..., dict[str, str]]
Write = Callable[..., str]


@pytest.fixture
def get(client: TestClient, log_in: Headers) -> Callable[..., Any]:
    """Get a page; vera may see every DAG, nina not the DAG ``payroll``."""
    return lambda path, user="vera", **query: client.get(
        PREFIX + path, params=query or None, headers=log_in(user), follow_redirects=False
    )


@pytest.fixture
def reused(write_run: Write, tmp_path: Any) -> str:
    """A run of the DAG ``titanic`` that was reused from one of the DAG ``payroll``."""
    files = {
        "logs/step.log": "the log of payroll",
        "gates/prepared.html": "the report of payroll",
        "outputs/automl/report.html": "the search of payroll",
        "children.json": document(TRIALS),
    }
    metrics = {"plot": "aml://artifactId/outputs/plot.png", "rows": 891}
    write_run(FIRST, files, dag_id="payroll", task_id="pay", step="pay", target="vault", metrics=metrics)
    outputs = tmp_path / "workspace" / "runs" / FIRST / "outputs"
    (outputs / "plot.png").write_bytes(PNG)
    return write_run(
        RUN_ID, reuse=REUSED, reused_from=FIRST, metrics=metrics, verdicts={"prepared": {**VERDICT, "run": FIRST}}
    )


def test_the_page_says_who_did_the_work_and_leads_there(get: Callable[..., Any], reused: str) -> None:
    page = get(f"/default/runs/{reused}").text
    there = f"{PREFIX}/default/runs/{FIRST}"
    assert '<span class="badge reused">reused</span>' in page
    assert REUSED["reason"] in page
    for address in (there, f"{there}/log", f"{there}/reports/prepared", f"{there}/automl"):
        assert f'href="{address}"' in page
    assert f'href="{PREFIX}/default/runs/{reused}/log"' not in page, "it has no log"


def test_child_runs_are_those_of_the_run_that_did_the_work(get: Callable[..., Any], reused: str) -> None:
    assert "StandardScaler, LogisticRegression" in get(f"/default/runs/{reused}").text


def test_images_that_were_handed_on_are_shown(get: Callable[..., Any], reused: str) -> None:
    for user in ("vera", "nina"):
        assert base64.b64encode(PNG).decode() in get(f"/default/runs/{reused}", user).text


@pytest.mark.parametrize(
    ("path", "text"),
    [("log", "the log of payroll"), ("reports/prepared", "the report of payroll"), ("automl", "the search of payroll")],
)
def test_log_and_report_are_those_of_the_other_run_and_need_the_right_to_its_dag(
    get: Callable[..., Any], reused: str, client: TestClient, log_in: Headers, path: str, text: str
) -> None:
    """Who may see the run that was reused need not be one who may see the run that did the work."""
    for user, status in (("vera", 200), ("nina", 403)):
        answer = get(f"/default/runs/{reused}/{path}", user)
        assert answer.status_code == 307
        assert answer.headers["location"] == f"{PREFIX}/default/runs/{FIRST}/{path}"
        assert text not in answer.text
        followed = client.get(f"{PREFIX}/default/runs/{reused}/{path}", headers=log_in(user), follow_redirects=True)
        assert followed.status_code == status
        assert (text in followed.text) is (status == 200)


@pytest.mark.parametrize("path", ["log", "reports/prepared", "automl"])
def test_where_the_work_was_done_is_told_to_those_who_may_see_the_run(
    get: Callable[..., Any], write_run: Write, client: TestClient, path: str
) -> None:
    write_run(
        "payroll.audit.0123456789-g1", dag_id="payroll", reuse={**REUSED, "from": RUN_ID}, reused_from=RUN_ID,
        verdicts={"prepared": {**VERDICT, "run": RUN_ID}},
    )  # fmt: skip
    address = f"/default/runs/payroll.audit.0123456789-g1/{path}"
    for answer, status in ((get(address, "nina"), 403), (client.get(PREFIX + address), 401)):
        assert answer.status_code == status
        assert "location" not in answer.headers


def test_behind_a_proxy_one_is_sent_to_where_its_pages_are(app: Any, log_in: Headers, reused: str) -> None:
    behind = TestClient(app, root_path="/airflow", follow_redirects=False)
    answer = behind.get(f"/airflow{PREFIX}/default/runs/{reused}/log", headers=log_in())
    assert answer.headers["location"] == f"/airflow{PREFIX}/default/runs/{FIRST}/log"


@pytest.mark.parametrize("bad", ["../../secret", "//example.org/x", EVIL, "https://example.org", 3])
def test_a_record_that_was_tampered_with_leads_nowhere(
    get: Callable[..., Any], write_run: Write, tmp_path: Any, bad: Any
) -> None:
    outputs = tmp_path / "workspace" / "secret" / "outputs"
    outputs.mkdir(parents=True)
    (outputs / "plot.png").write_bytes(PNG)
    write_run(
        RUN_ID, reuse={**REUSED, "from": bad}, reused_from=bad, verdicts={"prepared": {**VERDICT, "run": bad}},
        metrics={"plot": "aml://artifactId/outputs/plot.png"},
    )  # fmt: skip
    for path in ("log", "reports/prepared", "automl"):
        answer = get(f"/default/runs/{RUN_ID}/{path}")
        assert answer.status_code == (307 if bad == 3 else 404)
        assert answer.headers.get("location", PREFIX).startswith(PREFIX)
    page = get(f"/default/runs/{RUN_ID}").text
    assert "<img" not in page
    assert "<script" not in page
    assert 'href="//' not in page
    assert 'href="https:' not in page


def test_a_run_that_was_validated_anew_has_a_log_and_a_report_of_its_own(
    get: Callable[..., Any], write_run: Write
) -> None:
    anew = {**REUSED, "decision": "revalidated", "reason": "validated anew: the gate of prepared changed"}
    files = {"logs/step.log": "the gate's log", "gates/prepared.html": "the new report"}
    verdicts = {"prepared": VERDICT, "other": {**VERDICT, "run": FIRST}}
    write_run(RUN_ID, files, reuse=anew, reused_from=FIRST, verdicts=verdicts)
    page = get(f"/default/runs/{RUN_ID}").text
    assert '<span class="badge revalidated">validated anew</span>' in page
    assert get(f"/default/runs/{RUN_ID}/log").text == "the gate's log"
    assert get(f"/default/runs/{RUN_ID}/reports/prepared").text == "the new report"
    assert get(f"/default/runs/{RUN_ID}/reports/other").status_code == 307
    for address in (f"{RUN_ID}/log", f"{FIRST}/log", f"{RUN_ID}/reports/prepared", f"{FIRST}/reports/other"):
        assert f'href="{PREFIX}/default/runs/{address}"' in page


def test_each_change_has_a_line(get: Callable[..., Any], write_run: Write) -> None:
    changes = ["train.py changed (lines +3 -1)", f"argument 2 is {EVIL}, was 3"]
    reuse = {
        "decision": "ran", "reason": f"not reused: {'; '.join(changes)}", "changes": changes, "from": None,
        "compared_with": FIRST,
    }  # fmt: skip
    write_run(RUN_ID, {"logs/step.log": "its log"}, reuse=reuse)
    page = get(f"/default/runs/{RUN_ID}").text
    assert page.count("<li>train.py changed (lines +3 -1)</li>") == 1
    assert "<script" not in page
    assert f'href="{PREFIX}/default/runs/{FIRST}"' in page
    assert 'class="badge ran"' in page
    assert get(f"/default/runs/{RUN_ID}/log").text == "its log"


def test_the_tab_of_a_dag_run_marks_what_was_reused(get: Callable[..., Any], write_run: Write, reused: str) -> None:
    write_run("titanic.train.0123456789-g1", task_id="train", step="train", started=1_790_000_100.0)
    page = get("/dag-runs", dag_id="titanic", dag_run_id=DAG_RUN).text
    assert page.count('<span class="badge reused">reused</span>') == 1
    assert page.index("badge reused") < page.index(">train</a>")
    assert f'href="{PREFIX}/default/runs/{FIRST}/reports/prepared"' in page


@pytest.mark.parametrize("reuse", [None, "x", {}, {"decision": EVIL, "reason": EVIL, "changes": EVIL, "from": EVIL}])
def test_of_reuse_a_record_may_say_nothing_or_nonsense(get: Callable[..., Any], write_run: Write, reuse: Any) -> None:
    write_run(RUN_ID, reuse=reuse)
    for answer in (get(f"/default/runs/{RUN_ID}"), get("/dag-runs", dag_id="titanic", dag_run_id=DAG_RUN)):
        assert answer.status_code == 200
        assert "<script" not in answer.text


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ({"commit": "1a2b3c4d5e6f7a8b", "branch": "main", "dirty": True}, "1a2b3c4d5e6f on main, with changes"),
        ({"commit": "1a2b3c4d5e6f7a8b", "branch": None, "dirty": None}, "<td>1a2b3c4d5e6f</td>"),
        ({"commit": "1a2b", "branch": EVIL, "dirty": False}, "&gt;"),
    ],
)
def test_the_commit_is_shown(get: Callable[..., Any], write_run: Write, state: dict[str, Any], shown: str) -> None:
    write_run(RUN_ID, source_control=state)
    page = get(f"/default/runs/{RUN_ID}").text
    assert shown in page
    assert "<script" not in page
