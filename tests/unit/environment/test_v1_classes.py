"""v1's classes: the article's idioms work, nothing is read at parse time, what is not built is refused by name."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from stepwell.environment import CondaDependencies, Environment, RunConfiguration
from stepwell.environment.docker import say_unused
from stepwell.environment.specification import specification
from stepwell.errors import EnvironmentException
from stepwell.runtime.errors import UserErrorException


def test_the_articles_environment() -> None:
    env = Environment(name="myenv")
    env.python.conda_dependencies.add_pip_package("azureml-core>=1.20.0")
    env.python.conda_dependencies.add_pip_package("pandas<3")
    said: list[str] = []
    assert specification(env, log=said.append)["pip"] == ["pandas<3"]
    assert "azureml-core>=1.20.0" in said[0]


def test_conda_dependencies_are_edited() -> None:
    conda = CondaDependencies.create(
        pip_indexurl="https://example.org/simple",
        pip_packages=["six==1.16", "pandas"],
        conda_packages=["scikit-learn", "numpy=1.26"],
        python_version="3.11",
    )
    conda.add_pip_package("six==1.17.0")
    conda.remove_pip_package("pandas")
    conda.add_conda_package("scikit_learn=1.5")
    conda.remove_conda_package("numpy")
    conda.add_channel("conda-forge")
    conda.set_python_version("3.12")
    assert conda.as_dict() == {
        "dependencies": [
            "python=3.12",
            {"pip": ["--index-url https://example.org/simple", "six==1.17.0"]},
            "scikit_learn=1.5",
        ],
        "channels": ["conda-forge"],
    }
    assert conda.get_python_version() == "3.12"
    assert list(conda.pip_packages) == ["six==1.17.0"]
    assert list(conda.conda_packages) == ["scikit_learn=1.5"]
    conda.set_pip_option("--index-url https://example.com/simple")
    assert list(conda.pip_options) == ["--index-url https://example.com/simple"]


def test_saved_and_read_again(tmp_path: Path) -> None:
    conda = CondaDependencies.create(pip_packages=["six"], conda_packages=["numpy"], python_version="3.11")
    path = conda.save(tmp_path)
    assert path == str(tmp_path / "aml_config" / "conda_dependencies.yml")
    again = CondaDependencies(path)
    assert again.specification() == conda.specification()
    assert again.serialize() == {"file": path}, "read, but not edited: still the file"
    again.add_pip_package("attrs")
    assert "conda" in again.serialize()


@pytest.mark.parametrize("package", ["numpy=1", "  ", "../x", "-e ."])
def test_a_malformed_package_is_refused_when_added(package: str) -> None:
    conda = CondaDependencies()
    with pytest.raises(EnvironmentException, match="add_pip_package"):
        conda.add_pip_package(package)
    assert list(conda.pip_packages) == []


def test_merge_requirements() -> None:
    assert CondaDependencies.merge_requirements(["a>1", "b", "A<3"]) == ["a<3,>1", "b"]


def test_files_are_read_when_the_step_runs(tmp_path: Path) -> None:
    path = tmp_path / "conda_dependencies.yml"
    env = Environment.from_conda_specification("late", path)
    other = Environment.from_pip_requirements("late", tmp_path / "requirements.txt")
    text = repr(env)
    path.write_text("dependencies: [numpy]\n")
    (tmp_path / "requirements.txt").write_text("six\n")
    assert specification(env)["conda"] == ["numpy"]
    assert specification(other)["pip"] == ["six"]
    assert repr(env) == text


def test_two_parses_serialise_alike_and_survive_json(tmp_path: Path) -> None:
    def build() -> Environment:
        env = Environment.from_pip_requirements("e", "requirements.txt")
        env.environment_variables = {"B": "2", "A": "1"}
        env.python.conda_dependencies.add_conda_package("numpy")
        return env

    assert repr(build()) == repr(build())
    assert " at 0x" not in repr(build())
    data = json.loads(json.dumps(build().serialize()))
    assert Environment.deserialize(data) == build()
    assert copy.deepcopy(build()) == build()
    assert build().clone("f").name == "f"


def test_declaring_environments_imports_no_heavy_library() -> None:
    code = """
