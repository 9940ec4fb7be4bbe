"""The worker's end of a channel to an agent: requests go out as they come, answers arrive in any order."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.compute.contract import Unreachable
from stepwell.errors import ComputeTargetException

if TYPE_CHECKING:
    from stepwell.compute.ssh.address import Address

_HEAD = struct.Struct(">II")
_GREETING = b"\0stepwell agent "
#: What the agent is made of, where no payload is there to import it from.
_MODULES = ("errors", "names", "protocol", "processes", "archive", "spare", "agent_files", "agent_processes", "agent")
#: The whole of what is in a command line. The rest comes on standard input, on one line first.
_FIRST = 'import os;exec(os.fdopen(0,"rb",0,closefd=False).readline())'
_SECOND = """
import os, sys
if sys.version_info < (3, 8):
    os.write(1, ("\\0stepwell agent old %d.%d.%d\\n" % sys.version_info[:3]).encode())
    os._exit(3)
sys.path.insert(0, PAYLOAD)
try:
    from stepwell.runtime.agent import main
except ImportError:
    import importlib.util, json, types, zlib
    os.write(1, b"\\0stepwell agent ?\\n")
    def take(count):
        data = b""
        while len(data) < count:
            piece = os.read(0, count - len(data))
            if not piece:
                os._exit(4)
            data += piece
        return data
    SOURCES = json.loads(zlib.decompress(take(int.from_bytes(take(4), "big"))))
    class Finder:
        def find_spec(self, name, path=None, target=None):
            return importlib.util.spec_from_loader(name, self) if name in SOURCES else None
        def create_module(self, spec):
            return None
        def exec_module(self, module):
            exec(compile(SOURCES[module.__name__], module.__name__, "exec"), module.__dict__)
    sys.meta_path.insert(0, Finder())
    for name, folder in (("stepwell", "stepwell"), ("stepwell.runtime", "stepwell/runtime")):
        sys.modules[name] = module = types.ModuleType(name)
        module.__path__ = [os.path.join(PAYLOAD, *folder.split("/"))]
    from stepwell.runtime.agent import main
