"""The services of docker-compose.yaml, from a copy of the project's folder; and Airflow's REST API with a login."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from tests.machines.docker import DockerDaemon
from tests.support.airflow_server import Airflow

#: What is copied: what the images are made of, what is mounted, and what writes ``.env``.
COPIED = (
    "Dockerfile .dockerignore docker-compose.yaml LICENSE README.md pyproject.toml requirements-cluster.lock "
    "requirements-compose.lock requirements-tools.lock dags docker include plugins providers scripts"
).split()


class Stack:
    """One project of Compose.

    :param program: the words that start Compose.
    :param folder: an empty folder for the copy.
    """

    def __init__(self, program: list[str], daemon: DockerDaemon, source: Path, folder: Path) -> None:
        self.daemon = daemon
        self.folder = folder
        self.name = f"stepwell-test-{uuid.uuid4().hex[:8]}"
        self.port = _free_port()
        self._password = ""
        self._command = [*program, "--project-name", self.name]
        ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
        for name in COPIED:
            found = source / name
            copy = shutil.copytree if found.is_dir() else shutil.copy
            copy(found, folder / name, **({"ignore": ignore} if found.is_dir() else {}))
        subprocess.run([sys.executable, "scripts/compose_env.py"], cwd=folder, check=True, capture_output=True)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "COMPOSE"))},
            "DOCKER_HOST": daemon.host,
            "DOCKER_BUILDKIT": "0",  # a daemon of Debian has no other builder
            "STEPWELL_PORT": str(self.port),
        }

    @property
    def url(self) -> str:
        """Where Airflow is."""
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *arguments: str, profiles: tuple[str, ...] = (), check: bool = True) -> str:
        """Run a command of Compose and return what it said."""
        words = [word for profile in profiles for word in ("--profile", profile)]
        done = subprocess.run(
            [*self._command, *words, *arguments], cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode:
            log = "" if arguments[0] == "logs" else self.compose("logs", "--no-color", "--tail=25", check=False)
            raise AssertionError(f"{' '.join(arguments)}:\n{(done.stdout + done.stderr)[-3000:]}\n{log[-8000:]}")
        return done.stdout

    def up(self, *arguments: str, profiles: tuple[str, ...] = ()) -> None:
        """Bring the services up, and wait until all are healthy."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", "900", *arguments, profiles=profiles)

    def containers(self, service: str) -> list[str]:
        """Return the ids of the containers of a service that run."""
        return self.compose("ps", "--quiet", service, profiles=("*",)).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what the daemon knows about a container."""
        return dict(json.loads(self.daemon.docker("inspect", container))[0])

    def left(self) -> list[str]:
        """Return the containers, volumes and networks of this project."""
        mine = f"label=com.docker.compose.project={self.name}"
        kinds = (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
        return [name for kind in kinds for name in self.daemon.docker(*kind, "--quiet", "--filter", mine).split()]

    def down(self) -> None:
        """Remove everything."""
        self.compose("down", "--volumes", "--timeout", "20", profiles=("*",))

    # -- Airflow ---------------------------------------------------------------------------------------------------

    def password(self) -> str:
        """Return the password of ``admin``, as its owner reads it in the log of the first api-server."""
        if not self._password:
            log = self.compose("logs", "--no-color", "--no-log-prefix", "api-server")
            (line,) = {line for line in log.splitlines() if "Password for user 'admin'" in line}
            self._password = line.rpartition(":")[2].strip()
        return self._password

    def airflow(self) -> ComposedAirflow:
        """Return a client that has logged in."""
        token = self.ask("POST", "/auth/token", {"username": "admin", "password": self.password()})[1]["access_token"]
        return ComposedAirflow(self, token)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return status and answer of a request without a login."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, error.read()


class ComposedAirflow(Airflow):
    """The Airflow of a stack."""

    def __init__(self, stack: Stack, token: str) -> None:
        super().__init__(stack.folder, stack.url, token)
        self.stack = stack

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the task instances of a DAG run by task (mapped ones: and map index)."""
        found = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {t["task_id"] if t["map_index"] < 0 else f"{t['task_id']}-{t['map_index']}": t for t in found}

    def succeed(self, dag_id: str, seconds: float = 300) -> str:
        """Run a DAG to its good end, and return the run's id; if it ends otherwise, show the logs of what failed."""
        run_id = self.trigger(dag_id)
        state = self.run_ended(dag_id, run_id, seconds)
        if state != "success":
            tasks = self.tasks(dag_id, run_id)
            bad = {name: t for name, t in tasks.items() if t["state"] in ("failed", "up_for_retry")}
            logs = [
                f"{name}: {self.log(dag_id, run_id, t['task_id'], t['try_number'])[-5000:]}" for name, t in bad.items()
            ]
            raise AssertionError(
                f"{dag_id} {state}: { ({n: t['state'] for n, t in tasks.items()}) }\n" + "\n".join(logs)
            )
        return run_id

    def until(self, what: str, condition: Any, seconds: float = 120) -> Any:
        """Wait until *condition* is true and return what it returned; if it never is, show what the services said."""
        (self.home / "standalone.log").touch()
        try:
            return super().until(what, condition, seconds)
        except AssertionError as error:
            log = self.stack.compose("logs", "--no-color", "--tail=25", check=False)
            raise AssertionError(f"{error}\n{log[-8000:]}") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
