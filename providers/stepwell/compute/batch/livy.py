"""Batches of an Apache Livy, over its REST API."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stepwell.compute.batch.batches import Batch, Seen
from stepwell.compute.contract import Unreachable
from stepwell.errors import ComputeTargetException

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 60.0
_PAGE = 1000
_LAST_LINES = 200
#: Livy's state → ours.
STATES = {
    "not_started": "queued", "starting": "queued", "recovering": "queued",
    "running": "running", "idle": "running", "busy": "running", "shutting_down": "running",
    "error": "ended", "dead": "ended", "killed": "ended", "success": "ended",
}  # fmt: skip
#: Lines that say nothing about why a batch did not begin.
NOISE = re.compile(
    r"\s*at [\w$.]+\(|\s*\.\.\. \d+ (more|common)|\d\d/\d\d/\d\d [\d:]+ (INFO|WARN|DEBUG|TRACE) "
    r"|WARNING: Using incub|Using Spark's default log4j|Setting default log level|To adjust logging level"
    r"|(stdout|stderr|YARN Diagnostics): *$"
)
_DUPLICATE = "Duplicate session name"
#: Clients by process, loop and who asks whom: all targets of one Livy share its connections.
_clients: dict[tuple[object, ...], httpx.AsyncClient] = {}


class LivyBatches:
    """A Livy.

    :param url: where it answers, such as ``http://host:8998``.
    :param login: user and password, where it asks for them.
    :param ca_file: certificates of authorities that are trusted beside the system's.
    """

    def __init__(self, url: str, login: tuple[str, str] | None = None, ca_file: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._login = login
        self._ca_file = ca_file

    @classmethod
    def of(cls, connection: Any) -> LivyBatches:
        """Return the Livy that an Airflow connection of type ``livy`` names.

        :raises ComputeTargetException: there is no connection, it is of another type, or has no host.
        """
        if connection is None or connection.conn_type != "livy" or not connection.host:
            found = "none" if connection is None else f"{connection.conn_id!r} of type {connection.conn_type!r}"
            raise ComputeTargetException(
                f"A Livy needs an Airflow connection of type livy with a host, and there is {found}", allowed=["livy"]
            )
        extra: Mapping[str, Any] = connection.extra or {}
        host = connection.host
        if "://" not in host:
            host = f"{connection.schema or 'http'}://{host}"
        if connection.port:
            host = f"{host}:{connection.port}"
        elif ":" not in host.partition("://")[2]:
            host += ":8998"
        prefix = str(extra.get("endpoint_prefix") or "").strip("/")
        login = (connection.login, connection.password or "") if connection.login else None
        return cls(f"{host}/{prefix}" if prefix else host, login, extra.get("ca_file"))

    # -- the port ----------------------------------------------------------------------------------------------------

    async def submit(self, batch: Batch) -> None:
        """Submit it; Livy refuses a second one of the name, which is then the one that there is."""
        body: dict[str, Any] = {
            "name": batch.name,
            "file": batch.file,
            "args": list(batch.arguments),
            "conf": dict(batch.conf),
        }
        body.update({k: v for k, v in (("queue", batch.queue), ("proxyUser", batch.proxy_user)) if v})
        answer = await self._ask("POST", "/batches", body)
        if answer.status_code >= 400 and _DUPLICATE not in answer.text:
            raise ComputeTargetException(f"Livy at {self.url} refuses the batch: {_message(answer)}")

    async def seen(self) -> dict[str, Seen]:
        """Return every batch that has a name."""
        return {name: _seen(session) for name, session in (await self._sessions()).items()}

    async def lines(self, name: str) -> str:
        """Return the newest lines, without those that say nothing."""
        session = (await self._sessions()).get(name)
        if session is None:
            return ""
        answer = await self._ask("GET", f"/batches/{session['id']}/log?size={_LAST_LINES}")
        log = answer.json().get("log") or [] if answer.status_code < 400 else []
        return "\n".join(
            line for text in log for line in str(text).splitlines() if line.strip() and not NOISE.match(line)
        )

    async def kill(self, name: str) -> None:
        """Delete the batch, which ends it."""
        await self.forget(name)

    async def forget(self, name: str) -> None:
        """Delete the batch's record."""
        session = (await self._sessions()).get(name)
        if session is not None:
            await self._ask("DELETE", f"/batches/{session['id']}")

    async def probe(self) -> tuple[dict[str, object], list[str]]:
        """Ask for the version, and whether we may list batches."""
        facts: dict[str, object] = {"livy_url": self.url}
        try:
            await self._sessions()
            answer = await self._ask("GET", "/version")
            if answer.status_code == 200:
                facts["livy"] = str(answer.json().get("version") or "")
        except ComputeTargetException as error:
            return facts, [str(error)]
        except (ValueError, KeyError, AttributeError):
            return facts, [f"What answers at {self.url} is no Livy"]
        return facts, []

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _sessions(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        first = 0
        while True:
            answer = await self._ask("GET", f"/batches?from={first}&size={_PAGE}")
            if answer.status_code >= 400:
                raise ComputeTargetException(f"Livy at {self.url} does not list its batches: {_message(answer)}")
            page = answer.json()
            found.update({str(s["name"]): s for s in page["sessions"] if s.get("name")})
            first += len(page["sessions"])
            if not page["sessions"] or first >= int(page.get("total") or 0):
                return found

    async def _ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        import httpx

        headers = {"X-Requested-By": "stepwell", "Accept": "application/json"}
        try:
            answer = await self._client().request(method, self.url + path, json=body, headers=headers)
        except httpx.HTTPError as error:
            why = "in time" if isinstance(error, httpx.TimeoutException) else f"({error or type(error).__name__})"
            raise Unreachable(f"Livy at {self.url} does not answer {why}") from error
        if answer.status_code in (401, 403):
            who = f"the user {self._login[0]!r}" if self._login else "who has no login"
            raise ComputeTargetException(
                f"Livy at {self.url} refuses {who} (HTTP {answer.status_code})",
                hint="Correct login and password of the connection",
            )
        if answer.status_code in (502, 503, 504):
            raise Unreachable(f"Livy at {self.url} does not answer (HTTP {answer.status_code} of what is before it)")
        return answer

    def _client(self) -> httpx.AsyncClient:
        import httpx

        key = (os.getpid(), id(asyncio.get_running_loop()), self.url, self._login, self._ca_file)
        if key not in _clients:
            context: ssl.SSLContext | bool = True
            if self._ca_file:
                context = ssl.create_default_context(cafile=self._ca_file)
            _clients[key] = httpx.AsyncClient(
                auth=self._login,
                verify=context,
                timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                trust_env=False,  # the cluster is reached directly; no proxy, no .netrc
            )
        return _clients[key]


def _seen(session: Mapping[str, Any]) -> Seen:
    state = str(session.get("state"))
    detail = " ".join(filter(None, [f"Livy says {state!r}", str(session.get("appId") or "")]))
    found = STATES.get(state, "running")
    return Seen(found, detail)  # type: ignore[arg-type]


def _message(answer: httpx.Response) -> str:
    try:
        found = answer.json()
        said = str(found.get("msg") or found.get("message") or found)
    except (ValueError, AttributeError):
        said = answer.text[:500]
    return f"{said[:1000]} (HTTP {answer.status_code})"
