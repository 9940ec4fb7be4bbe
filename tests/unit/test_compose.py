"""docker-compose.yaml says what the Compose specification allows, and keeps the house's own rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

COMPONENTS = {"api-server", "scheduler", "dag-processor", "triggerer"}


@pytest.fixture(scope="module")
def compose(project: Path) -> dict[str, Any]:
    return yaml.safe_load((project / "docker-compose.yaml").read_text())


@pytest.fixture(scope="module")
def schema(project: Path) -> dict[str, Any]:
    return json.loads((project / "tests" / "data" / "compose-spec.json").read_text())


def test_it_is_valid_by_the_specification(compose: dict[str, Any], schema: dict[str, Any]) -> None:
    errors = jsonschema.Draft202012Validator(schema).iter_errors(compose)
    assert [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in errors] == []


def test_the_schema_would_notice(compose: dict[str, Any], schema: dict[str, Any]) -> None:
    wrong = json.loads(json.dumps(compose))
    wrong["services"]["scheduler"]["comand"] = ["scheduler"]
    assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)


def test_every_component_of_airflow_is_there_and_reports_its_health(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == COMPONENTS | {"postgres", "init"}
    assert [name for name in services if name != "init" and "healthcheck" not in services[name]] == []
    for name in COMPONENTS:
        assert services[name]["command"] == [name]
        assert services[name]["depends_on"]["init"]["condition"] == "service_completed_successfully"


def test_no_secret_stands_in_it_and_none_has_a_default(compose: dict[str, Any], project: Path) -> None:
    environments = [service["environment"] for service in compose["services"].values()]
    secrets = {n: v for e in environments for n, v in e.items() if re.search("PASSWORD$|_KEY$|SECRET$", n)}
    assert len(secrets) == 4
    for name, value in secrets.items():
        assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name} is not required from .env"
    assert re.search(r":\$\{POSTGRES_PASSWORD:\?", environments[-1]["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    assert ".env" in (project / ".gitignore").read_text().splitlines()


def test_nothing_is_published_beyond_this_machine(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_it_mounts_and_copies_exists(compose: dict[str, Any], project: Path) -> None:
    mounts = [mount for service in compose["services"].values() for mount in service["volumes"]]
    folders = {mount.split(":")[0] for mount in mounts if mount.startswith("./")}
    assert folders == {"./dags", "./include", "./plugins"}
    volumes = {mount.split(":")[0] for mount in mounts} - folders
    assert volumes == set(compose["volumes"])
    copied = re.findall(r"^COPY (.+) \S+$", (project / "Dockerfile").read_text(), re.MULTILINE)
    kept = {line[1:] for line in (project / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    names = {name for line in copied for name in line.split()}
    assert names == kept, "what the Dockerfile copies is what .dockerignore lets through"
    assert [name for name in names | folders if not (project / name).exists()] == []


def test_make_compose_env_writes_every_secret_once(tmp_path: Path, project: Path) -> None:
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(project / "scripts" / "compose_env.py", tmp_path / "scripts")
    wanted = set(re.findall(r"\$\{(\w+):\?", (project / "docker-compose.yaml").read_text()))
    run = [sys.executable, script]
    subprocess.run(run, check=True, capture_output=True)
    written = (tmp_path / ".env").read_text()
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert {line.partition("=")[0] for line in written.splitlines()} == wanted
    subprocess.run(run, check=True, capture_output=True)
    assert (tmp_path / ".env").read_text() == written, "secrets that are in use stay"
