"""The workers of a search, got ready while the data are being prepared: a place to run, a server to ask, processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from stepwell.payload.automl.pools import Pool, pool_of
from stepwell.payload.automl.server import Server


class Crew(threading.Thread):
    """The workers; as a thread, it ends when they have.

    :param settings: of the search.
    """

    def __init__(self, settings: Mapping[str, Any], say: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self.engine = str(settings.get("engine") or "flaml")
        self.size = self.threads = 1
        self.reason = "no reason is known"  # why they have ended, if that was not the search's end
        self._settings = settings
        self._say = say
        self._server: Server | None = None
        self._error: BaseException | None = None
        self._ready = threading.Event()

    def run(self) -> None:
        try:
            pool = pool_of()
            self.size, self.threads = _workers(self._settings, pool, self._say)
            self._server = Server(pool.host)
        except BaseException as error:
            self._error = error
            return
        finally:
            self._ready.set()
        try:
            pool.run(self._server, self.size, self.engine, self.threads)
        except Exception as error:
            self.reason = f"{type(error).__name__}: {error}"

    @property
    def server(self) -> Server:
        """What they ask, as soon as it is there.

        :raises OSError: there is no place for them to run.
        """
        while not self._ready.wait(0.2):
            pass  # signals are heard between two of these
        if self._server is None:
            raise self._error or RuntimeError("the workers have no server")
        return self._server

    def dismiss(self) -> None:
        """Let them go, whatever they do."""
        if self._server is not None:
            self._server.close()
        self.join(5.0)


def _workers(settings: Mapping[str, Any], pool: Pool, say: Callable[[str], None]) -> tuple[int, int]:
    """Return how many trials run at a time, and on how many cores each: no more than there are."""
    wanted, threads = (int(settings.get(f"max_{n}") or 1) for n in ("concurrent_iterations", "cores_per_iteration"))
    if threads < 0:  # v1: all of them
        threads = max(1, pool.cores() // wanted)
    possible = pool.slots(threads)
    if wanted > possible:
        needs = f"max_concurrent_iterations={wanted} needs {wanted * threads} cores of {pool.cores()}"
        say(f"note: {needs}: {possible} at a time")
    return min(wanted, possible), threads
