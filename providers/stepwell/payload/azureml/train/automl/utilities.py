"""``azureml.train.automl.utilities``."""

from __future__ import annotations

from stepwell.runtime import automl


def get_primary_metrics(task: str) -> list[str]:
    """Return the metrics that can be optimised for *task*.

    :raises UserErrorException: there is no such task.
    """
    return list(automl.PRIMARY_METRICS[automl.check_task(task)])


__all__ = ["get_primary_metrics"]
