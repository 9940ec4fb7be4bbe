"""A compute target on which jobs run stays; what an orchestrator that never came back left there goes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.compute.case import eventually

from stepwell import ComputeTarget, SparkCompute, Workspace, cli
from stepwell.compute import portal, records
from stepwell.compute.contract import Handle, Job, Target
from stepwell.compute.resolve import target_for
from stepwell.errors import ComputeTargetException
from stepwell.step.spec import JobKey
from stepwell.step.state import StepState, begin, save


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("STEPWELL_ROOT", str(tmp_path / "ws"))
    monkeypatch.delenv("STEPWELL_SCRATCH", raising=False)
    return Workspace()


@pytest.fixture
def pool(ws: Workspace) -> ComputeTarget:
    return ComputeTarget.attach(ws, "pool", SparkCompute.attach_configuration(master="local[1]"))


def submitted(ws: Workspace, target: Target, *argv: str) -> tuple[StepState, Handle]:
    """Start a real process as a step's job, and note it as a step does."""
    state = begin(ws, JobKey("laptop", "dag", "run", "train"))
    layout = target.layout(state.run_id)
    phase = {"name": "step", "argv": list(argv), "cwd": layout.code, "variables": {}}
    job = Job(state.run_id, {"job_id": state.run_id, "owner": state.owner, "phases": [phase]})
    portal.call(target.stage(job), 30)
    handle = portal.call(target.submit(job), 30)
    state.phase, state.handle = "submitted", handle.to_dict()
    assert save(ws, state)
    return state, handle


@pytest.fixture
def running(ws: Workspace, pool: ComputeTarget) -> Iterator[tuple[StepState, Handle]]:
    target = target_for(ws, "pool")
    state, handle = submitted(ws, target, "sleep", "120")
    yield state, handle
    portal.call(target.cancel(handle, None), 30)


def test_a_target_on_which_a_job_runs_is_not_detached(
    ws: Workspace, pool: ComputeTarget, running: tuple[StepState, Handle]
) -> None:
    state, handle = running
    with pytest.raises(ComputeTargetException, match=f"'pool' cannot be removed: {state.run_id} has not ended"):
        pool.detach()
    assert ComputeTarget(ws, "pool").name == "pool"
    with pytest.raises(SystemExit, match="--force"):
        cli.main(["computetarget", "detach", "pool"])
    # It has ended there, though nobody has collected it yet.
    target = target_for(ws, "pool")
    portal.call(target.cancel(handle, None), 30)
    eventually(lambda: portal.call(target.status([handle]))[0].ended)
    pool.detach()
    assert records.names(ws) == ["local"]


def test_it_is_detached_by_force(ws: Workspace, running: tuple[StepState, Handle]) -> None:
    cli.main(["computetarget", "detach", "pool", "--force"])
    assert records.names(ws) == ["local"]


def test_a_step_that_is_being_staged_counts(ws: Workspace, pool: ComputeTarget) -> None:
    state = begin(ws, JobKey("laptop", "dag", "run", "train"))
    other = begin(ws, JobKey("laptop", "dag", "run", "other"))
    for run_id, target in ((state.run_id, "pool"), (other.run_id, "local")):
        ws.store.create(f"runs/{run_id}/run.json", json.dumps({"target": target}).encode())
    with pytest.raises(ComputeTargetException, match=f"cannot be removed: {state.run_id} has not ended"):
        pool.detach()
    state.phase = "failed"
    save(ws, state)
    pool.detach()


def test_a_target_that_others_stand_on_stays(
    ws: Workspace, pool: ComputeTarget, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {**records.read(ws, "pool"), "name": "cpu", "configuration": {"backing_target": "pool"}}
    records.write(ws, record)
    with pytest.raises(ComputeTargetException, match="cannot be removed: cpu runs its jobs there"):
        pool.detach()
    cli.main(["computetarget", "detach", "pool", "--force"])
    capsys.readouterr()
    cli.main(["computetarget", "list"])
    assert "pool, which is not there any more" in capsys.readouterr().out


def test_many_runs_are_counted_and_some_named(ws: Workspace, pool: ComputeTarget) -> None:
    for number in range(7):
        state = begin(ws, JobKey("laptop", "dag", f"run{number}", "train"))
        ws.store.create(f"runs/{state.run_id}/run.json", json.dumps({"target": "pool"}).encode())
    with pytest.raises(ComputeTargetException, match="and 2 more have not ended"):
        pool.detach()


# -- reap --------------------------------------------------------------------------------------------------------------


def test_reap_removes_what_nobody_came_back_for(
    ws: Workspace, pool: ComputeTarget, running: tuple[StepState, Handle], capsys: pytest.CaptureFixture[str]
) -> None:
    target = target_for(ws, "pool")
    ended = Job("ended", {"job_id": "ended", "owner": "o", "phases": []})
    young = Job("young", {"job_id": "young", "owner": "o", "phases": []})
    for job in (ended, young):
        portal.call(target.stage(job), 30)
        handle = portal.call(target.submit(job), 30)
        eventually(lambda handle=handle: portal.call(target.status([handle]))[0].ended)
    folder = Path(target.layout("ended").root)
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - 90000,) * 2, follow_symlinks=False)

    cli.main(["reap", "pool", "--dry-run", "-o", "json"])
    assert json.loads(capsys.readouterr().out)["jobs"] == [{"job": "ended", "target": "pool"}]
    assert folder.exists()
    cli.main(["reap", "-o", "json"])
    said = json.loads(capsys.readouterr().out)
    assert [job["job"] for job in said["jobs"]] == ["ended"], "targets that share a folder are looked at once"
    assert not folder.exists()
    assert Path(target.layout("young").root).exists()
    assert Path(running[1].directory).exists()
    cli.main(["reap", "--older-than", "0s", "-o", "json"])
    assert [job["job"] for job in json.loads(capsys.readouterr().out)["jobs"]] == ["young"]


def test_a_target_that_cannot_be_looked_at_does_not_keep_the_others(
    ws: Workspace, pool: ComputeTarget, capsys: pytest.CaptureFixture[str]
) -> None:
    records.write(ws, {**records.read(ws, "pool"), "name": "away", "kind": "nosuch"})
    with pytest.raises(SystemExit, match="could not be looked at: away"):
        cli.main(["reap"])
    assert "Left alone: away: There is no kind of compute target named 'nosuch'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "24", "h", "x h", "-1h", "1y", "nan h"])
def test_what_is_no_length_of_time_is_refused(ws: Workspace, text: str) -> None:
    with pytest.raises(SystemExit, match="is no length of time"):
        cli.main(["reap", f"--older-than={text}"])
