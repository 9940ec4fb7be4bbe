"""A PySpark step in a container: a Spark of its own, ``local[*]``, from the environment or the image."""

from __future__ import annotations

import getpass
import os
import posixpath
from collections.abc import Mapping
from typing import Any

from stepwell.compute.contract import Entry, EnvironmentRef, Layout
from stepwell.compute.spark_settings import absolute_files, properties, settings
from stepwell.errors import ComputeTargetException


def phase(
    entry: Entry,
    environment: EnvironmentRef,
    layout: Layout,
    variables: Mapping[str, str],
    facts: Mapping[str, Any],
    hadoop_user: str | None,
) -> dict[str, Any]:
    """Return the phase.

    :param facts: of the image, as ``inside.look`` returns them.
    :param hadoop_user: whom to be for HDFS, if the step's datastores say so.
    :raises ComputeTargetException: there is no Java in the image, or no Spark in the environment.
    """
    java, home = facts.get("java_home"), facts.get("spark_home")
    if not java:
        raise ComputeTargetException(
            f"The image {environment.image} has no Java, which a Spark step needs",
            hint="Name an image with Java 17 in environment.docker.base_image or as the compute target's base_image",
        )
    if not home:
        raise ComputeTargetException(
            f"The environment of {environment.python} has no PySpark, which a Spark step needs",
            hint="Add pyspark to its packages, or name an image with SPARK_HOME",
        )
    step = {} if entry.spark is None else absolute_files(settings(entry.spark), layout.code)
    conf = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "WARN",
        "spark.sql.warehouse.dir": f"file:{layout.root}/work/warehouse",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        **step,
        "spark.master": "local[*]",
        "spark.submit.deployMode": "client",
        "spark.pyspark.python": environment.python,
        "spark.pyspark.driver.python": environment.python,
    }
    inside = {
        "JAVA_HOME": java,
        "SPARK_HOME": home,
        # Else as on this machine, whatever the user there is called.
        "HADOOP_USER_NAME": hadoop_user or os.environ.get("HADOOP_USER_NAME") or getpass.getuser(),
        **variables,
        "PYSPARK_PYTHON": environment.python,
        "PYSPARK_DRIVER_PYTHON": environment.python,
        "SPARK_LOCAL_DIRS": posixpath.join(layout.root, "work"),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    argv = [
        posixpath.join(inside["SPARK_HOME"], "bin", "spark-submit"),
        "--properties-file",
        posixpath.join(layout.root, "spark.properties"),
        posixpath.join(layout.payload, "stepwell", "payload", "spark_driver.py"),
        layout.root,
    ]
    files = {"spark.properties": properties(conf)}
    return {"name": "step", "argv": argv, "cwd": layout.code, "variables": inside, "files": files}
