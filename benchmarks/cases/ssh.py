"""A machine behind SSH: a step over a bare command, shipping 5,000 files beside rsync, and a log's way into the run.

The machine is a network namespace with a real sshd, so there is no latency. A step: its whole life without Airflow's
share, warm, code unchanged, over the same script run by a command on a connection that is open. Shipping: from the
snapshot's archive to the job's folder there, the first time and again, beside ``rsync -a`` of the same files, which
opens a connection of its own. Log: 200 MB that a script prints; from its start until the last byte is in a file here,
as it comes; and how long fetching the ended job's logs takes, of which the run's files are made.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.figures import Bench, Figure, Sample
from support.processes import timed
from support.surroundings import PROJECT

TITLE = "a machine behind SSH: steps, shipping, logs"
REPEAT = 7
FILES, LOG_BYTES = 5000, 200_000_000
FIGURES = [
    Figure("SSH: a step, more than its script on an open connection", lambda s: s["step"] - s["bare"], "s", 0.3),
    Figure("… the script on an open connection", lambda s: s["bare"], "s"),
    Figure("… of what the step takes, its job", lambda s: s["run"], "s"),
    Figure("shipping 5,000 files to it, over rsync: first", lambda s: s["first"] / s["rsync_first"], "×", 1.0),
    Figure("… unchanged", lambda s: s["unchanged"], "s", 0.1),
    Figure("… first", lambda s: s["first"], "s"),
    Figure("… `rsync`, first", lambda s: s["rsync_first"], "s"),
    Figure("… `rsync`, unchanged", lambda s: s["rsync_unchanged"], "s"),
    Figure("a log from it, while it is printed", lambda s: LOG_BYTES / 1e6 / s["log"], "MB/s", at_least=50.0),
    Figure(
        "… collected, with the driver's copies, as the run's files", lambda s: LOG_BYTES / 1e6 / s["collect"], "MB/s"
    ),
]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    from stepwell.compute import portal

    sys.path.append(str(PROJECT))
    from tests.machines.vm import Vm

    vm = Vm("bench").start()
    atexit.register(vm.stop)
    step = _step(bench, vm)
    target = _target(vm)
    archive, tree = _tree(bench.scratch)
    portal.call(target.probe())
    portal.call(target.files.write("/home/ml/main.py", b"print('hello')\n"))
    for _ in range(2):
        _live(step)
    number = 0
    while True:
        sample: dict[str, float] = {}
        sample["step"], sample["run"] = _live(step)
        sample["bare"] = portal.call(_bare(target))
        vm.run("sh", "-c", f"rm -rf {target.root}/archives {target.root}/jobs /home/ml/rsync")
        for what in ("first", "unchanged"):
            number += 1
            job = _job(target, f"ship-{number}", archive)
            began = time.perf_counter()
            portal.call(target.stage(job))
            sample[what] = time.perf_counter() - began
            _settle(vm, f"{target.root}/archives")
        for what in ("first", "unchanged"):
            sample[f"rsync_{what}"] = _rsync(vm, tree)
        number += 1
        sample["log"], sample["collect"] = _log(bench, vm, target, f"log-{number}")
        yield sample


def _target(vm: Any) -> Any:
    from stepwell.compute import ssh
    from stepwell.compute.kinds.remote import RemoteTarget

    root = f"/home/{vm.login}/bench"
    address = ssh.Address(vm.address, vm.port, vm.login, (vm.host_key,), root=root, password=vm.password)
    return RemoteTarget("vm", address, root)


def _step(bench: Bench, vm: Any) -> Any:
    from stepwell import ComputeTarget, Environment, RemoteCompute, Workspace
    from stepwell.operators import PythonScriptStepOperator
    from stepwell.workspace.connections import ConnectionInfo, set_connection_source

    class Source:
        def get(self, conn_id: str) -> ConnectionInfo | None:
            found = ConnectionInfo(conn_id, "ssh", vm.address, vm.port, vm.login, vm.password)
            return found if conn_id == "vm" else None

    set_connection_source(Source())
    configuration = RemoteCompute.attach_configuration(ssh_conn_id="vm", host_key=vm.host_key)
    ComputeTarget.attach(Workspace.from_config(), "vm", configuration)
    environment = Environment("there")
    environment.python.user_managed_dependencies = True
    source = bench.scratch / "source"
    source.mkdir()
    (source / "main.py").write_text("print('hello')\n")
    return PythonScriptStepOperator(
        task_id="far",
        script_name="main.py",
        source_directory=str(source),
        compute_target="vm",
        environment=environment,
        allow_reuse=False,
    )


def _live(step: Any) -> tuple[float, float]:
    from stepwell import Workspace
    from stepwell.step.life import Life
    from stepwell.step.spec import JobKey

    key = JobKey("bench", "a_dag", uuid.uuid4().hex, "far")
    log = logging.getLogger("stepwell.step")
    began = time.perf_counter()
    life = Life(Workspace.from_config(), step.specification({}), key, try_number=1, triggering=(), log=log)
    life.live()
    return time.perf_counter() - began, life.record.facts["phases"]["run"]


async def _bare(target: Any) -> float:
    from stepwell.compute import ssh

    connection = await ssh.connection(target.address).ssh()
    began = time.perf_counter()
    done = await connection.run("python3 /home/ml/main.py", check=True)
    seconds = time.perf_counter() - began
    assert done.stdout == "hello\n"
    return seconds


def _job(target: Any, job_id: str, archive: Path) -> Any:
    from stepwell.compute.contract import Entry, EnvironmentRef, Job

    environment = EnvironmentRef("there", "/usr/bin/python3", None, user_managed=True)
    phases = target.phases(Entry("python", script="main.py"), environment, target.layout(job_id))
    return Job(job_id, {"job_id": job_id, "owner": "bench", "phases": phases}, archive)


def _tree(folder: Path) -> tuple[Path, Path]:
    """Write a snapshot of small files, and the same as a folder."""
    archive, tree = folder / "code.zip", folder / "tree"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        out.writestr("main.py", "print('hello')\n")
        for n in range(FILES - 1):
            words = " ".join(f"value_{n * i % 9973}" for i in range(400))
            out.writestr(f"package_{n % 50}/module_{n}.py", f"X = '''{words}'''\n")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tree)
    return archive, tree


def _settle(vm: Any, archives: str) -> None:
    """Wait for the copy that is made for the next job, as any job takes longer than that."""
    deadline = time.monotonic() + 20
    while vm.run("sh", "-c", f"ls -d {archives}/*.spare").returncode and time.monotonic() < deadline:
        time.sleep(0.1)


def _rsync(vm: Any, tree: Path) -> float:
    client = f"ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i {vm.key_file}"
    return timed(["rsync", "-a", "-e", client, f"{tree}/", f"{vm.login}@{vm.address}:/home/ml/rsync/"])


def _log(bench: Bench, vm: Any, target: Any, job_id: str) -> tuple[float, float]:
    from stepwell.compute import portal

    count = LOG_BYTES // 100_000
    archive, here = bench.scratch / "log.zip", bench.scratch / "step.log"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr(
            "main.py", f"import os\nlines = b'x' * 97 + b'ab\\n'\nfor _ in range({count}): os.write(1, lines * 1000)\n"
        )
    job = _job(target, job_id, archive)
    portal.call(target.stage(job))
    began = time.perf_counter()
    handle = portal.call(target.submit(job))
    found = hashlib.sha256()
    with open(here, "wb") as file:
        for piece in portal.iterate(target.logs(handle)):
            file.write(piece)
            found.update(piece)
    seconds = time.perf_counter() - began
    there = subprocess.run(["sha256sum", vm.path(f"{handle.directory}/logs/step.log")], capture_output=True, text=True)
    assert there.stdout.split()[0] == found.hexdigest(), "a part of the log is missing"
    assert here.stat().st_size >= LOG_BYTES
    began = time.perf_counter()
    portal.call(target.collect(handle, bench.scratch / "collected"))
    collected = time.perf_counter() - began
    portal.call(target.forget(handle))
    return seconds, collected
