"""``azureml.train.automl.exceptions``."""

from stepwell.runtime.errors import UserErrorException

ConfigException = UserErrorException

__all__ = ["ConfigException"]
