"""Snapshots: what is taken, what is not, and that the same code is the same digest."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from stepwell.errors import SnapshotError
from stepwell.step.snapshot import Limits, check_script, extract, take


def names(root: Path, **kwargs: object) -> list[str]:
    return [f.path for f in take(root, **kwargs).files]  # type: ignore[arg-type]


def test_the_same_content_elsewhere_and_later_is_the_same_snapshot(source: Path, tmp_path: Path) -> None:
    first = take(source)
    first.write_archive(tmp_path / "a.zip")
    extract(tmp_path / "a.zip", tmp_path / "copy")
    os.utime(tmp_path / "copy" / "train.py", (1, 1))
    second = take(tmp_path / "copy")
    second.write_archive(tmp_path / "b.zip")
    assert first.digest == second.digest
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert first.size == len("print(1)\n") + len("x = 1\n")


@pytest.mark.parametrize("change", ["content", "name", "executable"])
def test_content_name_and_executable_bit_change_the_digest(source: Path, change: str) -> None:
    before = take(source).digest
    script = source / "train.py"
    if change == "content":
        script.write_text("print(2)\n")
    elif change == "name":
        script.rename(source / "fit.py")
    else:
        script.chmod(0o755)
    assert take(source).digest != before


def test_results_caches_and_virtual_environments_are_never_taken(source: Path) -> None:
    for path in (
        ".git/config",
        "outputs/model.pkl",
        "azureml-logs/70.txt",
        ".azureml/config.json",
        "pkg/__pycache__/helper.cpython-311.pyc",
        ".ipynb_checkpoints/a.ipynb",
        "myenv/pyvenv.cfg",
        "myenv/lib/big.so",
        ".stepwell/workspace.json",
    ):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text("x")
    (source / "pkg" / "outputs").mkdir()
    (source / "pkg" / "outputs" / "writer.py").write_text("a package, not a result")
    assert names(source) == ["pkg/helper.py", "pkg/outputs/writer.py", "train.py"]


def test_amlignore_replaces_gitignore_completely(source: Path) -> None:
    (source / "data.csv").write_text("1")
    (source / "notes.txt").write_text("2")
    (source / ".gitignore").write_text("*.csv\n")
    assert names(source) == [".gitignore", "notes.txt", "pkg/helper.py", "train.py"]
    (source / ".amlignore").write_text("*.txt\npkg/*\n!pkg/helper.py\n")
    assert names(source) == [".gitignore", "data.csv", "pkg/helper.py", "train.py"]


def test_what_looks_like_a_credential_is_left_out_and_said(source: Path) -> None:
    said: list[str] = []
    for name in (".env", "server.pem", "id_rsa", ".env.example"):
        (source / name).write_text("s3cret")
    (source / ".gitignore").write_text("id_rsa\n!.env\n")  # asking for it by name does not help either
    snapshot = take(source, log=said.append)
    assert [f.path for f in snapshot.files] == [".env.example", ".gitignore", "pkg/helper.py", "train.py"]
    assert snapshot.left_out == (".env", "server.pem")
    assert len(said) == 2
    assert ".env looks like a credential" in said[0]
    assert "s3cret" not in "".join(said)


def test_what_is_left_out_by_rule_is_said_in_one_line(source: Path) -> None:
    for path in (".git/config", "__pycache__/a.pyc", "pkg/__pycache__/b.pyc", "pkg/c.pyc", "env/pyvenv.cfg"):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text("x")
    said: list[str] = []
    taken = take(source, note=said.append)
    assert said == ["Snapshot: left out by rule: *.py[cod], .git, __pycache__ (2 folders), virtual environment"]
    assert taken.by_rule[2] == "__pycache__ (2 folders)"
    (source / ".amlignore").write_text("__pycache__/\n*.pyc\n.git\nenv\n")  # the author's own choice is no news
    take(source, note=said.append)
    assert len(said) == 1


def test_only_the_ignore_file_at_the_top_counts(source: Path) -> None:
    (source.parent / ".gitignore").write_text("*.py\n")
    (source / "pkg" / ".gitignore").write_text("*\n")
    assert names(source) == ["pkg/.gitignore", "pkg/helper.py", "train.py"]


def test_a_line_that_is_no_pattern_names_the_ignore_file(source: Path) -> None:
    (source / ".amlignore").write_text("!\n")
    with pytest.raises(SnapshotError, match=r"\.amlignore has a line that is no pattern"):
        take(source)


def test_a_script_that_was_taken_need_not_be_looked_for(source: Path) -> None:
    snapshot = take(source)
    (source / "train.py").unlink()
    assert check_script(source, "./train.py", snapshot) == "train.py"
    with pytest.raises(SnapshotError, match="does not exist"):
        check_script(source, "other.py", snapshot)


def test_links_inside_are_taken_as_content(source: Path, tmp_path: Path) -> None:
    (source / "alias.py").symlink_to("train.py")
    (source / "lib").symlink_to("pkg")
    take(source).write_archive(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        assert opened.read("alias.py") == b"print(1)\n"
        assert opened.read("lib/helper.py") == b"x = 1\n"


@pytest.mark.parametrize(
    ("link", "to", "message"),
    [
        ("passwd", "/etc/passwd", "leads out of the source directory, to /etc/passwd"),
        ("up", "..", "leads out"),
        ("pkg/deep", "../../outside", "leads out"),
        ("broken", "nowhere.py", "does not exist"),
        ("pkg/loop", "..", "leads back"),
        ("self", "self", "does not exist"),
    ],
)
def test_links_out_and_loops_are_refused_by_name(source: Path, link: str, to: str, message: str) -> None:
    (source.parent / "outside").mkdir()
    (source / link).symlink_to(to)
    with pytest.raises(SnapshotError, match=message) as caught:
        take(source)
    assert repr(link) in str(caught.value)
    (source / ".amlignore").write_text(link)
    assert names(source) == ["pkg/helper.py", "train.py"]


def test_a_link_to_a_credential_does_not_smuggle_it(source: Path) -> None:
    (source / ".env").write_text("s3cret")
    (source / "settings.txt").symlink_to(".env")
    assert names(source, log=lambda line: None) == ["pkg/helper.py", "train.py"]


def test_a_pipe_is_refused_and_not_waited_for(source: Path) -> None:
    os.mkfifo(source / "pipe")
    with pytest.raises(SnapshotError, match="'pipe' is neither a file nor a folder"):
        take(source)


def test_limits_name_the_five_largest(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(7):
        (source / f"data{i}.bin").write_bytes(bytes(1000 * i))
    with pytest.raises(SnapshotError) as caught:
        take(source, limits=Limits(bytes=5000))
    assert [f"data{i}.bin" in str(caught.value) for i in range(7)] == [False, False, True, True, True, True, True]
    assert ".amlignore" in str(caught.value)
    with pytest.raises(SnapshotError, match="9 files; at most 3 are allowed"):
        take(source, limits=Limits(files=3))
    monkeypatch.setenv("STEPWELL_SNAPSHOT_MAX_FILES", "3")
    with pytest.raises(SnapshotError, match="at most 3"):
        take(source)
    monkeypatch.setenv("AML_SNAPSHOT_NO_FILE_LIMIT", "True")
    assert len(take(source).files) == 9
    monkeypatch.setenv("STEPWELL_SNAPSHOT_MAX_MB", "many")
    with pytest.raises(SnapshotError, match="STEPWELL_SNAPSHOT_MAX_MB is 'many'"):
        take(source)


def test_a_file_that_changes_in_between_is_noticed(source: Path, tmp_path: Path) -> None:
    snapshot = take(source)
    (source / "train.py").write_text("print(3)\n")
    with pytest.raises(SnapshotError, match=r"'train.py' changed"):
        snapshot.write_archive(tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="does not exist"):
        take(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(SnapshotError, match="is a file"):
        take(tmp_path / "file")


def test_scripts_inside_are_found(source: Path) -> None:
    assert check_script(source, "train.py") == "train.py"
    assert check_script(source, "./pkg/../pkg/helper.py") == "pkg/helper.py"
    assert check_script(source, str(source / "train.py")) == "train.py"


def test_a_source_directory_behind_a_link_is_fine(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    assert check_script(tmp_path / "link", str(tmp_path / "link" / "train.py")) == "train.py"
    assert names(tmp_path / "link") == ["pkg/helper.py", "train.py"]


@pytest.mark.parametrize("script", ["../other.py", "/etc/passwd", "pkg/../../other.py", "out.py"])
def test_a_script_outside_is_refused_in_v1s_words(source: Path, script: str) -> None:
    (source.parent / "other.py").write_text("x")
    (source / "out.py").symlink_to(source.parent / "other.py")
    with pytest.raises(SnapshotError, match="The script should be inside the project folder"):
        check_script(source, script)


def test_a_misspelt_script_gets_the_nearest_names(source: Path) -> None:
    with pytest.raises(SnapshotError, match=r"'trian.py' does not exist .* train.py"):
        check_script(source, "trian.py")
    with pytest.raises(SnapshotError, match="is no script name"):
        check_script(source, " ")


def test_a_script_that_is_left_out_is_refused(source: Path) -> None:
    (source / ".gitignore").write_text("train.py\n")
    with pytest.raises(SnapshotError, match=r"left out of the snapshot by \.gitignore"):
        check_script(source, "train.py")
