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

COMPONENTS = {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}
#: What is there without any profile.
ALWAYS = COMPONENTS | {"postgres", "redis", "init"}


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
    assert {name for name, service in services.items() if "profiles" not in service} == ALWAYS
    stays = [name for name, service in services.items() if service["restart"] != "no"]
    assert [name for name in stays if "healthcheck" not in services[name]] == []
    for name in COMPONENTS:
        assert services[name]["command"][-1] == name
        assert services[name]["depends_on"]["init"]["condition"] == "service_completed_successfully"


def test_no_secret_stands_in_it_and_none_has_a_default(compose: dict[str, Any], project: Path) -> None:
    environments = [service.get("environment", {}) for service in compose["services"].values()]
    secrets = {n: v for e in environments for n, v in e.items() if v and re.search("PASSWORD$|_KEY$|SECRET$|AUTH$", n)}
    assert len(secrets) == 6
    for name, value in secrets.items():
        assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name} is not required from .env"
    urls = {v for e in environments for v in e.values() if v and re.search("://[^/]*:.*@", v)}
    assert len(urls) == 3
    assert [url for url in urls if not re.search(r"://\w*:\$\{\w+:\?[^}]+\}@", url)] == []
    assert ".env" in (project / ".gitignore").read_text().splitlines()


def test_no_container_may_do_more_than_it_needs(compose: dict[str, Any], project: Path) -> None:
    assert "docker.sock" not in "".join(map(str, compose["services"].values()))
    for name, service in compose["services"].items():
        assert "privileged" not in service, name
        if name != "postgres":  # its official image starts as root and becomes another user
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
    assert re.search(r"^USER airflow$", (project / "Dockerfile").read_text(), re.MULTILINE)


def test_only_the_api_server_sees_the_passwords(compose: dict[str, Any]) -> None:
    assert [n for n, s in compose["services"].items() if "auth" in str(s.get("volumes"))] == ["api-server"]


def test_nothing_is_published_beyond_this_machine(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_it_mounts_and_copies_exists(compose: dict[str, Any], project: Path) -> None:
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    folders = {mount.split(":")[0] for mount in mounts if mount.startswith("./")}
    assert folders == {"./dags", "./include", "./plugins", "./docker/attach"}
    assert all(mount.endswith(":ro") for mount in mounts if mount.startswith("./"))
    volumes = {mount.split(":")[0] for mount in mounts} - folders
    assert volumes == set(compose["volumes"])
    builds = [service["build"] for service in compose["services"].values() if "build" in service]
    files = [project / build.get("dockerfile", "Dockerfile") for build in builds]
    lines = [line for file in files for line in file.read_text().splitlines() if line.startswith("COPY")]
    names = {name for line in lines if "--from=" not in line for name in line.split()[1:-1]}
    kept = [line[1:] for line in (project / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name in names:
        assert any(f"{name}/".startswith(f"{one}/") for one in kept), f".dockerignore keeps {name} out"
    for one in kept:
        assert any(f"{name}/".startswith(f"{one}/") for name in names), f"no image needs {one}"
    assert [name for name in names | folders if not (project / name).exists()] == []


def test_images_are_made_here_or_are_official_ones(compose: dict[str, Any]) -> None:
    services = compose["services"]
    made = {service["image"] for service in services.values() if "build" in service}
    assert {s["image"] for s in services.values() if s.get("pull_policy") == "never"} == made
    assert {s["image"] for s in services.values()} - made == {"postgres:17-bookworm", "redis:7-bookworm"}


def test_targets_see_neither_the_database_nor_the_queue(compose: dict[str, Any]) -> None:
    for name in ("vm", "cluster"):
        assert compose["services"][name]["networks"] == ["targets"]
        assert "environment" not in compose["services"][name]
        assert "ssh-login:/ssh/login:ro" in compose["services"][name]["volumes"]
    assert "networks" not in compose["services"]["postgres"]
    assert "networks" not in compose["services"]["redis"]


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
