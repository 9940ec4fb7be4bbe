"""Where the workers of a search ask: a thread for each connection, all of them in front of one :class:`Search`.

It listens before there is a search, so that workers load their libraries while the data are being prepared.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stepwell.payload.automl import wire
from stepwell.payload.automl.search import Search


class Server:
    """Answers workers and their keepers.

    :param host: the address to listen at; executors of Spark elsewhere must be able to reach it.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.token = secrets.token_hex(32)
        self.search: Search | None = None
        self._work: dict[str, Any] = {}
        self._files: dict[str, str] = {}
        self._ready = threading.Event()
        try:
            self._socket = socket.create_server((host, 0))
        except OSError:  # that is how others reach this machine, not what it has for a name itself
            self._socket = socket.create_server(("", 0))
        self.address = f"{host}:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def open(self, search: Search, files: Sequence[str], work: Mapping[str, Any]) -> None:
        """Let the workers begin.

        :param files: the problem's; a worker that does not see them on its own disk asks for them, once.
        :param work: what each worker is told beside its own part: engine, cores, the prefix of the files.
        """
        self._files = {os.path.basename(path): path for path in files}
        self._work = {**work, "task": search.task, "folder": os.path.dirname(files[0]), "files": list(self._files)}
        self.search = search
        self._ready.set()

    def close(self) -> None:
        """Listen no more. Workers that still wait for a search end."""
        self._socket.close()
        self._ready.set()

    def give_up(self, reason: str) -> None:
        """There are no workers, and there will be none."""
        self._ready.wait()
        if self.search is not None:
            self.search.cancel(reason)

    @property
    def unfinished(self) -> bool:
        """Whether there is something left to do, or may be."""
        if self.search is None:
            return not self._ready.is_set()
        return bool(self.search.unfinished)

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
            except ConnectionError:
                return
            except OSError as error:  # of a file: the disk is full, say
                print(f"the search cannot go on: {error}", flush=True)
                if self.search is not None:
                    self.search.cancel(f"it could not be recorded: {error}")

    def _worker(self, line: wire.Line, number: int) -> None:
        """Answer a worker's process; one that another has taken the place of is told that it is over."""
        generation = 0
        while True:
            message, data = line.receive()
            if message["kind"] == "file":
                line.send_file(self._files[message["name"]])
                continue
            if generation and self.search is not None and generation != self.search.generation(number):
                line.send({"over": "another process has taken its place"})
                continue
            answer = self._answer(number, message, data)
            generation = int(answer.get("generation", generation))
            line.send(answer)

    def _answer(self, number: int, message: dict[str, Any], data: bytes) -> dict[str, Any]:
        kind = message["kind"]
        self._ready.wait()
        search = self.search
        if search is None:
            return {"over": "there is no search"}
        if kind == "work":
            return {**self._work, **search.work(number)}
        if kind == "begin":
            asked = (message["learner"], message["pipeline"], message["parameters"], message["rows"])
            return {"over": search.begin(number, *asked)}
        if kind == "completed":
            found = np.frombuffer(data, "<f4").reshape(message["shape"]) if data else None
            search.completed(number, message["metrics"], message["parameters"], found)
        elif kind == "failed":
            search.failed(number, message["reason"])
        elif kind == "unable":
            search.unable(number, str(message["reason"]))
        elif kind == "finished":
            search.finished(number)
        return {}

    def _keeper(self, line: wire.Line, number: int) -> None:
        try:
            while True:
                message, _ = line.receive()
                search, reason = self.search, str(message.get("reason"))
                if message["kind"] == "look":
                    told: dict[str, Any] = {"kill": None if search is None else search.wanted(number)}
                    if search is None and self._ready.is_set():
                        told["kill"] = "there is no search"
                else:
                    told = {"again": search is not None and search.died(number, reason)}
                line.send(told)
        except (OSError, ValueError, KeyError):
            if self.search is not None:
                self.search.lost(number)
