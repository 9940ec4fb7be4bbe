"""What a Docker compute target and v1's ``arguments`` say about containers, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.compute.docker.data import volumes
from stepwell.compute.docker.images import Wish
from stepwell.compute.docker.settings import ContainerSettings, host_config, parse_arguments, size
from stepwell.errors import ComputeTargetException, EnvironmentException, UserErrorException


@pytest.mark.parametrize(
    ("text", "expected"), [("512m", 512 << 20), ("1.5g", 3 << 29), ("2 GiB", 2 << 30), ("64K", 65536), (4096, 4096)]
)
def test_sizes(text: Any, expected: int) -> None:
    assert size("memory", text) == expected


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("memory", "much"), ("memory", "0"), ("memory", -1), ("memory", True), ("cpus", "two"), ("cpus", 0),
        ("gpus", "some"), ("gpus", 0), ("user", "root"), ("user", "1:2:3"), ("user", "1; id"), ("network", "a b"),
        ("network", "--privileged"), ("base_image", "-x"), ("base_image", ""), ("base_image", "a b"),
        ("volumes", ["relative:/x"]), ("volumes", ["/x"]), ("volumes", ["/x:/y:rw:z"]), ("volumes", "/x:/y"),
        ("shm_size", "x"),
    ],
)  # fmt: skip
def test_what_docker_would_not_take_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(ComputeTargetException, match=f"(?s){setting}=.*is not right.*Allowed"):
        ContainerSettings.of({setting: value})


def test_v1s_arguments_go_over_the_targets_settings() -> None:
    section = {
        "gpu_support": True,
        "shm_size": "4g",
        "arguments": ["-m", "1g", "--cpus=0.5", "-v", "/a:/b:ro", "--ulimit", "nofile=10:20", "--tmpfs", "/t:size=1m"],
    }
    settings, more = ContainerSettings(memory="8g", volumes=("/c:/c",)).with_section(section)
    config = host_config(settings, more)
    assert (config["Memory"], config["MemorySwap"], config["NanoCpus"]) == (1 << 30, 1 << 30, 500_000_000)
    assert config["ShmSize"] == 4 << 30
    assert config["DeviceRequests"][0]["Count"] == -1
    assert config["Ulimits"] == [{"Name": "nofile", "Soft": 10, "Hard": 20}]
    assert config["Tmpfs"] == {"/t": "size=1m"}
    assert settings.volumes == ("/c:/c", "/a:/b:ro")
    assert config["Init"] is True


@pytest.mark.parametrize(
    "arguments", [["--entrypoint", "x"], ["--cpus", "many"], ["-v", "x"], ["image"], ["--pids-limit=a"], ["--memory"]]
)
def test_arguments_that_are_not_supported_are_refused(arguments: list[str]) -> None:
    with pytest.raises(UserErrorException):
        ContainerSettings().with_section({"arguments": arguments})


def test_arguments_that_change_nothing_are_taken() -> None:
    assert parse_arguments(["--rm", "--init"]) == ({}, {})


def test_the_same_wish_has_the_same_key_and_another_image_or_package_another() -> None:
    keys = {
        Wish.of(spec).key(image)
        for image in ("sha256:1", "sha256:2")
        for spec in ({}, {"pip": ["six"]}, {"pip": ["six"], "python": "3.11"}, {"user_managed": True})
    }
    assert len(keys) == 8
    assert Wish.of({"pip": ["a", "b"]}) == Wish.of({"pip": ["b", "a"], "variables": {"X": "1"}})
    with pytest.raises(EnvironmentException, match="Only conda is known to have r-base"):
        Wish.of({"conda": ["r-base"]})


def test_what_spark_reads_and_writes_in_its_place() -> None:
    document = {
        "runner": {"directory": "/jobs/j"},
        "datasets": {
            "a": {"files": ["file:///data/x/1.csv", "file:///data/x/y/2%203.csv"]},
            "b": {"files": ["file:///jobs/j/inputs/b/1.csv"]},
            "c": {"files": ["hdfs://nn:9000/data/1.csv"]},
        },
        "outputs": {
            "o": {"mode": "hdfs", "value": "file:///data/.staging/run/o"},
            "u": {"mode": "upload", "value": "/jobs/j/outputs/u"},
            "h": {"mode": "hdfs", "value": "hdfs://nn:9000/x"},
        },
    }
    assert volumes(document) == (["/data/x"], ["/data/.staging/run"])
