"""YARN's ResourceManager by its REST: applications, queues, nodes. Asked directly, or through the head node."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from stepwell.compute.contract import Unreachable
from stepwell.errors import ComputeTargetException

#: States of an application that has not ended.
WAITING = ("NEW", "NEW_SAVING", "SUBMITTED", "ACCEPTED")
#: What is not asked for: it would make the answer about many applications some times as long.
_UNWANTED = "resourceRequests,timeouts,resourceInfo,appNodeLabelExpression,amNodeLabelExpression"
_SECONDS = 20.0

#: Opens a stream to a host and port: a reader and a writer as asyncio's.
Way = Callable[[str, int], AbstractAsyncContextManager[tuple[Any, Any]]]


class ResourceManager:
    """One ResourceManager, or several of which one is active.

    :param target: the compute target's name, for messages.
    :param addresses: ``http://host:8088``, the ones to try.
    :param way: how to get there; default: directly (always with ``https``).
    :param user: whom it is told that we are, where it believes that.
    """

    def __init__(self, target: str, addresses: Sequence[str], way: Way | None = None, user: str | None = None) -> None:
        self.target = target
        self.addresses = list(addresses)
        self.user = user
        self._way = way
        #: Its clock less ours, in seconds, when it last answered.
        self.skew: float | None = None

    async def info(self) -> dict[str, Any]:
        """Return its version and state."""
        return dict((await self._get("/info"))["clusterInfo"])

    async def metrics(self) -> dict[str, Any]:
        """Return counts of nodes, memory and cores."""
        return dict((await self._get("/metrics"))["clusterMetrics"])

    async def queues(self) -> dict[str, dict[str, Any]]:
        """Return the queues that take applications, by name: capacity, what is used of it, state."""
        scheduler = (await self._get("/scheduler"))["scheduler"]["schedulerInfo"]
        return _leaves(scheduler.get("rootQueue") or scheduler)

    async def applications(self, tag: str) -> list[dict[str, Any]]:
        """Return the applications with a tag, ended ones as long as they are remembered."""
        found = (await self._get("/apps", {"applicationTags": tag, "deSelects": _UNWANTED}))["apps"]
        return list(found["app"]) if found else []

    async def kill(self, application: str) -> bool:
        """Kill an application; return False if we may not. Nothing happens to one that has ended or is not there."""
        status, _ = await self._ask("PUT", f"/apps/{application}/state", body={"state": "KILLED"})
        if status in (401, 403):
            return False
        if status in (200, 202, 400, 404):
            return True
        raise Unreachable(f"The ResourceManager of {self.target} answers {status} to a kill of {application}")

    # -- how it is asked ---------------------------------------------------------------------------------------------

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        status, answer = await self._ask("GET", path, query)
        if status != 200 or not isinstance(answer, dict):
            said = answer if isinstance(answer, str) else json.dumps(answer)
            raise ComputeTargetException(
                f"The ResourceManager of {self.target} answers {status} to {path}: {said[:300]}",
                hint="Is the address that of YARN's REST, and does it want a login?",
            )
        return answer

    async def _ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: object = None
    ) -> tuple[int, Any]:
        """Ask the active one; return the status and the JSON (or the text, where it is none)."""
        reasons = []
        params = {**(query or {}), **({"user.name": self.user} if self.user else {})}
        for address in list(self.addresses):
            url = f"{address}/ws/v1/cluster{path}" + (f"?{urlencode(params)}" if params else "")
            try:
                answer = await asyncio.wait_for(self._exchange(method, url, body), _SECONDS)
            except TimeoutError:
                reasons.append(f"{address}: no answer within {_SECONDS:g} s")
                continue
            except Unreachable as error:  # on the way there
                if error.permanent:
                    raise
                reasons.append(f"{address}: {error}")
                continue
            except (http.client.HTTPException, OSError) as error:
                reasons.append(f"{address}: {error or type(error).__name__}")
                continue
            if 300 <= answer.status < 400 or answer.getheader("Refresh") or answer.status == 503:
                reasons.append(f"{address}: not the active one ({answer.status})")
                continue
            self.addresses.remove(address)
            self.addresses.insert(0, address)
            self._note_time(answer.getheader("Date"))
            text = answer.read().decode("utf-8", "replace")
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text
        raise Unreachable(f"The ResourceManager of {self.target} does not answer: {'; '.join(reasons) or 'no address'}")

    async def _exchange(self, method: str, url: str, body: object) -> http.client.HTTPResponse:
        """Send one request on a stream of its own, and return the answer, all of which is here."""
        parts = urlsplit(url)
        data = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} {parts.path}{'?' + parts.query if parts.query else ''} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Accept: application/json",
            "Content-Type: application/json",
            f"Content-Length: {len(data)}",
            "Connection: close",
        ]
        way = _tls if parts.scheme == "https" else self._way or _straight
        async with way(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)) as stream:
            reader, writer = stream
            writer.write("\r\n".join([*lines, "", ""]).encode("ascii") + data)
            await writer.drain()
            said = await reader.read()
        answer = http.client.HTTPResponse(_Said(said), method=method)  # type: ignore[arg-type]  # all that it uses
        answer.begin()
        return answer

    def _note_time(self, date: str | None) -> None:
        try:
            self.skew = parsedate_to_datetime(date).timestamp() - time.time() if date else self.skew
        except ValueError:
            pass


def _leaves(queue: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the queues without queues below them; capacity and fair scheduler name things differently."""
    below = queue.get("queues") or queue.get("childQueues") or {}
    children = below if isinstance(below, list) else below.get("queue") or []
    if not children:
        name = str(queue.get("queueName", "default")).rpartition(".")[2]
        capacity = queue.get("absoluteCapacity", queue.get("capacity"))
        used = queue.get("absoluteUsedCapacity", queue.get("usedCapacity"))
        return {name: {"capacity": capacity, "used": used, "state": queue.get("state", "RUNNING")}}
    found: dict[str, dict[str, Any]] = {}
    for child in children:
        found.update(_leaves(child))
    return found


class _Said:
    """What was read from a stream, where a socket is expected."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        """Return a reader."""
        return io.BytesIO(self._data)


@asynccontextmanager
async def _straight(host: str, port: int, **more: Any) -> AsyncIterator[tuple[Any, Any]]:
    reader, writer = await asyncio.open_connection(host, port, **more)
    try:
        yield reader, writer
    finally:
        writer.close()


def _tls(host: str, port: int) -> AbstractAsyncContextManager[tuple[Any, Any]]:
    """Go there directly: what is inside would not fit through another one's stream."""
    return _straight(host, port, ssl=True)
