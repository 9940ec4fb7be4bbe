"""``azureml.train`` for scripts inside a step."""
