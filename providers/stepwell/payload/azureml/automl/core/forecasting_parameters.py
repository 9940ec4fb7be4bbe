"""``azureml.automl.core.forecasting_parameters``."""

from stepwell.runtime.automl_config import ForecastingParameters

__all__ = ["ForecastingParameters"]
