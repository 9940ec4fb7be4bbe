"""What the pages show, and that nothing of what users wrote is taken for markup."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from stepwell.links import PREFIX

pytestmark = pytest.mark.usefixtures("database")
RUN_ID = "titanic.prepare.0123456789-g1"
DAG_RUN = "manual__2026-01-01T00:00:00+00:00"
OF_TASK = {"dag_id": "titanic", "dag_run_id": DAG_RUN, "task_id": "prepare", "map_index": "{MAP_INDEX}"}
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"

Headers = Callable[..., dict[str, str]]
Write = Callable[..., str]


@pytest.fixture
def get(client: TestClient, log_in: Headers) -> Callable[..., Any]:
    """Get a page as a user who may see everything."""
    return lambda path, **query: client.get(PREFIX + path, params=query or None, headers=log_in())


def test_the_page_of_a_run(get: Callable[..., Any], write_run: Write) -> None:
    write_run(RUN_ID)
    answer = get(f"/default/runs/{RUN_ID}")
    assert answer.status_code == 200
    for shown in ("completed", "pool", "42.5 s", "passengers", "12,345", "60.3 kB", "12 of 13", "0.8251", "blue"):
        assert shown in answer.text
    assert f'href="{PREFIX}/default/runs/{RUN_ID}/reports/prepared"' in answer.text
    assert "/dags/titanic/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00/tasks/prepare" in answer.text
    assert answer.text.index(">resolve") > 0
    legend = answer.text[answer.text.index('class="legend"') :]
    assert legend.index("resolve") < legend.index("environment") < legend.index("run <b>")  # the order of a step's life
    assert 'http-equiv="refresh"' not in answer.text


def test_the_page_of_a_run_that_goes_on_looks_again(get: Callable[..., Any], write_run: Write) -> None:
    write_run(
        RUN_ID, status="running", seconds=None, ended=None, phases={}, outputs={}, verdicts={}, metrics={}, tags={}
    )
    assert 'http-equiv="refresh"' in get(f"/default/runs/{RUN_ID}").text


def test_the_page_of_a_failed_run_says_why(get: Callable[..., Any], write_run: Write) -> None:
    write_run(RUN_ID, status="failed", error="the phase 'step' ended with exit code 1\nZeroDivisionError", outputs={})
    answer = get(f"/default/runs/{RUN_ID}")
    assert "ZeroDivisionError" in answer.text
    assert "What went wrong" in answer.text


def test_the_record_as_json_and_the_log_as_text(get: Callable[..., Any], write_run: Write) -> None:
    write_run(RUN_ID, {"logs/step.log": "one\ntwo é\n"})
    assert get(f"/default/runs/{RUN_ID}/record.json").json()["run_id"] == RUN_ID
    answer = get(f"/default/runs/{RUN_ID}/log")
    assert answer.text == "one\ntwo é\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_long_log_comes_whole(get: Callable[..., Any], write_run: Write) -> None:
    text = "".join(f"line {n}\n" for n in range(300_000))
    write_run(RUN_ID, {"logs/step.log": text})
    assert get(f"/default/runs/{RUN_ID}/log").text == text


def test_the_tab_of_a_task_shows_its_newest_run_and_the_earlier_ones(get: Callable[..., Any], write_run: Write) -> None:
    write_run(RUN_ID, started=1.0, status="failed", error="first")
    write_run("titanic.prepare.0123456789-g2", started=2.0)
    write_run("titanic.prepare.9876543210-g1", started=3.0, dag_run_id="manual__other")
    write_run("titanic.prepare.more.1111111111-g1", started=4.0, task_id="prepare.more")
    answer = get("/tasks", **OF_TASK)
    assert answer.status_code == 200
    assert "titanic.prepare.0123456789-g2" in answer.text
    assert f'href="{PREFIX}/default/runs/{RUN_ID}"' in answer.text
    assert "9876543210" not in answer.text
    assert "prepare.more" not in answer.text
    assert "Task in Airflow" not in answer.text  # the tab is in Airflow's page already


def test_the_tab_of_a_mapped_task_shows_its_own_run(get: Callable[..., Any], write_run: Write) -> None:
    write_run("titanic.prepare.0.0123456789-g1", map_index=0)
    write_run("titanic.prepare.1.0123456789-g1", map_index=1)
    assert "titanic.prepare.1.0123456789-g1" in get("/tasks", **{**OF_TASK, "map_index": "1"}).text
    assert get("/tasks", **OF_TASK).status_code == 404


def test_the_tab_of_another_operator_says_so(get: Callable[..., Any]) -> None:
    answer = get("/tasks", **OF_TASK)
    assert answer.status_code == 404
    assert "no step of Stepwell" in answer.text


def test_the_tab_of_a_dag_run_shows_its_steps_in_their_order(get: Callable[..., Any], write_run: Write) -> None:
    write_run("titanic.train.0123456789-g1", task_id="train", step="train", started=20.0)
    write_run(RUN_ID, started=10.0)
    write_run("other.prepare.0123456789-g1", dag_id="other")
    answer = get("/dag-runs", dag_id="titanic", dag_run_id=DAG_RUN)
    assert answer.status_code == 200
    assert answer.text.index(">prepare</a>") < answer.text.index(">train</a>")
    assert "other.prepare" not in answer.text


def test_there_is_no_such_run(get: Callable[..., Any], write_run: Write) -> None:
    write_run(RUN_ID)
    for path in ("", "/record.json", "/log", "/reports/prepared"):
        assert get(f"/default/runs/nobody{path}").status_code == 404
    assert get(f"/default/runs/{RUN_ID}/reports/other").status_code == 404
    assert get(f"/default/runs/{RUN_ID}/reports/prepared").status_code == 404  # a gate whose report was never written


@pytest.mark.parametrize(
    "path",
    [
        "/default/runs/..%2f..%2fsecret/record.json",
        "/default/runs/%2e%2e/record.json",
        "/default/runs/..%5c..%5csecret",
        "/default/runs/%2e%2e%2f%2e%2e%2fsecret",
        f"/default/runs/{RUN_ID}%2f..%2f..%2fsecret",
        f"/default/runs/{RUN_ID}/reports/..%2f..%2f..%2fsecret",
        f"/default/runs/{RUN_ID}/reports/%2e%2e%2fprepared",
        f"/default/runs/{RUN_ID}/reports/prepared%00",
        "/..%2f..%2f/runs/x",
        "/%2e%2e/runs/x",
        f"/../default/runs/{RUN_ID}/../../../secret",
        "/default/runs/a%00b",
    ],
)
def test_a_path_that_climbs_out_finds_nothing(
    client: TestClient, log_in: Headers, write_run: Write, tmp_path: Any, path: str
) -> None:
    write_run(RUN_ID, {"gates/prepared.html": "a report"})
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "run.json").write_text('{"dag_id": "titanic", "status": "SECRET"}')
    (tmp_path / "workspace" / "secret.html").write_text("SECRET")
    answer = client.get(PREFIX + path, headers=log_in())
    assert answer.status_code == 404
    assert "SECRET" not in answer.text


def test_names_from_users_are_text(get: Callable[..., Any], write_run: Write) -> None:
    reference = {
        "dataset": EVIL, "version": EVIL, "id": EVIL, "uri": f"javascript:{EVIL}", "kind": EVIL, "rows": 1, "files": 1,
        "size": 1, "verdict": EVIL,
    }  # fmt: skip
    gate = {"verdict": EVIL, "suite": EVIL, "rows": 1, "statistics": {}, "seconds": None, "engine": EVIL}
    write_run(
        RUN_ID, status="failed", step=EVIL, target=EVIL, task_id="prepare", experiment=EVIL, version=EVIL, error=EVIL,
        phases={EVIL: 1.0}, inputs={EVIL: reference}, outputs={EVIL: reference}, verdicts={EVIL: gate},
        metrics={EVIL: EVIL, f"{EVIL}2": [1, 2], f"{EVIL}3": {EVIL: [EVIL]}}, tags={EVIL: EVIL},
        snapshot={"digest": EVIL, "files": {EVIL: EVIL}, "size": 1}, environment={"key": EVIL, "python": EVIL},
    )  # fmt: skip
    write_run("titanic.prepare.0123456789-g2", started=1.0)
    for answer in (
        get(f"/default/runs/{RUN_ID}"), get("/tasks", **OF_TASK), get("/dag-runs", dag_id="titanic", dag_run_id=DAG_RUN)
    ):  # fmt: skip
        assert answer.status_code == 200
        assert "&lt;script&gt;" in answer.text
        assert "<script" not in answer.text
        assert "<img" not in answer.text
        assert 'href="javascript' not in answer.text


def test_a_message_page_is_text_too(client: TestClient, log_in: Headers) -> None:
    headers = {**log_in(), "Accept": "text/html"}
    answer = client.get(f"{PREFIX}/tasks", params={**OF_TASK, "task_id": EVIL}, headers=headers)
    assert answer.status_code == 404
    assert "&lt;script&gt;" in answer.text
    assert "<script" not in answer.text


def test_every_answer_forbids_scripts(client: TestClient, log_in: Headers, write_run: Write) -> None:
    """A report is a file that a step's process wrote: whatever is in it must not act in Airflow's name."""
    hostile = "<html><script>fetch('/api/v2/dags')</script></html>"
    files = ("gates/prepared.html", "logs/step.log", "outputs/automl/report.html")
    write_run(RUN_ID, dict.fromkeys(files, hostile))
    for path in (
        f"/default/runs/{RUN_ID}/automl",
        f"/default/runs/{RUN_ID}", f"/default/runs/{RUN_ID}/reports/prepared", f"/default/runs/{RUN_ID}/log",
        f"/default/runs/{RUN_ID}/record.json", "/default/runs/nobody", "/nowhere",
    ):  # fmt: skip
        headers = client.get(PREFIX + path, headers=log_in()).headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'", path
        assert "script-src" not in policy
        assert policy["frame-ancestors"] == "'self'"  # Airflow's own page, and no other, may frame it
        assert headers["x-content-type-options"] == "nosniff"
    assert (
        client.get(f"{PREFIX}/default/runs/{RUN_ID}/log", headers=log_in())
        .headers["content-type"]
        .startswith("text/plain")
    )


def test_what_a_script_logged_as_files_is_shown(get: Callable[..., Any], write_run: Write, tmp_path: Any) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    matrix = {"schema_type": "confusion_matrix", "data": {"class_labels": [EVIL, "b"], "matrix": [[124, 13], [26, 60]]}}
    names = (
        "matrix.json",
        "plot.png",
        "page.html",
        "gone.png",
        "large.png",
        "../run.json",
        "/etc/passwd",
        "broken.json",
    )
    write_run(
        RUN_ID,
        {"outputs/matrix.json": json.dumps(matrix), "outputs/page.html": EVIL, "outputs/broken.json": "{"},
        metrics={name: f"aml://artifactId/outputs/{name}" for name in names},
    )
    outputs = tmp_path / "workspace" / "runs" / RUN_ID / "outputs"
    (outputs / "plot.png").write_bytes(png)
    (outputs / "large.png").write_bytes(png + bytes(600_000))
    answer = get(f"/default/runs/{RUN_ID}")
    assert answer.status_code == 200
    assert "<td>124</td>" in answer.text
    assert answer.text.count("<img") == 1
    assert f"data:image/png;base64,{base64.b64encode(png).decode()}" in answer.text
    assert "aml://artifactId/outputs/large.png" in answer.text  # what cannot be shown keeps its address
    assert "<script" not in answer.text


def test_pages_load_nothing_from_anywhere(get: Callable[..., Any], write_run: Write) -> None:
    write_run(RUN_ID)
    page = get(f"/default/runs/{RUN_ID}").text
    for loading in ("src=", "srcset", "<link", "@import", "url(", "http://", "https://", "//cdn"):
        assert loading not in page


def test_links_behind_a_proxy_keep_its_path(
    get: Callable[..., Any], write_run: Write, app: Any, log_in: Headers
) -> None:
    write_run(RUN_ID)
    behind = TestClient(app, root_path="/airflow")
    page = behind.get(f"/airflow{PREFIX}/default/runs/{RUN_ID}", headers=log_in()).text
    assert f'href="/airflow{PREFIX}/default/runs/{RUN_ID}/log"' in page
    assert 'href="/airflow/dags/titanic/runs/' in page


def test_a_bad_workspace_is_not_found(get: Callable[..., Any]) -> None:
    assert get("/tasks", **OF_TASK, workspace="../../etc").status_code == 404


def test_a_damaged_record_is_no_crash(get: Callable[..., Any], write_run: Write, tmp_path: Any) -> None:
    write_run(RUN_ID)
    (tmp_path / "workspace" / "runs" / RUN_ID / "run.json").write_text("{")
    answer = get(f"/default/runs/{RUN_ID}")
    assert answer.status_code == 503
    assert "damaged" in answer.text
