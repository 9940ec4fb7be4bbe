"""A standalone Spark, master and workers of one core each, as a context: ``with standalone(python, folder) as url``."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepwell.compute.process import inherited_environment


@dataclass
class Standalone:
    """It, while it runs.

    :param url: of the master.
    :param page: of the master's state.
    """

    url: str
    page: str

    @property
    def state(self) -> dict[str, Any]:
        """What the master knows: ``aliveworkers``, ``activeapps``, …; empty while it does not answer."""
        try:
            with urllib.request.urlopen(self.page, timeout=5) as answer:  # noqa: S310 - our own address
                return dict(json.loads(answer.read()))
        except (OSError, ValueError):
            return {}


@contextmanager
def standalone(python: Path, folder: Path, workers: int = 2) -> Iterator[Standalone]:
    """Run a master and *workers* on loopback; they are ended afterwards.

    :param python: of an environment with PySpark.
    """
    (home,) = python.parent.parent.glob("lib/python*/site-packages/pyspark")
    port, web = _free_port(), _free_port()
    url, name = f"spark://127.0.0.1:{port}", "org.apache.spark.deploy"
    start = str(home / "bin" / "spark-class")
    environment = {**inherited_environment(), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_WORKER_DIR": str(folder / "work")}
    master = [f"{name}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web)]
    one = [f"{name}.worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0", url]
    with (folder / "log").open("wb") as log:
        running = [
            subprocess.Popen([start, *words], env=environment, cwd=folder, stdout=log, stderr=log)
            for words in (master, *workers * [one])
        ]
        try:
            cluster = Standalone(url, f"http://127.0.0.1:{web}/json/")
            deadline = time.monotonic() + 90
            while cluster.state.get("aliveworkers") != workers:
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
            yield cluster
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
