"""What is imported when: Airflow reads provider_info at its own start, and DAG files are parsed again and again."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import stepwell
import stepwell.operators
from stepwell import Dataset, Datastore, FileDataset, TabularDataset, Workspace
from stepwell.data.abstract import AbstractDataset
from stepwell.not_built import NotBuiltError, NotBuiltImportError, hints
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
    for kind in ("workspace", "datastore", "compute", "ssh"):
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


# -- names of v1 that are not built ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "instead"), sorted(hints("stepwell").items()))
def test_a_name_of_v1_says_what_to_use_instead(name: str, instead: str) -> None:
    assert not hasattr(stepwell, name)
    words = f"^{name} is not built yet. {re.escape(instead.rstrip('.'))}"
    with pytest.raises(NotBuiltError, match=words):
        getattr(stepwell, name)
    with pytest.raises(NotBuiltImportError, match=words):
        exec(f"from stepwell import {name}")


def test_what_nobody_knows_stays_pythons_own_error() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Nonsense' from 'stepwell'"):
        exec("from stepwell import Nonsense")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'stepwell\.nonsense'"):
        importlib.import_module("stepwell.nonsense")


@pytest.mark.parametrize(
    ("owner", "shown"),
    [
        (Workspace, "Workspace"),
        (Workspace("team"), "Workspace"),
        (Datastore, "Datastore"),
        (Datastore("team", "store"), "Datastore"),
        (Dataset, "Dataset"),
        (Dataset.Tabular, "Dataset.Tabular"),
        (Dataset.File, "Dataset.File"),
        (TabularDataset, "TabularDataset"),
        (FileDataset, "FileDataset"),
        (Dataset.get_by_name("team", "data"), "TabularDataset"),
        (Dataset.get_by_name("team", "data"), "FileDataset"),
        (Dataset.File.from_files(("store", "x")), "dataset"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_method_of_v1_says_what_to_use_instead(owner: object, shown: str) -> None:
    for name, instead in hints(shown).items():
        assert not hasattr(owner, name)
        with pytest.raises(NotBuiltError, match=f"^{shown}.{name} is not built yet. {re.escape(instead)}"):
            getattr(owner, name)


def test_no_name_that_is_built_is_in_the_table() -> None:
    assert not set(hints("stepwell")) & set(stepwell.__all__)
    data = (Dataset, Dataset.Tabular, Dataset.File, AbstractDataset, TabularDataset, FileDataset)
    for cls in (Workspace, Datastore, *data):
        source = inspect.getsource(cls)
        defined = {n.name for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)}
        taken = {n for n, v in vars(cls).items() if type(v).__name__ == "_NotBuilt"}
        assert taken, cls
        assert not defined & taken, cls