main()
"""
#: How long the interpreter there may take to say something, in seconds.
START_SECONDS = 30.0
#: How long a request may take that is not known to take long.
ANSWER_SECONDS = 60.0


class Lost(Unreachable):
    """The connection, or what answered at its other end, is lost; what was asked for may have been done."""


class NoAgent(Unreachable):
    """The interpreter there cannot be used: it is missing, too old, or does not run."""

    permanent = True


@functools.lru_cache(maxsize=1)
def _bundle() -> bytes:
    folder = Path(__file__).resolve().parent.parent.parent / "runtime"
    sources = {f"stepwell.runtime.{name}": (folder / f"{name}.py").read_text("utf-8") for name in _MODULES}
    data = zlib.compress(json.dumps(sources).encode(), 1)
    return len(data).to_bytes(4, "big") + data


class Agent:
    """One agent at work; made by :func:`start`.

    :ivar hello: what it has said of its machine: *python*, *version*, *platform*, *home*, *pid*, *where*.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.hello: dict[str, Any] = {}
        self.ended: dict[str, int] = {}
        self.over: ComputeTargetException | None = None
        self._channel: Any = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[asyncio.Future[tuple[Any, bytes]], Callable[[bytes], None] | None]] = {}
        self._buffer = bytearray()
        self._greeted = False
        self._errors = bytearray()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._may_write = asyncio.Event()
        self._may_write.set()

    @property
    def busy(self) -> bool:
        """Whether something has been asked for that is not answered yet."""
        return bool(self._waiting)

    async def request(
        self,
        op: str,
        body: bytes = b"",
        *,
        seconds: float | None = ANSWER_SECONDS,
        part: Callable[[bytes], None] | None = None,
        **arguments: Any,
    ) -> tuple[Any, bytes]:
        """Ask for an operation and return its result and the bytes that came with it.

        :param seconds: how long to wait for the answer; None = as long as the connection holds.
        :param part: gets output as it comes.
        :raises Lost: the connection or the agent is lost, or does not answer in time.
        :raises OSError: what the operation met there.
        :raises ComputeTargetException: it failed in another way.
        """
        if self.over is not None:
            raise self.over
        number = next(self._numbers)
        answer: asyncio.Future[tuple[Any, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (answer, part)
        try:
            await self._may_write.wait()
            if self.over is not None:
                raise self.over
            self._send({"id": number, "op": op, **arguments}, body)
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError as error:
            raise Lost(f"{self.address} has not answered within {seconds:g} s ({op})") from error
        except asyncio.CancelledError:
            if op == "run" and self.over is None:
                self._send({"id": next(self._numbers), "op": "kill", "command": number})
            raise
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """End it; the launchers that it has started go on."""
        if self._channel is not None:
            self._channel.close()

    def _send(self, head: dict[str, Any], body: bytes = b"") -> None:
        text = json.dumps(head).encode("ascii")
        try:
            self._channel.write(_HEAD.pack(len(text), len(body)) + text)
            if body:
                self._channel.write(body)
        except OSError as error:  # asyncssh: the channel is not open for sending
            self.lose(Lost(f"The connection to {self.address} is lost: {error}"))
            raise self.over or Lost(str(error)) from error

    # -- what asyncssh calls ---------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Take what the agent says."""
        self._buffer += data
        try:
            if not self._greeted and not self._greet():
                return
            self._take()
        except (ValueError, KeyError) as error:
            self.lose(Lost(f"{self.address} says what no agent says: {error}"))
            self.close()

    def complained(self, data: bytes) -> None:
        """Take what comes on standard error."""
        self._errors += data
        del self._errors[:-4000]

    def may_write(self, may: bool) -> None:
        """Note whether more can be sent just now."""
        if may:
            self._may_write.set()
        else:
            self._may_write.clear()

    def lose(self, error: ComputeTargetException) -> None:
        """Fail all that is waiting: nothing more will come."""
        if self.over is None:
            self.over = error
        self._may_write.set()
        for answer, _ in self._waiting.values():
            if not answer.done():
                answer.set_exception(self.over)
        if not self._ready.done():
            self._ready.set_exception(self.over)
            self._ready.exception()  # whoever has waited for it may have gone

    def ended_with(self, code: int | None) -> None:
        """Take the end of the agent's process or of the connection."""
        said = bytes(self._errors).decode("utf-8", "replace").strip()
        if self._greeted:
            self.lose(Lost(f"The connection to {self.address} is lost" + (f": {said[-300:]}" if said else "")))
        else:
            self.lose(_no_agent(self.address, code, said))

    def _greet(self) -> bool:
        at = self._buffer.find(_GREETING)
        end = self._buffer.find(b"\n", at) if at >= 0 else -1
        if end < 0:
            if len(self._buffer) > 1 << 20:
                raise ValueError("its shell prints without end")
            return False
        said = bytes(self._buffer[at + len(_GREETING) : end]).decode("ascii")
        del self._buffer[: end + 1]
        if said == "?":
            self._channel.write(_bundle())
            return False
        if said.startswith("old "):
            raise_as = NoAgent(
                f"{self.address.python} on {self.address} is Python {said[4:]}",
                allowed=["Python 3.8 or later"],
                hint="Name another interpreter (pythonLocation)",
            )
            self.lose(raise_as)
            return False
        self._greeted = True
        return True

    def _take(self) -> None:
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            head, body = _HEAD.unpack_from(self._buffer, at)
            end = at + _HEAD.size + head + body
            if len(self._buffer) < end:
                break
            answer = json.loads(bytes(self._buffer[at + _HEAD.size : at + _HEAD.size + head]).decode("ascii"))
            content = bytes(memoryview(self._buffer)[end - body : end])
            at = end
            self._handle(answer, content)
        del self._buffer[:at]

    def _handle(self, answer: dict[str, Any], body: bytes) -> None:
        if "hello" in answer:
            self.hello = answer["hello"]
            if not self._ready.done():
                self._ready.set_result(None)
        elif "ended" in answer:
            self.ended[answer["ended"]] = answer["code"]
        elif answer["id"] in self._waiting:
            future, part = self._waiting[answer["id"]]
            if future.done():
                return
            if "part" in answer:
                if part is not None:
                    part(body)
            elif "error" in answer:
                future.set_exception(_error(self.address, answer["error"]))
            else:
                future.set_result((answer["ok"], body))


async def start(ssh: Any, address: Address, payload: str) -> Agent:
    """Start an agent over an open connection.

    :param payload: where Stepwell's payload is there, or will be.
    :raises NoAgent: there is no usable Python.
    :raises Lost: the connection is lost, or nothing is heard.
    """
    import asyncssh

    agent = Agent(address)

    class Session(asyncssh.SSHClientSession[bytes]):  # type: ignore[misc]
        """Passes on what asyncssh says."""

        code: int | None = None

        def data_received(self, data: bytes, datatype: int | None) -> None:
            """Take data of either stream."""
            (agent.complained if datatype else agent.received)(data)

        def exit_status_received(self, status: int) -> None:
            """Note the exit code."""
            self.code = status

        def pause_writing(self) -> None:
            """Wait: the other end does not take more just now."""
            agent.may_write(False)

        def resume_writing(self) -> None:
            """Go on."""
            agent.may_write(True)

        def connection_lost(self, exc: Exception | None) -> None:
            """Take the end."""
            agent.ended_with(self.code)

    try:
        command = f"exec {address.shell_python} -I -S -X utf8 -c '{_FIRST}'"
        channel, _ = await asyncio.wait_for(
            ssh.create_session(Session, command, encoding=None, window=1 << 23, max_pktsize=1 << 16), START_SECONDS
        )
        agent._channel = channel
        channel.set_write_buffer_limits(high=1 << 22)
        second = f"PAYLOAD = {payload!r}\nif PAYLOAD[:2] == '~/':\n import os\n PAYLOAD = os.path.expanduser(PAYLOAD)\n"
        channel.write(f"exec({second + _SECOND!a})\n".encode("ascii"))
        await asyncio.wait_for(agent._ready, START_SECONDS)
    except TimeoutError as error:
        agent.close()
        raise Lost(f"{address.python} on {address} has said nothing for {START_SECONDS:g} s") from error
    except asyncssh.ChannelOpenError as error:
        raise Lost(f"{address} opens no session: {error.reason}") from error
    except (asyncssh.Error, OSError) as error:
        raise Lost(f"The connection to {address} is lost: {error}") from error
    except BaseException:
        agent.close()
        raise
    return agent


def _no_agent(address: Address, code: int | None, said: str) -> ComputeTargetException:
    if code is None:
        return Lost(f"The connection to {address} was closed while an agent was being started")
    last = (said.splitlines() or [f"exit code {code}"])[-1].strip()
    if code in (126, 127):
        why = "is not executable" if code == 126 else "does not exist"
        return NoAgent(
            f"{address.python} {why} on {address}: {last}",
            hint="Install Python 3.8 or later there, or name its interpreter (pythonLocation)",
        )
    return NoAgent(
        f"{address.python} on {address} does not run as Python: {last}",
        allowed=["Python 3.8 or later"],
        hint="Name another interpreter (pythonLocation)",
    )


def _error(address: Address, problem: dict[str, Any]) -> Exception:
    if problem.get("errno") is not None:
        found = OSError(problem["errno"], problem["what"], problem.get("path"))
        if isinstance(found, (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)):
            return found
        path = problem.get("path")
        hint = "Make room there" if "space" in problem["what"] or "quota" in problem["what"] else None
        return ComputeTargetException(f"{address}: {f'{path}: ' if path else ''}{problem['what']}", hint=hint)
    return ComputeTargetException(
        f"{address}: {problem['what']}", allowed=problem.get("allowed"), hint=problem.get("hint")
    )
