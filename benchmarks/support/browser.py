"""A browser without a window that is asked to open pages, over the pipe that Chromium offers to tools."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")


class Page:
    """A tab.

    :param answers: where the browser's answers are read, ended by a zero byte each.
    :param questions: where it is asked.
    """

    def __init__(self, answers: int, questions: int) -> None:
        self._answers, self._questions = os.fdopen(answers, "rb"), os.fdopen(questions, "wb", buffering=0)
        self._number, self._left = 0, b""
        self._events: list[dict[str, Any]] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network"):
            self._ask(f"{domain}.enable")

    _session: str | None = None

    def open(self, file: Path) -> tuple[float, list[str]]:
        """Open a file; return the seconds until it is loaded and drawn, and all addresses that were asked for."""
        self._events.clear()
        began = time.perf_counter()
        self._ask("Page.navigate", url=file.as_uri())
        while not any(e["method"] == "Page.loadEventFired" for e in self._events):
            self._receive()
        self._ask("Page.captureScreenshot", format="jpeg")  # it is drawn now
        seconds = time.perf_counter() - began
        asked = [e["params"]["request"]["url"] for e in self._events if e["method"] == "Network.requestWillBeSent"]
        return seconds, [url for url in asked if not url.startswith("data:")]

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        question = {"id": self._number, "method": method, "params": params}
        session = {} if self._session is None else {"sessionId": self._session}
        self._questions.write(json.dumps({**question, **session}).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                found: dict[str, Any] = message["result"]
                return found

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            piece = self._answers.read1(1 << 16)
            if not piece:
                raise RuntimeError("the browser has ended")
            self._left += piece
        line, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self._events.append(message)
        return message


@contextmanager
def browser(scratch: Path) -> Iterator[Page]:
    """Start a browser; it is ended afterwards.

    :raises RuntimeError: there is none on this machine.
    """
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        raise RuntimeError(f"there is no browser: {', '.join(NAMES)}")
    asked, ask = os.pipe()
    answers, answer = os.pipe()
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--window-size=1280,1600"]
    argv = [program, *flags, f"--user-data-dir={scratch / 'browser'}", "about:blank"]
    # It reads from 3 and writes to 4; a shell can say so.
    shell = ["bash", "-c", f'exec "$0" "$@" 3<&{asked} 4>&{answer}', *argv]
    process = subprocess.Popen(shell, pass_fds=(asked, answer), stdin=subprocess.DEVNULL, cwd=scratch)
    os.close(asked)
    os.close(answer)
    try:
        yield Page(answers, ask)
    finally:
        process.terminate()
        process.wait()
