"""A worker that dies, a job that dies, a cancel: one job, one version, and nothing left half-written."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.steps import Bench, die, until

from stepwell import HDFSOutputDatasetConfig, OutputFileDatasetConfig
from stepwell.data import registry
from stepwell.errors import ActivityFailedException
from stepwell.operators import PythonScriptStepOperator
from stepwell.step import publish
from stepwell.step.life import Life

pytestmark = pytest.mark.integration

SLOW = """
import os, sys, time
out, folder = sys.argv[1].removeprefix("file://"), sys.argv[2]
os.makedirs(out, exist_ok=True)
open(out + "/data.csv", "w").write("a\\n1\\n")
with open(folder + "/started", "a") as file:
    file.write(str(os.getpid()) + "\\n")
while not os.path.exists(folder + "/go"):
    time.sleep(0.01)
sys.exit(int(open(folder + "/go").read() or 0))
"""


class Slow:
    """A step that writes its output, says that it has started, and waits."""

    def __init__(self, bench: Bench, output: Any) -> None:
        self.folder = bench.folder
        self.step = PythonScriptStepOperator(
            task_id="slow",
            script_name="slow.py",
            source_directory=bench.source({"slow.py": SLOW}),
            arguments=[output, bench.folder],
            outputs=[output],
        )

    def starts(self) -> list[int]:
        """The processes that have been started so far."""
        started = self.folder / "started"
        return [int(pid) for pid in started.read_text().split()] if started.exists() else []

    def let_go(self, code: int = 0) -> None:
        (self.folder / "aside").write_text(str(code))
        (self.folder / "aside").rename(self.folder / "go")


def outputs(bench: Bench) -> list[Any]:
    return [
        OutputFileDatasetConfig("out").register_on_complete("out"),
        HDFSOutputDatasetConfig("out", destination=(bench.datastore, "test")).register_on_complete("out"),
    ]


@pytest.fixture(params=["upload", "hdfs"])
def slow(request: pytest.FixtureRequest, bench: Bench) -> Slow:
    return Slow(bench, outputs(bench)[request.param == "hdfs"])


def jobs(scratch: Path) -> list[str]:
    return sorted(os.listdir(scratch / "jobs"))


def nothing_is_left(bench: Bench, scratch: Path, known: list[str]) -> None:
    assert bench.registered() == []
    assert bench.staged() == []
    assert [p for p in bench.data.rglob("*") if p.is_file() and ".stepwell" not in p.parts] == []
    assert jobs(scratch) == known, "no job directory is left"


@pytest.fixture
def known(scratch: Path, bench: Bench) -> list[str]:
    """Job directories that were there before the test."""
    (scratch / "jobs").mkdir(exist_ok=True)
    return jobs(scratch)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- the worker is lost ------------------------------------------------------------------------------------------------


def test_a_running_job_is_adopted_by_the_next_try(bench: Bench, slow: Slow, scratch: Path, known: list[str]) -> None:
    with bench.elsewhere(slow.step) as worker:
        until(slow.starts)
        worker.kill()
    with bench.meanwhile(slow.step, try_number=2) as end:
        until(lambda: "adopted" in bench.log.text)
        slow.let_go()
    (result,) = end
    assert result.references["out"]["version"] == 1
    assert len(slow.starts()) == 1, "the script ran once"
    assert bench.versions("out") == [1]
    assert bench.record()["try_number"] == 2
    assert jobs(scratch) == known
    assert bench.staged() == []


def test_a_job_whose_start_was_not_noted_is_found(bench: Bench, slow: Slow) -> None:
    """The worker dies between starting the job and writing that down; the data written meanwhile stays."""

    def prepare(life: Life) -> None:
        life._submitted = die  # type: ignore[method-assign]

    with bench.elsewhere(slow.step, prepare) as worker:
        assert worker.ended() == -signal.SIGKILL
    until(slow.starts)
    with bench.meanwhile(slow.step) as end:
        until(lambda: "adopted" in bench.log.text)
        slow.let_go()
    assert end[0].references["out"]["files"] == 1
    assert len(slow.starts()) == 1
    assert bench.versions("out") == [1]


def test_a_job_that_ended_while_nobody_watched_is_collected(bench: Bench, slow: Slow, scratch: Path) -> None:
    with bench.elsewhere(slow.step) as worker:
        (pid,) = until(slow.starts)
        worker.kill()
    slow.let_go()
    until(lambda: not alive(pid))
    bench.run(slow.step)
    assert len(slow.starts()) == 1
    assert bench.versions("out") == [1]


def test_a_job_that_failed_while_nobody_watched_leaves_its_log_and_nothing_else(
    bench: Bench, slow: Slow, scratch: Path, known: list[str]
) -> None:
    with bench.elsewhere(slow.step) as worker:
        (pid,) = until(slow.starts)
        worker.kill()
    slow.let_go(code=3)
    until(lambda: not alive(pid))
    until(lambda: any((scratch / "jobs").glob("*/events/final.json")))
    (bench.folder / "go").unlink()
    slow.let_go(code=0)
    bench.run(slow.step)
    assert len(slow.starts()) == 2, "the next generation"
    assert [bench.record(i)["status"] for i in (0, 1)] == ["failed", "completed"]
    assert "exit code 3" in bench.record(0)["error"]
    assert (bench.run_folder(0) / "logs/step.log").exists()
    assert bench.versions("out") == [1]
    assert bench.staged() == []
    assert jobs(scratch) == known


def _die_before_register(_: Life) -> None:
    publish.register = die  # type: ignore[assignment]


def _die_after_register(life: Life) -> None:
    life._end = die  # type: ignore[method-assign]


@pytest.mark.parametrize("prepare", [_die_before_register, _die_after_register])
def test_a_half_done_publish_is_completed_with_one_version(
    bench: Bench, slow: Slow, scratch: Path, known: list[str], prepare: Any
) -> None:
    slow.let_go()
    with bench.elsewhere(slow.step, prepare) as worker:
        assert worker.ended() == -signal.SIGKILL
    assert bench.versions("out") == ([1] if prepare is _die_after_register else [])
    result = bench.run(slow.step)
    assert result.references["out"]["version"] == 1, "the event is sent again, of the same version"
    assert bench.versions("out") == [1]
    assert len(slow.starts()) == 1
    assert registry.get(bench.ws, "out").files[0].path.endswith("/data.csv")
    registry.verify(bench.ws, registry.get(bench.ws, "out"))
    assert bench.staged() == []
    assert jobs(scratch) == known


def test_a_published_run_is_not_adopted_again(bench: Bench, slow: Slow) -> None:
    slow.let_go()
    bench.run(slow.step)
    bench.run(slow.step)
    assert len(slow.starts()) == 2
    assert bench.versions("out") == [1, 2]


# -- cancelled ---------------------------------------------------------------------------------------------------------


class Stop(BaseException):
    """As Airflow's own timeout: no ``Exception``."""


