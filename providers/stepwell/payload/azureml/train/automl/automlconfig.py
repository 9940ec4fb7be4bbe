"""``azureml.train.automl.automlconfig``."""

from stepwell.runtime.automl_config import AutoMLConfig

__all__ = ["AutoMLConfig"]
