"""Where the workers of a search run: as processes here, or as tasks of Spark on its executors."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

from stepwell.payload.automl import wire
from stepwell.payload.automl.keeper import keep
from stepwell.payload.automl.server import Server

#: ``host:port`` and the token of the Spark driver that runs a search's workers.
POOL, POOL_TOKEN = "STEPWELL_AUTOML_POOL", "STEPWELL_AUTOML_POOL_TOKEN"  # noqa: S105 - names of variables
#: A job of Spark that has ended before its search is started again, so often without a trial in between.
AGAIN = 3


class Pool(ABC):
    """Runs workers.

    :param host: where the search listens, so that its workers reach it.
    """

    host = "127.0.0.1"

    @abstractmethod
    def cores(self) -> int:
        """Return how many cores there are."""

    def slots(self, threads: int) -> int:
        """Return how many trials of so many cores can really run at a time."""
        return max(1, self.cores() // threads)

    @abstractmethod
    def run(self, server: Server, workers: int, engine: str, threads: int) -> None:
        """Run the workers until the search is over.

        :param engine: its name.
        :param threads: cores of one trial.
        """


class Processes(Pool):
    """Processes on this machine."""

    def cores(self) -> int:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def run(self, server: Server, workers: int, engine: str, threads: int) -> None:
        keepers = [
            threading.Thread(target=self._keep, args=(server, number, engine, threads), daemon=True)
            for number in range(workers)
        ]
        for keeper in keepers:
            keeper.start()
        for keeper in keepers:
            keeper.join()

    @staticmethod
    def _keep(server: Server, number: int, engine: str, threads: int) -> None:
        try:
            with suppress(ConnectionError):  # the search has been stopped meanwhile, and says itself why
                keep(server.address, server.token, number, engine, threads)
        finally:
            if server.search is not None:
                server.search.finished(number)


class Executors(Pool):
    """The executors of a Spark application, through its driver (see :mod:`stepwell.payload.automl.on_spark`)."""

    def __init__(self, address: str, token: str) -> None:
        self._line = wire.connect(address, token)
        about = self._line.ask({"kind": "about"})
        self._cores, self._each, self.host = int(about["cores"]), int(about["each"]), str(about["host"])

    def cores(self) -> int:
        return self._cores

    def slots(self, threads: int) -> int:
        return max(1, self._cores // max(self._each, threads))

    def run(self, server: Server, workers: int, engine: str, threads: int) -> None:
        numbers, reason, tries, done = list(range(workers)), "", 0, 0
        while tries < AGAIN:
            job = {"address": server.address, "token": server.token, "workers": numbers}
            answer = self._line.ask({"kind": "run", **job, "engine": engine, "threads": threads})
            if not server.unfinished:
                return
            numbers = numbers if server.search is None else server.search.unfinished
            reason = str(answer.get("error") or "no reason given")
            print(f"Spark has ended the job of the search's workers: {reason}", flush=True)
            now = 0 if server.search is None else len(server.search.trials)
            tries, done = (tries + 1 if now == done else 1), now  # what makes progress may be lost again
            time.sleep(1.0)
        server.give_up(f"Spark could not run its workers: {reason}")


def pool_of(environment: Any = os.environ) -> Pool:
    """Return where this process is to run the workers of its search."""
    if POOL in environment:
        return Executors(environment[POOL], environment.pop(POOL_TOKEN))
    return Processes()
