"""Links from a task instance to Stepwell's pages. Airflow asks for them on the worker, when the task process ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

#: Where the plugin's pages are mounted in Airflow's web server.
PREFIX = "/stepwell"


def prefix() -> str:
    """Return the path of Stepwell's pages as a browser sees it: an Airflow behind a proxy has a path of its own."""
    from airflow.sdk.configuration import conf

    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/") + PREFIX


def _summary(operator: BaseOperator) -> dict[str, Any]:
    life = getattr(operator, "_life", None)
    return {} if life is None else life.summary()


def _page(summary: dict[str, Any]) -> str:
    return f"{prefix()}/{summary['workspace']}/runs/{summary['run_id']}" if summary else ""


class RunLink(BaseOperatorLink):
    """The record of the step's run: inputs, outputs, metrics, verdicts, logs."""

    name = "Stepwell run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's path, or nothing if the run has not begun."""
        return _page(_summary(operator))


class ValidationReportLink(BaseOperatorLink):
    """The validation report of the step's gate; of several gates, their table on the run's page."""

    name = "Validation report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's path, or nothing if the step has no gate."""
        summary = _summary(operator)
        gates = list(summary.get("verdicts") or {})
        if len(gates) == 1:
            return f"{_page(summary)}/reports/{gates[0]}"
        return f"{_page(summary)}#gates" if gates else ""


class AutoMLReportLink(BaseOperatorLink):
    """The report of an AutoML search; of a step that was reused, that of the run that has searched."""

    name = "AutoML report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's path, or nothing if the run has not begun."""
        summary = _summary(operator)
        if not summary:
            return ""
        return f"{_page({**summary, 'run_id': summary.get('reused_from') or summary['run_id']})}/automl"
