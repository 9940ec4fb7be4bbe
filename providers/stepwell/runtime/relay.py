"""What a step prints: masked, and written to its logs as it comes.

A disk that is full must neither stop the step nor cost the job its final status: the log then ends early, and
:attr:`Relay.problem` says so.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

MASK = b"***"
MIN_SECRET = 4
#: A line that is not finished is shown after this many seconds.
PARTIAL_SECONDS = 0.25
#: A line longer than this is passed on in pieces.
LONGEST_LINE = 1 << 16


def variants(secrets: Iterable[str]) -> list[bytes]:
    """Return the byte strings to mask, longest first: each value, as JSON and as URL text, and the lines of a long one.

    Values of fewer than four characters are left out: masking them would tear up the log and hide nothing.
    """
    found: set[str] = set()
    for value in secrets:
        if len(value) < MIN_SECRET:
            continue
        import json
        from urllib.parse import quote, quote_plus

        found.update((value, json.dumps(value)[1:-1], quote(value, safe=""), quote(value), quote_plus(value)))
        found.update(line.strip() for line in value.splitlines() if len(line.strip()) >= 8)
    return sorted((text.encode("utf-8") for text in found), key=lambda text: (-len(text), text))


class Masker:
    """Replaces secrets in a stream of bytes, also where one is cut by the border between two pieces."""

    def __init__(self, secrets: list[bytes]) -> None:
        self._secrets = secrets
        self._held = b""
        # Of those that begin at the same place the longest: the alternatives are tried in their order.
        ordered = sorted(secrets, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(re.escape(secret) for secret in ordered))

    def feed(self, data: bytes) -> bytes:
        """Return what can be shown of all that was fed so far."""
        if not self._secrets:
            return data
        data = self._held + data
        shown, at = [], 0
        hold = self._beginning_of_a_secret(data, at)
        while True:
            found = self._pattern.search(data, at)
            # A whole secret that may yet turn out to be the beginning, or the inside, of a longer one waits for more.
            if found is None or found.start() >= hold:
                break
            shown += [data[at : found.start()], MASK]
            at = found.end()
            if hold < at:
                hold = self._beginning_of_a_secret(data, at)
        shown.append(data[at:hold])
        self._held = data[hold:]
        return b"".join(shown)

    def end(self) -> bytes:
        """Return what was held back, masked."""
        held, self._held = self._held, b""
        return self._pattern.sub(MASK, held) if held else held

    def _beginning_of_a_secret(self, data: bytes, start: int) -> int:
        """Return the first place from *start* on where all the rest is the beginning of a secret; else the end."""
        longest = 0
        for secret in self._secrets:
            for length in range(min(len(secret) - 1, len(data) - start), longest, -1):
                if data.endswith(secret[:length]):
                    longest = length
                    break
        return len(data) - longest


class _Stream:
    def __init__(self, secrets: list[bytes], copy: int | None) -> None:
        self.masker = Masker(secrets)
        self.copy = copy
        self.line = b""
        self.since = 0.0


class Relay:
    """Writes the streams of a step to ``step.log`` together, by lines, and each to a file of its own.

    :param log: path of the common log.
    :param copies: path of each stream's own file.
    :param secrets: as :func:`variants` returns them.
    :param last: how many of the last lines to keep for the final status.
    """

    def __init__(self, log: str, copies: dict[str, str], secrets: list[bytes], last: int) -> None:
        self.problem: str | None = None
        self.last: deque[str] = deque(maxlen=max(1, last))
        self._secrets = secrets
        self._log = self._open(log)
        self._streams = {name: _Stream(secrets, self._open(path)) for name, path in copies.items()}

    def feed(self, stream: str, data: bytes) -> None:
        """Take what the step wrote to *stream*."""
        state = self._streams[stream]
        self._take(state, state.masker.feed(data))

    def say(self, text: str) -> None:
        """Write a line of our own to the common log."""
        masker = Masker(self._secrets)
        line = masker.feed((f"stepwell: {text}\n").encode("utf-8", "replace")) + masker.end()
        self._write(self._log, line)

    def tick(self) -> None:
        """Show lines that have waited for their end long enough."""
        now = time.monotonic()
        for state in self._streams.values():
            if state.line and now - state.since > PARTIAL_SECONDS:
                self._common(state.line)
                state.line = b""

    def end(self) -> None:
        """Show all that is still held back (between phases, and at the end)."""
        for state in self._streams.values():
            self._take(state, state.masker.end())
            if state.line:
                self._common(state.line + b"\n")
                state.line = b""

    def last_lines(self) -> list[str]:
        """Return the last lines that the step printed, without their ends."""
        return list(self.last)

    def _take(self, state: _Stream, data: bytes) -> None:
        if not data:
            return
        self._write(state.copy, data)
        whole, newline, rest = (state.line + data).rpartition(b"\n")
        if newline:
            self._common(whole + newline)
        if len(rest) > LONGEST_LINE:
            self._common(rest)
            rest = b""
        if rest and (newline or not state.line):
            state.since = time.monotonic()
        state.line = rest

    def _common(self, data: bytes) -> None:
        self._write(self._log, data)
        for line in data[-LONGEST_LINE:].splitlines()[-(self.last.maxlen or 1) :]:
            text = line.decode("utf-8", "replace")
            self.last.append(text if len(text) <= 2000 else text[:2000] + "…")

    def _open(self, path: str) -> int | None:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            self._lost(error)
            return None

    def _write(self, descriptor: int | None, data: bytes) -> None:
        if descriptor is None:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        if self.problem is None:
            self.problem = "the log is not complete: %s" % (error.strerror or error)
