"""``azureml.automl.core.featurization``."""

from stepwell.runtime.automl_config import FeaturizationConfig

__all__ = ["FeaturizationConfig"]
