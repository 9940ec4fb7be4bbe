"""What the parts of a search say to each other: a line of JSON, maybe followed by bytes, over a local connection.

Nothing that is received is executed: JSON and raw numbers only. Who connects shows the search's token first.
"""

from __future__ import annotations

import hmac
import json
import os
import socket
from typing import Any, BinaryIO

#: Longer lines are not ours, in bytes.
LONGEST = 8 << 20
PIECE = 1 << 20
#: A machine that has vanished is noticed within half a minute.
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
#: Names the variable that hands the token to a worker's process.
TOKEN = "STEPWELL_AUTOML_TOKEN"  # noqa: S105 - the name of a variable


class WireError(ConnectionError):
    """The other side is gone, or is not one of ours."""


class Line:
    """One end of a connection.

    :param connection: a connected socket; it is closed with the line.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._reader: BinaryIO = connection.makefile("rb")

    def send(self, message: dict[str, Any], data: bytes = b"") -> None:
        """Send *message*, and *data* after it."""
        text = json.dumps({**message, "bytes": len(data)} if data else message, allow_nan=True)
        self._socket.sendall(text.encode("utf-8") + b"\n" + data)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """Return the next message and what came with it.

        :raises WireError: the other side has gone.
        """
        message = json.loads(self._line())
        size = int(message.pop("bytes", 0))
        data = self._reader.read(size) if size else b""
        if len(data) != size:
            raise WireError("the connection was closed")
        return message, data

    def send_file(self, path: str) -> None:
        """Send a file, a piece at a time."""
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._socket.sendall(json.dumps({"bytes": size}).encode() + b"\n")
            self._socket.sendfile(file)

    def receive_file(self, path: str) -> None:
        """Write what :meth:`send_file` sends.

        :raises WireError: the other side has gone.
        """
        left = int(json.loads(self._line())["bytes"])
        with open(path, "wb") as file:
            while left:
                piece = self._reader.read(min(left, PIECE))
                if not piece:
                    raise WireError("the connection was closed")
                left -= file.write(piece)

    def _line(self) -> bytes:
        line = self._reader.readline(LONGEST)
        if not line.endswith(b"\n"):
            raise WireError("the connection was closed")
        return line

    def ask(self, message: dict[str, Any], data: bytes = b"") -> dict[str, Any]:
        """Send *message* and return the answer."""
        self.send(message, data)
        return self.receive()[0]

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self._socket.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(address: str, token: str, **who: Any) -> Line:
    """Connect to the search at ``host:port`` and say who one is.

    :raises WireError: nobody is there, or the token is not the right one.
    """
    host, _, port = address.rpartition(":")
    try:
        line = Line(socket.create_connection((host, int(port)), timeout=30))
    except OSError as error:
        raise WireError(f"the search at {address} cannot be reached: {error}") from error
    line._socket.settimeout(None)
    if not line.ask({"token": token, **who}).get("welcome"):
        line.close()
        raise WireError(f"the search at {address} does not know this worker")
    return line


def admit(line: Line, token: str) -> dict[str, Any] | None:
    """Return who has connected; None if they did not show the token."""
    message, _ = line.receive()
    if not hmac.compare_digest(str(message.pop("token", "")).encode(), token.encode()):
        return None
    line.send({"welcome": True})
    return message
