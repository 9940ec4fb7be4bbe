"""plugins/: one thin file, which stands back where the installed distribution brings the plugin already."""

from __future__ import annotations

import importlib.metadata
import runpy
from pathlib import Path

import pytest


def names(project: Path, monkeypatch: pytest.MonkeyPatch, installed: list[str]) -> dict[str, object]:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: installed)
    return runpy.run_path(str(project / "plugins" / "stepwell_plugin.py"))


def test_it_brings_the_plugin_where_only_the_folder_is_known(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("airflow")
    plugin = names(project, monkeypatch, installed=[])["StepwellPlugin"]
    assert plugin.name == "stepwell"  # type: ignore[attr-defined]


def test_it_brings_nothing_where_the_distribution_does(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "StepwellPlugin" not in names(project, monkeypatch, installed=["stepwell"])


def test_folders_below_plugins_are_not_run_as_plugins(project: Path, tmp_path: Path) -> None:
    """Airflow would run ``plugins/pkg/uuid.py`` as the module ``uuid``."""
    loading = pytest.importorskip("airflow._shared.module_loading")
    (tmp_path / "pkg" / "deep").mkdir(parents=True)
    for file in ("stepwell_plugin.py", "pkg/uuid.py", "pkg/deep/json.py"):
        (tmp_path / file).touch()
    (tmp_path / ".airflowignore").write_text((project / "plugins" / ".airflowignore").read_text())
    found = loading.find_path_from_directory(str(tmp_path), ".airflowignore", "glob")
    assert sorted(Path(path).name for path in found) == ["stepwell_plugin.py"]
