"""Slots: so many at a time, in the order in which they came."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from stepwell.runtime import slots


def test_so_many_at_a_time_in_their_order(tmp_path: Path) -> None:
    first, second, third = (slots.Place(str(tmp_path)) for _ in range(3))
    held = first.take(1)
    assert held is not None
    assert slots.busy(str(tmp_path)) == 1
    assert second.take(1) is None
    assert third.take(1) is None
    os.close(held)
    assert third.take(1) is None, "it came later"
    held = second.take(1)
    assert held is not None
    os.close(held)
    assert third.take(1) is not None


def test_who_comes_when_others_wait_lines_up(tmp_path: Path) -> None:
    held, waits, late = (slots.Place(str(tmp_path)) for _ in range(3))
    one = held.take(1)
    assert waits.take(1) is None
    assert one is not None
    os.close(one)
    assert late.take(1) is None
    assert waits.take(1) is not None


def test_the_number_counts_at_once(tmp_path: Path) -> None:
    taken = [slots.Place(str(tmp_path)).take(3) for _ in range(3)]
    assert None not in taken
    place = slots.Place(str(tmp_path))
    assert place.take(3) is None
    os.close(taken[0] or -1)  # the lowest one
    assert place.take(2) is None, "two are taken, above and below"
    os.close(taken[2] or -1)
    assert place.take(2) is not None
    assert slots.count_of(str(tmp_path), 7) == 7
    (tmp_path / slots.COUNT).write_text("2")
    assert slots.count_of(str(tmp_path), 7) == 2


def test_the_dead_wait_for_nothing(tmp_path: Path) -> None:
    held = slots.Place(str(tmp_path)).take(1)
    assert held is not None
    child = os.fork()
    if child == 0:
        place = slots.Place(str(tmp_path))
        place.take(1)
        time.sleep(60)
    deadline = time.monotonic() + 10
    while not list(tmp_path.glob("waits-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    place = slots.Place(str(tmp_path))
    assert place.take(1) is None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(held)
    assert place.take(1) is not None
