"""The arrows between the layers go one way: runtime ← payload, runtime ← core ← airflow ← ui."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from import_picture import MAY_IMPORT, PROJECT, Import, edges, imports, imports_of, layer, modules, picture, updated

IMPORTS = imports()
MODULES = modules()
# Modules that came to the standard library after 3.8, the oldest Python of a target.
AFTER_PYTHON_3_8 = {"graphlib", "tomllib", "zoneinfo"}
STANDARD_LIBRARY_3_8 = (sys.stdlib_module_names - AFTER_PYTHON_3_8) | {"distutils"}
# Libraries of a step's environment that payload may use; it imports them where it needs them.
PAYLOAD_LIBRARIES = {
    "azureml",  # its own v1 names, which stand beside it on a step's path
    "cloudpickle",  # by MLflow, for models
    "flaml",
    "great_expectations",
    "jinja2",
    "markupsafe",
    "matplotlib",
    "mlflow",
    "numpy",
    "pandas",
    "py4j",
    "pyarrow",
    "pyspark",
    "scipy",
    "sklearn",
}
AIRFLOW_NAMES = {"airflow", "fastapi", "starlette"}


def said(found: list[Import]) -> str:
    return "\n".join(f"{f.path.relative_to(PROJECT)}:{f.line}: {f.module} imports {f.name}" for f in found)


def root(name: str) -> str:
    return name.split(".")[0]


def test_each_layer_imports_only_those_it_may() -> None:
    wrong = [
        found
        for found in IMPORTS
        if root(found.name) == "stepwell"
        and layer(found.name) != layer(found.module)
        and layer(found.name) not in MAY_IMPORT[layer(found.module)]
    ]
    assert not wrong, said(wrong)


def test_core_reaches_payload_only_inside_functions() -> None:
    wrong = [f for f in IMPORTS if layer(f.module) == "core" and f.name.startswith("stepwell.payload") and not f.lazy]
    assert not wrong, said(wrong)


def test_only_the_upper_layers_import_airflow() -> None:
    wrong = [f for f in IMPORTS if root(f.name) in AIRFLOW_NAMES and layer(f.module) not in {"airflow", "ui"}]
    assert not wrong, said(wrong)


def test_runtime_uses_the_standard_library_only() -> None:
    wrong = [
        f
        for f in IMPORTS
        if layer(f.module) == "runtime" and root(f.name) not in STANDARD_LIBRARY_3_8 | {"stepwell", "__future__"}
    ]
    assert not wrong, said(wrong)


def test_payload_uses_its_libraries_only() -> None:
    allowed = sys.stdlib_module_names | {"stepwell", "__future__"} | PAYLOAD_LIBRARIES
    wrong = [f for f in IMPORTS if layer(f.module) == "payload" and root(f.name) not in allowed]
    assert not wrong, said(wrong)


def test_provider_info_imports_the_standard_library_only() -> None:
    """An import in there is an import in every ``import airflow``, before Airflow is configured."""
    wrong = [f for f in IMPORTS if f.module == "stepwell.provider_info" and root(f.name) not in sys.stdlib_module_names]
    assert not wrong, said(wrong)


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m) == "runtime"])
def test_runtime_is_written_for_python_3_8(module: str) -> None:
    path = MODULES[module]
    ast.parse(path.read_text("utf-8"), filename=str(path), feature_version=(3, 8))


def test_parts_do_not_import_each_other_in_a_circle() -> None:
    """Between layers there is no way back; neither may two parts of core import each other when they are loaded."""
    between = edges([found for found in IMPORTS if not found.lazy])
    circles = sorted({tuple(sorted(edge)) for edge in between if edge[::-1] in between})
    assert not circles, f"these import each other at module level: {circles}"


def test_an_import_is_found_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import pandas\n"
        "try:\n    import yaml\nexcept ImportError:\n    yaml = None\n"
        "def f():\n    from ..runtime import names\n"
    )
    known = {"stepwell.runtime.names": path}
    found = [(f.name, f.lazy) for f in imports_of("stepwell.data.module", path, known)]
    assert found == [("typing", False), ("pandas", True), ("yaml", False), ("stepwell.runtime.names", True)]


def test_the_picture_is_the_same_every_time_and_replaces_itself() -> None:
    drawing = picture(IMPORTS, MODULES)
    assert drawing == picture(imports(), modules())
    page = updated("# Architecture\n", drawing)
    assert updated(page, drawing) == page
