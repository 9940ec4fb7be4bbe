"""Environment files: one normal form, and errors that name file, line and what is allowed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from stepwell.environment import gates_specification, merge, spark_packages
from stepwell.environment.builder import key_for, pip_requirements
from stepwell.environment.specification import normal, own_channels, specification
from stepwell.errors import EnvironmentException

GOOD = """\
name: project_environment
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - scikit-learn>=1.3
  - conda-forge::numpy=1.26
  - pytorch 2.1.0 py3.11_cuda
  - pip:
    - --extra-index-url https://example.org/simple
    - azureml-defaults
    - Azureml.Core>=1.20
    - six==1.17.0
variables:
  MODE: "1"
"""


def conda(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "conda_dependencies.yml"
    path.write_text(text)
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(EnvironmentException) as caught:
        specification(conda(tmp_path, text))
    assert str(tmp_path / "conda_dependencies.yml") in str(caught.value)
    return str(caught.value)


def test_a_conda_file(tmp_path: Path) -> None:
    said: list[str] = []
    spec = specification(conda(tmp_path, GOOD), log=said.append)
    assert spec == {
        "python": "3.11",
        "conda": ["conda-forge::numpy==1.26.*", "pytorch==2.1.0", "scikit-learn>=1.3"],
        "channels": ["conda-forge"],
        "pip": ["six==1.17.0"],
        "pip_options": ["--extra-index-url https://example.org/simple"],
        "constraints": [],
        "user_managed": False,
        "interpreter": None,
        "variables": {"MODE": "1"},
        "docker": {},
        "spark": {},
    }
    assert pip_requirements(spec) == ["numpy==1.26.*", "scikit-learn>=1.3", "six==1.17.0", "torch==2.1.0"]
    assert len(said) == 1
    assert "azureml-defaults, Azureml.Core>=1.20" in said[0]
    assert normal(spec) == spec, "the normal form is its own normal form"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("numpy", "numpy"),
        ("numpy=1.19", "numpy==1.19.*"),
        ("numpy=1.19.*", "numpy==1.19.*"),
        ("numpy==1.19.2", "numpy==1.19.2"),
        ("numpy=1.19.2=py38h1", "numpy==1.19.2"),
        ("numpy 1.19.*", "numpy==1.19.*"),
        ("numpy >=1.19,<2", "numpy>=1.19,<2"),
        ("numpy>=1.19.*", "numpy>=1.19"),
        ("numpy!=1.19.*", "numpy!=1.19.*"),
        ("numpy=2.0.0rc1", "numpy==2.0.0rc1"),
    ],
)
def test_versions_in_condas_words(text: str, expected: str) -> None:
    assert normal({"conda": [text]})["conda"] == [expected]


@pytest.mark.parametrize("text", ["numpy=1.19|1.20", "numpy[version='>=1']", "numpy=", "-c conda-forge", "numpy==x"])
def test_what_is_no_conda_specification_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    message = refusal(tmp_path, f'dependencies:\n- python\n- "{text}"\n')
    assert "line 3" in message
    assert repr(text) in message or text in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("name: x\ndependancies:\n- numpy\n", ["line 2", "unknown key 'dependancies'", "Did you mean 'dependencies'"]),
        ("name: x\nname: y\n", ["line 2", "'name' comes twice"]),
        ("dependencies:\n\t- numpy\n", ["line 2", "tab"]),
        ("dependencies:\n  - pip:\n\t  - six\n", ["line 3", "tab"]),
        ("a: &a [x, x]\nb: *a\n", ["line 2", "alias *a"]),
        ("- numpy\n", ["line 1", "mapping is expected"]),
        ("dependencies: numpy\n", ["'dependencies' is 'numpy'"]),
        ("dependencies:\n- 3\n", ["line 2", "3 is no dependency"]),
        ("dependencies:\n- conda: [x]\n", ["line 2", "is no dependency"]),
        ("dependencies:\n- pip:\n  - numpy=1.19\n", ["line 2", "a single '=' is conda's"]),
        ("dependencies:\n- pip:\n  - -e .\n", ["'-e .' is not supported"]),
        ("dependencies:\n- pip:\n  - ./x.whl\n", ["name @ file:///absolute/path"]),
        ("dependencies: [python=3.8, python=3.9]\n", ["given twice"]),
        ("dependencies: [python=2.7]\n", ["Python 2.7 is not supported"]),
        ("dependencies: !!python/object/apply:os.system [ls]\n", ["line 1", "python/object/apply"]),
        ("dependencies: [numpy\n", ["line"]),
        ("variables: {A: [1]}\n", ["variable A"]),
        ("variables: {'A B': x}\n", ["'A B' cannot name"]),
        ("x: 1\n---\ny: 2\n", ["document"]),
        ("a: " + "[" * 5000, ["nested deeper than"]),
    ],
)
def test_malformed_files_say_where_and_what(tmp_path: Path, text: str, parts: list[str]) -> None:
    message = refusal(tmp_path, text)
    for part in parts:
        assert part in message


def test_an_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    started = time.perf_counter()
    assert "alias" in refusal(tmp_path, "\n".join(lines))
    assert time.perf_counter() - started < 1


def test_a_huge_file_and_a_binary_one_are_refused(tmp_path: Path) -> None:
    assert "bytes" in refusal(tmp_path, "# " + "x" * 300_000)
    (tmp_path / "conda_dependencies.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EnvironmentException, match="not UTF-8"):
        specification(tmp_path / "conda_dependencies.yml")
    with pytest.raises(EnvironmentException, match="does not exist"):
        specification(tmp_path / "nowhere.yml")
    with pytest.raises(EnvironmentException, match="no environment file"):
        specification(tmp_path / "environment.toml")


def test_requirements_nest_keep_hashes_and_lose_comments(tmp_path: Path) -> None:
    digest = "a" * 64
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("pandas<3 # why\nazureml-core\n")
    (tmp_path / "requirements.txt").write_text(
        f"# all\n-r more/base.txt\n--index-url=https://example.org/simple\nsix==1.17.0 \\\n    --hash=sha256:{digest}\n"
    )
    spec = specification(tmp_path / "requirements.txt", log=lambda line: None)
    assert spec["pip"] == ["pandas<3", f"six==1.17.0 --hash=sha256:{digest}"]
    assert spec["pip_options"] == ["--index-url https://example.org/simple"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("six\nnumpy == \n", "line 2: 'numpy ==' is no requirement"),
        ("six\n--trusted-host example.org\n", "line 2.*not supported"),
        ("-r requirements.txt\n", "include each other"),
        ("-r nowhere.txt\n", "nowhere.txt.* does not exist"),
        ("six \\\n", "continued"),
        ("six --hash=md5\n", "is no hash"),
        ("--index-url https://me:secret@example.org/simple\n", "line 1: an address carries credentials"),
        ("x @ https://me:secret@example.org/x.whl\n", "an address carries credentials"),
    ],
)
def test_malformed_requirements(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "requirements.txt").write_text(text)
    with pytest.raises(EnvironmentException, match=message) as caught:
        specification(tmp_path / "requirements.txt")
    assert "secret" not in str(caught.value)


def test_credentials_by_name_of_a_variable_are_fine() -> None:
    option = "--index-url https://${INDEX_USER}:${INDEX_TOKEN}@example.org/simple"
    assert normal({"pip_options": [option]})["pip_options"] == [option]


def test_only_conda_has_it() -> None:
    with pytest.raises(EnvironmentException, match=r"Only conda .* libgdal, r-base>=4"):
        pip_requirements(normal({"conda": ["numpy", "r-base>=4", "libgdal"]}))


def test_the_key_is_content_only(tmp_path: Path) -> None:
    one = key_for({"pip": ["six", "pandas<3", "six"]}, tmp_path)
    assert one == key_for({"pip": ["pandas<3", "six"], "variables": {"A": "1"}}, tmp_path / "elsewhere")
    assert one != key_for({"pip": ["pandas<3"]}, tmp_path)
    assert one != key_for({"pip": ["six", "pandas<3"], "python": "3.8"}, tmp_path)
    assert list(tmp_path.iterdir()) == [], "asking for the key writes nothing"


def test_merging() -> None:
    merged = merge({"conda": ["numpy"], "pip": ["six"]}, ["pyspark==4.3.0", "six"])
    assert (merged["conda"], merged["pip"]) == (["numpy"], ["pyspark==4.3.0", "six"])
    managed = {"user_managed": True, "interpreter": "/opt/bin/python"}
    assert merge(managed, ["six"])["pip"] == []


def test_what_stepwell_brings_is_in_the_normal_form() -> None:
    spec = gates_specification()
    assert "great-expectations==1.24.1" in spec["pip"]
    assert "great-expectations==1.24.1" not in spark_packages()
    assert "great-expectations==1.24.1" in spark_packages(gated=True)
    assert any(name.startswith("pyspark[connect]==") for name in spark_packages())
    assert len(set(spark_packages(gated=True))) == len(spark_packages(gated=True))


@pytest.mark.parametrize(
    "data", [{"pips": []}, {"pip": "six"}, {"pip": [1]}, {"python": 3.1}, {"user_managed": "yes"}, {"python": "tea"}]
)
def test_dicts_are_checked(data: dict[str, object]) -> None:
    with pytest.raises(EnvironmentException):
        normal(data)


def test_what_is_no_environment() -> None:
    assert specification(None) == normal({})
    with pytest.raises(EnvironmentException, match="int is no environment"):
        specification(3)


def test_channels_are_kept_without_credentials(tmp_path: Path) -> None:
    said: list[str] = []
    usual = "channels: [defaults, 'https://mirror.example/conda-forge/']\ndependencies: [conda-forge::six]\n"
    assert own_channels(specification(conda(tmp_path, usual), log=said.append)) == []
    assert said == []
    text = (
        "prefix: /opt/env\nchannels: [conda-forge, 'https://me:pw@repo.example/t/tk-1/ours']\n"
        "dependencies: [theirs::six, attrs]\n"
    )
    spec = specification(conda(tmp_path, text), log=said.append)
    assert spec["conda"] == ["attrs", "theirs::six"]
    assert spec["channels"] == ["conda-forge", "https://***@repo.example/t/***/ours"]
    assert own_channels(spec) == ["https://***@repo.example/t/***/ours", "theirs"]
    (prefix,) = said
    assert "'prefix' is not used" in prefix


@pytest.mark.parametrize("text", ["channels: [--file=/etc/passwd]", "channels: ['a b']", "dependencies: ['-x::six']"])
def test_a_channel_is_no_option(tmp_path: Path, text: str) -> None:
    with pytest.raises(EnvironmentException, match=r"no conda channel|not a package specification"):
        specification(conda(tmp_path, text + "\n"))
