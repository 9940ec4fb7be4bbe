"""Batches of a Spark pool of Azure Synapse, by Azure's own client."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from stepwell.compute.batch.batches import Batch, Seen
from stepwell.compute.batch.livy import NOISE, STATES
from stepwell.compute.contract import Unreachable
from stepwell.compute.spark_settings import SIZES
from stepwell.errors import ComputeTargetException

T = TypeVar("T")
#: What a pool must be told, where neither step nor target says it: one small node each.
NODE = {
    "spark.driver.memory": "28g",
    "spark.driver.cores": "4",
    "spark.executor.memory": "28g",
    "spark.executor.cores": "4",
    "spark.executor.instances": "2",
}
_FIELDS = {"num_executors": "executor_count"}
_PAGE = 200
#: For requests that get no answer: what waits for a job asks again soon anyway.
_RETRIES: dict[str, Any] = {"retry_total": 2, "retry_backoff_factor": 0.2}
_GONE_FOR_NOW = (429, 502, 503, 504)
#: Clients by process, loop and who asks what: all targets of one pool share a connection and its token.
_clients: dict[tuple[object, ...], Any] = {}


class SynapseBatches:
    """A Spark pool.

    :param endpoint: of the workspace, such as ``https://myworkspace.dev.azuresynapse.net``.
    :param connection: an Airflow connection of type ``azure`` or ``azure_synapse``; None = Azure's default chain.
    """

    def __init__(self, endpoint: str, pool: str, connection: Any = None) -> None:
        if connection is not None and connection.conn_type not in ("azure", "azure_synapse"):
            raise ComputeTargetException(
                f"The connection {connection.conn_id!r} is of type {connection.conn_type!r}",
                allowed=["azure", "azure_synapse"],
            )
        self.endpoint = endpoint.rstrip("/")
        self.pool = pool
        self._connection = connection

    # -- the port ----------------------------------------------------------------------------------------------------

    async def submit(self, batch: Batch) -> None:
        """Submit it, unless there is one of the name. Of two at the same moment the storage decides."""
        from azure.synapse.spark.models import SparkBatchJobOptions

        if batch.name in await self._jobs():
            return
        conf = {**NODE, **batch.conf}
        sizes: dict[str, Any] = {}
        for parameter, key in SIZES.items():
            value = conf.pop(key)
            sizes[_FIELDS.get(parameter, parameter)] = value if parameter.endswith("_memory") else int(value)
        options = SparkBatchJobOptions(
            name=batch.name,
            file=batch.file,
            arguments=list(batch.arguments),
            configuration=conf,
            **sizes,
        )
        await self._ask(self._client().spark_batch.create_spark_batch_job(options))

    async def seen(self) -> dict[str, Seen]:
        """Return every batch of the pool that has a name."""
        return {name: _seen(job) for name, job in (await self._jobs()).items()}

    async def lines(self, name: str) -> str:
        """Return what the service says of errors, and the newest lines."""
        job = (await self._jobs()).get(name)
        if job is None:
            return ""
        whole = await self._ask(self._client().spark_batch.get_spark_batch_job(job.id, detailed=True))
        said = [f"{error.error_code}: {error.message}" for error in whole.errors or []]
        log = [line for text in whole.log_lines or [] for line in str(text).splitlines()]
        return "\n".join([*said, *(line for line in log if line.strip() and not NOISE.match(line))])

    async def kill(self, name: str) -> None:
        """Cancel the batch."""
        job = (await self._jobs()).get(name)
        if job is not None and _seen(job).state != "ended":
            await self._ask(self._client().spark_batch.cancel_spark_batch_job(job.id))

    async def forget(self, name: str) -> None:
        """Do nothing: Synapse keeps the records of batches as long as it likes."""

    async def probe(self) -> tuple[dict[str, object], list[str]]:
        """Log in, and look whether the pool is there."""
        facts: dict[str, object] = {"endpoint": self.endpoint, "pool": self.pool}
        try:
            await self._ask(self._client().spark_batch.get_spark_batch_jobs(size=1))
        except ComputeTargetException as error:
            return facts, [str(error)]
        return facts, []

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _jobs(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first = 0
        while True:
            listed = self._client().spark_batch.get_spark_batch_jobs(from_parameter=first, size=_PAGE, detailed=True)
            page = await self._ask(listed)
            jobs = page.sessions or []
            for job in jobs:
                # Names may be taken twice: what still lives counts.
                if job.name and (job.name not in found or _seen(found[job.name]).state == "ended"):
                    found[job.name] = job
            first += len(jobs)
            if not jobs or first >= int(page.total or 0):
                return found

    async def _ask(self, request: Coroutine[Any, Any, T]) -> T:
        from azure.core import exceptions

        try:
            return await request
        except exceptions.ClientAuthenticationError as error:
            raise ComputeTargetException(
                f"Azure does not let us in to {self.endpoint}: {_short(error)}",
                hint="Correct the connection (login = client id, password = client secret, extra tenantId), or give "
                "this machine an identity that has a role in the workspace",
            ) from error
        except exceptions.HttpResponseError as error:
            if error.status_code in _GONE_FOR_NOW:
                raise Unreachable(f"Synapse at {self.endpoint} does not answer (HTTP {error.status_code})") from error
            if error.status_code == 404:
                raise ComputeTargetException(
                    f"The workspace at {self.endpoint} has no Spark pool {self.pool!r}: {_short(error)}",
                    hint="Correct pool_name, or create the pool",
                ) from error
            raise ComputeTargetException(f"Synapse at {self.endpoint} refuses: {_short(error)}") from error
        except exceptions.AzureError as error:  # no connection, no answer
            raise Unreachable(f"Synapse at {self.endpoint} does not answer: {_short(error)}") from error

    def _client(self) -> Any:
        key = (os.getpid(), id(asyncio.get_running_loop()), self.endpoint, self.pool, _who(self._connection))
        if key not in _clients:
            try:
                from azure.synapse.spark.aio import SparkClient
            except ImportError as error:
                raise ComputeTargetException(
                    "azure-synapse-spark is not installed", hint="Install airflow-provider-stepwell[synapse]"
                ) from error
            identity = credential(self._connection)
            _at_exit(identity)
            _clients[key] = SparkClient(
                credential=identity,
                endpoint=self.endpoint,
                spark_pool_name=self.pool,
                connection_timeout=10,
                read_timeout=60,
                **_RETRIES,
                **_trust(self._connection),
            )
            _at_exit(_clients[key])
        return _clients[key]


def _at_exit(client: Any) -> None:
    """Close *client* when this process ends, on the loop that it belongs to; else it complains on stderr."""
    loop, process = asyncio.get_running_loop(), os.getpid()

    def close() -> None:
        if os.getpid() == process and loop.is_running():
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(client.close(), loop).result(2)

    atexit.register(close)


def credential(connection: Any) -> Any:
    """Return what logs in: the connection's service principal, else a managed identity or Azure's default chain.

    :raises ComputeTargetException: the service principal is not complete.
    """
    from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential

    extra = _extra(connection)
    if connection is None or not connection.login:
        names = ("managed_identity_client_id", "workload_identity_tenant_id")
        return DefaultAzureCredential(**{name: extra[name] for name in names if extra.get(name)})
    tenant = extra.get("tenantId") or extra.get("tenant_id")
    if not tenant or not connection.password:
        missing = "tenantId in its extra" if not tenant else "password (the client secret)"
        raise ComputeTargetException(f"The connection {connection.conn_id!r} has a login, but no {missing}")
    more = {"authority": extra["authority"], "disable_instance_discovery": True} if extra.get("authority") else {}
    return ClientSecretCredential(
        tenant, connection.login, connection.password, **more, **_RETRIES, **_trust(connection)
    )


def _extra(connection: Any) -> dict[str, Any]:
    """Return the connection's extra by the names that the Azure provider uses now; older ones have a prefix."""
    if connection is None:
        return {}
    found: Mapping[str, Any] = connection.extra or {}
    prefix = f"extra__{connection.conn_type}__"
    return {name.removeprefix(prefix): value for name, value in found.items()}


def _trust(connection: Any) -> dict[str, Any]:
    """Return whose certificates are trusted, where an endpoint has one of one's own."""
    ca_file = _extra(connection).get("ca_file")
    return {"connection_verify": ca_file} if ca_file else {}


def _who(connection: Any) -> tuple[object, ...]:
    """Return what tells one identity from another; a new secret is a new one."""
    if connection is None:
        return ()
    more = json.dumps(dict(connection.extra or {}), sort_keys=True, default=str)
    return (connection.login, hash((connection.password, more)))


def _seen(job: Any) -> Seen:
    state = str(job.state or (job.livy_info.current_state if job.livy_info else "") or "not_started").lower()
    result = f", result {job.result}" if job.result and job.result != "Uncertain" else ""
    detail = " ".join(filter(None, [f"Synapse says {state!r}{result}", job.app_id]))
    found = STATES.get(state, "ended" if job.result in ("Succeeded", "Failed", "Cancelled") else "running")
    begun = getattr(job.livy_info, "not_started_at", None) if job.livy_info else None
    started = begun.timestamp() if isinstance(begun, datetime) else None
    return Seen(found, detail, started)  # type: ignore[arg-type]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:600]
