"""1,000 and 10,000 jobs that are waited for in one triggerer process, on a machine behind SSH, beside bare triggers.

The triggers are made by Airflow's own ``TriggerRunner``. The jobs' directories are on a virtual machine (a network
namespace with a real sshd); what runs there is one sleeping process for all of them. Each side is a process of its own,
which waits for 20 s until it is measured for 30 s.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.figures import Bench, Figure, Sample
from support.processes import answer
from support.surroundings import PROJECT

TITLE = "1,000 and 10,000 jobs waited for in one process"
REPEAT = 2
KIB = 1024.0
FIGURES = [
    Figure("a waiting job's memory in the triggerer, 10,000 of them", lambda s: s["many_memory"] / KIB, "KiB", 20.0),
    Figure("… 1,000 of them", lambda s: s["few_memory"] / KIB, "KiB", 20.0),
    Figure("… a bare trigger's, 10,000 of them", lambda s: s["bare_memory"] / KIB, "KiB"),
    Figure("… requests to the machine, 10,000 jobs over 1,000", lambda s: s["many_requests"] / s["few_requests"],
           "×", 10.0, "< 10 ×"),
    Figure("… requests in a second, 10,000 jobs", lambda s: s["many_requests"], "requests/s"),
    Figure("… requests in a second, 1,000 jobs", lambda s: s["few_requests"], "requests/s"),
    Figure("… calls for the status of all, in a second, 10,000 jobs", lambda s: s["many_status"], ""),
    Figure("… of one core, 10,000 jobs", lambda s: s["many_cpu"] * 100, "%", 100.0),
    Figure("… of one core, 1,000 jobs", lambda s: s["few_cpu"] * 100, "%"),
    Figure("… of one core, 10,000 bare triggers", lambda s: s["bare_cpu"] * 100, "%"),
    Figure("… the longest time in which the triggerer's loop did nothing else", lambda s: s["many_lag"], "ms"),
]  # fmt: skip

_MAKE = """
import json, os, subprocess, sys
sys.path.insert(0, "/host-code")
root, count = sys.argv[1], int(sys.argv[2])
read, write = os.pipe()
if os.fork() == 0:
    os.setsid(); os.close(read)
    sys.path.insert(0, sys.argv[3])
    import processes
    os.write(write, json.dumps(processes.identity()).encode()); os.close(write)
    for stream in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    import time
    time.sleep(7200); os._exit(0)
os.close(write)
pid = os.read(read, 10000)
for number in range(count):
    job = "%s/jobs/waiting.wait.%05d-g1" % (root, number)
    for folder in ("logs", "events"):
        os.makedirs(job + "/" + folder)
    for name, text in (("pid", pid), ("owner", b"o"), ("lease", b""), ("logs/step.log", b"at work\\n"),
                       ("events/launcher-1.jsonl", b'{"kind": "phase", "t": 1}\\n')):
        with open(job + "/" + name, "wb") as file:
            file.write(text)
"""


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield bytes, requests in a second, and parts of a core."""
    few, many, seconds = (100, 300, 5) if bench.quick else (1000, 10000, 30)
    sys.path.insert(0, str(PROJECT))
    from tests.machines.vm import Vm

    vm = Vm("bench-waiting").start()
    try:
        os.environ.update(_prepare(bench, vm, many))
        program = [sys.executable, bench.programs / "waiting.py"]
        while True:
            sides: dict[str, float] = {}
            for side, kind, count in (("bare", "bare", many), ("few", "machine", few), ("many", "machine", many)):
                found: dict[str, Any] = answer([*program, kind, str(count), str(seconds)], env=os.environ)
                if found["held"] < count:
                    raise RuntimeError(f"of {count} triggers, {found['held']} still wait")
                sides.update({f"{side}_{name}": float(value) for name, value in found.items()})
            yield sides
    finally:
        vm.stop()


def _prepare(bench: Bench, vm: Any, count: int) -> dict[str, str]:
    """Make the jobs on the machine, their states in a workspace, and what tells of them; return variables."""
    from stepwell.compute import records
    from stepwell.step.waiting import Waiting
    from stepwell.workspace import Workspace

    root = f"/home/{vm.login}/stepwell"
    code = vm.path("/opt/code")
    code.mkdir()
    shutil.copy(PROJECT / "providers" / "stepwell" / "runtime" / "processes.py", code)
    (code / "make.py").write_text(_MAKE)
    vm.exec("python3", "/opt/code/make.py", root, str(count), "/opt/code", user=vm.login, stdin=subprocess.DEVNULL)
    ws = Workspace("default", bench.scratch / "workspace")
    records.write(ws, {
        "name": "machine", "kind": "remote", "type": "VirtualMachine", "connection_id": "machine",
        "configuration": {"host_key": vm.host_key, "root": root}, "tags": None, "description": None,
        "provisioning_state": "Succeeded", "is_attached": True, "report": None,
    })  # fmt: skip
    jobs = []
    for number in range(count):
        slug = f"waiting.wait.{number:05d}"
        head = {"slug": slug, "generation": 1, "phase": "submitted", "handle": None, "owner": "o"}
        ws.store.update(f"jobs/{slug}.json", lambda _, head=head: dict(head))
        run = f"{slug}-g1"
        jobs.append(
            Waiting("default", str(bench.scratch / "workspace"), slug, run, "machine", f"{root}/jobs/{run}", "o")
        )
    told = Path(bench.scratch, "jobs.json")
    told.write_text(json.dumps([job.to_dict() for job in jobs]))
    connection = {"conn_type": "ssh", "host": vm.address, "port": vm.port, "login": vm.login, "password": vm.password}
    return {"AIRFLOW_CONN_MACHINE": json.dumps(connection), "BENCH_JOBS": str(told)}
