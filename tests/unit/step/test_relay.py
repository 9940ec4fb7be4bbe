"""The relay of a step's log: every line of an ordinary log, and a flood cut with words."""

from __future__ import annotations

from stepwell.step.relay import Relay


class Clock:
    """A clock that stands still until it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_whole_whatever_the_pieces_are() -> None:
    said: list[str] = []
    relay = Relay(said.append, "log")
    data = "größe 1\nzwei\r\ndrei".encode()
    for position in range(len(data)):
        relay.feed(data[position : position + 1])
    assert said == ["größe 1", "zwei"]
    relay.close()
    assert said == ["größe 1", "zwei", "drei"]


def test_a_flood_is_cut_and_says_how_much_and_where() -> None:
    said: list[str] = []
    clock = Clock()
    relay = Relay(said.append, "/runs/r/logs/step.log", burst=10, rate=5, clock=clock)
    relay.feed(b"".join(b"line %d\n" % i for i in range(100)))
    assert said == [f"line {i}" for i in range(10)]
    clock.now = 2.0
    relay.feed(b"later\n")
    assert said[10:] == ["[90 lines are not shown here; the complete log is /runs/r/logs/step.log]", "later"]
    relay.close()
    assert said[-1] == "later"
