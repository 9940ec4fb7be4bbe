"""A step's log in the task log: line by line, and of a flood only a part."""

from __future__ import annotations

from stepwell.step.relay import LONGEST_LINE, Relay


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_whole_though_their_bytes_come_in_pieces() -> None:
    said: list[str] = []
    relay = Relay(said.append, "there")
    for byte in "ä\nzwei\r\nno end".encode():
        relay.feed(bytes([byte]))
    assert said == ["ä", "zwei"]
    relay.close()
    assert said == ["ä", "zwei", "no end"]


def test_a_flood_is_cut_counted_and_its_whole_place_named() -> None:
    said: list[str] = []
    clock = Clock()
    relay = Relay(said.append, "/the/log", burst=10, rate=5, clock=clock)
    relay.feed(b"x\n" * 1000)
    assert said == ["x"] * 10
    clock.now = 10.0
    relay.feed(b"y\n")
    assert said[10:] == ["[990 lines are not shown here; the complete log is /the/log]", "y"]
    relay.feed(b"z\n" * 100)
    relay.close()
    assert said[-21:] == ["[71 lines are not shown here; the complete log is /the/log]", *["z"] * 20]


def test_a_progress_bar_is_shown_while_it_moves() -> None:
    said: list[str] = []
    relay = Relay(said.append, "there")
    relay.feed(b"\r10%\r")
    relay.feed(b"\r20%\r")
    assert said == ["10%", "20%"]
    relay.feed(b"\nnext\r")
    relay.feed(b"\nend\n")
    assert said == ["10%", "20%", "next", "end"]


def test_a_line_without_an_end_is_handed_on_in_pieces_and_not_kept() -> None:
    said: list[str] = []
    relay = Relay(said.append, "there")
    relay.feed(b"x" * (LONGEST_LINE + 10))
    assert [len(line) for line in said] == [LONGEST_LINE]
    relay.close()
    assert [len(line) for line in said] == [LONGEST_LINE, 10]


def test_long_lines_are_a_flood_too() -> None:
    said: list[str] = []
    relay = Relay(said.append, "/the/log", burst=1000, rate=5, clock=Clock())
    for _ in range(100):
        relay.feed(b"x" * LONGEST_LINE)
    relay.close()
    assert len(said) == 3 + 1 + 20, "and of the end, a little"
    assert {len(line) for line in said[4:]} == {256}
    assert said[3] == "[77 lines are not shown here; the complete log is /the/log]"


def test_how_a_flood_ended_is_shown() -> None:
    said: list[str] = []
    relay = Relay(said.append, "log", burst=2, rate=0, clock=Clock())
    relay.feed(b"".join(b"line %d\n" % i for i in range(100)))
    relay.close()
    assert said[:3] == ["line 0", "line 1", "[78 lines are not shown here; the complete log is log]"]
    assert said[3:] == [f"line {i}" for i in range(80, 100)]
