"""What is kept about the git repository around a source directory."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from stepwell.step import source_control
from stepwell.step.source_control import properties_of, state_of, without_credentials


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but the test's own, and a repository of someone else's in the environment."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere.git"))
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.com")
    (tmp_path / "home").mkdir()


def git(root: Path, *arguments: str) -> str:
    variables = {k: v for k, v in os.environ.items() if k != "GIT_DIR"}
    done = subprocess.run(["git", *arguments], cwd=root, env=variables, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    root = tmp_path / "clone"
    (root / "train").mkdir(parents=True)
    (root / "train" / "train.py").write_text("print(1)\n")
    (root / "other.py").write_text("x = 1\n")
    (root / ".gitignore").write_text("ignored/\n*.log\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    return root


@pytest.fixture(params=["git", "files"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With git and without it; the value says whether changes are seen."""
    if request.param == "files":
        monkeypatch.setattr(source_control.shutil, "which", lambda name: None)
    return bool(request.param == "git")


def test_commit_branch_and_remote(clone: Path, either_way: bool) -> None:
    git(clone, "remote", "add", "backup", "https://example.com/backup.git")
    git(clone, "remote", "add", "origin", "https://ann:s3cret@example.com/team/models.git?private_token=s3cret")
    assert state_of(clone / "train") == {
        "commit": git(clone, "rev-parse", "HEAD"),
        "branch": "main",
        "dirty": False if either_way else None,
        "repository_uri": "https://example.com/team/models.git",
    }


def test_packed_references_a_detached_head_and_a_worktree(clone: Path, tmp_path: Path, either_way: bool) -> None:
    commit = git(clone, "rev-parse", "HEAD")
    git(clone, "pack-refs", "--all")
    state = state_of(clone)
    assert state is not None
    assert (state["commit"], state["branch"]) == (commit, "main")
    git(clone, "worktree", "add", "-q", "-b", "feature/a", str(tmp_path / "tree"))
    state = state_of(tmp_path / "tree" / "train")
    assert state is not None
    assert (state["commit"], state["branch"]) == (commit, "feature/a")
    git(clone, "checkout", "-q", "--detach")
    state = state_of(clone)
    assert state is not None
    assert (state["commit"], state["branch"]) == (commit, None)


@pytest.mark.parametrize(
    ("path", "dirty"),
    [("train/train.py", True), ("train/new.py", True), ("other.py", False), ("train/run.log", False)],
)
def test_dirty_means_changes_in_the_source_directory(clone: Path, path: str, dirty: bool) -> None:
    git(clone, "config", "status.showUntrackedFiles", "no")
    (clone / path).write_text("changed\n")
    state = state_of(clone / "train")
    assert state is not None
    assert state["dirty"] is dirty


def test_a_repository_without_a_commit(tmp_path: Path, either_way: bool) -> None:
    git(tmp_path, "init", "-q", "-b", "main", "fresh")
    (tmp_path / "fresh" / "a.py").touch()
    state = state_of(tmp_path / "fresh")
    assert state == {"commit": None, "branch": "main", "dirty": True if either_way else None, "repository_uri": None}


def test_no_repository_or_one_that_ignores_the_directory(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert state_of(tmp_path / "plain") is None
    assert state_of(tmp_path / "nowhere") is None
    (clone / "ignored").mkdir()
    (clone / "ignored" / "a.py").touch()
    assert state_of(clone / "ignored") is None


@pytest.mark.parametrize("damage", ["no HEAD", "noise in HEAD", "a file that names nothing", "a climbing reference"])
def test_a_damaged_repository_is_no_error(tmp_path: Path, damage: str, either_way: bool) -> None:
    place = tmp_path / "broken" / ".git"
    place.parent.mkdir()
    if damage == "a file that names nothing":
        place.write_bytes(b"\xff\x00")
    else:
        place.mkdir()
        (place / "secret").write_text("s3cret")
        if damage != "no HEAD":
            (place / "HEAD").write_bytes(b"\xff\xfe" if damage == "noise in HEAD" else b"ref: refs/../secret")
    state = state_of(place.parent)
    assert state is None or state["commit"] is None
    assert "s3cret" not in str(state)


def test_nothing_of_the_repositorys_is_executed_or_changed(clone: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/caught\n")
    trap.chmod(0o755)
    git(clone, "config", "core.fsmonitor", str(trap))
    (clone / ".git" / "hooks").mkdir(exist_ok=True)
    (clone / ".git" / "hooks" / "post-index-change").symlink_to(trap)
    os.utime(clone / "other.py", (1e9, 1e9))  # git would refresh its index now
    before = (clone / ".git" / "index").read_bytes()
    state = state_of(clone)
    assert state is not None
    assert state["dirty"] is False
    assert not (tmp_path / "caught").exists()
    assert (clone / ".git" / "index").read_bytes() == before


def test_a_repository_of_another_user_is_known_in_part_and_said(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git(clone, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to test that; only root can chown
    said: list[str] = []
    state = state_of(clone, log=said.append)
    assert state == {"commit": commit, "branch": "main", "dirty": None, "repository_uri": None}
    assert len(said) == 1
    assert "dubious ownership" in said[0]


def test_a_git_that_hangs_is_given_up(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(source_control, "_SECONDS", 0.3)
    began = time.monotonic()
    said: list[str] = []
    state = state_of(clone, log=said.append)
    assert time.monotonic() - began < 10
    assert state is not None
    assert (state["branch"], state["dirty"]) == ("main", None)
    assert "timed out" in said[0]


def test_v1s_variables_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_GIT_COMMIT", "abc")
    monkeypatch.setenv("AZUREML_GIT_DIRTY", "False")
    monkeypatch.setenv("AZUREML_GIT_BUILD_ID", "17")
    monkeypatch.setenv("AZUREML_GIT_REPOSITORY_URI", "https://token@example.com/a.git")
    state = state_of(tmp_path)
    assert properties_of(state) == {
        "azureml.git.commit": "abc",
        "mlflow.source.git.commit": "abc",
        "azureml.git.dirty": "False",
        "mlflow.source.git.dirty": "False",
        "azureml.git.repository_uri": "https://example.com/a.git",
        "mlflow.source.git.repoURL": "https://example.com/a.git",
        "azureml.git.build_id": "17",
    }
    assert properties_of(None) == {}


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.com/a.git", "https://example.com/a.git"),
        ("https://token@example.com:8443/a.git", "https://example.com:8443/a.git"),
        ("https://u:p%40@ss@example.com/a@b.git#p", "https://example.com/a@b.git"),
        ("https://u:p@[::1]:80/a", "https://[::1]:80/a"),
        ("ssh://git:p@example.com/a.git", "ssh://git@example.com/a.git"),
        ("git@example.com:team/a.git", "git@example.com:team/a.git"),
        ("u:p@example.com:a.git", "example.com:a.git"),
        ("helper::https://u:p@example.com/a", "https://example.com/a"),
        ("/srv/a.git", "/srv/a.git"),
        ("https://u:p@[broken/a", None),
        ("https://u:half/other@example.com/a", None),
    ],
)
def test_addresses_are_kept_without_credentials(url: str, kept: str | None) -> None:
    assert without_credentials(url) == kept
