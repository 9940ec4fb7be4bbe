"""The links of a task instance lead to pages that there are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("airflow")

from stepwell.links import RunLink, ValidationReportLink


def operator(**summary: Any) -> Any:
    return SimpleNamespace(_life=SimpleNamespace(summary=lambda: summary))


def links(one: Any) -> tuple[str, str]:
    key: Any = None
    return RunLink().get_link(one, ti_key=key), ValidationReportLink().get_link(one, ti_key=key)


RUN = {"workspace": "default", "run_id": "d.t.0123456789-g1"}
PAGE = "/stepwell/default/runs/d.t.0123456789-g1"


def test_a_step_without_a_gate() -> None:
    assert links(operator(**RUN, verdicts={})) == (PAGE, "")


def test_a_step_with_one_gate_leads_to_its_report() -> None:
    assert links(operator(**RUN, verdicts={"prepared": {}})) == (PAGE, f"{PAGE}/reports/prepared")


def test_a_step_with_several_gates_leads_to_their_table() -> None:
    assert links(operator(**RUN, verdicts={"a": {}, "b": {}})) == (PAGE, f"{PAGE}#gates")


def test_a_step_that_has_not_begun_has_no_links() -> None:
    assert links(operator()) == ("", "")
    assert links(SimpleNamespace(_life=None)) == ("", "")


def test_links_behind_a_proxy_keep_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.org/airflow/")
    assert links(operator(**RUN, verdicts={}))[0] == f"/airflow{PAGE}"
