"""scripts/bootstrap.py: what it says when something is missing, and when it has nothing to do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bootstrap
from bootstrap import BootstrapError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Debian with Python alone, for an ordinary user. Nothing may be run on it."""
    found = {"apt-get": "/usr/bin/apt-get"}
    monkeypatch.setattr(bootstrap.shutil, "which", found.get)
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(bootstrap, "has_venv", lambda: False)
    monkeypatch.setattr(bootstrap, "UV", tmp_path / ".tools" / "bin" / "uv")
    monkeypatch.setattr(bootstrap, "CACHE", tmp_path)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    for name in ("call", "run"):
        monkeypatch.setattr(bootstrap.subprocess, name, lambda *_, **__: pytest.fail("it started a process"))


def test_an_ordinary_user_is_told_what_to_type() -> None:
    with pytest.raises(BootstrapError) as caught:
        bootstrap.install(bootstrap.missing({"airflow", "java"}), optional=False)
    assert str(caught.value) == (
        "Python's venv and Java 17 or later are missing: type: "
        "sudo apt-get install python3-venv openjdk-17-jre-headless (or put uv on your PATH)"
    )


def test_uv_on_the_path_stands_in_for_venv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.shutil, "which", {"uv": "/usr/bin/uv"}.get)
    assert bootstrap.missing({"airflow"}) == {}


def test_without_maven_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap.install({"Maven": ("maven",)}, optional=True)
    assert "Maven is missing: type: sudo apt-get install maven; what needs it is left out" in capsys.readouterr().out


def test_an_old_java_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.touch()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    for version, found in ((11, None), (17, java), (21, java)):
        monkeypatch.setattr(bootstrap, "java_version", lambda _, version=version: version)
        assert bootstrap.java() == found


def test_an_environment_is_current_until_its_lock_changes(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("one==1")
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)
    key = bootstrap.digest(lock)
    assert not bootstrap.is_current(environment, key)
    (environment / "bin" / "python").touch()
    (environment / ".stepwell-stamp").write_text(key)
    assert bootstrap.is_current(environment, key)
    lock.write_text("one==2")
    assert not bootstrap.is_current(environment, bootstrap.digest(lock))


def test_it_runs_on_an_old_python_without_any_library(project: Path) -> None:
    tree = ast.parse((project / "scripts" / "bootstrap.py").read_text(), feature_version=(3, 8))
    roots = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    assert roots <= {
        "contextlib",
        "ctypes",
        "ensurepip",
        "fcntl",
        "hashlib",
        "os",
        "re",
        "shutil",
        "subprocess",
        "sys",
        "time",
        "venv",
    }


def test_the_locks_hold_hashes_and_no_address(project: Path) -> None:
    for lock in sorted(project.glob("requirements*.lock")):
        text = lock.read_text()
        assert "://" not in text, f"{lock.name} names an address"
        pins = [line for line in text.splitlines() if "==" in line]
        assert pins
        assert all(line.endswith("\\") for line in pins), f"{lock.name}: a pin without a hash"
