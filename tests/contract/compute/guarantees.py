"""The guarantees that go beyond running a script: what is given arrives, cancel reaches all, logs at any rate, nothing
left. A kind's test class adds its :class:`~tests.contract.compute.contract.Case`.
"""

from __future__ import annotations

import base64
import json
import random
import time
from typing import Any

import pytest
from tests.contract.compute.case import Case, Runner, eventually, launchers, scripts

from stepwell.compute import portal
from stepwell.compute.contract import Target

#: What shells, property files, JSON, command lines and URLs trip over.
HOSTILE = (
    "", " ", "a b", "'", '"', "\\", "\\\\", "$HOME", "$(id)", "`id`", "; id", "&& id", "| id", "> /tmp/x", "*", "?",
    "~", "#x", "!x", "%s", "%20", "{}", "{{ x }}", "--", "-rf", "@file", "a\nb", "\n", "a\r\nb", "\t", "\x01",
    "\x7f", "é", "日本語", "🙂", "\u202e", "a=b", "a:b,c", "spark.x y", "x\\n", "${x}", "'; print(1); '",
    '"""', "</script>",
)  # fmt: skip
_ECHO = (
    "import base64, json, os, sys\n"
    "said = {'arguments': sys.argv[1:], 'variables': {n: v for n, v in os.environ.items() if n.startswith('GIVEN_')},\n"
    "        'files': sorted(n for n in os.listdir('.') if n.startswith('given'))}\n"
    "print('said ' + base64.b64encode(json.dumps(said).encode()).decode(), flush=True)\n"
)


def said(log: str) -> dict[str, Any]:
    """Return what the echoing script was given."""
    line = next(line for line in log.splitlines() if line.startswith("said "))
    return dict(json.loads(base64.b64decode(line[5:])))


def hostile(seed: int, count: int) -> list[str]:
    """Return strings made of the hostile ones, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311
    return ["".join(chance.choices(HOSTILE, k=chance.randint(1, 5))) for _ in range(count)]


class TargetGuarantees(Case):
    """What every target guarantees."""

    # -- what is given arrives -----------------------------------------------------------------------------------------

    def test_the_script_receives_what_was_given(self, run: Runner) -> None:
        arguments = [*HOSTILE, *hostile(1, 150)]
        variables = {f"GIVEN_{n}": text for n, text in enumerate([*HOSTILE, *hostile(2, 50)])}
        names = sorted(
            f"given {text}"
            for text in {*HOSTILE, *hostile(3, 20)}
            if not {"/", "\\"} & {*text} and text.isprintable() and text == text.strip() and not text.endswith(".")
        )
        handle = run(_ECHO, *arguments, variables=variables, files={name: "x" for name in names})
        told = said(run.log(handle))
        assert told["arguments"] == arguments
        assert told["variables"] == variables
        assert told["files"] == names

    def test_a_hundred_kilobytes_of_arguments(self, run: Runner) -> None:
        arguments = [f"{n:05d}é" * 10 for n in range(1500)] + ["x" * 20_000]
        told = said(run.log(run(_ECHO, *arguments)))
        assert told["arguments"] == arguments

    # -- cancel --------------------------------------------------------------------------------------------------------

    @pytest.mark.slow
    def test_within_ten_seconds_of_a_cancel_nothing_of_the_job_runs(self, run: Runner, target: Target) -> None:
        handle = run(
            "import os, signal, subprocess, sys, time\n"
            "deaf = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)'\n"
            "subprocess.Popen([sys.executable, '-c', deaf])\n"
            "subprocess.Popen([sys.executable, '-c', deaf], start_new_session=True)\n"
            "if os.fork() == 0:\n"
            "    os.setsid()\n"
            "    if os.fork() == 0:\n"
            "        exec(deaf)\n"
            "    os._exit(0)\n"
            "exec(deaf)\n"
        )
        eventually(lambda: len(scripts(handle.job_id)) >= 4, self.patience)
        time.sleep(0.3)  # they turn a deaf ear
        started = time.monotonic()
        assert portal.call(target.cancel(handle, None)) is True
        eventually(lambda: not scripts(handle.job_id) and not launchers(handle.job_id), 10)
        assert time.monotonic() - started < 10
        assert run.wait(handle).final["status"] == "cancelled"

    def test_what_a_step_leaves_running_ends_with_it(self, run: Runner) -> None:
        handle = run(
            "import subprocess, sys\n"
            "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=True)\n"
        )
        assert run.wait(handle).final["status"] == "succeeded"
        eventually(lambda: not scripts(handle.job_id), 10)

    # -- logs ----------------------------------------------------------------------------------------------------------

    def test_lines_of_a_megabyte_and_bytes_that_are_no_text_are_kept(self, run: Runner) -> None:
        handle = run(
            "import sys\nout = sys.stdout.buffer\n"
            "out.write(b'a' * (1 << 20) + b'\\n'); out.write(b'\\xff\\xfe\\x00 broken \\xc3\\n')\n"
            "out.write(b'b' * (1 << 20) + b'\\n'); out.write(b'no newline at the end'); out.flush()"
        )
        log = b"".join(portal.iterate(run.target.logs(handle)))
        kept = (run.wait(handle).directory / "logs/step.log").read_bytes()
        assert log == kept
        assert kept.count(b"a" * (1 << 20)) == kept.count(b"b" * (1 << 20)) == 1
        assert b"broken" in kept
        assert kept.rstrip().endswith(b"no newline at the end")

    @pytest.mark.slow
    def test_a_burst_of_a_hundred_megabytes_is_complete(self, run: Runner) -> None:
        handle = run(
            "import sys\nout = sys.stdout.buffer\n"
            "for first in range(0, 1_000_000, 1000):\n"
            "    out.write(b''.join(b'%07d %s\\n' % (n, b'x' * 92) for n in range(first, first + 1000)))\n"
            "out.flush()"
        )
        seen = 0
        for piece in portal.iterate(run.target.logs(handle)):
            seen += len(piece)
        with open(run.wait(handle).directory / "logs/step.log", "rb") as file:
            numbers = [int(line[:7]) for line in file if line[:7].isdigit()]
        assert numbers == list(range(1_000_000))
        assert seen >= 101_000_000

    # -- nothing left --------------------------------------------------------------------------------------------------

    def test_after_collect_and_forget_nothing_is_left(self, run: Runner, target: Target) -> None:
        handle = run("import os; os.makedirs('outputs'); open('outputs/x', 'w').write('x'); os.mkdir('empty')")
        run.wait(handle)
        portal.call(target.forget(handle))
        assert not run.exists(handle)
        runner = getattr(target, "runner", None)
        assert runner is None or handle.job_id not in portal.call(runner.known())
        assert portal.call(target.find(handle.job_id)) is None
