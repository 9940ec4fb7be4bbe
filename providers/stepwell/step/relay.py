"""From the bytes of a step's log to lines in the task log, as they come, up to a rate."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable

#: Lines that may come at once, and lines per second after that. The complete log is among the run's files.
BURST = 20_000
RATE = 500.0


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
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the log."""
        *lines, self._rest = (self._rest + self._decoder.decode(chunk)).split("\n")
        for line in lines:
            self._line(line)

    def close(self) -> None:
        """The log has ended: hand on what is left."""
        if self._rest:
            self._line(self._rest)
            self._rest = ""
        self._tell()

    def _line(self, line: str) -> None:
        now = self._clock()
        self._allowed = min(self._burst, self._allowed + (now - self._last) * self._rate)
        self._last = now
        # After a flood, wait until there is room again for more than a line: not one line in, one line out.
        if self._allowed < (min(self._rate, self._burst) if self._left_out else 1):
            self._left_out += 1
            return
        self._tell()
        self._allowed -= 1
        self._say(line.rstrip("\r"))

    def _tell(self) -> None:
        if self._left_out:
            self._say(f"[{self._left_out:,} lines are not shown here; the complete log is {self._where}]")
            self._left_out = 0
