"""A fitted model as it is handed on: one pipeline from raw columns to labels, in a folder that MLflow reads."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import sys
from contextlib import contextmanager
from importlib import metadata
from typing import Any, Iterator, Mapping, Sequence

# MLflow would tell its makers of each model that is saved or loaded, over the network; it asks when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from stepwell.payload.automl.ensemble_steps import LabelledClassifier
from stepwell.payload.automl.errors import AutoMLError

DOCUMENT = "stepwell.json"
#: The modules whose classes a fitted pipeline may hold, with all that are called forecasting…: they are saved with it.
TRAVELLING = ("columns", "encoders", "ensemble_steps", "featurizer", "steps")
#: Top-level module → the distributions that may bring it; the first that is installed counts.
_DISTRIBUTIONS = {
    "cloudpickle": ("cloudpickle",),
    "mlflow": ("mlflow-skinny", "mlflow"),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "scipy": ("scipy",),
    "sklearn": ("scikit-learn",),
    "holidays": ("holidays",),
    "lightgbm": ("lightgbm",),
    "statsmodels": ("statsmodels",),
    "xgboost": ("xgboost-cpu", "xgboost"),
}
_ALWAYS = ("cloudpickle", "mlflow", "numpy", "pandas", "scipy", "sklearn")
_EXAMPLE_ROWS = 5


def build(featurizer: Any, estimator: Any, task: str, classes: Sequence[Any] | None, name: str = "model") -> Any:
    """Return the pipeline from raw columns to labels or numbers, with v1's names of its two steps.

    :param featurizer: fitted; ``None`` = the estimator takes the columns as they are.
    :param estimator: fitted; predicts codes of classes, or numbers. Of a forecast it is the whole model already (it
        has ``forecast``), and is returned.
    :param task: ``classification``, ``regression`` or ``forecasting``.
    :param classes: of a classification: the labels by code.
    :param name: of the model, as v1 calls it.
    """
    if hasattr(estimator, "forecast"):
        return estimator
    last = LabelledClassifier(estimator, list(classes or ())) if task == "classification" else estimator
    first = [] if featurizer is None else [("datatransformer", featurizer)]
    return Pipeline([*first, (name, last)])


def save(
    model: Any,
    folder: str,
    *,
    task: str,
    label: str,
    example: pd.DataFrame,
    metric: str,
    score: float | None,
    metrics: Mapping[str, Any] | None = None,
    iteration: int | None = None,
    name: str = "",
    run_id: str | None = None,
    rows: int | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write *model* as an MLflow model that needs no Stepwell to be loaded, and return what is said about it.

    The same is written to ``stepwell.json``. Nothing is asked of the network or of a tracking server.

    :param folder: does not exist, or is empty.
    :param example: rows as the model gets them, without the label: their types become the signature, the last five
        are kept as MLflow's input example.
    :param metric: v1's name of the primary metric.
    :param metrics: all of the task.
    :param iteration: of the trial.
    :param name: v1's name of the model.
    :param rows: how many rows it was fitted to.
    :param more: further facts, as plain JSON.
    :raises AutoMLError: the folder is not empty.
    """
    if os.path.isdir(folder) and os.listdir(folder):
        raise AutoMLError(f"The folder {folder} for the model is not empty", hint="Give an empty or a new one")
    import mlflow.sklearn

    versions = _versions(model)
    document = {
        "task": task,
        "label": label,
        "classes": _classes(model) if task == "classification" else None,
        "features": [{"name": str(c), "dtype": str(t)} for c, t in example.dtypes.items()],
        "metric": metric,
        "score": _finite(score),
        "metrics": {n: _finite(v) for n, v in (metrics or {}).items()},
        "iteration": iteration,
        "model": name,
        "rows": rows,
        "run_id": run_id,
        "python": platform.python_version(),
        "versions": versions,
        **(more or {}),
    }
    with _quiet(), _by_value():
        sample, signature = _signature(model, example)
        mlflow.sklearn.save_model(
            model,
            folder,
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,  # the default takes no LightGBM
            signature=signature,
            input_example=sample,
            pip_requirements=[f"{package}=={version}" for package, version in versions.items()],
            metadata={"run_id": run_id, "iteration": iteration, "model": name, "task": task, "label": label},
        )
    with open(os.path.join(folder, DOCUMENT), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, default=str)
    return document


