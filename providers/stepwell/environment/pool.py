"""The packages that Stepwell itself brings: what gates and AutoML run in, and what every step of a Spark pool finds."""

from __future__ import annotations

from typing import Any

#: What a gate imports, whichever engine it uses; jinja2 renders its report.
GATES = ("great-expectations==1.24.1", "pandas<3", "pyarrow", "jinja2")
#: The extra is needed where great_expectations is imported next to pyspark: it imports pyspark.sql.connect, and with
#: grpcio-status missing pyspark may take the process for a doctest and end it with exit code 0.
SPARK = ("pyspark[connect]==4.3.0", "pandas<3", "pyarrow")
#: What an AutoML search imports; PySpark is brought by a Spark target. ``xgboost-cpu`` is XGBoost without 300 MB
#: of GPU libraries; its version 3 is one that FLAML 2.7 does not take.
AUTOML = (
    "flaml==2.7.*",
    "lightgbm>=4.6,<5",
    "xgboost-cpu>=2.1,<3",
    "scikit-learn==1.9.*",
    "scipy",
    "numpy",
    "pandas<3",
    "pyarrow",
    "mlflow-skinny==3.17.2",
    "psutil",
    "cloudpickle",
)


def automl_packages() -> list[str]:
    """The packages of an AutoML step, as pip requirements, to be merged into its specification."""
    return list(AUTOML)


def gates_specification() -> dict[str, Any]:
    """The environment in which gates on pandas run, in the normal form."""
    from stepwell.environment.specification import normal

    return normal({"pip": list(GATES)})


def spark_packages(*, gated: bool = False) -> list[str]:
    """The packages of a Spark pool, as pip requirements, to be merged into a step's specification.

    :param gated: with what gates need as well, because the gate runs in the step's own Spark application.
    """
    return list(dict.fromkeys([*SPARK, *(GATES if gated else ())]))
