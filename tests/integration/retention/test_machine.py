"""What pruning removes of this machine's targets: environments that nobody uses, job directories that nobody needs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from tests.integration.retention.conftest import Attic, paths
from tests.support.steps import bench as new_bench

from stepwell.environment import usage
from stepwell.environment.builder import RECORD
from stepwell.retention.rules import DAY
from stepwell.runtime import processes

pytestmark = pytest.mark.integration
MACHINE = frozenset({"environments", "jobs"})


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for targets that no other test uses."""
    folder = tmp_path / "targets"
    monkeypatch.setenv("STEPWELL_SCRATCH", str(folder))
    return folder


@pytest.fixture
def attic(tmp_path: Path, own: Path) -> Attic:
    return Attic(new_bench(tmp_path))


def environment(own: Path, digit: str, used_days_ago: float) -> Path:
    key = digit * 64
    folder = own / "environments" / key
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text("")
    (folder / RECORD).write_text(json.dumps({"key": key, "python": "3.11.7", "has_azureml": False, "lock": ""}))
    usage.touch(own / "environments", key)
    stamp = time.time() - used_days_ago * DAY
    os.utime(usage.path_of(own / "environments", key), (stamp, stamp))
    return folder


def job(own: Path, name: str, days_ago: float, *, alive: bool = False, document: str = "{}") -> Path:
    folder = own / "jobs" / name
    (folder / "events").mkdir(parents=True)
    (folder / "job.json").write_text(document)
    (folder / "pid").write_text(json.dumps(processes.identity()) if alive else "{}")
    if not alive:
        (folder / "events" / "final.json").write_text('{"status": "succeeded"}')
    stamp = time.time() - days_ago * DAY
    for path in folder.rglob("*"):
        os.utime(path, (stamp, stamp))
    return folder


def test_environments_that_nobody_has_used_for_long_go(attic: Attic, own: Path) -> None:
    old, young, used = environment(own, "a", 100), environment(own, "b", 80), environment(own, "c", 100)
    job(own, "step.0123456789-g1", 0, alive=True, document=json.dumps({"python": f"{used}/bin/python"}))
    done = attic.prune(what=MACHINE, days=0)
    assert paths(done.removed, "environments") == [str(old)]
    assert not old.exists()
    assert young.exists()
    assert used.exists(), "a job runs in it"


def test_the_environment_of_a_run_under_way_stays(attic: Attic, own: Path) -> None:
    folder = environment(own, "a", 100)
    record = attic.lived("1", task="wait")
    attic.set_phase(record, "submitted")
    place = attic.root / "runs" / record["run_id"] / "run.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "environment": {"key": "a" * 64}}))
    attic.prune(what=MACHINE, days=0)
    assert folder.exists()


def test_job_directories_go_a_week_after_their_end(attic: Attic, own: Path) -> None:
    old, young = job(own, "step.0123456789-g1", 8), job(own, "step.0123456789-g2", 6)
    runs = job(own, "step.0123456789-g3", 30, alive=True)
    attic.prune(what=MACHINE, days=0)
    assert (old.exists(), young.exists(), runs.exists()) == (False, True, True)


def test_the_job_that_a_step_may_still_adopt_stays(attic: Attic, own: Path) -> None:
    record = attic.lived("a")
    attic.set_phase(record, "submitted")
    folder = job(own, record["run_id"], 8)
    attic.prune(what=MACHINE, days=0)
    assert folder.exists()


def test_a_target_that_is_not_there_any_more_is_named_and_the_rest_goes_on(attic: Attic, own: Path) -> None:
    (attic.root / "compute").mkdir(parents=True)
    (attic.root / "compute" / "far.json").write_text(
        json.dumps({"name": "far", "kind": "carrier-pigeon", "type": "far", "configuration": {}})
    )
    old = job(own, "step.0123456789-g1", 8)
    found = attic.plan(what=MACHINE, days=0)
    assert any(note.startswith("the compute target far is left alone") for note in found.notes)
    attic.prune(what=MACHINE, days=0)
    assert not old.exists()


def test_a_step_whose_job_directory_is_left_keeps_its_head(attic: Attic, own: Path) -> None:
    """Under its first name again, its job would seem to have run already."""
    old, _ = attic.lived("a"), attic.lived("b")
    folder = job(own, old["run_id"], 1)
    attic.prune(days=40)
    assert attic.head(old).exists()
    attic.prune(days=40, what=frozenset({"runs", "jobs"}))
    assert not folder.exists()
    assert not attic.head(old).exists()
