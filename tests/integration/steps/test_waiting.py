"""A step that waits for its job without a worker: one try, three processes' work, one log, one job."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.steps import Bench, Lines, until

from stepwell import AmlCompute, ComputeTarget, OutputFileDatasetConfig
from stepwell.compute.contract import Status
from stepwell.compute.kinds.local import LocalTarget
from stepwell.errors import ActivityFailedException
from stepwell.operators import PythonScriptStepOperator
from stepwell.runtime import processes
from stepwell.step import state, waiting, watching
from stepwell.step.spec import StepResult
from stepwell.step.tenure import Overtaken
from stepwell.step.waiting import Abandoned, Waiting

pytestmark = pytest.mark.integration

TALK = """
import os, sys, time
out, folder = sys.argv[1:]
with open(folder + "/started", "a") as file:
    file.write(str(os.getpid()) + "\\n")
print("first line", flush=True)
said = 0
while not os.path.exists(folder + "/go"):
    lines = sorted(name for name in os.listdir(folder) if name.startswith("say-"))
    for name in lines[said:]:
        print(open(folder + "/" + name).read(), end="", flush=True)
    said = len(lines)
    time.sleep(0.01)
print("last line", flush=True)
os.makedirs(out, exist_ok=True)
open(out + "/data.csv", "w").write("a\\n1\\n")
sys.exit(int(open(folder + "/go").read() or 0))
"""


class Talker:
    """A step whose job says what it is told to say, until it may end."""

    def __init__(self, bench: Bench, **more: Any) -> None:
        self.bench = bench
        output = OutputFileDatasetConfig("out").register_on_complete("out")
        self.step = PythonScriptStepOperator(
            task_id="talk",
            script_name="talk.py",
            source_directory=bench.source({"talk.py": TALK}),
            arguments=[output, bench.folder],
            outputs=[output],
            **more,
        )

    def starts(self) -> list[int]:
        started = self.bench.folder / "started"
        return [int(pid) for pid in started.read_text().split()] if started.exists() else []

    def say(self, number: int, text: str) -> None:
        aside = self.bench.folder / f"aside-{number}"
        aside.write_text(text)
        aside.rename(self.bench.folder / f"say-{number:03d}")

    def let_go(self, code: int = 0) -> None:
        aside = self.bench.folder / "aside"
        aside.write_text(str(code))
        aside.rename(self.bench.folder / "go")

    def start(self, **more: Any) -> Waiting:
        """Live a try until it waits."""
        found = self.bench.life(self.step, **more).start(defer=True, patience=0.0)
        assert isinstance(found, Waiting)
        return found


class Records(Lines):
    """A logger whose records hold several lines."""

    @property
    def shown(self) -> list[str]:
        return self.text.splitlines()


class Watch:
    """Somebody who waits."""

    def __init__(self, on: Waiting) -> None:
        self.log = Records()
        self.news: list[watching.News] = []
        self.heard = threading.Event()
        self.job = watching.watch(on, self.log, self._done)

    def _done(self, news: watching.News) -> None:
        self.news.append(news)
        self.heard.set()

    def ended(self) -> watching.News:
        assert self.heard.wait(30), "no news"
        (news,) = self.news
        return news


@pytest.fixture
def talker(bench: Bench) -> Talker:
    return Talker(bench)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def shown(*logs: Lines) -> list[str]:
    """The job's own lines that were shown, in the order of who showed them."""
    return [
        line for log in logs for line in log.text.splitlines() if line.endswith(" line") or line.startswith("line ")
    ]


def through_json(waits: Waiting) -> Waiting:
    """What another process gets."""
    return Waiting(**json.loads(json.dumps(waits.to_dict())))


def test_one_try_in_three_processes_shows_each_line_once(bench: Bench, talker: Talker, scratch: Path) -> None:
    before = sorted(os.listdir(scratch / "jobs")) if (scratch / "jobs").exists() else []
    waits = through_json(talker.start())
    watch = Watch(waits)
    until(lambda: "first line" in watch.log.shown)
    talker.say(1, "line 1\nline 2\nline 3 is not")
    until(lambda: "line 2" in watch.log.shown)
    talker.say(2, " whole yet\n")
    until(lambda: "line 3 is not whole yet" in watch.log.shown)
    assert bench.record()["status"] == "running"
    assert bench.record()["phase"] == "run"
    talker.let_go()
    assert watch.ended() == watching.News("ended", "")
    result = bench.life(talker.step).resume(waits.owner)
    assert result.references["out"]["version"] == 1
    lines = ["first line", "line 1", "line 2", "line 3 is not whole yet", "last line"]
    assert sorted(shown(watch.log, bench.log)) == sorted(lines)
    assert len(talker.starts()) == 1
    record = bench.record()
    assert (record["status"], record["try_number"]) == ("completed", 1)
    assert record["phases"]["run"] > 0.5, "the waiting counts"
    assert {"resolve", "submit", "run", "collect", "publish"} <= {*record["phases"]}
    assert (bench.run_folder() / "logs/step.log").read_text().splitlines() == lines
    assert not (bench.run_folder() / "waiting.json").exists()
    assert sorted(os.listdir(scratch / "jobs")) == before


