"""The way from synchronous code to the async contract: one event loop on one thread per process.

Airflow calls ``on_kill`` in a signal handler, notebooks have a loop of their own, and task processes are forked: so the
loop is never the caller's, a call can interrupt another one, and a forked child gets a loop of its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

# Reentrant: a signal handler may need the loop while the code it interrupted is starting it.
_starting = threading.RLock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def _loop() -> asyncio.AbstractEventLoop:
    loop = _loops.get(os.getpid())
    if loop is not None:
        return loop
    with _starting:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="stepwell-portal", daemon=True).start()
            _loops[os.getpid()] = loop
    return loop


def _after_fork_in_child() -> None:
    global _starting
    _starting = threading.RLock()  # whoever held it is not in this process
    _loops.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def call(coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
    """Run *coroutine* on the loop and return its result. Works in any thread and in signal handlers.

    :param timeout: seconds; None waits for as long as it takes.
    :raises TimeoutError: it took longer, and was cancelled.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result(timeout)
    except BaseException:
        future.cancel()  # no effect if it has ended: then this is its own error
        raise


def start(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Let *coroutine* run on the loop, as long as it takes."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop())


async def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* on the loop from another one (a trigger, a notebook) and return its result."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, _loop()))


def iterate(iterator: AsyncIterator[T]) -> Iterator[T]:
    """Return what the async *iterator* yields, as it comes."""

    async def following() -> tuple[bool, Any]:
        try:
            return True, await anext(iterator)
        except StopAsyncIteration:
            return False, None

    try:
        while True:
            more, item = call(following())
            if not more:
                return
            yield item
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            call(close())


@contextmanager
def during(coroutine: Coroutine[Any, Any, Any]) -> Iterator[None]:
    """Let *coroutine* run on the loop while the context lasts."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        yield
    finally:
        future.cancel()


def later(function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
    """Run *function* in a thread of its own meanwhile."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="stepwell-later", daemon=True).start()
    return future
