"""What the trigger does when Airflow ends it: nothing, unless somebody wants the job to end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

pytest.importorskip("airflow")

from stepwell.step.waiting import Waiting
from stepwell.triggers import job
from stepwell.triggers.job import JobTrigger

WAITING = Waiting("default", None, "s", "s-g1", "local", "/jobs/s-g1", "owner", None, 0)


class Trigger(JobTrigger):
    """A trigger whose task's state is given, and that notes what it does."""

    def __init__(self, state: Any) -> None:
        super().__init__(**WAITING.to_dict())
        self.state = state
        self.did: list[str] = []

    async def _state_of_task(self) -> str | None:
        await asyncio.sleep(0.05)
        if isinstance(self.state, Exception):
            raise self.state
        return self.state  # type: ignore[no-any-return]

    async def _end_it(self, reason: str) -> None:
        await asyncio.sleep(0.05)
        self.did.append(reason)

    async def _clean_up(self, reason: str) -> None:
        await asyncio.sleep(0.05)
        self.did.append("cleaned up")


def test_it_is_plain_data() -> None:
    import json

    path, kwargs = JobTrigger(**WAITING.to_dict()).serialize()
    assert path == f"{JobTrigger.__module__}.{JobTrigger.__qualname__}"
    assert JobTrigger(**json.loads(json.dumps(kwargs))).waiting == WAITING


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("failed", "the task was marked failed"),
        ("success", "the task was marked successful"),
        ("skipped", "the task was skipped"),
        (None, "the task was cleared"),
        ("scheduled", "the task was cleared"),
    ],
)
def test_what_a_user_does_ends_the_job(state: str | None, reason: str) -> None:
    trigger = Trigger(state)
    asyncio.run(trigger.on_kill())
    assert trigger.did[0].startswith(reason)
    assert trigger.did[1:] == ["cleaned up"]


@pytest.mark.parametrize("state", ["deferred", RuntimeError("no answer")])
def test_another_triggerer_takes_over_and_the_job_goes_on(state: Any) -> None:
    trigger = Trigger(state)
    asyncio.run(trigger.on_kill())
    assert trigger.did == []


def test_airflow_cancels_a_kill_again_and_again_and_it_is_done_all_the_same() -> None:
    async def airflow() -> list[str]:
        trigger = Trigger("failed")
        killing = asyncio.create_task(trigger.on_kill())
        for _ in range(5):
            await asyncio.sleep(0.01)
            killing.cancel("user-action")
        with pytest.raises(asyncio.CancelledError):
            await killing
        deadline = time.monotonic() + 5
        while len(trigger.did) < 2 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert not job._killing or await asyncio.sleep(0.1) is None
        return trigger.did

    assert asyncio.run(airflow()) == ["the task was marked failed", "cleaned up"]
