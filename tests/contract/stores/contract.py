"""What every kind of workspace store must do. A kind's tests subclass this and give it an empty ``store``."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from stepwell.errors import UserErrorException, WorkspaceError
from stepwell.workspace.store import RevisionConflict, Store


class StoreContract:
    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    def twin(self, store: Store) -> Store:
        raise NotImplementedError

    def test_an_unused_store_is_empty(self, store: Store) -> None:
        assert store.list() == []
        assert store.list("compute") == []
        assert not store.exists("compute/x.json")
        for read in (store.read, store.read_json, store.open):
            with pytest.raises(FileNotFoundError):
                read("compute/x.json")

    def test_create_is_exclusive(self, store: Store) -> None:
        store.create_json("runs/1/run.json", {"a": "ä"})
        assert store.read_json("runs/1/run.json") == {"a": "ä"}
        with pytest.raises(FileExistsError):
            store.create_json("runs/1/run.json", {"a": 2})
        assert store.read_json("runs/1/run.json") == {"a": "ä"}
        assert store.list("runs") == ["1"]
        assert store.list("runs/1") == ["run.json"]
        assert store.list() == ["runs"], "what is written aside never shows"

    def test_numbers_are_taken_one_after_the_other(self, store: Store) -> None:
        store.create("d/2.json", b"taken")
        assert [store.create_numbered("d", 1, b"x") for _ in range(3)] == [1, 3, 4]
        assert store.create_numbered("d", 9, b"x") == 9
        assert store.read("d/2.json") == b"taken"

    def test_heads_carry_revisions(self, store: Store) -> None:
        assert store.replace_json("compute/a.json", {"n": 1}, 0) == {"n": 1, "revision": 1}
        assert store.replace_json("compute/a.json", {"n": 2}, 1) == {"n": 2, "revision": 2}
        for stale in (None, 0, 1, 3):
            with pytest.raises(RevisionConflict, match="has revision 2, not"):
                store.replace_json("compute/a.json", {"n": 3}, stale)
        assert store.read_json("compute/a.json") == {"n": 2, "revision": 2}
        assert list(store.records("compute")) == [("a", {"n": 2, "revision": 2})]

    def test_update_makes_changes_and_deletes(self, store: Store) -> None:
        store.update("h/a.json", lambda head: {"was": head})
        written = store.update("h/a.json", lambda head: {"was": head})
        assert written == {"was": {"was": None, "revision": 1}, "revision": 2}
        assert store.update("h/a.json", lambda head: None) is None
        assert not store.exists("h/a.json")

    def test_an_update_that_fails_changes_nothing_and_lets_go(self, store: Store) -> None:
        with pytest.raises(ZeroDivisionError):
            store.update("h/a.json", lambda head: {"n": 1 // 0})
        assert not store.exists("h/a.json")
        store.update("h/a.json", lambda head: {"n": 1})

    def test_updates_by_many_are_all_counted(self, store: Store) -> None:
        def run() -> None:
            own = self.twin(store)
            for _ in range(5):
                own.update("h/n.json", lambda head: {"n": (head or {"n": 0})["n"] + 1})

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.read_json("h/n.json") == {"n": 20, "revision": 20}

    def test_files_and_trees(self, store: Store, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        (tree / "sub" / "empty").mkdir(parents=True)
        (tree / "a").write_bytes(b"1")
        (tree / "sub" / "b").write_bytes(b"2" * 100_000)
        store.put_tree(tree, "runs/1/logs")
        assert store.list("runs/1/logs") == ["a", "sub"]
        assert store.open("runs/1/logs/sub/b").read() == b"2" * 100_000
        with pytest.raises(FileExistsError):
            store.put_tree(tree, "runs/1/logs")
        store.put_file(tree / "a", "snapshots/x.zip")
        store.put_file(tree / "sub" / "b", "snapshots/x.zip")
        store.get_file("snapshots/x.zip", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"2" * 100_000
        with pytest.raises(FileNotFoundError):
            store.get_file("snapshots/none", tmp_path / "none")
        assert not (tmp_path / "none").exists()

    def test_delete(self, store: Store) -> None:
        store.create("d/e/x", b"")
        store.delete("d/none")
        store.delete("none", recursive=True)
        store.delete("d/e/x")
        assert not store.exists("d/e/x")
        store.create("d/e/y", b"")
        store.delete("d", recursive=True)
        assert not store.exists("d")

    @pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd"])
    def test_a_path_that_leaves_the_root_is_refused(self, store: Store, path: str) -> None:
        for act in (store.read, store.delete, store.list, store.exists, lambda p: store.create(p, b"")):
            with pytest.raises(UserErrorException, match="leaves its root"):
                act(path)

    def test_a_damaged_record_is_named(self, store: Store) -> None:
        store.create("compute/x.json", b"{half")
        with pytest.raises(WorkspaceError, match=r"compute/x\.json.*is damaged"):
            store.read_json("compute/x.json")

    def test_only_plain_values_are_kept(self, store: Store) -> None:
        with pytest.raises(WorkspaceError, match="plain values"):
            store.create_json("x.json", {"when": object()})
        assert not store.exists("x.json")
