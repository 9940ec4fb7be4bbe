"""Containers, here and on a machine behind SSH: a step over a bare ``docker run``, and environments as images.

A step: its whole life without Airflow's share, warm, code unchanged, over ``docker run --rm --init`` of the same script
in the same image, with the same mounts and network, by Docker's command line; for the machine over ``docker -H ssh://…
run`` there. The machine is a network namespace with a real sshd and a Docker of its own, so there is no latency.
Environments: numpy and pandas as a layer, built on one machine with a warm cache of packages, found again, and wanted
on a second machine that has the base image only.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support.figures import Bench, Figure, Sample
from support.processes import timed
from support.surroundings import PROJECT

TITLE = "containers here and behind SSH: steps, environments"
REPEAT = 7
FIGURES = [
    Figure("docker: a step, more than `docker run` of its script", lambda s: s["docker"] - s["run"], "s", 0.3),
    Figure("… the step", lambda s: s["docker"], "s"),
    Figure("… `docker run`", lambda s: s["run"], "s"),
    Figure("remotedocker: a step, over `docker -H ssh://… run`", lambda s: s["remote"] / s["ssh_run"], "×", 1.0),
    Figure("… the step", lambda s: s["remote"], "s"),
    Figure("… `docker -H ssh://… run`", lambda s: s["ssh_run"], "s"),
    Figure("environment image: second build of the same key", lambda s: s["again"], "s", 0.2),
    Figure("… on a second machine, over building it there", lambda s: s["second"] / s["built"], "×", 1.0),
    Figure("… on a second machine", lambda s: s["second"], "s"),
    Figure("… built there", lambda s: s["built"], "s"),
    Figure("… prepared there for the first time, its archive for others included", lambda s: s["first"], "s"),
]
PACKAGES = ["numpy", "pandas<3"]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    sys.path.append(str(PROJECT))
    from tests.machines.docker import DockerDaemon
    from tests.machines.vm import Vm

    daemon = DockerDaemon(Path(tempfile.mkdtemp(prefix="stepwell-bench-docker-")))  # it goes later than the scratch
    daemon.start()
    atexit.register(daemon.remove)
    image = daemon.make_image()
    machines = [Vm("one").start(), Vm("two").start()]
    for vm in machines:
        atexit.register(vm.stop)
        vm.dockerd()
        with subprocess.Popen(daemon.command("save", image), stdout=subprocess.PIPE) as saving:
            subprocess.run(vm.command("docker", "load"), stdin=saving.stdout, check=True, capture_output=True)
    steps = {name: _step(bench, name, image, daemon, machines[0]) for name in ("box", "vm")}
    for step in (*steps.values(), *steps.values()):
        _live(step)
    here = bench.scratch / "bare"
    here.mkdir()
    (here / "main.py").write_text("print('hello')\n")
    machines[0].exec("sh", "-c", "mkdir -p /home/ml/bare; echo 'print(\"hello\")' >/home/ml/bare/main.py")
    client = _client(bench.scratch, machines[0])
    _warm(bench, machines[0], image)
    number = 0
    while True:
        number += 1
        sample: dict[str, float] = {}
        sample["docker"] = _live(steps["box"])
        sample["run"] = timed(daemon.command(*_bare(image, str(here))))
        sample["remote"] = _live(steps["vm"])
        sample["ssh_run"] = timed(
            ["docker", "-H", f"ssh://{machines[0].login}@{machines[0].address}", *_bare(image, "/home/ml/bare")],
            env={**os.environ, "PATH": f"{client}:{os.environ['PATH']}"},
        )
        cache = bench.scratch / f"cache-{number}"
        said: list[str] = []
        sample["first"], key = _prepare(machines[0], image, cache, said.append)
        (sample["built"],) = (float(found[1]) for line in said if (found := re.search(r" built in ([\d.]+) s", line)))
        sample["again"], _ = _prepare(machines[0], image, cache, said.append)
        sample["second"], same = _prepare(machines[1], image, cache, said.append)
        assert key == same
        for vm in machines:  # so that the next round builds it again
            vm.exec("docker", "rmi", "--force", key)
        yield sample


def _bare(image: str, folder: str) -> list[str]:
    mount = ["--volume", f"{folder}:{folder}", "--workdir", folder]
    return ["run", "--rm", "--init", "--network", "none", *mount, image, "python3", "main.py"]


def _client(folder: Path, vm: Any) -> Path:
    """Return a folder with an ``ssh`` that logs in there with a key, for Docker's command line."""
    place = folder / "bin"
    place.mkdir()
    options = f"-i {vm.key_file} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    (place / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh {options} "$@"\n')
    (place / "ssh").chmod(0o755)
    return place


