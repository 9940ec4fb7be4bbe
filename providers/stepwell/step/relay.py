"""From the bytes of a step's log to lines in the task log, as they come, up to a rate."""

from __future__ import annotations

import codecs
import time
from collections import deque
from collections.abc import Callable

#: Lines that may come at once, and lines per second after that. The complete log is among the run's files.
BURST = 20_000
RATE = 500.0
#: A longer line counts as several, one per so many characters.
LINE_CHARACTERS = 256
#: A line longer than this, in characters, is handed on in pieces.
LONGEST_LINE = 1 << 16
#: So many lines of the end of a flood are shown after all.
LAST_LINES = 20


class Relay:
    """Hands lines on; of a flood it shows a part, and says how much it left out and where all of it is.

    :param say: takes a line.
    :param where: names the place of the complete log.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        where: str,
        *,
        burst: int = BURST,
        rate: float = RATE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._where = where
        self._burst = burst
        self._rate = rate
        self._clock = clock
        self._allowed = float(burst)
        self._last = clock()
        self._left_out = 0
        self._tail: deque[str] = deque(maxlen=LAST_LINES)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest: list[str] = []  # of a line that has no end yet, and its length
        self._length = 0
        self._returned = False  # the last character was a carriage return: a newline after it ends no other line

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the log."""
        text = self._decoder.decode(chunk)
        if not text:
            return
        if self._returned and text[0] == "\n":
            text = text[1:]
        self._returned = text.endswith("\r")
        *lines, rest = text.replace("\r\n", "\n").split("\n")
        for line in lines:
            self._take(line)
            self._hand_on()
        self._take(rest)

    def close(self) -> None:
        """The log has ended: hand on what is left."""
        self._take(self._decoder.decode(b"", final=True))
        if self._rest:
            self._hand_on()
        tail = list(self._tail) if self._left_out else []
        self._left_out -= len(tail)
        self._tell()
        for line in tail:  # how it ended is what people look for
            self._say(line)

    def _take(self, text: str) -> None:
        """Take text without newlines; a carriage return ends a line that is not empty, as progress bars print it."""
        *drawn, text = text.split("\r") if "\r" in text else [text]
        for line in drawn:
            self._keep(line)
            if self._rest:
                self._hand_on()
        self._keep(text)

    def _keep(self, text: str) -> None:
        while self._length + len(text) >= LONGEST_LINE:
            room = LONGEST_LINE - self._length
            self._rest.append(text[:room])
            self._hand_on()
            text = text[room:]
        if text:
            self._rest.append(text)
            self._length += len(text)

    def _hand_on(self) -> None:
        line = "".join(self._rest)
        self._rest.clear()
        self._length = 0
        self._line(line)

    def _line(self, line: str) -> None:
        cost = min(self._burst, max(1.0, len(line) / LINE_CHARACTERS))
        now = self._clock()
        self._allowed = min(self._burst, self._allowed + (now - self._last) * self._rate)
        self._last = now
        # After a flood, wait until there is room again for more than a line: not one line in, one line out.
        if self._allowed < max(cost, min(self._rate, self._burst) if self._left_out else 1):
            self._left_out += 1
            self._tail.append(line[:LINE_CHARACTERS])
            return
        self._tell()
        self._allowed -= cost
        self._say(line)

    def _tell(self) -> None:
        if self._left_out:
            self._say(f"[{self._left_out:,} lines are not shown here; the complete log is {self._where}]")
            self._left_out = 0
        self._tail.clear()
