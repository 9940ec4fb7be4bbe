"""What every kind of datastore must do. A kind's tests subclass this and give it an empty ``backend``."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from stepwell.data.stores.base import Backend
from stepwell.errors import DatastoreError, UserErrorException


class DatastoreContract:
    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "source"
        path.write_bytes(b"a,b\n1,2\n")
        return path

    def twin(self, backend: Backend) -> Backend:
        """Return another object for the same datastore, as another process would have it."""
        raise NotImplementedError

    def leftovers(self, backend: Backend) -> list[str]:
        return [f.path for f in backend.walk(".stepwell") if not f.path.endswith("checksums.db")]

    def test_an_unused_datastore_is_empty(self, backend: Backend) -> None:
        assert backend.list() == []
        assert backend.stat("x") is None
        assert not backend.exists("x")
        assert not backend.is_dir("x")

    def test_put_and_read_back(self, backend: Backend, file: Path, tmp_path: Path) -> None:
        backend.put(file, "in/deep er/x.csv")
        with backend.open("in/deep er/x.csv") as opened:
            assert opened.read() == file.read_bytes()
        backend.get("in/deep er/x.csv", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == file.read_bytes()
        info = backend.stat("in/deep er/x.csv")
        assert info is not None
        assert (info.path, info.size) == ("in/deep er/x.csv", 8)
        assert info.modified > 1e9
        assert self.leftovers(backend) == []

    @pytest.mark.parametrize("name", ["ä€.csv", "100%.csv", "a+b&c.csv", "a=1,b=2.csv", "x;y.csv", "[1].csv"])
    def test_names_are_taken_as_they_are(self, backend: Backend, file: Path, name: str) -> None:
        backend.put(file, f"d/{name}")
        assert [f.path for f in backend.list("d")] == [f"d/{name}"]
        assert backend.open(f"d/{name}").read() == b"a,b\n1,2\n"

    def test_put_replaces_as_a_whole(self, backend: Backend, file: Path) -> None:
        backend.put(file, "x")
        before = backend.checksum("x")
        file.write_bytes(b"other")
        backend.put(file, "x")
        assert backend.open("x").read() == b"other"
        assert backend.checksum("x") != before

    def test_checksum_is_of_the_content(self, backend: Backend, file: Path) -> None:
        backend.put(file, "x")
        backend.put(file, "y")
        algorithm, _, digest = backend.checksum("x").partition(":")
        assert algorithm
        assert digest
        assert backend.checksum("x") == backend.checksum("y")
        file.write_bytes(b"a,b\n1,3\n")
        backend.put(file, "y")
        assert backend.checksum("x") != backend.checksum("y")

    def test_an_empty_file_is_a_file(self, backend: Backend) -> None:
        backend.create("empty", b"")
        assert backend.stat("empty").size == 0  # type: ignore[union-attr]
        assert backend.checksum("empty") == backend.checksum("empty")
        assert backend.open("empty").read() == b""

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("a/1.csv", ["a/1.csv"]),
            ("/a/1.csv", ["a/1.csv"]),
            ("a", ["a/1.csv", "a/2.txt", "a/b/3.csv", "a/b/c/4.csv"]),
            ("a/", ["a/1.csv", "a/2.txt", "a/b/3.csv", "a/b/c/4.csv"]),
            ("a/*.csv", ["a/1.csv"]),
            ("a/?.csv", ["a/1.csv"]),
            ("a/*/*.csv", ["a/b/3.csv"]),
            ("a/**", ["a/1.csv", "a/2.txt", "a/b/3.csv", "a/b/c/4.csv"]),
            ("a/**/*.csv", ["a/1.csv", "a/b/3.csv", "a/b/c/4.csv"]),
            ("**/*.csv", ["a/1.csv", "a/b/3.csv", "a/b/c/4.csv", "z.csv"]),
            ("*.csv", ["z.csv"]),
            ("", ["a/1.csv", "a/2.txt", "a/b/3.csv", "a/b/c/4.csv", "z.csv"]),
            ("nothing/*.csv", []),
            ("a/1.csv/x", []),
        ],
    )
    def test_list(self, backend: Backend, file: Path, pattern: str, expected: list[str]) -> None:
        for name in ("a/1.csv", "a/2.txt", "a/b/3.csv", "a/b/c/4.csv", "z.csv", ".stepwell/private.csv"):
            backend.put(file, name)
        assert [f.path for f in backend.list(pattern)] == expected

    def test_missing_files(self, backend: Backend, tmp_path: Path) -> None:
        for act in (backend.open, backend.checksum, lambda p: backend.get(p, tmp_path / "x")):
            with pytest.raises(FileNotFoundError):
                act("no/such")
        assert not (tmp_path / "x").exists()
        backend.delete("no/such")
        backend.delete("no/such", recursive=True)
        with pytest.raises(FileNotFoundError):
            backend.rename("no/such", "other")

    def test_create_is_exclusive(self, backend: Backend) -> None:
        backend.create("d/x", b"first")
        with pytest.raises(FileExistsError):
            backend.create("d/x", b"second")
        assert backend.open("d/x").read() == b"first"
        assert self.leftovers(backend) == []

    def test_of_many_who_create_one_wins(self, backend: Backend) -> None:
        winners = self._race(backend, lambda own, me: own.create("d/race", b"%d" % me * 1000))
        assert len(winners) == 1
        assert backend.open("d/race").read() == b"%d" % winners[0] * 1000

    def test_rename_of_a_folder_is_whole_and_exclusive(self, backend: Backend, file: Path) -> None:
        backend.put(file, ".stepwell/out/1/part-0")
        backend.put(file, ".stepwell/out/1/sub/part-1")
        backend.rename(".stepwell/out/1", "published/here")
        assert [f.path for f in backend.list("published")] == ["published/here/part-0", "published/here/sub/part-1"]
        backend.put(file, ".stepwell/out/2/part-0")
        with pytest.raises(FileExistsError):
            backend.rename(".stepwell/out/2", "published/here")
        assert len(backend.list("published")) == 2
        assert [f.path for f in backend.list(".stepwell/out/2")] == [".stepwell/out/2/part-0"]

    def test_rename_does_not_take_an_empty_folder_for_none(self, backend: Backend, file: Path) -> None:
        backend.put(file, "from/x")
        backend.makedirs("to")
        with pytest.raises(FileExistsError):
            backend.rename("from", "to")
        assert [f.path for f in backend.list()] == ["from/x"]

    def test_of_many_who_rename_one_wins(self, backend: Backend, file: Path) -> None:
        for me in range(6):
            backend.put(file, f"own/{me}/{me}")
        winners = self._race(backend, lambda own, me: own.rename(f"own/{me}", "d/race"))
        assert len(winners) == 1
        assert [f.path for f in backend.list("d")] == [f"d/race/{winners[0]}"]

    def test_delete(self, backend: Backend, file: Path) -> None:
        backend.put(file, "d/x")
        backend.put(file, "d/y")
        with pytest.raises(DatastoreError):
            backend.delete("d")
        backend.delete("d/x")
        assert [f.path for f in backend.list()] == ["d/y"]
        backend.delete("d", recursive=True)
        assert not backend.exists("d")

    def test_the_root_is_never_deleted(self, backend: Backend, file: Path) -> None:
        backend.put(file, "x")
        for root in ("", ".", "/"):
            with pytest.raises(DatastoreError, match="root"):
                backend.delete(root, recursive=True)
        assert backend.exists("x")

    def test_folders(self, backend: Backend, file: Path) -> None:
        backend.makedirs("a/b")
        backend.makedirs("a/b")
        assert backend.is_dir("a/b")
        assert backend.exists("a/b")
        assert backend.stat("a/b") is None
        backend.put(file, "a/x")
        assert not backend.is_dir("a/x")

    @pytest.mark.parametrize("path", ["../x", "a/../../x", "/../x"])
    def test_a_path_that_leaves_the_root_is_refused(self, backend: Backend, file: Path, path: str) -> None:
        acts = [backend.open, backend.list, backend.delete, backend.uri, backend.checksum, backend.makedirs]
        for act in [
            *acts,
            lambda p: backend.put(file, p),
            lambda p: backend.create(p, b""),
            lambda p: backend.rename("a", p),
        ]:
            with pytest.raises(UserErrorException, match=r"leaves its root.*relative path without"):
                act(path)

    def test_a_file_where_a_folder_is_needed(self, backend: Backend, file: Path) -> None:
        backend.put(file, "x")
        for act in (
            lambda: backend.put(file, "x/y"),
            lambda: backend.create("x/y", b""),
            lambda: backend.makedirs("x/y"),
        ):
            with pytest.raises(DatastoreError):
                act()
        assert [f.path for f in backend.list()] == ["x"]
        assert self.leftovers(backend) == []

    def test_uri(self, backend: Backend) -> None:
        assert backend.uri("a/b c").startswith(backend.uri().rstrip("/") + "/")
        assert backend.uri("a/b c").endswith("/a/b c")

    def test_a_file_that_vanishes_while_it_is_put_leaves_nothing(self, backend: Backend, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            backend.put(tmp_path / "none", "d/x")
        assert backend.list() == []
        assert self.leftovers(backend) == []

    def _race(self, backend: Backend, act) -> list[int]:  # type: ignore[no-untyped-def]
        barrier, winners, others = threading.Barrier(6), [], []

        def run(me: int) -> None:
            own = self.twin(backend)
            barrier.wait()
            try:
                act(own, me)
                winners.append(me)
            except FileExistsError:
                others.append(me)

        threads = [threading.Thread(target=run, args=(me,)) for me in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(winners) + len(others) == 6, "a racer failed in another way"
        return winners
