"""``azureml.train.automl`` for scripts inside a step: searches in this process."""

from ..._missing import module_getattr as _module_getattr
from .automlconfig import AutoMLConfig

__getattr__ = _module_getattr(__name__, "train.automl")

__all__ = ["AutoMLConfig"]