import sys
from stepwell.environment import Environment, RunConfiguration
env = Environment.from_conda_specification("e", "/nowhere.yml")
RunConfiguration().environment = env
heavy = {"yaml", "packaging", "pathspec", "subprocess"} & set(sys.modules)
sys.exit(", ".join(sorted(heavy)) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": "providers"}, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_user_managed() -> None:
    env = Environment("mine")
    env.python.user_managed_dependencies = True
    spec = specification(env)
    assert (spec["user_managed"], spec["interpreter"]) == (True, "python")
    spec = specification(Environment.from_existing_interpreter("mine", "/opt/env/bin/python"))
    assert spec["interpreter"] == "/opt/env/bin/python"


@pytest.mark.parametrize("name", ["AzureML-Minimal", "Microsoft.x", "../up", ""])
def test_names(name: str) -> None:
    with pytest.raises(UserErrorException):
        Environment(name)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("docker.build_context", object()),
        ("docker.base_image_registry", object()),
        ("databricks.jar_libraries", [1]),
        ("r", object()),
        ("python.base_conda_environment", "base"),
        ("inferencing_stack_version", "latest"),
        ("asset_id", "x"),
        ("databricks", object()),
        ("databricks.pypi_libraries", ["six"]),
    ],
)
def test_what_is_not_built_is_refused_by_name(where: str, value: object) -> None:
    target: object = Environment("e")
    *path, last = where.split(".")
    for part in path:
        target = getattr(target, part)
    setattr(target, last, getattr(target, last))  # its own default is harmless
    with pytest.raises(UserErrorException, match=f"environment.{where}.* is not built yet"):
        setattr(target, last, value)


@pytest.mark.parametrize("name", ["from_docker_build_context", "from_existing_conda_environment"])
def test_constructors_that_are_not_built(name: str) -> None:
    with pytest.raises(UserErrorException, match=f"{name} is not built yet"):
        getattr(Environment, name)("e", "x")


def test_run_configuration_honours_what_it_can() -> None:
    config = RunConfiguration(script="train.py", arguments=["--a", 1], framework="pyspark")
    config.environment.python.conda_dependencies.add_pip_package("six")
    config.environment_variables = {"A": "1"}
    config.max_run_duration_seconds = 60
    assert config.framework == "PySpark"
    assert config.spark.configuration["spark.app.name"] == "Azure ML Experiment"
    spec = specification(config)
    assert (spec["pip"], spec["variables"]) == (["six"], {"A": "1"})
    json.dumps(config.serialize())
    given = CondaDependencies.create(pip_packages=["attrs"])
    assert specification(RunConfiguration(conda_dependencies=given))["pip"] == ["attrs"]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("node_count", 2),
        ("communicator", "OpenMpi"),
        ("docker.use_docker", True),
        ("amlcompute.vm_size", "STANDARD_D2"),
        ("mpi.process_count_per_node", 4),
        ("auto_prepare_environment", False),
        ("data", {"x": 1}),
        ("framework", "TensorFlow"),
    ],
)
def test_run_configuration_refuses_the_rest_by_name(where: str, value: object) -> None:
    target: object = RunConfiguration()
    *path, last = where.split(".")
    for part in path:
        target = getattr(target, part)
    with pytest.raises(UserErrorException, match=f"run_config.{where} = .* is not built yet"):
        setattr(target, last, value)


def test_run_configuration_notices_what_was_put_into_its_maps() -> None:
    config = RunConfiguration()
    config.data["x"] = object()
    with pytest.raises(UserErrorException, match=r"run_config.data .* is not built yet"):
        specification(config)
    assert RunConfiguration().data == {}


def test_misspelt_and_wrong_fields() -> None:
    with pytest.raises(UserErrorException, match=r"run_config.enviroment does not exist"):
        RunConfiguration().enviroment = Environment("e")
    with pytest.raises(UserErrorException, match="script"):
        RunConfiguration(script="a.py", command="ls")
    with pytest.raises(UserErrorException, match=r"run_config.spark.configuraton does not exist"):
        RunConfiguration().spark.configuraton = {}
    for field, value in (("environment", "x"), ("max_run_duration_seconds", -1), ("framework", "Cobol")):
        with pytest.raises(UserErrorException, match=field):
            setattr(RunConfiguration(), field, value)


