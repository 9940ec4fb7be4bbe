"""A search in a Spark application: the driver reads what only Spark can, and lends executors to the search's process.

The search itself is another process, so that neither hinders the other: FLAML changes settings of a session that it
finds. What the search asks for is one job, whose tasks each watch over one worker; the job's group ends all of it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from stepwell.payload.automl import wire
from stepwell.payload.automl.errors import AutoMLError
from stepwell.payload.automl.pools import POOL, POOL_TOKEN

#: What ``spark-submit`` tells its driver; no other process may take itself for the driver.
GATEWAY = ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET")


def is_driver() -> bool:
    """Whether this process is the driver of an application that ``spark-submit`` has started."""
    return GATEWAY[0] in os.environ


def drive(job_directory: str) -> int:
    """Be the driver of a step's search; return its exit code.

    What only Spark can read is read here, once: until now it was a definition and no data.
    """
    from stepwell.payload.context import JobContext

    job = JobContext(job_directory)
    lender = _Lender(f"automl-{job.run_id}")
    if not any(_is_remote(file) for dataset in job.datasets.values() for file in dataset.get("files") or ()):
        return run([job_directory], lender, lambda: lender.lend(_session().sparkContext))
    from stepwell.payload.automl.reading import read_inputs

    session, folder = _session(), os.path.join(job_directory, "work", "automl")
    paths = save_frames(read_inputs(job, session), folder)
    with open(os.path.join(folder, "inputs.json"), "w", encoding="utf-8") as file:
        json.dump(paths, file)
    return run([job_directory], lender, lambda: lender.lend(session.sparkContext))


def _session() -> Any:
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


def save_frames(frames: Mapping[str, Any], folder: str) -> dict[str, str]:
    """Write frames as parquet files for the search's process, and return their paths."""
    os.makedirs(folder, exist_ok=True)
    paths = {name: os.path.join(folder, f"{name}.parquet") for name in frames}
    for name, path in paths.items():
        frames[name].to_parquet(path, index=False)
    return paths


def _is_remote(file: Any) -> bool:
    return "://" in str(file) and not str(file).startswith("file:")


def search(arguments: list[str], context: Any, group: str) -> int:
    """Search on the executors of a script's ``SparkContext``; return the exit code of the search's process."""
    lender = _Lender(group)
    return run(arguments, lender, lambda: lender.lend(context))


def run(arguments: list[str], lender: _Lender, lend: Callable[[], None]) -> int:
    """Run the search's process beside this driver, and its workers on the executors; return its exit code.

    :param arguments: of ``stepwell.payload.automl.main``.
    :param lend: gets the executors ready, while that process prepares the data.
    """
    environment = {**os.environ, POOL: lender.address, POOL_TOKEN: lender.token}
    for name in GATEWAY:
        environment.pop(name, None)
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    argv = [sys.executable, "-m", "stepwell.payload.automl.main", *arguments]
    child = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL)
    before = _pass_on(child)
    try:
        lend()
        return child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        lender.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_on(child: subprocess.Popen[bytes]) -> dict[int, Any]:
    """Let the search hear that it is to end."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = (signal.SIGTERM, signal.SIGINT)
    return {int(n): signal.signal(n, lambda number, frame: child.send_signal(number)) for n in numbers}


class _Lender:
    """Runs the jobs that the search asks for."""

    def __init__(self, group: str) -> None:
        self._context: Any = None
        self._group = group
        self._ready = threading.Event()
        self._running = False
        self.host = "127.0.0.1"
        self.token = secrets.token_hex(32)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def lend(self, context: Any) -> None:
        """Lend the executors of *context*."""
        self._context = context
        if not str(context.master).startswith("local") or "cluster" in str(context.master):
            self.host = context.getConf().get("spark.driver.host", "127.0.0.1")
            self._ship_code()
        self._ready.set()

    def close(self) -> None:
        """End whatever still runs."""
        self._socket.close()
        self._cancel()

    def _cancel(self) -> None:
        if self._running:
            self._context.cancelJobGroup(self._group)

    def _serve(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        with wire.Line(connection) as line:
            try:
                if wire.admit(line, self.token) is None:
                    return
                while True:
                    message, _ = line.receive()
                    line.send(self._answer(message))
            except (OSError, ValueError, KeyError):
                self._cancel()  # the search has gone

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        self._ready.wait()
        if message["kind"] == "about":
            each = int(self._context.getConf().get("spark.task.cpus", "1"))
            return {"cores": cores_of(self._context), "each": each, "host": self.host}
        numbers = message["workers"]
        task = partial(_task, message["address"], message["token"], message["engine"], int(message["threads"]))
        self._running = True
        try:
            self._context.setJobGroup(self._group, "workers of an AutoML search", True)
            self._context.parallelize(numbers, len(numbers)).mapPartitions(task).collect()
        except Exception as error:  # cancelled, or its executors are gone for good
            return {"error": _reason(error)}
        finally:
            self._running = False
        return {}

    def _ship_code(self) -> None:
        """Send our own modules to executors, which may be on machines without them."""
        root = Path(__file__).parents[2]
        archive = Path(tempfile.mkdtemp(prefix="stepwell-automl-"), "stepwell_automl.zip")
        with zipfile.ZipFile(archive, "w") as file:
            file.write(root / "__init__.py", "stepwell/__init__.py")
            for part in ("runtime", "payload"):
                for path in sorted((root / part).rglob("*.py")):
                    file.write(path, str(Path("stepwell") / path.relative_to(root)))
        self._context.addPyFile(str(archive))


def _reason(error: Exception) -> str:
    """Return why Spark has ended a job: the error of the task, which stands deep in Spark's own words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [
        line for line in lines if re.match(r"(\w+\.)*\w*(Error|Exception): ", line) and "SparkException" not in line
    ]
    return (named[-1] if named else lines[0] if lines else type(error).__name__)[:500]


def cores_of(context: Any) -> int:
    """Return how many cores the application has."""
    conf = context.getConf()
    if str(context.master).startswith("local"):
        return int(context.defaultParallelism)
    asked = conf.get("spark.cores.max")
    if asked is None and conf.get("spark.executor.instances"):
        asked = int(conf.get("spark.executor.instances")) * int(conf.get("spark.executor.cores", "1"))
    return int(asked or context.defaultParallelism)


def _task(address: str, token: str, engine: str, threads: int, numbers: Iterable[int]) -> Iterator[int]:
    """Watch over the workers of one partition, on an executor."""
    from stepwell.payload.automl.keeper import keep

    for number in numbers:
        keep(address, token, number, engine, threads)
        yield number


def session_of(context: Any) -> Any:
    """Return the session of a context that a script has handed over.

    :raises AutoMLError: it is no ``SparkContext``, such as a session of Spark Connect.
    """
    if not hasattr(context, "parallelize"):
        raise AutoMLError(
            f"spark_context={context!r} is no SparkContext", hint="Give spark.sparkContext of a classic Spark session"
        )
    return context
