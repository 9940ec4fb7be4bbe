from __future__ import annotations

from typing import Any

import pytest

from stepwell.compute.spark_settings import absolute_files, properties, settings
from stepwell.errors import UserErrorException

SIZES: dict[str, Any] = {
    "driver_memory": "7g",
    "driver_cores": 4,
    "executor_memory": "512m",
    "executor_cores": 2,
    "num_executors": 3,
}


def test_sizes_become_the_settings_that_v1_made_of_them() -> None:
    assert settings({**SIZES, "app_name": "synapse-spark"}) == {
        "spark.driver.memory": "7g",
        "spark.driver.cores": "4",
        "spark.executor.memory": "512m",
        "spark.executor.cores": "2",
        "spark.executor.instances": "3",
        "spark.app.name": "synapse-spark",
    }


@pytest.mark.parametrize("parameter", SIZES)
def test_each_size_is_required(parameter: str) -> None:
    with pytest.raises(UserErrorException, match=f"{parameter} is required"):
        settings({name: value for name, value in SIZES.items() if name != parameter})


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("driver_memory", 7),
        ("driver_memory", "7"),
        ("driver_memory", "g"),
        ("executor_memory", "-1g"),
        ("executor_memory", "0g"),
        ("executor_memory", "1g; id"),
        ("driver_cores", "4"),
        ("driver_cores", 4.0),
        ("executor_cores", True),
        ("executor_cores", 0),
        ("num_executors", -1),
    ],
)
def test_a_size_of_the_wrong_type_is_refused_with_its_value(parameter: str, value: object) -> None:
    with pytest.raises(UserErrorException) as caught:
        settings({**SIZES, parameter: value})
    assert f"{parameter}={value!r}" in str(caught.value)
    assert "Allowed:" in str(caught.value)


def test_a_template_is_checked_when_it_is_rendered() -> None:
    assert settings({**SIZES, "driver_memory": "{{ params.memory }}"})["spark.driver.memory"] == "{{ params.memory }}"
    with pytest.raises(UserErrorException):
        settings({**SIZES, "driver_memory": "much"})


def test_conf_adds_to_the_sizes() -> None:
    found = settings({**SIZES, "conf": {"spark.ui.enabled": True, "spark.sql.shuffle.partitions": 8}})
    assert (found["spark.ui.enabled"], found["spark.sql.shuffle.partitions"]) == ("true", "8")


def test_conf_may_say_the_same_as_a_size() -> None:
    conf = {"spark.driver.memory": "7GB", "spark.driver.cores": 4}
    assert settings({**SIZES, "conf": conf})["spark.driver.memory"] == "7g"


def test_conf_that_contradicts_a_size_is_refused_with_both_values() -> None:
    with pytest.raises(UserErrorException) as caught:
        settings({**SIZES, "conf": {"spark.driver.memory": "1g"}})
    assert "spark.driver.memory have conflict: driver_memory='7g' and conf has '1g'" in str(caught.value)


@pytest.mark.parametrize("key", ["spark.master", "spark.submit.deployMode", "spark.remote"])
def test_what_the_target_decides_is_not_the_steps(key: str) -> None:
    with pytest.raises(UserErrorException, match="decided by the compute target"):
        settings({**SIZES, "conf": {key: "yarn"}})


@pytest.mark.parametrize(
    "conf", [["spark.a=b"], {"a.b": 1}, {"spark.a b": 1}, {"spark.a": None}, {"spark.a": [1]}, {3: 1}]
)
def test_conf_of_another_shape_is_refused(conf: object) -> None:
    with pytest.raises(UserErrorException):
        settings({**SIZES, "conf": conf})


def test_lists_are_joined_with_those_of_conf() -> None:
    found = settings(
        {
            **SIZES,
            "py_files": ["lib.zip"],
            "jars": ["a.jar"],
            "files": ["x.json", "y.json"],
            "conf": {
                "spark.submit.pyFiles": "more.zip,lib.zip",
                "spark.yarn.dist.jars": "b.jar",
                "spark.jars": "c.jar",
                "spark.yarn.maxAppAttempts": 1,
            },
        }
    )
    assert found["spark.submit.pyFiles"] == "lib.zip,more.zip"
    assert found["spark.jars"] == "a.jar,b.jar,c.jar"
    assert found["spark.files"] == "x.json,y.json"
    assert found["spark.yarn.maxAppAttempts"] == "1"


@pytest.mark.parametrize("value", ["lib.zip", [1], [""], ["a,b"], ["../up.zip"]])
def test_a_list_of_files_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(UserErrorException):
        settings({**SIZES, "py_files": value})


def test_relative_files_are_those_of_the_source_directory() -> None:
    found = absolute_files({"spark.files": "a.json,/b.json,hdfs://nn/c.json", "spark.app.name": "a"}, "/job/code")
    assert found == {"spark.files": "/job/code/a.json,/b.json,hdfs://nn/c.json", "spark.app.name": "a"}


def test_properties_are_escaped() -> None:
    text = properties({"spark.app.name": " C:\\new\nspark.evil=1"})
    assert text == "spark.app.name=\\ C:\\\\new\\nspark.evil=1\n"
