"""``azureml.automl.core`` for scripts inside a step."""

from stepwell.runtime.automl_config import FeaturizationConfig, ForecastingParameters

__all__ = ["FeaturizationConfig", "ForecastingParameters"]
