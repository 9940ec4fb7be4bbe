"""Calls at the same time: one that fails does not leave others behind that still write."""

from __future__ import annotations

import asyncio

import pytest

from stepwell.compute.together import together


def test_all_have_ended_when_one_has_failed() -> None:
    ended = []

    async def call(number: int, pause: float) -> int:
        await asyncio.sleep(pause)
        if number == 1:
            raise ValueError("the first one")
        ended.append(number)
        return number

    with pytest.raises(ValueError, match="the first one"):
        asyncio.run(together(call(1, 0.0), call(2, 0.02), call(3, 0.01)))
    assert ended == [3, 2]
    assert asyncio.run(together(call(2, 0.01), call(3, 0.0))) == [2, 3]


def test_who_gives_up_does_not_wait() -> None:
    async def waiting() -> None:
        await together(asyncio.sleep(60), asyncio.sleep(60))

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(waiting(), 0.01))