def test_a_watcher_that_begins_anew_goes_on_where_the_last_one_was(bench: Bench, talker: Talker) -> None:
    """The triggerer is killed: another one has nothing but the trigger's parameters, as they were at first."""
    waits = talker.start()
    first = Watch(waits)
    until(lambda: "first line" in first.log.shown)
    until(lambda: waiting.noted(bench.ws, waits.run_id, waits.owner)["log"] > 0)
    watching.leave(first.job)
    talker.say(1, "line 1\n")
    second = Watch(through_json(waits))
    until(lambda: "line 1" in second.log.shown)
    talker.let_go()
    second.ended()
    bench.life(talker.step).resume(waits.owner)
    assert shown(first.log, second.log, bench.log) == ["first line", "line 1", "last line"]
    assert first.news == []


def test_a_burst_is_shown_piece_by_piece(bench: Bench, talker: Talker) -> None:
    waits = talker.start()
    talker.say(1, "".join(f"line {number}\n" for number in range(4000)))
    until(lambda: "line 3999" in said_by(waits))
    watch = Watch(waits)
    until(lambda: "line 3999" in watch.log.shown)
    talker.let_go()
    watch.ended()
    bench.life(talker.step).resume(waits.owner)
    assert len(watch.log.lines) > 2
    assert shown(watch.log, bench.log) == ["first line", *(f"line {number}" for number in range(4000)), "last line"]


def said_by(waits: Waiting) -> str:
    """What the job has said so far."""
    file = Path(waits.directory, "logs", "step.log")
    return file.read_text() if file.exists() else ""


CHILD = """
import os, sys, time
from azureml.core import Run
child = Run.get_context().child_run("first")
child.log("score", 0.5)
child.complete()
while not os.path.exists(sys.argv[1] + "/go"):
    time.sleep(0.01)
"""


def test_child_runs_are_kept_while_nobody_but_the_watcher_is_there(bench: Bench) -> None:
    step = PythonScriptStepOperator(
        task_id="parent",
        script_name="s.py",
        source_directory=bench.source({"s.py": CHILD}),
        arguments=[bench.folder],
    )
    waits = bench.life(step).start(defer=True, patience=0.0)
    assert isinstance(waits, Waiting)
    watch = Watch(waits)
    children = bench.folder / "workspace" / "runs" / waits.run_id / "children.json"
    until(children.exists)
    (child,) = json.loads(children.read_text())["children"]
    assert (child["name"], child["status"], child["metrics"]) == ("first", "Completed", {"score": 0.5})
    (bench.folder / "go").touch()
    watch.ended()
    bench.life(step).resume(waits.owner)
    assert len(json.loads(children.read_text())["children"]) == 1


def test_a_job_that_failed_while_waited_for_is_the_failure_of_this_try(bench: Bench, talker: Talker) -> None:
    """Other than a retry, which would start the next generation."""
    waits = talker.start()
    talker.let_go(code=3)
    assert Watch(waits).ended().end == "ended"
    with pytest.raises(ActivityFailedException, match="exit code 3"):
        bench.life(talker.step).resume(waits.owner)
    assert len(talker.starts()) == 1
    assert bench.record()["status"] == "failed"
    assert bench.staged() == []
    assert bench.registered() == []


def test_a_job_that_ends_soon_is_not_handed_over(bench: Bench, talker: Talker) -> None:
    talker.let_go()
    result = bench.life(talker.step).start(defer=True)
    assert isinstance(result, StepResult)
    assert shown(bench.log) == ["first line", "last line"]


def test_what_an_earlier_run_has_made_is_handed_on_without_waiting(bench: Bench, talker: Talker) -> None:
    talker.let_go()
    bench.run(talker.step, reuse=True)
    again = bench.life(talker.step, reuse=True, dag_run_id="run 2").start(defer=True, patience=0.0)
    assert isinstance(again, StepResult)
    assert again.references["out"]["reused_from"]
    assert len(talker.starts()) == 1


def test_equal_steps_wait_for_one_that_waits_without_a_worker(bench: Bench, talker: Talker) -> None:
    """Its claim holds although no worker moves it, and is free when its run is over."""
    waits = talker.start(reuse=True)
    with bench.meanwhile(talker.step, reuse=True, dag_run_id="run 2") as end:
        until(lambda: "which makes the same" in bench.log.text)
        talker.let_go()
        Watch(waits).ended()
        bench.life(talker.step, reuse=True).resume(waits.owner)
    assert end[0].references["out"]["reused_from"] == waits.run_id
    assert len(talker.starts()) == 1


