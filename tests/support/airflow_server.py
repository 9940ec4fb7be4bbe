"""The real Airflow, as ``make ui`` starts it: scheduler, dag processor, triggerer, web server; and a REST client."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS_TO_START = 200.0
ENDED = {"success", "failed", "upstream_failed", "skipped"}


@dataclass
class Airflow:
    """A running Airflow.

    :param home: all that it writes is below this folder; its path is in the environment of every process it starts.
    """

    home: Path
    url: str
    _token: str | None = field(default=None, repr=False)

    # -- REST ------------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API (``/api/v2`` is put before *path*) and return its answer."""
        if self._token is None:
            self._token = str(self._ask("GET", "/auth/token", None, {})["access_token"])
        return self._ask(method, f"/api/v2{path}", body, {"Authorization": f"Bearer {self._token}"})

    def page(self, path: str) -> str:
        """Return a page as a browser gets it, links as they are on the task instance."""
        request = urllib.request.Request(self.url + path, headers={"Accept": "text/html"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json", **headers}, method=method
        )
        for attempt in range(5):  # SQLite: a busy moment answers 500 or 503
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code < 500 or attempt == 4:
                    raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()[:500]}") from None
                time.sleep(1)
        raise AssertionError("not reached")

    # -- what tests do with it -------------------------------------------------------------------------------------

    def trigger(self, dag_id: str) -> str:
        """Start a run of the DAG and return its id."""
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None})["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the DAG's runs, oldest first."""
        return list(self.call("GET", f"/dags/{dag_id}/dagRuns?order_by=run_after&limit=100")["dag_runs"])

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return the task instance."""
        return dict(self.call("GET", f"{_run(dag_id, run_id)}/taskInstances/{task_id}"))

    def links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str]:
        """Return the extra links of the task instance."""
        return dict(self.call("GET", f"{_run(dag_id, run_id)}/taskInstances/{task_id}/links")["extra_links"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return an XCom's value."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{key}?deserialize=false"
        value = self.call("GET", path)["value"]
        return json.loads(value) if isinstance(value, str) else value

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> str:
        """Return the log of one try of a task."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        return json.dumps(self.call("GET", path)["content"])

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark the task instance, as the button in the interface does."""
        self.call("PATCH", f"{_run(dag_id, run_id)}/taskInstances/{task_id}", {"new_state": state})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear the task instance, running or not."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "only_failed": False}
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def run_ended(self, dag_id: str, run_id: str, seconds: float = 240) -> str:
        """Wait for the end of a DAG run and return its state."""
        return str(
            self.until(
                f"the end of {dag_id} {run_id}",
                lambda: (state := self.call("GET", _run(dag_id, run_id))["state"]) in ENDED and state,
                seconds,
            )
        )

    def until(self, what: str, condition: Callable[[], Any], seconds: float = 120) -> Any:
        """Wait until *condition* is true and return what it returned; if it never is, show what Airflow said."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                said = "\n".join((self.home / "standalone.log").read_text(errors="replace").splitlines()[-40:])
                raise AssertionError(f"{what} did not come in {seconds} s. Airflow's last words:\n{said}")
            time.sleep(0.3)
        return found


def _run(dag_id: str, run_id: str) -> str:
    return f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id, safe='')}"


def processes(*words: str, sessions: Iterable[int] = ()) -> dict[int, str]:
    """Return the processes that have one of *words* in command line or environment, or are of one of the *sessions*.

    A process that has given itself a title has no environment to look at any more: Airflow's have.

    :returns: pid → command line; without this process and those that have ended.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            everything = line + (entry / "environ").read_bytes().decode(errors="replace")
            state, _, _, session = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if state != "Z" and (int(session) in sessions or any(word in everything for word in words)):
            found[int(entry.name)] = line
    return found


def settings(project: Path) -> dict[str, str]:
    """Return the environment that the Makefile's commands have."""
    shown = subprocess.run(
        ["sh", "-c", ". scripts/env.sh && exec env -0"], cwd=project, capture_output=True, check=True, text=True
    ).stdout
    return dict(line.partition("=")[::2] for line in shown.split("\0") if line)


@contextmanager
def running(project: Path, home: Path, **variables: str) -> Iterator[Airflow]:
    """Run Airflow as ``make ui`` does, and stop it as Ctrl-C does. Nothing of it may be left.

    :param home: an empty folder for all that it writes.
    :param variables: more of the environment.
    """
    environment = {
        **settings(project),
        "PYTHONPATH": str(project / "providers"),  # this tree, whatever is installed
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        **variables,
    }
    home.mkdir(parents=True, exist_ok=True)
    output = home / "ui.out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "scripts/ui.py"], cwd=project, env=environment, stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not (up := re.search(r"stepwell: (http://\S+) is up", said := output.read_text())):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.3)
        yield Airflow(home, up.group(1))
    finally:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        sessions = [int(pid) for pid in children.read_text().split()] if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()
            left = processes(str(home), sessions=sessions)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
    assert not left, f"left behind by scripts/ui.py: {left}"
