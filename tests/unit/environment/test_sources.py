"""Where requirements come from besides conda files (constraints, pyproject.toml), and the names of conda's packages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stepwell.environment import conda_names
from stepwell.environment.builder import key_for, pip_requirements
from stepwell.environment.specification import normal, specification
from stepwell.errors import EnvironmentException

PROJECT = """
[project]
name = "Ours_Train"
requires-python = ">=3.9,<4"
dependencies = ["six==1.17.0", "azureml-core", "attrs ; python_version > '3'"]

[project.optional-dependencies]
plots = ["seaborn"]
gpu = ["torch"]
all = ["ours-train[plots,gpu]", "ours.train[all]"]

[tool.uv.sources]
attrs = { path = "../attrs" }
"""


# -- pyproject.toml ----------------------------------------------------------------------------------------------------


def test_a_project_file_gives_what_the_project_depends_on(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    said: list[str] = []
    spec = specification(tmp_path / "pyproject.toml", log=said.append)
    assert spec["pip"] == ["attrs ; python_version > '3'", "six==1.17.0"]
    assert spec["python"] == "<4,>=3.9"
    assert "azureml-core" in said[0]
    assert "[tool.uv.sources] is not used: attrs" in said[1]


@pytest.mark.parametrize(("extras", "more"), [("plots", ["seaborn"]), ("all", ["seaborn", "torch"])])
def test_extras_are_named_in_brackets(tmp_path: Path, extras: str, more: list[str]) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    spec = specification(f"{tmp_path}/pyproject.toml[{extras}]", log=lambda line: None)
    assert [line for line in spec["pip"] if line in ("seaborn", "torch")] == more


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("[project", "pyproject.toml", "Correct the TOML"),
        ("[tool.black]\n", "pyproject.toml", r"no table \[project\]"),
        ("[project]\ndynamic = ['dependencies']\n", "pyproject.toml", "known only to the project's build"),
        ("[project]\ndependencies = 'six'\n", "pyproject.toml", "is 'six'. Allowed: a list of text"),
        ("[project]\ndependencies = ['six=1']\n", "pyproject.toml", "a single '=' is conda's"),
        ("[project]\ndependencies = ['-r x.txt']\n", "pyproject.toml", "'-r x.txt' is no requirement"),
        ("[project]\nrequires-python = 'two'\n", "pyproject.toml", "'two' is no Python version"),
        (PROJECT, "pyproject.toml[plot]", "has no extra 'plot'. Allowed: all, gpu, plots"),
    ],
)
def test_a_malformed_project_file(tmp_path: Path, text: str, name: str, message: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(EnvironmentException, match=message) as caught:
        specification(tmp_path / name)
    assert str(tmp_path / "pyproject.toml") in str(caught.value)


# -- constraints -------------------------------------------------------------------------------------------------------


def test_constraints_are_part_of_the_specification_and_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-c limits/all.txt\npandas\n")
    (tmp_path / "limits").mkdir()
    (tmp_path / "limits" / "all.txt").write_text("-c more.txt\nnumpy<2  # old\nsix==1.17.0 --hash=sha256:" + "0" * 64)
    (tmp_path / "limits" / "more.txt").write_text("pandas<3\n")
    spec = specification(tmp_path / "requirements.txt")
    assert (spec["pip"], spec["constraints"]) == (["pandas"], ["numpy<2", "pandas<3", "six==1.17.0"])
    assert normal(spec) == spec
    assert key_for(spec, tmp_path) != key_for({**spec, "constraints": ["numpy<2"]}, tmp_path)
    conda = tmp_path / "conda.yml"
    conda.write_text("dependencies:\n- pip:\n  - -c limits/more.txt\n  - pandas\n")
    assert specification(conda)["constraints"] == ["pandas<3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("--index-url https://example.org/simple\n", "has the option '--index-url"),
        ("numpy[extra]<2\n", "has extras"),
        ("numpy=1\n", "a single '=' is conda's"),
        ("-c constraints.txt\n", "more than 10 deep"),
    ],
)
def test_malformed_constraints(tmp_path: Path, text: str | None, message: str) -> None:
    (tmp_path / "requirements.txt").write_text("-c constraints.txt\n")
    if text is not None:
        (tmp_path / "constraints.txt").write_text(text)
    with pytest.raises(EnvironmentException, match=message):
        specification(tmp_path / "requirements.txt")


# -- the table of names ------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "names.yml"
    path.write_text("libgdal: gdal\npytorch: our-torch\nR-Base: rpy2[all]\n")
    monkeypatch.setenv("STEPWELL_CONDA_NAMES", str(path))
    return path


def test_the_users_names_go_before_the_built_in_ones(table: Path) -> None:
    spec = normal({"conda": ["libgdal>=3", "pytorch=2.1", "r-base", "py-opencv"]})
    assert pip_requirements(spec) == ["gdal>=3", "opencv-python-headless", "our-torch==2.1.*", "rpy2[all]"]


def test_who_changes_the_table_gets_another_environment(table: Path, tmp_path: Path) -> None:
    spec = {"conda": ["pytorch=2.1"]}
    one = key_for(spec, tmp_path)
    table.write_text("pytorch: torch\n")
    os.utime(table, ns=(1, 1))
    other = key_for(spec, tmp_path)
    assert one != other
    table.unlink()
    with pytest.raises(EnvironmentException, match=r"table of conda names .STEPWELL_CONDA_NAMES. .* does not exist"):
        key_for(spec, tmp_path)
    table.write_text("something: else\n")
    assert key_for(spec, tmp_path) == other == key_for({"pip": ["torch==2.1.*"]}, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- libgdal\n", "line 1: a mapping is expected"),
        ("libgdal: gdal\nlibgdal: x\n", "line 2.*'libgdal' comes twice"),
        ("libgdal:\n", "libgdal is to be None"),
        ("libgdal: [gdal]\n", "is to be \\['gdal'\\]"),
        ("libgdal: gdal==3\n", "Versions stay with those who ask"),
        ("libgdal: -r /etc/passwd\n", "no name on the Python package index"),
        ("'a b': x\n", "'a b' is no name of a conda package"),
        ("libgdal: [\n", "Correct the YAML"),
    ],
)
def test_a_malformed_table(table: Path, text: str, message: str) -> None:
    table.write_text(text)
    with pytest.raises(EnvironmentException, match=message) as caught:
        conda_names.own_names()
    assert str(table) in str(caught.value)


# -- what conda files must not bring -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["git+https://example.org/x.git", "git+https://example.org/x.git@main#egg=x", "file:///srv/x.whl", "/srv/x"]
)
def test_a_bare_url_under_pip_says_how_it_is_written(tmp_path: Path, line: str) -> None:
    path = tmp_path / "conda.yml"
    path.write_text(f"dependencies:\n- python\n- pip:\n  - {line}\n")
    with pytest.raises(EnvironmentException, match=r"line 3.*'name @") as caught:
        specification(path)
    assert line in str(caught.value)


@pytest.mark.parametrize(
    "line", ["git+https://example.org/x.git", "file:///srv/x.tar.bz2", "https://example.org/x.conda"]
)
def test_a_url_among_condas_packages_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "conda.yml"
    path.write_text(f"dependencies:\n- python\n- {line}\n")
    with pytest.raises(EnvironmentException, match=r"line 3.* is not a package specification that can be used"):
        specification(path)


def test_a_named_url_is_a_requirement(tmp_path: Path) -> None:
    path = tmp_path / "conda.yml"
    path.write_text("dependencies:\n- pip:\n  - x @ git+https://example.org/x.git@v1\n")
    assert specification(path)["pip"] == ["x @ git+https://example.org/x.git@v1"]
