"""``azureml.data.tabular_dataset``."""

from ._dataset import TabularDataset

__all__ = ["TabularDataset"]
