"""Stands between a batch's driver and the launcher: ``keeper.py <folder> <pid file> <launcher's command line>``.

A cluster kills a driver without asking, and what has left its process group stays: so somebody outside of it watches.
While the driver holds this process's stdin open, nothing happens; once it is closed the launcher is ended, with all
that it has started, and the folder is removed. Its stdout is closed when the launcher has ended.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # run as a file
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))

import json
import select
import shutil
import signal
import subprocess
import time

from stepwell.runtime import processes

#: From asking the launcher to end to killing it, in seconds; the launcher itself gives its step five.
GRACE_SECONDS = 8.0


def main(arguments: list[str]) -> int:
    """Start the launcher, and see to it that nothing of it is left when the driver is gone."""
    folder, pid_file, command = arguments[0], arguments[1], arguments[2:]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the driver, which tells us by going
    log = os.open(os.path.join(os.path.dirname(pid_file), "logs", "launcher.log"), os.O_WRONLY | os.O_CREAT, 0o600)
    launcher = subprocess.Popen(  # noqa: S603 - the driver's own command line
        command,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=_listen_again,
    )
    while launcher.poll() is None and not _driver_has_gone(0.05):
        pass
    if launcher.poll() is not None:
        os.close(1)
        while not _driver_has_gone(60.0):
            pass
    else:
        _end(launcher)
    _sweep(pid_file)
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _listen_again() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _driver_has_gone(seconds: float) -> bool:
    readable, _, _ = select.select([0], [], [], seconds)
    return bool(readable) and not os.read(0, 1)


def _end(launcher: subprocess.Popen[bytes]) -> None:
    launcher.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    while launcher.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if launcher.poll() is None:
        launcher.kill()
        launcher.wait()


def _sweep(pid_file: str) -> None:
    try:
        with open(pid_file, "rb") as file:
            processes.kill_session_of(json.loads(file.read()))
    except (OSError, ValueError):
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
