from __future__ import annotations

import ast
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from stepwell.runtime import protocol

RUNTIME = Path(protocol.__file__).parent


@pytest.mark.parametrize("path", sorted(RUNTIME.glob("*.py")), ids=lambda path: path.name)
def test_what_runs_on_targets_is_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))


def _create(path: str, number: int) -> bool:
    try:
        protocol.create_json(path, {"number": number, "filler": "x" * 100_000})
    except FileExistsError:
        return False
    return True


def test_of_many_creators_one_wins_and_the_file_is_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "final.json")
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as pool:
        won = list(pool.map(_create, [path] * 16, range(16)))
    assert won.count(True) == 1
    assert protocol.read_json(path)["number"] == won.index(True)
    assert os.listdir(tmp_path) == ["final.json"]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "head.json"
    protocol.write_json(str(path), {"a": 1})
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        protocol.write_bytes(str(tmp_path / "taken"), b"x")
    assert protocol.read_json(str(path)) == {"a": 1}
    assert sorted(os.listdir(tmp_path)) == ["head.json", "taken"]


def test_events_come_back_in_the_order_of_their_times(tmp_path: Path) -> None:
    step, launcher = (protocol.EventWriter(str(tmp_path), name) for name in ("step", "launcher"))
    step.add("metric", name="loss", value=1.0)
    launcher.write("phase", name="step", state="started")
    step.add("metric", name="loss", value=0.5)
    step.flush()
    events = protocol.read_events(str(tmp_path))
    assert [e["kind"] for e in events] == ["metric", "phase", "metric"]
    assert [e["value"] for e in events if e["kind"] == "metric"] == [1.0, 0.5]
    assert sorted(os.listdir(tmp_path)) == ["launcher-000000.jsonl", "step-000000.jsonl"]


def test_events_are_written_soon_without_a_flush_and_early_when_there_are_many(tmp_path: Path) -> None:
    writer = protocol.EventWriter(str(tmp_path), "step")
    for number in range(protocol.FLUSH_EVENTS):
        writer.add("metric", value=number)
    assert len(protocol.read_events(str(tmp_path))) == protocol.FLUSH_EVENTS
    writer.add("metric", value=-1)
    assert len(protocol.read_events(str(tmp_path))) == protocol.FLUSH_EVENTS
    deadline = time.monotonic() + 5
    while len(protocol.read_events(str(tmp_path))) == protocol.FLUSH_EVENTS and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(protocol.read_events(str(tmp_path))) == protocol.FLUSH_EVENTS + 1


def test_a_forked_process_writes_neither_twice_nor_over_its_parents_events(tmp_path: Path) -> None:
    writer = protocol.EventWriter(str(tmp_path), "step")
    writer.add("metric", value="parent")
    child = os.fork()
    if child == 0:
        writer.add("metric", value="child")
        writer.flush()
        os._exit(0)
    os.waitpid(child, 0)
    writer.flush()
    assert sorted(e["value"] for e in protocol.read_events(str(tmp_path))) == ["child", "parent"]


def test_a_line_that_is_no_event_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "step-000000.jsonl").write_bytes(b'{"kind":"tag","t":2}\n\xff\n[1]\n{"t":"x"}\n')
    events = protocol.read_events(str(tmp_path))
    assert [e["kind"] for e in events] == ["unreadable", "unreadable", "unreadable", "tag"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", json.dumps({"status": "great"}).encode()])
def test_a_final_status_that_cannot_be_read_is_a_failure(tmp_path: Path, content: bytes) -> None:
    assert protocol.read_final(str(tmp_path)) is None
    (tmp_path / "final.json").write_bytes(content)
    final = protocol.read_final(str(tmp_path))
    assert final is not None
    assert final["status"] == "failed"
