"""Whoever watches over one worker's process: starts it, kills it when it must be, starts it again when it has died.

Runs in a thread of the search's process, or in a task of Spark on an executor. What a trial does to its process, a
crash, a full memory, an endless loop, ends that process and nothing else.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack

from stepwell.payload.automl import wire

#: How often a worker is looked after, in seconds.
LOOK_SECONDS = 0.25


def keep(address: str, token: str, number: int, engine: str, threads: int) -> None:
    """Keep worker *number* running until the search is over.

    :param engine: its name; the worker loads it at once.
    :param threads: how many cores a trial may use.
    """
    folder = os.path.join(tempfile.gettempdir(), f"stepwell-automl-{secrets.token_hex(8)}")  # made if it is needed
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        line = stack.enter_context(wire.connect(address, token, role="keeper", worker=number))
        again = True
        while again:
            child = _start([address, str(number), folder, engine], token, threads)
            try:
                killed = _watch(child, line)
            finally:
                if child.poll() is None:
                    child.kill()
                child.wait()
            again = bool(line.ask({"kind": "died", "reason": killed or _why(child.returncode)}).get("again"))


def _start(arguments: list[str], token: str, threads: int) -> subprocess.Popen[bytes]:
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    environment = {**os.environ, **limits, wire.TOKEN: token, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    argv = [sys.executable, "-m", "stepwell.payload.automl.worker", *arguments]
    return subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL)


def _watch(child: subprocess.Popen[bytes], line: wire.Line) -> str | None:
    """Wait for the worker's end; return why it was killed, if it was."""
    while True:
        try:
            child.wait(LOOK_SECONDS)
            return None
        except subprocess.TimeoutExpired:
            pass
        reason = line.ask({"kind": "look"}).get("kill")
        if reason is not None:
            child.kill()
            child.wait()
            return str(reason)


def _why(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    memory = " (often the kernel, when memory runs out)" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{memory}"
