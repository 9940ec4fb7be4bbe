"""``azureml.automl.core.featurization.featurizationconfig``."""

from stepwell.runtime.automl_config import FeaturizationConfig

__all__ = ["FeaturizationConfig"]
