"""``docker compose up``, and the examples run; ``--scale worker=2``, and both work."""

from __future__ import annotations

import urllib.request

import pytest
from tests.compose.stack import ComposedAirflow, Stack

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(2400)]

ALWAYS = {"postgres", "redis", "api-server", "scheduler", "dag-processor", "triggerer", "worker"}


def test_all_is_up_healthy_and_without_rights(stack: Stack) -> None:
    assert set(stack.compose("ps", "--services").split()) == ALWAYS
    for service in sorted(ALWAYS):
        (container,) = stack.containers(service)
        about = stack.inspect(container)
        assert about["State"]["Health"]["Status"] == "healthy", service
        ports = [binding for found in about["NetworkSettings"]["Ports"].values() for binding in found or []]
        assert {port["HostIp"] for port in ports} == ({"127.0.0.1"} if service == "api-server" else set())
        assert not any("docker.sock" in str(mount) for mount in about["Mounts"])
        processes = stack.daemon.docker("top", container, "-eo", "user,pid,args").splitlines()[1:]
        assert [line for line in processes if line.split()[0] == "root"] == [], service
        password = stack.folder.joinpath(".env").read_text().split("REDIS_PASSWORD=")[1].split()[0]
        assert not any(password in line for line in processes), "command lines are seen by everybody"


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/v2/dags"), ("GET", "/api/v2/connections")])
def test_every_route_asks_for_a_login(stack: Stack, method: str, path: str) -> None:
    assert stack.ask(method, path)[0] == 401
    assert stack.ask("POST", "/auth/token", {"username": "admin", "password": "admin"})[0] == 401


def test_the_page_opens(stack: Stack) -> None:
    with urllib.request.urlopen(stack.url, timeout=30) as answer:
        assert "<html" in answer.read().decode()


def test_the_example_pipeline_and_what_it_starts(airflow: ComposedAirflow) -> None:
    """Prepare on Spark, gate, train; the scoring is started by what was published. Environments are built for it."""
    assert airflow.call("GET", "/importErrors")["import_errors"] == []
    run_id = airflow.succeed("titanic_pipeline", 1200)
    assert {t["state"] for t in airflow.tasks("titanic_pipeline", run_id).values()} == {"success"}
    assert "accuracy" in airflow.log("titanic_pipeline", run_id, "train", 1)
    (scoring,) = airflow.until("the scoring", lambda: airflow.runs("titanic_scoring"))
    assert airflow.run_ended("titanic_scoring", scoring["dag_run_id"], 600) == "success"


def test_more_workers_share_the_work(stack: Stack, airflow: ComposedAirflow) -> None:
    stack.up("--no-recreate", "--scale", "worker=2")
    workers = {container[:12] for container in stack.containers("worker")}
    assert len(workers) == 2
    run_id = airflow.succeed("compose_two_workers", 300)
    tasks = airflow.tasks("compose_two_workers", run_id)
    assert len(tasks) == 8
    assert {t["hostname"] for t in tasks.values()} == workers


def test_a_step_runs_on_the_machine_that_is_another_service(stack: Stack, airflow: ComposedAirflow) -> None:
    """The service ``attach`` has made it a compute target; the DAG says ``vm`` in place of ``local``."""
    stack.up("--build", "--scale", "worker=2", profiles=("targets",))
    airflow.succeed("on_vm", 600)
    (vm,) = stack.containers("vm")
    assert stack.daemon.docker("exec", vm, "sh", "-c", "ls ~/.stepwell").split()
    before = stack.compose("logs", "--no-color", "vm", profiles=("*",)).count("Accepted publickey for stepwell")
    assert before >= 1
    processes = stack.daemon.docker("top", vm, "-eo", "user,pid,args").splitlines()[1:]
    assert [line for line in processes if line.split()[0] == "root"] == []
