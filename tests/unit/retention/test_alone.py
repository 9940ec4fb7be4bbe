"""One prune at a time: who is alive refuses others, who is dead is taken over from."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from stepwell import Workspace
from stepwell.errors import WorkspaceError
from stepwell.retention import alone as module
from stepwell.retention.alone import PATH, alone
from stepwell.runtime import processes


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace("default", root=tmp_path / "workspace")


def left(ws: Workspace, **process: Any) -> None:
    ws.store.create_json(PATH, {"token": "x", "beat": 1, "process": {**processes.identity(), **process}})


def quiet(line: str) -> None:
    pass


def test_it_is_free_afterwards_also_after_an_error(ws: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), alone(ws, quiet):
        raise ZeroDivisionError
    assert not ws.store.exists(PATH)
    with alone(ws, quiet) as go_on:
        go_on()


def test_a_killed_one_of_this_machine_is_taken_over_from_at_once(ws: Workspace) -> None:
    left(ws, start_time="1")
    with alone(ws, pytest.fail):
        pass


def test_one_of_another_machine_that_beats_refuses(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    left(ws, where="elsewhere")
    monkeypatch.setattr(module.time, "sleep", lambda _: ws.store.replace(PATH, json.dumps(moved(ws)).encode()))
    with pytest.raises(WorkspaceError, match="Another process prunes the workspace default now"), alone(ws, quiet):
        pass


def moved(ws: Workspace) -> dict[str, Any]:
    there = ws.store.read_json(PATH)
    return {**there, "beat": there["beat"] + 1}


def test_one_of_another_machine_that_stands_still_is_taken_over_from(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(ws, where="elsewhere")
    monkeypatch.setattr(module, "SILENT", 0.2)
    said: list[str] = []
    with alone(ws, said.append):
        pass
    assert len(said) == 1


def test_a_damaged_note_is_nobody_s(ws: Workspace) -> None:
    ws.store.create(PATH, b"{")
    with alone(ws, quiet):
        pass


def test_who_was_taken_over_from_stops_and_leaves_the_other_alone(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.02)
    with alone(ws, quiet) as go_on:
        ws.store.replace(PATH, json.dumps({**ws.store.read_json(PATH), "token": "another"}).encode())
        time.sleep(0.5)
        with pytest.raises(WorkspaceError, match="Another process prunes this workspace by now"):
            go_on()
    assert ws.store.read_json(PATH)["token"] == "another"