@pytest.mark.parametrize(
    ("where", "nearest"),
    [
        ("enviroment_variables", "environment_variables"),
        ("python.interpreterpath", "interpreter_path"),
        ("python.conda_dependancies", "conda_dependencies"),
        ("docker.base_imagee", "base_image"),
    ],
)
def test_a_misspelt_attribute_of_an_environment_is_refused_with_the_nearest(where: str, nearest: str) -> None:
    target: object = Environment("e")
    *path, last = where.split(".")
    for part in path:
        target = getattr(target, part)
    with pytest.raises(UserErrorException, match=rf"environment.{where} does not exist. Allowed: .*{nearest}"):
        setattr(target, last, {})


def test_sections_and_lists_cannot_be_filled_in_silence() -> None:
    env = Environment("e")
    with pytest.raises(UserErrorException, match=r"Changing environment\.\w+\.\w+ is not built yet"):
        env.databricks.maven_libraries.insert(0, 1)
    for name, value in (("python", "3.11"), ("environment_variables", ["A=1"]), ("docker", object())):
        with pytest.raises(UserErrorException, match=rf"environment\.{name} is"):
            setattr(env, name, value)
    env.python = Environment("f").python
    assert copy.deepcopy(env) == env


def test_docker_settings_are_kept_and_are_part_of_the_specification() -> None:
    env = Environment("boxed")
    env.docker.enabled = True
    env.docker.base_image = "debian:12"
    env.docker.arguments.append("--gpus=all")
    env.docker.shm_size = "4g"
    kept = {"enabled": True, "base_image": "debian:12", "arguments": ["--gpus=all"], "shm_size": "4g"}
    again = Environment.deserialize(json.loads(json.dumps(env.serialize())))
    assert again == env
    assert again.docker.serialize() == kept
    assert copy.deepcopy(env) == env
    spec = specification(again)
    assert spec["docker"] == {name: value for name, value in kept.items() if name != "enabled"}
    assert specification(spec) == spec
    assert {**spec, "docker": {}} == specification(Environment("plain"))
    assert "docker" not in Environment("plain").serialize()


def test_a_dockerfile_is_text_or_a_path(tmp_path: Path) -> None:
    text = "ARG BASE=debian:12\nFROM $BASE\nRUN true\n"
    file = tmp_path / "Dockerfile"
    file.write_text(text)
    for given in (text, str(file)):
        assert specification(Environment.from_dockerfile("e", given))["docker"] == {"base_dockerfile": text}
    with pytest.raises(EnvironmentException, match="cannot be read: No such file"):
        specification(Environment.from_dockerfile("e", str(tmp_path / "none")))


def test_where_no_containers_run_docker_settings_are_said_to_have_no_effect() -> None:
    env = Environment.from_docker_image("boxed", "debian:12")
    env.docker.shm_size = "4g"
    said: list[str] = []
    say_unused(specification(env), said.append)
    (warning,) = said
    assert warning.startswith("Warning: the docker settings of the environment (base_image, shm_size) are not used")
    assert "what counts is its interpreter 'python'" in warning
    say_unused(specification(Environment("plain")), said.append)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("enabled", "yes", "Allowed: True, False"),
        ("base_image", 3, "Allowed: text, None"),
        ("shm_size", None, "Allowed: text"),
        ("arguments", "--gpus", "Allowed: a list of text"),
        ("arguments", [1], "Allowed: a list of text"),
    ],
)
def test_docker_settings_of_the_wrong_type(name: str, value: object, message: str) -> None:
    env = Environment("e")
    with pytest.raises(UserErrorException, match=f"environment.docker.{name} is .*{message}"):
        setattr(env.docker, name, value)
    assert env == Environment("e")


def test_an_image_is_named_or_built() -> None:
    env = Environment("e")
    env.docker.base_image = "debian:12"
    with pytest.raises(UserErrorException, match=r"base_dockerfile is set beside base_image"):
        env.docker.base_dockerfile = "FROM debian:12"
    assert env.docker.serialize() == {"base_image": "debian:12"}
    env.docker.base_image = None
    env.docker.base_dockerfile = "FROM debian:12"
    made = Environment.from_dockerfile("e", "FROM debian:12", pip_requirements="/nowhere.txt")
    assert (made.docker, made.python.user_managed_dependencies) == (env.docker, False)
    made = Environment.from_docker_image("e", "debian:12")
    assert made.python.user_managed_dependencies, "what the image brings"
    with pytest.raises(UserErrorException, match="both given"):
        Environment.from_docker_image("e", "debian:12", conda_specification="a.yml", pip_requirements="b.txt")
