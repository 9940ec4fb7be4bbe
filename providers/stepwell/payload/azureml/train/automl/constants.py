"""``azureml.train.automl.constants``: the names of tasks and models."""

from stepwell.runtime import automl


class Tasks:
    """v1's tasks that there are."""

    CLASSIFICATION = automl.CLASSIFICATION
    REGRESSION = automl.REGRESSION
    FORECASTING = automl.FORECASTING
    ALL = list(automl.TASKS)


class SupportedModels:
    """The models of each task, under v1's attributes: ``SupportedModels.Classification.LightGBM``."""

    Classification = type("Classification", (), {name: name for name in automl.MODELS[automl.CLASSIFICATION]})
    Regression = type("Regression", (), {name: name for name in automl.MODELS[automl.REGRESSION]})
    Forecasting = type("Forecasting", (), {name: name for name in automl.MODELS[automl.FORECASTING]})


__all__ = ["SupportedModels", "Tasks"]
