"""Single flight: of equal steps that are wanted at the same time, one runs, and the others wait for what it makes.

Who runs holds a claim, and shows by a counter that he is alive; clocks of several machines are never compared. A claim
of a run that waits for its job outside of a worker has no counter: it holds as long as that run is under way.
"""

from __future__ import annotations

import asyncio
import posixpath
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stepwell.compute import portal
from stepwell.errors import StepwellError
from stepwell.step import state
from stepwell.workspace.store import encode

if TYPE_CHECKING:
    from stepwell.workspace import Workspace

#: How often the claim's counter moves; a claim whose counter stands still for longer is that of a dead worker. Seconds.
BEAT, SILENT = 5.0, 45.0
#: A run that waits for its job without a worker is over after this many seconds, whatever its record says: so is the
#: lease of its job.
WAITS = 86400.0
#: How often who waits looks, and says that he waits, in seconds.
LOOK, SAY = 0.5, 60.0


class Claim:
    """The right to run what has this fingerprint.

    :param slug: names the task instance: its own next try need not wait for a claim that its lost try has left.
    """

    def __init__(self, ws: Workspace, path: str, run_id: str, slug: str) -> None:
        self.ws = ws
        self.path = path
        self.run_id = run_id
        self.slug = slug
        self.token = uuid.uuid4().hex
        self._waits = False  # the run waits for its job outside of a worker

    def take_if_free(self) -> bool:
        """Take the claim unless somebody else has it; return whether it was taken."""
        return self._take(None, 0.0) is None

    def acquire(self, go_on: Callable[[], None], say: Callable[[str], None]) -> None:
        """Take the claim, once nobody alive has it.

        :param go_on: called while waiting; raises if this step was cancelled.
        :param say: is told whom this step waits for.
        """
        seen: Any = None
        since = said = time.monotonic()
        while (holder := self._take(seen, time.monotonic() - since)) is not None:
            now = time.monotonic()
            if holder != seen:
                if seen is None or holder["run"] != seen["run"]:
                    say(f"Waiting for run {holder['run']}, which makes the same; its result is taken")
                seen, since = holder, now
            if now - said > SAY:
                said = now
                say(f"Still waiting for run {holder['run']}")
            go_on()
            time.sleep(LOOK)

    def _take(self, seen: dict[str, Any] | None, still: float) -> dict[str, Any] | None:
        """Take the claim if it is free; else return who has it.

        :param seen: the claim as it was seen; who has not moved it for longer than is usual is dead.
        :param still: for how long it has been like that, in seconds.
        """
        holder: list[dict[str, Any]] = []

        def take(there: dict[str, Any] | None) -> dict[str, Any]:
            holder.clear()
            if there is None or there.get("slug") == self.slug or self._is_over(there):
                return self._document(0)
            if still > (WAITS if there.get("waits") else SILENT) and _seen(there) == seen:
                return self._document(0)
            holder.append(_seen(there))
            return there

        self._update(take)
        return holder[0] if holder else None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Show that the holder is alive while the context lasts; then free the claim."""
        try:
            with portal.during(self._beat()):
                yield
        finally:
            try:
                if not self._waits:
                    self._update(lambda there: None if there is None or there.get("token") == self.token else there)
            except (StepwellError, OSError):
                pass  # it falls silent, and is taken over

    def wait(self) -> None:
        """The run goes on without a worker: from now on the claim holds as long as the run is under way."""
        self._waits = True
        self._update(lambda there: self._document(0) if there is None or there.get("token") == self.token else there)

    def _is_over(self, there: dict[str, Any]) -> bool:
        """Return whether the run that holds the claim without a worker is over."""
        if not there.get("waits"):
            return False
        try:
            head = state.current(self.ws, str(there.get("slug")))
        except StepwellError:
            return True
        return head is None or head.run_id != there.get("run") or head.phase in state.OVER

    async def _beat(self) -> None:
        beat = 0
        while True:
            await asyncio.sleep(BEAT)
            beat += 1
            document = self._document(beat)

            def move(there: dict[str, Any] | None, document: dict[str, Any] = document) -> dict[str, Any] | None:
                return document if there is not None and there.get("token") == self.token else there

            try:
                await asyncio.to_thread(self._update, move)
            except (StepwellError, OSError):
                continue  # next time, perhaps

    def _document(self, beat: int) -> dict[str, Any]:
        return {"run": self.run_id, "slug": self.slug, "token": self.token, "beat": beat, "waits": self._waits}

    def _update(self, change: Callable[[dict[str, Any] | None], dict[str, Any] | None]) -> None:
        """Change the claim; a damaged one is nobody's."""
        with self.ws.store.lock(posixpath.dirname(self.path)):  # not one lock file for each claim there ever was
            try:
                there: dict[str, Any] | None = self.ws.store.read_json(self.path)
            except FileNotFoundError:
                there = None
            except StepwellError:
                there = None
            after = change(there)
            if after is None:
                self.ws.store.delete(self.path)
            elif after != there:
                self.ws.store.replace(self.path, encode(after), durable=False)


def _seen(claim: dict[str, Any]) -> dict[str, Any]:
    return {name: claim.get(name) for name in ("run", "token", "beat")}