def _raise_on_term(life: Life) -> None:
    def stop(*_: object) -> None:
        life.cancel()
        raise Stop

    signal.signal(signal.SIGTERM, stop)


@pytest.mark.parametrize("prepare", [None, _raise_on_term], ids=["on_kill", "timeout"])
def test_a_cancel_in_a_signal_handler_stops_the_job(
    bench: Bench, slow: Slow, scratch: Path, known: list[str], prepare: Any
) -> None:
    with bench.elsewhere(slow.step, prepare) as worker:
        (pid,) = until(slow.starts)
        assert worker.terminate() == 1
    assert not alive(pid)
    assert bench.record()["status"] == "cancelled"
    assert (bench.run_folder() / "logs/step.log").exists()
    nothing_is_left(bench, scratch, known)


def test_a_cancel_before_the_start_starts_nothing(bench: Bench, slow: Slow, scratch: Path, known: list[str]) -> None:
    life = bench.life(slow.step)
    bench.log.when["Snapshot"] = life.cancel
    with pytest.raises(ActivityFailedException, match="was cancelled"):
        life.live()
    assert slow.starts() == []
    assert bench.record()["status"] == "cancelled"
    nothing_is_left(bench, scratch, known)


def test_a_cancel_while_the_job_is_being_started_stops_it(
    bench: Bench, slow: Slow, scratch: Path, known: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    life = bench.life(slow.step)
    noted = life._submitted

    def cancelled(handle: Any) -> None:
        life.cancel()  # the handle is not known yet: nothing can be cancelled
        noted(handle)

    monkeypatch.setattr(life, "_submitted", cancelled)
    with pytest.raises(ActivityFailedException, match="was cancelled"):
        life.live()
    assert [pid for pid in slow.starts() if alive(pid)] == []
    nothing_is_left(bench, scratch, known)


def test_a_cancel_after_the_end_publishes_nothing(
    bench: Bench, slow: Slow, scratch: Path, known: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.let_go()
    life = bench.life(slow.step)
    judge = life._judge
    monkeypatch.setattr(life, "_judge", lambda outcome: (life.cancel(), judge(outcome))[1])
    with pytest.raises(ActivityFailedException, match="was cancelled"):
        life.live()
    nothing_is_left(bench, scratch, known)


def test_an_older_try_does_not_cancel_the_job_that_a_newer_one_adopted(bench: Bench, slow: Slow) -> None:
    with bench.elsewhere(slow.step) as older:
        until(slow.starts)
        with bench.meanwhile(slow.step, try_number=2) as end:
            until(lambda: "adopted" in bench.log.text)
            older.process.terminate()
            older.process.join(1)  # it goes on watching: the job is not its own any more
            slow.let_go()
        assert older.ended() == 1
    assert end[0].references["out"]["version"] == 1
    assert bench.versions("out") == [1]
    assert bench.record()["status"] == "completed"


# -- killed ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("victim", "words"),
    [("os.getpid()", "killed by SIGKILL"), ("os.getppid()", "without a final status")],
    ids=["step", "launcher"],
)
def test_sigkill_is_a_failure_that_leaves_nothing(
    bench: Bench, scratch: Path, known: list[str], victim: str, words: str
) -> None:
    script = f"""
import os, sys, signal, time
for path in sys.argv[1:]:
    path = path.removeprefix("file://")
    os.makedirs(path, exist_ok=True)
    open(path + "/half.csv", "w").write("a")
print("half way", flush=True)
while "half way" not in open(os.environ["STEPWELL_JOB_DIR"] + "/logs/step.log").read():
    time.sleep(0.01)
os.kill({victim}, signal.SIGKILL)
time.sleep(60)
"""
    upload, hdfs = outputs(bench)[0], HDFSOutputDatasetConfig("hdfs", (bench.datastore, "t")).register_on_complete("h")
    step = PythonScriptStepOperator(
        task_id="k",
        script_name="k.py",
        source_directory=bench.source({"k.py": script}),
        arguments=[upload, hdfs],
        outputs=[upload, hdfs],
    )
    with pytest.raises(ActivityFailedException, match=words) as caught:
        bench.run(step)
    assert "half way" in str(caught.value)
    assert bench.record()["status"] == "failed"
    nothing_is_left(bench, scratch, known)


# -- a full disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_scratch(scratch: Path) -> Iterator[Path]:
    """Make the folder of jobs a disk of 2 MB."""
    jobs = scratch / "jobs"
    jobs.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(jobs)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield jobs
    subprocess.run(["umount", "--lazy", str(jobs)], check=True)


FILL = """
try:
    with open("filler", "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
except OSError:
    pass
for number in range(1000):
    print("line", number, flush=True)
"""


def test_a_full_disk_under_a_job_costs_lines_which_is_told_and_not_its_work(bench: Bench, small_scratch: Path) -> None:
    source = bench.source({"run.py": FILL})
    bench.run(PythonScriptStepOperator(task_id="full", script_name="run.py", source_directory=source))
    assert "has succeeded, but the log is not complete: No space left on device" in bench.log.text
    assert "line 999" in bench.log.text, "the last lines are not shown"
    assert os.listdir(small_scratch) == []
