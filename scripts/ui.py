"""Run Airflow with the example DAGs on loopback until Ctrl-C: ``make ui``.

``airflow standalone`` with three things added: it takes other ports when the usual ones are in use, it says one line
when everything is up, and it leaves no process behind, however it ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
SECONDS_TO_START = 180
SECONDS_TO_STOP = 20


class Stopped(Exception):
    """Somebody asked for the end."""


def free_port(wanted: int, taken: set[int]) -> int:
    """``wanted``, or the next port that is free, on every address of this machine."""
    for port in range(wanted, wanted + 500):
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise SystemExit(f"stepwell: no free port from {wanted} to {wanted + 499}")


def settings() -> tuple[dict[str, str], str]:
    """The environment of Airflow with ports that are free, and the address of its user interface."""
    taken: set[int] = set()
    port = free_port(int(os.environ.get("STEPWELL_UI_PORT", "8080")), taken)
    url = f"http://127.0.0.1:{port}"
    return {
        **os.environ,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port(8793, taken)),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port(8794, taken)),
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(free_port(8974, taken)),
    }, url


def is_healthy(url: str) -> bool:
    """Whether the server answers and every component has sent its heartbeat."""
    try:
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5) as answer:  # noqa: S310 (own http address)
            health = json.load(answer)
    except (OSError, ValueError):
        return False
    return all((health.get(name) or {}).get("status") == "healthy" for name in COMPONENTS)


def wait_until_healthy(airflow: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return when everything is up; SystemExit with the log's last lines when it does not come up."""
    deadline = time.monotonic() + SECONDS_TO_START
    while not is_healthy(url):
        if airflow.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-20:])
            raise SystemExit(f"{tail}\nstepwell: Airflow did not come up; its whole output is in {log}")
        time.sleep(0.5)


def members(session: int) -> list[int]:
    """The processes of a session (field 6 of /proc/<pid>/stat), whichever process group they made for themselves."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def signal_all(processes: list[int], number: signal.Signals) -> None:
    """Send a signal to each that is still there."""
    for pid in processes:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def stop(airflow: subprocess.Popen[bytes]) -> None:
    """End Airflow: SIGINT to the parent ends its children in order (SIGTERM would orphan them), then what remains."""
    session = airflow.pid
    if airflow.poll() is None:
        airflow.send_signal(signal.SIGINT)
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            signal_all(members(session), number)
        deadline = time.monotonic() + SECONDS_TO_STOP / 2
        while time.monotonic() < deadline:
            airflow.poll()
            if not members(session):
                return
            time.sleep(0.1)


def on_signal(number: int, frame: FrameType | None) -> None:
    """Turn SIGTERM and SIGHUP into the same orderly end as Ctrl-C."""
    raise Stopped


def main() -> int:
    """Run until told to stop, or until Airflow ends by itself (then: 1)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    environment, url = settings()
    home = Path(environment["AIRFLOW_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    log = home / "standalone.log"
    print("stepwell: starting Airflow", flush=True)
    begin = time.monotonic()
    with log.open("wb") as output:
        airflow = subprocess.Popen(
            [sys.executable, "-m", "airflow", "standalone"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        wait_until_healthy(airflow, url, log)
        print(f"stepwell: {url} is up after {time.monotonic() - begin:.0f} s (no login; this machine only)")
        print(f"stepwell: output of Airflow in {log}; Ctrl-C stops everything", flush=True)
        airflow.wait()
        print(f"stepwell: Airflow ended by itself; see {log}", file=sys.stderr)
        return 1
    except Stopped:
        print("\nstepwell: stopping", flush=True)
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        stop(airflow)


if __name__ == "__main__":
    sys.exit(main())