# -- ended from outside ------------------------------------------------------------------------------------------------


def test_a_waiting_step_that_is_stopped_leaves_nothing(bench: Bench, talker: Talker, scratch: Path) -> None:
    before = sorted(os.listdir(scratch / "jobs")) if (scratch / "jobs").exists() else []
    waits = talker.start()
    (pid,) = until(talker.starts)
    assert Abandoned(through_json(waits), Lines()).stop("the task was marked failed")
    assert not alive(pid)
    assert (bench.record()["status"], bench.record()["error"]) == ("cancelled", "the task was marked failed.")
    assert "first line" in (bench.run_folder() / "logs/step.log").read_text()
    assert sorted(os.listdir(scratch / "jobs")) == before
    assert not (bench.run_folder() / "waiting.json").exists()
    assert not Abandoned(waits, Lines()).stop("again")
    with pytest.raises(ActivityFailedException, match="was cancelled while it waited"):
        bench.life(talker.step).resume(waits.owner)
    talker.let_go()
    bench.run(talker.step)
    assert bench.record()["run_id"].endswith("-g2")


def test_an_older_try_cannot_stop_what_a_newer_one_has_adopted(bench: Bench, talker: Talker) -> None:
    old = talker.start(turn=1)
    new = talker.start(turn=1, try_number=2)
    assert new.run_id == old.run_id
    (pid,) = until(talker.starts)
    assert not Abandoned(old, Lines()).stop("the task was marked failed")
    with pytest.raises(Overtaken):
        bench.life(talker.step).resume(old.owner)
    assert alive(pid)
    talker.let_go()
    Watch(new).ended()
    assert bench.life(talker.step, try_number=2).resume(new.owner).references["out"]["version"] == 1
    assert len(talker.starts()) == 1


def test_a_clear_replaces_the_job_and_a_retry_adopts_it(bench: Bench, talker: Talker) -> None:
    """While it waits, both look the same to the next try, but for the number that only a clear changes."""
    first = talker.start(turn=1)
    (pid,) = until(talker.starts)
    retry = talker.start(turn=1, try_number=2)
    assert retry.run_id == first.run_id
    cleared = talker.start(turn=3, try_number=3)
    assert cleared.run_id.endswith("-g2")
    assert not alive(pid)
    until(lambda: len(talker.starts()) == 2)
    assert not Abandoned(retry, Lines()).stop("the old trigger's kill comes late")
    assert alive(talker.starts()[1])
    talker.let_go()
    Watch(cleared).ended()
    bench.life(talker.step, try_number=3, turn=3).resume(cleared.owner)
    assert [bench.record(i)["status"] for i in (0, 1)] == ["cancelled", "completed"]
    assert bench.versions("out") == [1]


def test_a_step_that_takes_too_long_is_news_and_its_resumed_try_ends_the_job(bench: Bench, talker: Talker) -> None:
    class TimeIsUp(BaseException):
        """As Airflow's."""

    waits = bench.life(talker.step).start(defer=True, patience=0.0, deadline=time.time() + 1)
    assert isinstance(waits, Waiting)
    (pid,) = until(talker.starts)
    assert Watch(waits).ended().end == "timeout"
    with pytest.raises(TimeIsUp):
        bench.life(talker.step).resume(waits.owner, TimeIsUp())
    assert not alive(pid)
    assert bench.record()["status"] == "cancelled"


# -- a target that does not answer -------------------------------------------------------------------------------------


def cut(monkeypatch: pytest.MonkeyPatch, seconds: float) -> threading.Event:
    """Cut the target off once the event is set."""
    is_cut, status = threading.Event(), LocalTarget.status

    async def unknown(self: LocalTarget, handles: Any) -> list[Status]:
        if is_cut.is_set():
            return [Status("unknown", "no route to host")] * len(handles)
        return await status(self, handles)

    monkeypatch.setattr(LocalTarget, "status", unknown)
    monkeypatch.setattr(LocalTarget, "unreachable_seconds", seconds)
    return is_cut


