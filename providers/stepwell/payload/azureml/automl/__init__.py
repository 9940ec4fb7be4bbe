"""``azureml.automl`` for scripts inside a step."""
