"""The packages that Stepwell itself brings: what gates run in, and what every step of a Spark pool finds."""

from __future__ import annotations

from typing import Any

#: What a gate imports, whichever engine it uses; jinja2 renders its report.
GATES = ("great-expectations==1.24.1", "pandas<3", "pyarrow", "jinja2")
#: The extra is needed where great_expectations is imported next to pyspark: it imports pyspark.sql.connect, and with
#: grpcio-status missing pyspark may take the process for a doctest and end it with exit code 0.
SPARK = ("pyspark[connect]==4.3.0", "pandas<3", "pyarrow")


def gates_specification() -> dict[str, Any]:
    """The environment in which gates on pandas run, in the normal form."""
    from stepwell.environment.specification import normal

    return normal({"pip": list(GATES)})


def spark_packages(*, gated: bool = False) -> list[str]:
    """The packages of a Spark pool, as pip requirements, to be merged into a step's specification.

    :param gated: with what gates need as well, because the gate runs in the step's own Spark application.
    """
    return list(dict.fromkeys([*SPARK, *(GATES if gated else ())]))
