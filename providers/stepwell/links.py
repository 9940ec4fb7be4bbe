"""Links from a task instance to Stepwell's pages. Airflow asks for them on the worker, when the task process ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

#: Where the plugin's pages are mounted.
PREFIX = "/stepwell"


def _summary(operator: BaseOperator) -> dict[str, Any]:
    life = getattr(operator, "_life", None)
    return {} if life is None else life.summary()


class RunLink(BaseOperatorLink):
    """The record of the step's run: inputs, outputs, metrics, verdicts, logs."""

    name = "Stepwell run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's path, or nothing if the run has not begun."""
        run = _summary(operator).get("run_id")
        return f"{PREFIX}/runs/{run}" if run else ""


class ValidationReportLink(BaseOperatorLink):
    """The validation report of the step's gate."""

    name = "Validation report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's path, or nothing if the step has no gate."""
        summary = _summary(operator)
        gates = sorted(summary.get("verdicts") or {})
        return f"{PREFIX}/runs/{summary['run_id']}/reports/{gates[0]}" if gates else ""
