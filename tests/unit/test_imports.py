"""What is imported when: Airflow reads provider_info at its own start, and DAG files are parsed again and again."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import stepwell
import stepwell.operators
from stepwell.provider_info import get_provider_info

#: What a DAG file must not pay for.
HEAVY = {
    "pandas",
    "numpy",
    "pyspark",
    "great_expectations",
    "yaml",
    "requests",
    "fsspec",
    "docker",
    "pyarrow",
    "jinja2",
}


def loaded_by(code: str, project: Path) -> set[str]:
    """Return the top-level modules that are loaded after *code* in a fresh interpreter, beyond those it starts with."""
    program = f"import sys; before = set(sys.modules)\n{code}\nprint(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(project / "providers")},
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


# -- provider_info -----------------------------------------------------------------------------------------------------


def test_provider_info_is_what_airflow_takes() -> None:
    import airflow
    import jsonschema

    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_importing_provider_info_loads_nothing_of_airflow(project: Path) -> None:
    loaded = loaded_by("from stepwell.provider_info import get_provider_info; get_provider_info()", project)
    assert loaded <= {"stepwell", "__future__", "typing", "collections", "re", "functools", "contextlib"} | set(
        sys.stdlib_module_names
    )


def test_all_that_provider_info_names_is_there() -> None:
    info = get_provider_info()
    modules = [m for kind in ("operators", "hooks") for entry in info[kind] for m in entry["python-modules"]]
    classes = [*info["extra-links"], *info["cli"], *(p["plugin-class"] for p in info["plugins"])]
    for connection in info["connection-types"]:
        hook = connection["hook-class-name"]
        classes.append(hook)
        module, _, name = hook.rpartition(".")
        found = getattr(importlib.import_module(module), name)
        assert found.conn_type == connection["connection-type"]
        assert found.hook_name == connection["hook-name"]
        assert callable(found.test_connection)
    for module in [*modules, *info["filesystems"]]:
        importlib.import_module(module)
    for path in classes:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


def test_airflow_finds_the_provider_its_connections_and_its_links() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "airflow-provider-stepwell" in manager.providers
    assert {"stepwell.links.RunLink", "stepwell.links.ValidationReportLink"} <= set(manager.extra_links_class_names)
    for kind in ("workspace", "datastore", "compute"):
        assert manager.hooks[f"stepwell_{kind}"] is not None


# -- lazy exports ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", [stepwell, stepwell.operators], ids=lambda p: p.__name__)
def test_each_name_is_there_and_an_unknown_one_says_what_there_is(package: object) -> None:
    for name in package.__all__:  # type: ignore[attr-defined]
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match=r"no attribute 'Nonsense'; it has \w+, \w+"):
        _ = package.Nonsense  # type: ignore[attr-defined]


def test_importing_stepwell_imports_nothing_else(project: Path) -> None:
    loaded = loaded_by("import stepwell", project)
    assert loaded - set(sys.stdlib_module_names) == {"stepwell"}


def test_using_every_name_loads_nothing_heavy(project: Path) -> None:
    """Without Airflow: what it loads itself is its own affair."""
    loaded = loaded_by("import stepwell\nfor name in stepwell.__all__: getattr(stepwell, name)", project)
    assert loaded & HEAVY == set()
    assert "airflow" not in loaded


def test_operators_load_nothing_heavy_beyond_airflow(project: Path) -> None:
    airflow = loaded_by("from airflow.sdk import BaseOperator, Asset, AssetAlias, BaseOperatorLink", project)
    everything = "import stepwell.operators as o\nfor name in o.__all__: getattr(o, name)"
    loaded = loaded_by(everything, project)
    assert (loaded - airflow) & HEAVY == set()
    assert "airflow" not in loaded_by("import stepwell.operators", project)
