"""``ValidateDatasetOperator``: judge what is published already, and promote what passes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stepwell.assets import dataset_asset
from stepwell.data.output import ON_FAILURE
from stepwell.errors import UserErrorException
from stepwell.operators.base import StepOperator
from stepwell.runtime.names import check_name

if TYPE_CHECKING:
    from airflow.sdk import Context

    from stepwell.step.spec import StepResult

#: The gate brings its own environment, and nothing else runs.
_NOT_FOR_A_VALIDATION = (
    *("inputs", "outputs", "arguments", "source_directory", "script_name", "environment", "runconfig", "secrets"),
    "environment_variables",
)


class ValidateDatasetOperator(StepOperator):
    """Validate a dataset by a Great Expectations suite, without changing it.

    :param dataset: what to judge: a dataset, an output of a step, or a reference from XCom.
    :param suite: path of the suite's JSON file, or the suite as a dict. (templated)
    :param on_failure: ``fail``: fail for good; ``warn``: go on with the verdict "warned". ``quarantine`` is for outputs
        that are not published yet.
    :param samples: show offending values in the report.
    :param promote_as: register the same files under this name if they pass (or are let through by ``warn``): readers of
        that name see judged data only.
    :param compute_target: where to judge; default ``local``. (templated)
    """

    template_fields = ("inputs", "compute_target", "suite")
    template_fields_renderers = {"inputs": "json", "suite": "json"}
    ui_color = "#e8dcef"
    step_kind = "none"

    def __init__(
        self,
        *,
        dataset: Any,
        suite: Any,
        on_failure: str = "fail",
        samples: bool = False,
        promote_as: str | None = None,
        **kwargs: Any,
    ) -> None:
        from stepwell.data.consumption import DatasetConsumptionConfig

        if on_failure not in ON_FAILURE or on_failure == "quarantine":
            raise UserErrorException(
                f"on_failure={on_failure!r} is not possible for data that is published already",
                allowed=["fail", "warn"],
            )
        for name in _NOT_FOR_A_VALIDATION:
            if kwargs.get(name):
                raise UserErrorException(f"ValidateDatasetOperator takes a dataset and a suite, no {name}")
        config = (
            dataset if isinstance(dataset, DatasetConsumptionConfig) else DatasetConsumptionConfig("dataset", dataset)
        )
        super().__init__(inputs=[config.renamed("dataset").as_direct()], **kwargs)
        self.operator_extra_links = StepOperator.operator_extra_links
        self.suite = suite if isinstance(suite, dict) else str(suite)
        self.on_failure = on_failure
        self.samples = samples
        self.promote_as = None if promote_as is None else check_name("dataset", promote_as)
        if self.promote_as:
            self.outlets = [*self.outlets, dataset_asset(self.promote_as, self.workspace)]

    def specification(self, context: Context) -> Any:
        """Return the step as plain, rendered data."""
        gate = {
            "suite": self.suite,
            "on_failure": self.on_failure,
            "samples": self.samples,
            "promote_as": self.promote_as,
        }
        spec = super().specification(context)
        return replace(spec, source_directory=None, script=None, validations={"dataset": gate})

    def _announce(self, context: Context, result: StepResult) -> None:
        super()._announce(context, result)
        self.log.info("Handed on: %s", ", ".join(result.references) or "nothing to promote")