def load(folder: str) -> Any:
    """Return the pipeline of a saved model. **This runs code of the model**: only steps do it, nothing of Airflow.

    :raises AutoMLError: there is no model in the folder.
    """
    if not os.path.isfile(os.path.join(folder, "MLmodel")):
        raise AutoMLError(f"There is no model in {folder}", hint="A model's folder has a file MLmodel")
    import mlflow.sklearn

    return mlflow.sklearn.load_model(folder)


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _classes(model: Any) -> list[Any]:
    return list(model.classes_.tolist())


# -- what scoring needs ------------------------------------------------------------------------------------------------


def _versions(model: Any) -> dict[str, str]:
    """Return distribution → version of what is needed to load the model and to predict with it."""
    found = {}
    for module in sorted({*_ALWAYS, *_libraries(model)} & set(_DISTRIBUTIONS)):
        for distribution in _DISTRIBUTIONS[module]:
            try:
                found[distribution] = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
            break
    return found


def _libraries(model: Any) -> set[str]:
    """Return the top-level modules whose classes the fitted model consists of."""
    found, seen, waiting = set(), set(), [model]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, (str, bytes, int, float, type(None))):
            continue
        seen.add(id(value))
        found.add(type(value).__module__.split(".")[0])
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, (list, tuple, set)):
            waiting += value
        elif hasattr(value, "__dict__") and not isinstance(value, type):
            waiting += vars(value).values()
        elif isinstance(value, np.ndarray) and value.dtype.hasobject:
            waiting += value.ravel().tolist()  # scikit-learn holds the trees of its boosting in one
    return found


# -- what it takes -----------------------------------------------------------------------------------------------------


def _signature(model: Any, example: pd.DataFrame) -> tuple[pd.DataFrame, Any]:
    """Return the rows to keep as an example, and the types of what goes in and comes out, as MLflow has them."""
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    plain = example.set_axis([str(c) for c in example], axis=1)
    inputs: list[Any] = []
    for column, values in list(plain.items()):
        found = None
        if isinstance(values.dtype, pd.CategoricalDtype):
            plain[column] = values.astype(object)
        else:
            (found,) = infer_signature(values.to_frame()).inputs
            if found.name is None:  # values of several kinds
                plain[column] = values.map(str, na_action="ignore")
                found = None
        inputs.append(found or ColSpec(AnyType(), column))  # MLflow hands on what comes
    rows = slice(-_EXAMPLE_ROWS, None)  # the last ones: a forecast needs some past
    outputs = infer_signature(plain, model.predict(example.iloc[rows])).outputs
    return plain.iloc[rows], ModelSignature(inputs=Schema(inputs), outputs=outputs)


# -- MLflow's manners --------------------------------------------------------------------------------------------------


@contextmanager
def _by_value() -> Iterator[None]:
    """Have our own classes saved with the model, as code, so that its consumers need no Stepwell."""
    import cloudpickle  # noqa: TID251 - MLflow pickles with it; here it is only told what to take along

    package = __name__.rpartition(".")[0]
    modules = [m for n, m in sys.modules.items() if n.startswith(package + ".") and _travels(n)]
    registered = [m for m in modules if m.__name__ not in cloudpickle.list_registry_pickle_by_value()]
    for module in registered:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _travels(module: str) -> bool:
    name = module.rpartition(".")[2]
    return name in TRAVELLING or name.startswith("forecasting")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back MLflow's warnings: of pickles (the documentation has them), of the version of pip."""
    import warnings

    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
