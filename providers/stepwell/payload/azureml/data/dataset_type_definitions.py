"""``azureml.data.dataset_type_definitions``."""

from .dataset_factory import PromoteHeadersBehavior

__all__ = ["PromoteHeadersBehavior"]
