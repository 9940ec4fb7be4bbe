"""The registry of datasets, between several writers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from stepwell.data import registry
from stepwell.runtime.definition import make
from stepwell.workspace import Workspace


def test_two_tries_of_one_producer_at_once_make_one_version(ws: Workspace) -> None:
    ws.get_default_datastore().backend.create("a.csv", b"a\n")
    definition = make("file", None, [{"datastore": "workspaceblobstore", "path": "a.csv"}])
    files = registry.pin(ws, definition)

    def attempt(_: int) -> int:
        return registry.register(ws, "d", definition, files, producer={"key": "run:out"}).version or 0

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(attempt, range(16))) == {1}
    assert len(registry.versions(ws, "d")) == 1


def test_a_name_that_ends_in_a_blank_is_that_file(ws: Workspace) -> None:
    backend = ws.get_default_datastore().backend
    backend.create("raw/a.csv ", b"blank\n")
    backend.create("raw/a.csv", b"none\n")
    definition = make("file", None, [{"datastore": "workspaceblobstore", "path": "raw"}])
    assert [(f.path, f.size) for f in registry.pin(ws, definition)] == [("raw/a.csv", 5), ("raw/a.csv ", 6)]
