from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator

import pytest

from stepwell.compute import portal


async def value(of: int, after: float = 0.0) -> int:
    await asyncio.sleep(after)
    return of


def test_a_call_returns_the_result_and_raises_the_error() -> None:
    async def fails() -> None:
        raise KeyError("this one")

    assert portal.call(value(3)) == 3
    with pytest.raises(KeyError, match="this one"):
        portal.call(fails())


def test_what_takes_too_long_is_cancelled() -> None:
    cancelled = threading.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError):
        portal.call(slow(), timeout=0.05)
    assert cancelled.wait(5)


def test_a_signal_handler_can_call_while_the_main_thread_waits_in_a_call() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(portal.call(value(7), timeout=5)))
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        assert portal.call(value(1, after=0.5), timeout=5) == 1
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [7]


def test_an_exception_of_a_signal_handler_cancels_the_call() -> None:
    def raises(*_: object) -> None:
        raise RuntimeError("timed out")

    before = signal.signal(signal.SIGUSR1, raises)
    started = time.monotonic()
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(RuntimeError, match="timed out"):
            portal.call(value(1, after=30))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - started < 5


def test_a_forked_process_has_a_loop_of_its_own() -> None:
    assert portal.call(value(1)) == 1
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        os._exit(portal.call(value(42)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


def test_iterate_yields_as_it_comes_and_closes_what_is_left_early() -> None:
    closed = threading.Event()

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(1000):
                yield number
                await asyncio.sleep(0)
        finally:
            closed.set()

    found = portal.iterate(numbers())
    assert [next(found), next(found)] == [0, 1]
    found.close()  # type: ignore[attr-defined]
    assert closed.wait(5)


async def test_another_loop_can_wait_for_it() -> None:
    assert await portal.run(value(5)) == 5
