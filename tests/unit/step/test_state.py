"""Which job is mine: keys, generations, owners."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepwell.runtime.names import check_name
from stepwell.step import state
from stepwell.step.spec import JobKey
from stepwell.workspace import Workspace

KEY = JobKey("laptop", "my dag", "manual__2021-03-04T05:06:07+00:00", "group.task", -1)
HANDLE = {"target": "local", "job_id": "j", "directory": "/d"}


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(root=tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        JobKey("desktop", KEY.dag_id, KEY.dag_run_id, KEY.task_id),
        JobKey("laptop", "other", KEY.dag_run_id, KEY.task_id),
        JobKey("laptop", KEY.dag_id, "other", KEY.task_id),
        JobKey("laptop", KEY.dag_id, KEY.dag_run_id, "other"),
        JobKey("laptop", KEY.dag_id, KEY.dag_run_id, KEY.task_id, 0),
        JobKey("laptop", "my", KEY.dag_run_id, "dag.group.task"),
    ],
)
def test_each_part_of_the_key_makes_another_job(other: JobKey) -> None:
    assert other.slug != KEY.slug


def test_a_slug_is_readable_a_good_name_and_short() -> None:
    assert KEY.slug.startswith("my_dag.group.task.")
    for key in (
        KEY,
        JobKey("i", "d" * 250, "r", "t" * 250, 12345),
        JobKey("i", "..", "r", "../../x"),
        JobKey("", "ä", "", "ß"),
    ):
        assert len(check_name("run", key.slug)) <= 120
    assert JobKey("i", "d", "r", "t", 7).slug.startswith("d.t.7.")
    assert KEY.slug == JobKey(*KEY.parts).slug


def test_what_is_under_way_is_gone_on_with_by_a_new_owner(ws: Workspace) -> None:
    first = state.begin(ws, KEY)
    assert (first.generation, first.phase, first.handle) == (1, "begun", None)
    assert first.run_id == f"{KEY.slug}-g1"
    first.handle, first.phase = HANDLE, "submitted"
    state.save(ws, first)
    second = state.begin(ws, KEY)
    assert (second.generation, second.phase, second.handle) == (1, "submitted", HANDLE)
    assert second.owner != first.owner


def test_a_try_that_was_lost_before_it_submitted_is_repeated_in_its_generation(ws: Workspace) -> None:
    first = state.begin(ws, KEY)
    assert state.begin(ws, KEY).run_id == first.run_id


@pytest.mark.parametrize("phase", sorted(state.OVER))
def test_what_is_over_is_followed_by_the_next_generation(ws: Workspace, phase: str) -> None:
    first = state.begin(ws, KEY)
    first.phase, first.handle = phase, HANDLE
    state.save(ws, first)
    second = state.begin(ws, KEY)
    assert (second.generation, second.phase, second.handle) == (2, "begun", None)


def test_what_is_judged_is_still_to_be_published(ws: Workspace) -> None:
    first = state.begin(ws, KEY)
    first.phase, first.handle = "judged", HANDLE
    state.save(ws, first)
    assert state.begin(ws, KEY).phase == "judged"


def test_an_older_try_writes_nothing_over_a_newer_one(ws: Workspace) -> None:
    older = state.begin(ws, KEY)
    newer = state.begin(ws, KEY)
    newer.phase, newer.handle = "submitted", HANDLE
    state.save(ws, newer)
    older.phase = "failed"
    state.save(ws, older)
    found = ws.store.read_json(state.path(KEY.slug))
    assert (found["phase"], found["owner"]) == ("submitted", newer.owner)


def test_of_many_that_begin_at_once_one_owns_the_step(ws: Workspace) -> None:
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda _: state.begin(ws, KEY), range(16)))
    assert {b.generation for b in begun} == {1}
    owner = ws.store.read_json(state.path(KEY.slug))["owner"]
    assert [b.owner for b in begun].count(owner) == 1
