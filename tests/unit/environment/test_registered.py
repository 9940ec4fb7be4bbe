"""Registered environments: what is registered stands by itself, the same content is the same version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepwell import Workspace
from stepwell.environment import CondaDependencies, Environment, registered
from stepwell.environment.specification import specification
from stepwell.errors import EnvironmentException, StepwellError


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace("default", root=str(tmp_path / "workspace"))


def wish(*packages: str, name: str = "train") -> Environment:
    made = Environment(name)
    for package in packages:
        made.python.conda_dependencies.add_pip_package(package)
    return made


def test_the_same_content_is_the_same_version(ws: Workspace) -> None:
    one = wish("six").register(ws)
    assert (one.name, one.version) == ("train", "1")
    assert wish("six").register(ws).version == "1"
    assert wish("attrs").register(ws).version == "2"
    assert wish("six").register(ws).version == "1", "also when it is not the latest"
    assert Environment.get(ws, "train").version == "2"
    first = Environment.get(ws, "train", version="1")
    assert specification(first)["pip"] == ["six"]
    assert first.register(ws).version == "1", "its version is not part of what it is"
    assert first.clone("other").version is None
    wish("six", name="gates").register(ws)
    assert {name: env.version for name, env in Environment.list(ws).items()} == {"train": "2", "gates": "1"}


def test_registered_at_the_same_moment_it_is_one_version(ws: Workspace) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: wish("six").register(ws).version, range(8)))
    assert set(made) == {"1"}


def test_what_is_registered_does_not_change_with_its_files(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "conda.yml").write_text(
        "channels: [conda-forge]\ndependencies:\n- python=3.11\n- numpy=1.26\n"
        "- pip:\n  - -r more.txt\n  - azureml-core\n"
        "variables: {A: '1'}\n"
    )
    (tmp_path / "more.txt").write_text("--extra-index-url https://example.org/simple\n-c limits.txt\nsix\n")
    (tmp_path / "limits.txt").write_text("six<2\n")
    env = Environment.from_conda_specification("train", tmp_path / "conda.yml")
    env.docker.base_image = "debian:12"
    before = specification(env)
    env.register(ws)
    again = Environment.from_conda_specification("train", tmp_path / "conda.yml")
    again.docker.base_image = "debian:12"
    assert again.register(ws).version == "1"
    for file in ("conda.yml", "more.txt", "limits.txt"):
        (tmp_path / file).unlink()
    found = Environment.get(ws, "train")
    assert specification(found) == before
    assert before["constraints"] == ["six<2"]
    assert "azureml-core" in found.python.conda_dependencies.pip_packages
    assert found.docker.base_image == "debian:12"


def test_a_requirements_file_is_taken_in_too(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six==1.17.0 --hash=sha256:" + "0" * 64 + "\n-c limits.txt\n")
    (tmp_path / "limits.txt").write_text("attrs<99\n")
    env = Environment.from_pip_requirements("train", tmp_path / "requirements.txt")
    before = specification(env)
    env.register(ws)
    (tmp_path / "requirements.txt").unlink()
    assert specification(Environment.get(ws, "train")) == before


def test_what_is_not_there(ws: Workspace, tmp_path: Path) -> None:
    wish("six").register(ws)
    with pytest.raises(EnvironmentException, match=r"no environment 'trian'. Allowed: train"):
        Environment.get(ws, "trian")
    with pytest.raises(EnvironmentException, match=r"no version '7'. Allowed: 1"):
        Environment.get(ws, "train", "7")
    with pytest.raises(EnvironmentException, match=r"label 'best'.* Allowed: latest"):
        Environment.get(ws, "train", label="best")
    with pytest.raises(StepwellError, match="not a valid environment name"):
        Environment.get(ws, "../train")
    with pytest.raises(EnvironmentException, match="does not exist"):
        Environment.from_conda_specification("new", tmp_path / "nowhere.yml").register(ws)
    assert registered.versions(ws, "new") == []


def test_a_source_is_a_name_or_a_file(ws: Workspace) -> None:
    wish("six").register(ws)
    wish("attrs").register(ws)
    assert specification(registered.load(ws, "train:1"))["pip"] == ["six"]
    assert specification(registered.load(ws, "train"))["pip"] == ["attrs"]
    assert specification(registered.load(ws, wish("idna").serialize()))["pip"] == ["idna"]
    for path in ("include/conda.yml", "requirements.txt", "pyproject.toml[a]"):
        assert registered.load(ws, path) == path
    assert registered.load(ws, None) is None
    given = CondaDependencies()
    assert registered.load(ws, given) is given
