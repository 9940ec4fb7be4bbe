"""``environment.spark`` and ``spark_dependencies.yml``: from what people write to the settings of a Spark step."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from stepwell.compute.spark_settings import settings
from stepwell.environment import Environment
from stepwell.environment.builder import key_for
from stepwell.environment.spark import SparkPackage, with_packages
from stepwell.environment.specification import specification
from stepwell.errors import EnvironmentException
from stepwell.runtime.errors import UserErrorException

WORKBENCH = """
version: 2
configuration:
  spark.app.name: Azure ML Experiment
  spark.yarn.maxAppAttempts: 1
  spark.executor.memory: 9g
  spark.sql.shuffle.partitions: 8
  spark.sql.caseSensitive: true
repositories:
  - https://mmlspark.azureedge.net/maven
packages:
  - group: com.microsoft.ml.spark
    artifact: mmlspark_2.11
    version: 0.9.9
"""
STEP = {"driver_memory": "1g", "driver_cores": 1, "executor_memory": "2g", "executor_cores": 1, "num_executors": 1}


def test_packages_are_kept_and_reach_the_settings_of_a_step(tmp_path: Path) -> None:
    env = Environment("geo")
    env.spark.packages.append(SparkPackage("org.a", "a_2.13", "1.0"))
    env.spark.repositories = ("https://one.example/maven",)
    env.spark.precache_packages = True
    again = Environment.deserialize(json.loads(json.dumps(env.serialize())))
    assert again == env
    assert copy.deepcopy(env) == env
    spec = specification(again)
    assert spec["spark"] == {"repositories": ["https://one.example/maven"], "packages": ["org.a:a_2.13:1.0"]}
    assert specification(spec) == spec
    conf = {"spark.jars.packages": "org.b:b:2, org.a:a_2.13:1.0"}
    found = settings(with_packages({**STEP, "conf": conf}, spec["spark"]))
    assert found["spark.jars.packages"] == "org.b:b:2,org.a:a_2.13:1.0"
    assert found["spark.jars.repositories"] == "https://one.example/maven"
    # It is not built into the environment, which stays the one that it is.
    assert key_for(spec, tmp_path) == key_for({**spec, "spark": {}}, tmp_path)


def test_a_file_of_spark_dependencies_is_read_when_the_step_runs(tmp_path: Path) -> None:
    env = Environment("old")
    env.spark.dependencies_file = tmp_path / "spark_dependencies.yml"
    data = env.serialize()
    with pytest.raises(EnvironmentException, match="spark_dependencies.yml does not exist"):
        env.specification()
    (tmp_path / "spark_dependencies.yml").write_text(WORKBENCH)
    section = specification(Environment.deserialize(data))["spark"]
    assert section["packages"] == ["com.microsoft.ml.spark:mmlspark_2.11:0.9.9"]
    assert section["configuration"] == {
        "spark.executor.memory": "9g",
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.caseSensitive": "true",
    }
    found = settings(with_packages({**STEP, "conf": {"spark.sql.shuffle.partitions": 3}}, section))
    assert (found["spark.executor.memory"], found["spark.sql.shuffle.partitions"]) == ("2g", "3")
    assert found["spark.sql.caseSensitive"] == "true"
    assert "spark.app.name" not in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("packages: [{group: a, artifact: b}]", "is no Spark package"),
        ("packages: [{group: a, artifact: 'b,c', version: 1}]", "The artifact of a Spark package is 'b,c'"),
        ("packages: org.a:a:1", "packages is 'org.a:a:1'"),
        ("repositories: ['https://me:secret@host/maven']", "holds a login"),
        ("repositories: ['ftp://host']", "is not the address of a Maven repository"),
        ("configuration: {'spark.x y': 1}", "is no Spark setting"),
        ("configuration: {spark.x: [1]}", r"spark.x is \[1\]"),
        ("configuratoin: {}", "unknown key 'configuratoin'"),
        ("version: 3", "version is 3"),
        ("{", "spark_dependencies.yml"),
    ],
)
def test_a_malformed_file_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "spark_dependencies.yml"
    file.write_text(text)
    env = Environment("old")
    env.spark.dependencies_file = str(file)
    with pytest.raises(EnvironmentException, match=said) as refused:
        env.specification()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda spark: setattr(spark, "package", []), r"environment\.spark\.package does not exist.*packages"),
        (lambda spark: setattr(spark, "packages", "a:b:c"), "packages is 'a:b:c'"),
        (lambda spark: setattr(spark, "precache_packages", "yes"), "precache_packages is 'yes'"),
        (lambda spark: SparkPackage("a", "b", None), "The version of a Spark package is None"),
        (lambda spark: SparkPackage("a b", "b", "1"), "The group of a Spark package is 'a b'"),
        (lambda spark: (spark.packages.append("a:b"), spark.serialize()), "'a:b' is no Spark package"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: Any, said: str) -> None:
    with pytest.raises(UserErrorException, match=said):
        change(Environment("e").spark)
