"""``azureml.data`` for scripts inside a step."""

from .._missing import module_getattr as _module_getattr
from ._dataset import FileDataset, TabularDataset

__getattr__ = _module_getattr(__name__, "data")

__all__ = ["FileDataset", "TabularDataset"]