def _target(vm: Any, image: str, cache: Path) -> Any:
    from stepwell.compute import ssh
    from stepwell.compute.docker.settings import ContainerSettings
    from stepwell.compute.kinds.remotedocker import RemoteDockerTarget

    root = f"/home/{vm.login}/images"
    address = ssh.Address(vm.address, vm.port, vm.login, (vm.host_key,), root=root, password=vm.password)
    return RemoteDockerTarget(vm.name, address, root, cache, ContainerSettings(base_image=image, network="host"))


def _prepare(vm: Any, image: str, cache: Path, log: Callable[[str], object]) -> tuple[float, str]:
    """Return how long a worker that has seen nothing yet takes to prepare the environment, and its image."""
    from stepwell.compute import portal

    target = _target(vm, image, cache)
    portal.call(target.probe())  # the connection is there; what is looked at once per image is known
    began = time.perf_counter()
    found = portal.call(target.prepare({"pip": PACKAGES}, log))
    return time.perf_counter() - began, str(found.image)


def _warm(bench: Bench, vm: Any, image: str) -> None:
    """Fetch the packages once; the cache of the installer keeps them."""
    _, found = _prepare(vm, image, bench.scratch / "warm", print)
    vm.exec("docker", "rmi", "--force", found)


def _step(bench: Bench, name: str, image: str, daemon: Any, vm: Any) -> Any:
    from stepwell import ComputeTarget, DockerCompute, Environment, RemoteDockerCompute, Workspace
    from stepwell.operators import PythonScriptStepOperator
    from stepwell.workspace.connections import ConnectionInfo, set_connection_source

    class Source:
        def get(self, conn_id: str) -> ConnectionInfo | None:
            found = ConnectionInfo(conn_id, "ssh", vm.address, vm.port, vm.login, vm.password)
            return found if conn_id == "vm" else None

    set_connection_source(Source())
    configuration = (
        DockerCompute.attach_configuration(image, network="none", docker_host=daemon.host)
        if name == "box"
        else RemoteDockerCompute.attach_configuration(
            ssh_conn_id="vm", host_key=vm.host_key, base_image=image, network="none"
        )
    )
    ComputeTarget.attach(Workspace.from_config(), name, configuration)
    environment = Environment("there")
    environment.python.user_managed_dependencies = True
    source = bench.scratch / f"source-{name}"
    source.mkdir()
    (source / "main.py").write_text("print('hello')\n")
    return PythonScriptStepOperator(
        task_id="inside",
        script_name="main.py",
        source_directory=str(source),
        compute_target=name,
        environment=environment,
        allow_reuse=False,
    )


def _live(step: Any) -> float:
    from stepwell import Workspace
    from stepwell.step.life import Life
    from stepwell.step.spec import JobKey

    key = JobKey("bench", "a_dag", uuid.uuid4().hex, "inside")
    log = logging.getLogger("stepwell.step")
    began = time.perf_counter()
    Life(Workspace.from_config(), step.specification({}), key, try_number=1, triggering=(), log=log).live()
    return time.perf_counter() - began
