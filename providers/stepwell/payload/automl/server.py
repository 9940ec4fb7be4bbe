"""Where the workers of a search ask: a thread for each connection, all of them in front of one :class:`Search`."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from stepwell.payload.automl import wire
from stepwell.payload.automl.search import Search


class Server:
    """Answers workers and their keepers.

    :param search: whose workers they are.
    :param work: what each worker is told beside its own part: engine, cores, the prefix of the problem's files.
    :param host: the address to listen at; executors of Spark elsewhere must be able to reach it.
    """

    def __init__(self, search: Search, work: Mapping[str, Any], host: str = "127.0.0.1") -> None:
        self.search = search
        self.token = secrets.token_hex(32)
        self._work = dict(work)
        self._socket = socket.create_server((host, 0))
        self.address = f"{host}:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more; who is connected may finish the sentence."""
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        """Answer one connection until it ends."""
        connection.settimeout(30)
        with wire.Line(connection) as line:
            try:
                who = wire.admit(line, self.token)
                if who is None:
                    return
                connection.settimeout(None)
                number = int(who["worker"])
                (self._keeper if who.get("role") == "keeper" else self._worker)(line, number)
            except (OSError, ValueError, KeyError):
                return

    def _worker(self, line: wire.Line, number: int) -> None:
        while True:
            message, data = line.receive()
            line.send(self._answer(number, message, data))

    def _answer(self, number: int, message: dict[str, Any], data: bytes) -> dict[str, Any]:
        search, kind = self.search, message["kind"]
        if kind == "work":
            return {**self._work, "task": search.task, **search.work(number)}
        if kind == "begin":
            asked = (message["learner"], message["pipeline"], message["parameters"], message["rows"])
            return {"over": search.begin(number, *asked)}
        if kind == "completed":
            found = np.frombuffer(data, "<f4").reshape(message["shape"]) if data else None
            search.completed(number, message["metrics"], message["parameters"], found)
        elif kind == "failed":
            search.failed(number, message["reason"])
        elif kind == "finished":
            search.finished(number)
        return {}

    def _keeper(self, line: wire.Line, number: int) -> None:
        try:
            while True:
                message, _ = line.receive()
                if message["kind"] == "look":
                    line.send({"kill": self.search.wanted(number)})
                else:
                    line.send({"again": self.search.died(number, str(message["reason"]))})
        except wire.WireError:
            self.search.lost(number)
