"""``azureml.data.file_dataset``."""

from ._dataset import FileDataset

__all__ = ["FileDataset"]
