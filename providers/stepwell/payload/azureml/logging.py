"""The logger of the Workbench era: ``get_azureml_logger().log(name, value)``."""

from __future__ import annotations

from typing import Any

from .core.run import Run


class AzureMLLogger:
    """Logs scalars, lists, arrays, dicts and data frames into the run, each in the shape that fits it."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, name: str, value: Any) -> None:
        """Log *value*: a data frame or a dict of lists as a table, a dict as a row, a list or array as a list."""
        if hasattr(value, "to_dict") and hasattr(value, "columns"):
            value = {str(c): list(value[c]) for c in value.columns}
        if isinstance(value, dict):
            if value and all(isinstance(v, (list, tuple)) for v in value.values()):
                self._run.log_table(name, value)
            else:
                self._run.log_row(name, **{str(k): v for k, v in value.items()})
        elif isinstance(value, (list, tuple)) or getattr(value, "ndim", None):
            self._run.log_list(name, list(value.ravel()) if hasattr(value, "ravel") else list(value))
        else:
            self._run.log(name, value)


def get_azureml_logger() -> AzureMLLogger:
    """Return the logger of this run (offline, it prints)."""
    return AzureMLLogger(Run.get_context())
