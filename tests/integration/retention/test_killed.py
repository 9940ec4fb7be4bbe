"""A prune that is killed in the middle: nothing refers to what is gone, and the next one completes it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.retention.conftest import Attic

from stepwell.data import registry
from stepwell.retention import sweep as sweeping
from stepwell.retention.sweep import sweep

pytestmark = pytest.mark.integration


def killed_after(attic: Attic, count: int, **rules: Any) -> None:
    """Prune in a process of its own, which is killed when it has removed *count* things."""

    def work() -> None:
        remove: Callable[..., Any] = sweeping._Sweeper._remove
        done: list[Any] = []

        def counted(self: Any, item: Any) -> Any:
            if len(done) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(item)
            return remove(self, item)

        sweeping._Sweeper._remove = counted  # type: ignore[method-assign]
        sweep(attic.bench.ws, attic.plan(**rules))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)


def is_sound(attic: Attic) -> None:
    """Whatever is registered, or named by the index, is there."""
    ws = attic.bench.ws
    for name in registry.names(ws):
        for version in registry.versions(ws, name):
            registry.verify(ws, version)
    for entry in (attic.root / "reuse").glob("[0-9a-f][0-9a-f]/*.json"):
        run_id = ws.store.read_json(f"reuse/{entry.parent.name}/{entry.name}")["run"]
        record = ws.store.read_json(f"runs/{run_id}/run.json")
        for reference in record["outputs"].values():
            assert registry.resolve_reference(ws, reference).digest == reference["digest"]


@pytest.mark.parametrize("count", range(12))
def test_killed_at_any_moment_nothing_refers_to_what_is_gone_and_the_next_one_completes_it(
    attic: Attic, count: int
) -> None:
    rules = {"versions": {"data": 1}}
    source = attic.bench.source({"a": "1"})
    made = [attic.lived(c, registered="data", reuse=True) for c in "ab"]
    plain = [attic.lived(c, task="plain", reuse=True, source=source if c == "c" else None) for c in "cd"]
    assert len(attic.plan(**rules).items) == 11
    killed_after(attic, count, **rules)
    is_sound(attic)
    done = attic.prune(**rules)
    assert not done.left
    assert attic.plan(**rules).items == []
    assert attic.names("runs") == sorted([made[1]["run_id"], plain[1]["run_id"]])
    assert [attic.data_of(r).exists() for r in (*made, *plain)] == [False, True, False, True]
    assert attic.bench.versions("data") == [2]
    assert len(attic.names("jobs")) == 2
    assert attic.names("snapshots") == []
    assert attic.names("retention/versions") == []
    assert (attic.root / ".tmp").exists() is False or os.listdir(attic.root / ".tmp") == []
    is_sound(attic)


def test_what_a_killed_removal_has_put_out_of_sight_goes_with_the_next_one(
    attic: Attic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store renames a folder before it removes it piece by piece."""
    old, _ = attic.lived("a"), attic.lived("b")
    grave = attic.root / ".tmp" / "0123"
    grave.parent.mkdir(exist_ok=True)
    os.rename(attic.root / "runs" / old["run_id"], grave)
    attic.prune()
    assert not grave.exists()
    assert not attic.head(old).exists()
