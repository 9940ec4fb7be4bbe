"""Wait for many jobs in one process, as a triggerer does, and print what that costs: ``waiting.py KIND COUNT SECONDS``.

KIND is ``bare`` (triggers that wait for nothing), or the name of a compute target on which the jobs of the workspace
are. All triggers are made by Airflow's own ``TriggerRunner``.
"""

import asyncio
import json
import logging
import os
import sys
import time
import uuid
from pathlib import Path

from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.executors.workloads.trigger import RunTrigger
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models.trigger import Trigger
from airflow.triggers.base import BaseTrigger

LOOKS = {"status": 0, "requests": 0, "logs": 0}


class Bare(BaseTrigger):
    """Waits for nothing."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def serialize(self):
        return "waiting.Bare", {"number": self.number}

    async def run(self):
        await asyncio.get_running_loop().create_future()
        yield


def memory():
    """Return this process's own memory, in bytes."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def workload(number, classpath, kwargs):
    """Return what makes the runner make a trigger."""
    ti = TaskInstanceDTO(
        id=uuid.uuid4(), task_id="wait", dag_id="waiting", run_id=f"run-{number}", try_number=1, map_index=-1,
        dag_version_id=uuid.uuid4(), pool_slots=1, queue="default", priority_weight=1,
    )  # fmt: skip
    return RunTrigger(id=number, classpath=classpath, encrypted_kwargs=Trigger.encrypt_kwargs(kwargs), ti=ti)


def counting(whole, counted):
    """Return a function that does the same, and is counted."""

    def wrapped(self, *args, **more):
        LOOKS[counted] += 1
        return whole(self, *args, **more)

    return wrapped


def count_looks():
    """Count what is asked of targets, and of machines over SSH."""
    from stepwell.compute.ssh.agent import Agent
    from stepwell.compute.target import JobDirectoryTarget

    for kind, name, counted in (
        (JobDirectoryTarget, "status", "status"),
        (JobDirectoryTarget, "log_part", "logs"),
        (Agent, "request", "requests"),
    ):
        setattr(kind, name, counting(getattr(kind, name), counted))


async def main(kind, count, seconds):
    """Wait, and print what it costs."""
    if kind != "bare":
        import stepwell.triggers  # noqa: F401

        count_looks()
    runner = TriggerRunner()
    runner.to_create.append(workload(1_000_000, "waiting.Bare", {"number": 0}))  # what the first one of all loads
    await runner.create_triggers()
    jobs = [] if kind == "bare" else json.loads(Path(os.environ["BENCH_JOBS"]).read_text())[:count]
    made = [
        workload(number, "waiting.Bare", {"number": number})
        if kind == "bare"
        else workload(number, "stepwell.triggers.job.JobTrigger", jobs[number])
        for number in range(count + 1 if kind == "bare" else count)
    ]
    if kind != "bare":  # ... and the first one of ours: the target, its connection
        runner.to_create.append(made.pop())
        await runner.create_triggers()
        await asyncio.sleep(5)
    before = memory()
    while made:
        runner.to_create.extend(made[-500:])
        del made[-500:]
        await runner.create_triggers()
        await asyncio.sleep(0.05)
    await asyncio.sleep(20)
    LOOKS.update(dict.fromkeys(LOOKS, 0))
    cpu, began = time.process_time(), time.monotonic()
    lag = 0.0
    while time.monotonic() - began < seconds:
        moment = time.monotonic()
        await asyncio.sleep(0.05)
        lag = max(lag, time.monotonic() - moment - 0.05)
    spent = time.monotonic() - began
    held = sum(not details["task"].done() for details in runner.triggers.values()) - 1
    print(
        json.dumps(
            {
                "memory": (memory() - before) / (count - 1),
                "cpu": (time.process_time() - cpu) / spent,
                "lag": lag,
                "held": held,
                **{name: number / spent for name, number in LOOKS.items()},
            }
        ),
        flush=True,
    )
    os._exit(0)


if __name__ == "__main__":
    logging.disable(logging.INFO)
    sys.modules["waiting"] = sys.modules["__main__"]
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
