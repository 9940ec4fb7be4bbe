"""A Spark step in a container or behind SSH: one application, which judges what it wrote, and whom it is on HDFS."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stepwell.compute.contract import Entry, EnvironmentRef, Layout
from stepwell.compute.docker.spark import phase
from stepwell.step.job import engine_of

FACTS = {"java_home": "/jdk", "spark_home": "/spark"}


def made(monkeypatch: pytest.MonkeyPatch, hadoop_user: str | None) -> dict[str, Any]:
    monkeypatch.setenv("HADOOP_USER_NAME", "worker")
    environment = EnvironmentRef("key", "/env/bin/python", "/env")
    entry = Entry("spark", script="main.py")
    return phase(entry, environment, Layout("/jobs/1", "/payload"), {"COLOUR": "blue"}, FACTS, hadoop_user)


def test_whom_the_datastore_says_it_is_on_hdfs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert made(monkeypatch, "ml")["variables"]["HADOOP_USER_NAME"] == "ml"
    assert made(monkeypatch, None)["variables"]["HADOOP_USER_NAME"] == "worker"


@pytest.mark.parametrize(
    ("kind", "engine", "found"),
    [("spark", "pandas", "spark"), ("python", "pandas", "pandas"), ("python", "spark", "spark")],
)
def test_what_judges_the_outputs(kind: str, engine: str, found: str) -> None:
    spec, target = SimpleNamespace(module=None, kind=kind), SimpleNamespace(engine=engine)
    assert engine_of(spec, target) == found  # type: ignore[arg-type]
