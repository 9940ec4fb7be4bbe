"""Asking a mount whether it is still there."""

from __future__ import annotations

import os
import signal
import time

from stepwell.runtime import processes


class Probe:
    """A child process that looks at a file, for who looks at a mount that hangs, hangs.

    :param size: of the file, in bytes, which it must have; None = look at the folder *path* only.
    """

    def __init__(self, path: str, size: int | None, deadline: float) -> None:
        self.started = time.monotonic()
        self.deadline = deadline
        self.ended = False
        self.pid = os.fork()
        if self.pid == 0:
            code = 255
            try:
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                code = _look_at(path, size)
            finally:
                os._exit(code)

    def answer(self) -> str | None:
        """Return "" if the file is there, else what is wrong; None as long as nothing is known."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            late = time.monotonic() - self.started >= self.deadline
            return f"does not answer within {self.deadline:g} s" if late else None
        self.ended = True
        code = status >> 8 if not status & 0x7F else 255
        if code == 0:
            return ""
        return "holds another file than the input has" if code == 254 else f"does not answer: {os.strerror(code)}"

    def end(self) -> bool:
        """Kill it; return whether it has ended. If it hangs in the kernel, it ends when its mount's daemon does."""
        if not self.ended:
            processes.signal_all([self.pid], signal.SIGKILL)
            self.ended = os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return self.ended


def _look_at(path: str, size: int | None) -> int:
    try:
        if size is None:
            os.listdir(path)
            return 0
        descriptor = os.open(path, os.O_RDONLY)
        if os.fstat(descriptor).st_size != size:
            return 254
        os.pread(descriptor, 1, 0)
    except OSError as error:
        return min(error.errno or 255, 255)
    return 0