def test_a_connection_that_is_lost_for_a_while_fails_nothing(
    bench: Bench, talker: Talker, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_cut = cut(monkeypatch, 60)
    is_cut.set()
    waits = talker.start()
    watch = Watch(waits)
    time.sleep(2)
    assert watch.news == []
    is_cut.clear()
    talker.let_go()
    assert watch.ended().end == "ended"
    bench.life(talker.step).resume(waits.owner)


def test_a_target_that_is_silent_too_long_fails_the_try_and_the_next_one_finds_its_job(
    bench: Bench, talker: Talker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the job nothing is known, so no other one may be started beside it."""
    is_cut = cut(monkeypatch, 1.0)
    waits = talker.start()
    until(talker.starts)
    is_cut.set()
    news = Watch(waits).ended()
    assert (news.end, "has not answered for 1 s: no route to host" in news.detail) == ("unreachable", True)
    with pytest.raises(ActivityFailedException.__mro__[1], match="has not answered for 1 s"):
        bench.life(talker.step).resume(waits.owner)
    assert bench.record()["status"] == "failed"
    is_cut.clear()
    talker.let_go()
    assert bench.run(talker.step, try_number=2).references["out"]["version"] == 1
    assert len(talker.starts()) == 1, "the same job"
    assert bench.record()["status"] == "completed"


def test_one_job_that_cannot_be_asked_for_does_not_keep_the_news_from_others(bench: Bench, talker: Talker) -> None:
    waits = talker.start()
    elsewhere = Waiting(**{**waits.to_dict(), "directory": "/somewhere/else"})
    lost = Watch(elsewhere)
    talker.let_go()
    assert Watch(waits).ended().end == "ended"
    assert lost.news == []
    watching.leave(lost.job)
    bench.life(talker.step).resume(waits.owner)


def test_who_cannot_watch_says_so(bench: Bench, talker: Talker) -> None:
    waits = talker.start()
    gone = Waiting(**{**waits.to_dict(), "target": "not-there"})
    news = Watch(gone).ended()
    assert (news.end, "ComputeTargetNotFound" in news.detail) == ("trouble", True)
    threading.Timer(0.5, talker.let_go).start()
    assert bench.life(talker.step).resume(waits.owner).references["out"]["version"] == 1, "the worker watches itself"


def test_a_step_that_waits_for_its_turn_on_this_machine_keeps_no_worker(bench: Bench) -> None:
    ComputeTarget.create(bench.ws, "cpu", AmlCompute.provisioning_configuration("small", max_nodes=1))
    talker = Talker(bench, compute_target="cpu")
    holds = talker.start()
    until(talker.starts, 20)
    source = bench.source({"run.py": "print('had its turn')"})
    step = PythonScriptStepOperator(
        task_id="next", script_name="run.py", source_directory=source, compute_target="cpu", allow_reuse=False
    )
    found = bench.life(step).start(alone=True, patience=0.5)
    assert isinstance(found, Waiting)
    assert found.where == processes.here()
    second, elsewhere = Watch(found), Watch(replace(found, where="another machine"))
    assert elsewhere.ended().end == "trouble", "it would take the job for one that has never begun"
    assert not second.heard.wait(1)
    talker.let_go()
    assert second.ended().end == "ended"
    assert isinstance(bench.life(step).resume(found.owner), StepResult)
    assert "had its turn" in bench.log.text
    bench.life(talker.step).resume(holds.owner)
    other = PythonScriptStepOperator(
        task_id="third", script_name="run.py", source_directory=source, compute_target="cpu", allow_reuse=False
    )
    assert isinstance(bench.life(other).start(alone=True), StepResult), "one that need not wait has a worker"


def test_many_jobs_are_asked_for_in_one_call(bench: Bench, talker: Talker, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    status = LocalTarget.status

    async def counted(self: LocalTarget, handles: Any) -> list[Status]:
        asked.append(len(handles))
        return await status(self, handles)

    monkeypatch.setattr(LocalTarget, "status", counted)
    waits = talker.start()
    asked.clear()
    watches = [Watch(waits) for _ in range(200)]
    time.sleep(3)
    assert max(asked) == 200
    assert len(asked) <= 8
    talker.let_go()
    for watch in watches:
        assert watch.ended().end == "ended"
    bench.life(talker.step).resume(waits.owner)


def test_a_state_of_before_is_read(bench: Bench, talker: Talker) -> None:
    """Heads that were written before there were turns."""
    first = bench.life(talker.step)
    first._begin()
    head = state.path(first.key.slug)
    bench.ws.store.update(head, lambda document: {k: v for k, v in (document or {}).items() if k != "turn"})
    again = state.begin(bench.ws, first.key, turn=7)
    assert (again.resumed, again.replaced, again.turn) == (True, False, 7)


def test_a_flood_is_shown_in_part_and_says_so() -> None:
    lines = b"".join(b"%06d\n" % number for number in range(10_000))
    text = watching._excerpt(lines, 700, "/runs/r/logs/step.log")
    shown = [line for line in text.splitlines() if line.isdigit()]
    assert (shown[0], shown[-1], len(text) < 900) == ("000000", "009999", True)
    assert f"[{10_000 - len(shown):,} lines are not shown here; the complete log is /runs/r/logs/step.log]" in text
    assert watching._excerpt(b"50 %\r100 %\r\ndone\n", 100, "") == "50 %\n100 %\ndone"
    assert "not shown here" in watching._excerpt(b"x" * 5000 + b"\n", 1000, "")
