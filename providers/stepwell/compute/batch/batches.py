"""The port that batch kinds are made of: a service that runs Spark applications by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True)
class Batch:
    """A Spark application in Python, ready to be submitted.

    :param name: unlike every other batch's, made of the job's id; at most 263 letters, digits, ``_``, ``-`` and ``.``.
    :param file: URI of the program.
    :param arguments: the program's, short: what a job needs is in its directory.
    :param conf: Spark settings, sizes and lists of files (``spark.archives``, ``spark.jars``, …) included; no secrets.
    :param queue: of the cluster; None = its default.
    :param proxy_user: whom the cluster is to run it as; None = whoever submits it.
    """

    name: str
    file: str
    arguments: tuple[str, ...] = ()
    conf: Mapping[str, str] = field(default_factory=dict)
    queue: str | None = None
    proxy_user: str | None = None


@dataclass(frozen=True)
class Seen:
    """What the service says of a batch.

    :param state: ``ended`` says nothing about success: that is in the job directory.
    :param detail: its own word for the state, and what else it knows (an application id), for people.
    :param started: when it was submitted, in seconds since the epoch; None if the service does not say.
    """

    state: Literal["queued", "running", "ended"]
    detail: str = ""
    started: float | None = None


class Batches(Protocol):
    """A service that runs batches. Every method raises ``Unreachable`` when it does not answer."""

    async def submit(self, batch: Batch) -> None:
        """Submit it, unless there is one of that name, whatever became of that.

        :raises ComputeTargetException: the service refuses it; nothing was started.
        """

    async def seen(self) -> dict[str, Seen]:
        """Return every batch that it knows, by name, in as few calls as it can."""

    async def lines(self, name: str) -> str:
        """Return the newest lines that the batch or whoever started it has said: the reason when it never began."""

    async def kill(self, name: str) -> None:
        """End it, wherever it is in its life; nothing happens if there is none."""

    async def forget(self, name: str) -> None:
        """Remove what the service keeps of an ended batch; nothing happens if there is none."""

    async def probe(self) -> tuple[dict[str, object], list[str]]:
        """Look whether it answers: facts (versions, queues, …) and problems, each a sentence."""
