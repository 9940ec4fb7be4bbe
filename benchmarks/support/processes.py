"""Measuring processes: one that is timed from start to end, and one that measures itself whenever it is asked."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def timed(argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> float:
    """Return the seconds that a process takes from start to end.

    :raises RuntimeError: it failed; with the end of what it said.
    """
    began = time.perf_counter()
    _run(argv, cwd, env)
    return time.perf_counter() - began


def cpu(argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> float:
    """Return the CPU seconds (user and system) of a process and of the children it has waited for."""
    before = os.times()
    _run(argv, cwd, env)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def answer(argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Any:
    """Return the JSON that a process prints as its last line."""
    return json.loads(_run(argv, cwd, env).strip().splitlines()[-1])


def _run(argv: Sequence[str | Path], cwd: Path | None, env: Mapping[str, str] | None) -> str:
    command = [str(a) for a in argv]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


class Helper:
    """A process that stays warm: a word on its standard input, a line of JSON as the answer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, word: str = "go") -> Any:
        """Return its answer.

        :raises RuntimeError: it has ended instead.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} has ended with {self._process.wait()}")
        return json.loads(line)


@contextmanager
def helper(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> Iterator[Helper]:
    """Start a helper; it is told to end (end of input) afterwards. What it says beside its answers is our stderr."""
    process = subprocess.Popen(
        [str(a) for a in argv], cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Helper(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
