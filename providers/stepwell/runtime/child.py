"""A phase's process: started in a process group of its own, and its two outputs read as they come."""

from __future__ import annotations

import errno
import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator


class Child:
    """A running process of ours.

    :param wakeup: a descriptor that becomes readable when a signal arrives: then :meth:`read` returns early.
    """

    def __init__(self, argv: list[str], cwd: str, environment: dict[str, str], wakeup: int) -> None:
        out, err = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become(argv, cwd, environment, out[1], err[1])
        os.close(out[1])
        os.close(err[1])
        self.status: int | None = None  #: the wait status, once it has ended
        self._ended_at = 0.0
        self._streams = {out[0]: "stdout", err[0]: "stderr"}
        self._wakeup = wakeup
        self._poll = select.poll()
        for descriptor in (*self._streams, wakeup):
            self._poll.register(descriptor, select.POLLIN)

    def read(self, milliseconds: int) -> Iterator[tuple[str, bytes]]:
        """Yield what it wrote, with the stream's name, waiting for some at most *milliseconds*."""
        for descriptor, _ in self._poll.poll(milliseconds):
            data = os.read(descriptor, 65536)
            if descriptor == self._wakeup:
                continue
            if data:
                yield self._streams[descriptor], data
            else:
                self._poll.unregister(descriptor)
                os.close(descriptor)
                del self._streams[descriptor]

    def has_ended(self) -> bool:
        """Return whether the process has ended; what it started may go on."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status, self._ended_at = status, time.monotonic()
        return self.status is not None

    def is_open(self) -> bool:
        """Return whether somebody, the process or what it started, can still write."""
        return bool(self._streams)

    def seconds_since_end(self) -> float:
        """Return for how long it has been over."""
        return time.monotonic() - self._ended_at

    def close(self) -> None:
        """Read no more."""
        for descriptor in self._streams:
            os.close(descriptor)
        self._streams.clear()


def _become(argv: list[str], cwd: str, environment: dict[str, str], out: int, err: int) -> None:
    """In the child: become the phase's program. Never returns."""
    code = 126
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (err, 2)):
            os.dup2(source, target)
        os.chdir(cwd)
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - an argument list, no shell
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        subject = cwd if error.filename == cwd else argv[0]
        os.write(2, f"stepwell: cannot start {subject}: {error.strerror}\n".encode("utf-8", "replace"))
    except (ValueError, TypeError) as error:
        problem = _unfit(argv, environment) or str(error)
        os.write(2, f"stepwell: cannot start {argv[0]!r}: {problem}\n".encode("utf-8", "replace"))
    finally:
        os._exit(code)


def _unfit(argv: list[str], environment: dict[str, str]) -> str | None:
    """Return what the system cannot take, without the values of variables: one may be a secret."""
    for number, argument in enumerate(argv):
        if "\0" in argument:
            return f"argument {number} holds a NUL character: {argument!r}"
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name:
            return f"{name!r} cannot be the name of an environment variable"
        if "\0" in value:
            return f"the value of the environment variable {name!r} holds a NUL character"
    return None
