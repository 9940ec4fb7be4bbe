"""What the agent does with processes: launchers, which outlive it, and short commands, which do not."""

from __future__ import annotations

import os
import signal
import sys

from stepwell.runtime import processes
from stepwell.runtime.agent import kill_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stepwell.runtime.agent import Agent

    Request = dict[str, Any]

_PIECE = 1 << 16


def hello() -> dict[str, Any]:
    """Return what the other end must know of this machine at once."""
    import sysconfig

    return {
        "python": sys.executable,
        "version": ".".join(map(str, sys.version_info[:3])),
        "platform": sysconfig.get_platform(),
        "home": os.path.expanduser("~"),
        "path": os.environ.get("PATH", ""),
        "pid": os.getpid(),
        "where": processes.here(),
    }


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Return the variables of what is started: those of the login, without what only tells of this channel."""
    return dict({name: value for name, value in os.environ.items() if not name.startswith("SSH_")}, **(more or {}))


def start(agent: Agent, request: Request, _body: bytes) -> int:
    """Start a launcher and return its pid; its end will be told under the request's token."""
    import subprocess

    path = os.path.join(request["directory"], "logs", "launcher.log")
    with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as log:
        process = subprocess.Popen(
            request["argv"], cwd="/", env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    agent.launchers.append((request["token"], process))
    return process.pid


def look(_agent: Agent, request: Request, _body: bytes) -> list[Any]:
    """Return of each process whether it runs: True, False, or why that is not known: "elsewhere", "restarted"."""
    found: list[Any] = []
    here = processes.here().split()
    for process in request["processes"]:
        alive = processes.is_alive(process)
        if alive is None:
            restarted = str(process.get("where")).split()[:1] != here[:1]
            found.append("restarted" if restarted else "elsewhere")
        else:
            found.append(alive)
    return found


def stop(_agent: Agent, request: Request, _body: bytes) -> None:
    """Send SIGTERM to a process, if it is still the same."""
    process = request["process"]
    if processes.is_alive(process):
        processes.signal_all([int(process["pid"])], signal.SIGTERM)


def sweep(_agent: Agent, request: Request, _body: bytes) -> list[int]:
    """Kill what is left of a dead launcher's session."""
    return processes.kill_session_of(request["process"])


def run(agent: Agent, request: Request, body: bytes) -> Any:
    """Run a command to its end; return its exit code and output. With "stream" its output is told as it comes."""
    import subprocess

    stream = bool(request.get("stream"))
    process = subprocess.Popen(
        request["argv"], cwd=request.get("cwd") or "/", env=environment(request.get("variables")),
        stdin=subprocess.PIPE if body else subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if stream else subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    agent.commands[request["id"]] = process
    try:
        if not stream:
            try:
                out, err = process.communicate(body or None, request["timeout"])
            except subprocess.TimeoutExpired:
                return {"timeout": True}
            return {"code": process.returncode, "split": len(out)}, out + err
        if process.stdin is not None:
            process.stdin.write(body)
            process.stdin.close()
        assert process.stdout is not None  # noqa: S101 - asked for above
        while True:
            piece = os.read(process.stdout.fileno(), _PIECE)
            if not piece:
                break
            agent.send({"id": request["id"], "part": True}, piece)
        return {"code": process.wait(), "split": 0}
    finally:
        del agent.commands[request["id"]]
        kill_group(process.pid)
        process.wait()


def kill(agent: Agent, request: Request, _body: bytes) -> None:
    """End a command that runs, by the number of its request."""
    process = agent.commands.get(request["command"])
    if process is not None:
        kill_group(process.pid)


def call(_agent: Agent, request: Request, _body: bytes) -> Any:
    """Call a function of Stepwell's own runtime or payload with plain JSON, and return the same."""
    import importlib

    module = request["module"]
    if not module.startswith(("stepwell.runtime.", "stepwell.payload.")):
        raise ValueError(f"{module} is none of Stepwell's modules")
    return getattr(importlib.import_module(module), request["function"])(**request["arguments"])


#: Done at once.
QUICK = {"start": start, "look": look, "stop": stop, "kill": kill}
#: What may take long has a thread of its own.
SLOW = {"sweep": sweep, "run": run, "call": call}
