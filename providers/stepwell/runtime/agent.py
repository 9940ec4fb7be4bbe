"""Runs on a machine that is reached over SSH, at the other end of one channel: does there what the worker asks for.

It answers requests about files, short commands and launchers, many at a time, until the channel is closed; it keeps
nothing. What it starts as a launcher leads a session of its own and outlives it.

A frame, both ways, is two numbers of four bytes (the lengths of what follows), a JSON object and raw bytes. A request
is ``{"id", "op", …}``. An answer is ``{"id", "ok"}`` or ``{"id", "error"}``; before it there may be pieces of output,
``{"id", "part"}``. ``{"ended", "code"}`` tells of a launcher that was started before.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import Any, Callable

#: The first thing that the agent says: what a shell's start-up files print comes before it.
GREETING = b"\0stepwell agent 1\n"
IDLE_SECONDS = 900.0  #: nobody has asked for so long: the other end is lost
_HEAD = struct.Struct(">II")
_MOST_HEAD, _MOST_BODY = 1 << 26, 1 << 28


class Agent:
    """Serves one channel.

    :param source: a descriptor to read from.
    :param sink: a descriptor to write to.
    """

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink = source, sink
        self._writing = threading.Lock()
        self._busy: set[int] = set()
        self.launchers: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.commands: dict[int, subprocess.Popen[bytes]] = {}
        self.drafts: dict[int, tuple[int, str]] = {}

    def serve(self) -> None:
        """Answer until the other end is gone."""
        from stepwell.runtime import agent_files, agent_processes

        quick, slow = agent_files.QUICK, dict(agent_files.SLOW)
        quick = dict(quick, **agent_processes.QUICK)
        slow.update(agent_processes.SLOW)
        wakeup, writer = os.pipe()
        for descriptor in (wakeup, writer):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.send({"hello": agent_processes.hello()})
        pending, heard = bytearray(), time.monotonic()
        try:
            while True:
                ready = select.select([self._source, wakeup], [], [], 60.0)[0]
                if wakeup in ready:
                    os.read(wakeup, 4096)
                    self._tell_ends()
                if self._source in ready:
                    data = os.read(self._source, 1 << 20)
                    if not data:
                        return
                    pending += data
                    heard = time.monotonic()
                    self._take(pending, quick, slow)
                elif time.monotonic() - heard > IDLE_SECONDS and not self._busy:
                    return
        finally:
            self._leave()

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Send a frame."""
        text = json.dumps(head).encode("ascii")
        data = memoryview(_HEAD.pack(len(text), len(body)) + text + body)
        with self._writing:
            while data:
                data = data[os.write(self._sink, data) :]

    def _take(self, pending: bytearray, quick: dict[str, Callable[..., Any]], slow: dict[str, Any]) -> None:
        at = 0
        while len(pending) - at >= _HEAD.size:
            head, body = _HEAD.unpack_from(pending, at)
            if head > _MOST_HEAD or body > _MOST_BODY:
                raise ValueError("a frame is too large")
            if len(pending) - at < _HEAD.size + head + body:
                break
            at += _HEAD.size
            request = json.loads(bytes(pending[at : at + head]).decode("ascii"))
            content = bytes(pending[at + head : at + head + body])
            at += head + body
            operation = quick.get(request["op"])
            if operation is not None:
                self._answer(operation, request, content)
            else:
                self._busy.add(request["id"])
                operation = slow.get(request["op"], _unknown)
                threading.Thread(target=self._answer_later, args=(operation, request, content), daemon=True).start()
        del pending[:at]

    def _answer_later(self, operation: Callable[..., Any], request: dict[str, Any], body: bytes) -> None:
        try:
            self._answer(operation, request, body)
        finally:
            self._busy.discard(request["id"])

    def _answer(self, operation: Callable[..., Any], request: dict[str, Any], body: bytes) -> None:
        number = request["id"]
        try:
            found = operation(self, request, body)
        except OSError as error:
            problem = {"errno": error.errno, "what": error.strerror or str(error), "path": _text(error.filename)}
            self.send({"id": number, "error": problem})
        except Exception as error:
            # A StepwellError knows what is allowed and what to do.
            problem = {"what": getattr(error, "what", "") or f"{type(error).__name__}: {error}"}
            problem.update(allowed=getattr(error, "allowed", None), hint=getattr(error, "hint", None))
            self.send({"id": number, "error": problem})
        else:
            if isinstance(found, tuple):
                self.send({"id": number, "ok": found[0]}, found[1])
            else:
                self.send({"id": number, "ok": found})

    def _tell_ends(self) -> None:
        for token, process in list(self.launchers):
            if process.poll() is not None:
                self.launchers.remove((token, process))
                self.send({"ended": token, "code": process.returncode})

    def _leave(self) -> None:
        """End the short commands, and remove files that are not whole."""
        for process in list(self.commands.values()):
            kill_group(process.pid)
        for descriptor, path in list(self.drafts.values()):
            os.close(descriptor)
            try:
                os.unlink(path)
            except OSError:
                pass


def kill_group(leader: int) -> None:
    """Kill the process group of *leader*, if there is one."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _unknown(_agent: Agent, request: dict[str, Any], _body: bytes) -> None:
    raise ValueError(f"there is no operation {request['op']!r}")


def _text(path: Any) -> str | None:
    return None if path is None else os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)


def main() -> None:
    """Serve standard input and output; whatever else would print there goes to standard error."""
    source, sink = os.dup(0), os.dup(1)
    for descriptor in (source, sink):
        os.set_inheritable(descriptor, False)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    view = memoryview(GREETING)
    while view:
        view = view[os.write(sink, view) :]
    code = 0
    try:
        Agent(source, sink).serve()
    except (BrokenPipeError, KeyboardInterrupt):
        pass
    except BaseException as error:
        sys.stderr.write(f"agent: {type(error).__name__}: {error}\n")
        code = 1
    os._exit(code)  # not to wait for threads
