"""What is seen of a build, and what it leaves: its log, on success and on failure, and nothing else on failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepwell.environment import builder, ensure, running, uv
from stepwell.errors import EnvironmentException

pytestmark = pytest.mark.integration

SIX = {"pip": ["six==1.17.0"]}


def wrapper(path: Path, text: str) -> Path:
    """A program that does *text* and then is uv."""
    path.write_text(f'#!/bin/sh\n{text}\nexec {uv.find_uv()} "$@"\n')
    path.chmod(0o755)
    return path


def left_over(root: Path) -> list[str]:
    building = root / ".building"
    found = [p.name for p in building.iterdir()] if building.exists() else []
    return found + [p.name for p in root.iterdir() if not p.name.startswith((".", "lost+found"))]


def test_the_log_is_kept_of_success_and_of_failure(tmp_path: Path) -> None:
    said: list[str] = []
    made = ensure(SIX, tmp_path, said.append)
    kept = (tmp_path / ".logs" / f"{made.key}.log").read_text().splitlines()
    assert kept[0].endswith(made.key)
    assert kept[-1] == "Done"
    assert set(said) <= set(kept)
    with pytest.raises(EnvironmentException) as caught:
        ensure({"pip": ["six==99"]}, tmp_path, said.append)
    log = tmp_path / ".logs" / f"{builder.key_for({'pip': ['six==99']}, tmp_path)}.log"
    assert str(caught.value).endswith(f"The log of the build is kept in {log}.")
    assert "No solution found" in log.read_text()
    assert left_over(tmp_path) == [made.key]


def test_a_long_build_says_what_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = wrapper(tmp_path / "uv", "case \"$*\" in *'pip install'*) sleep 1;; esac")
    monkeypatch.setenv("STEPWELL_UV", str(slow))
    monkeypatch.setattr(running, "TICK_SECONDS", 0.2)
    said: list[str] = []
    made = ensure(SIX, tmp_path / "environments", said.append)
    ticks = [line for line in said if line.startswith(f"Environment {made.key[:12]}: installing, ")]
    assert 2 <= len(ticks) <= 8
    assert ticks[0].endswith(" s")


def test_only_what_a_build_needs_of_the_worker_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = wrapper(tmp_path / "uv", f"env >> {tmp_path}/seen")
    monkeypatch.setenv("STEPWELL_UV", str(spy))
    secrets = ("AWS_SECRET_ACCESS_KEY", "AIRFLOW_CONN_X", "DATABASE_URL", "GITHUB_TOKEN", "UV_PUBLISH_TOKEN")
    for name in secrets:
        monkeypatch.setenv(name, "s3cret")
    needed = {"https_proxy": "", "UV_HTTP_TIMEOUT": "90", "SSL_CERT_DIR": "/etc/ssl/certs", "LC_ALL": "C"}
    for name, value in needed.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("INDEX_TOKEN", "by-name")
    ensure(SIX, tmp_path / "environments", lambda line: None)
    seen = (tmp_path / "seen").read_text()
    assert "s3cret" not in seen
    assert "by-name" not in seen
    assert all(f"{name}={value}\n" in seen for name, value in needed.items())
    named = {**SIX, "pip_options": ["--find-links https://x:${INDEX_TOKEN}@example.invalid/", "--no-index"]}
    with pytest.raises(EnvironmentException) as caught:
        ensure(named, tmp_path / "environments", lambda line: None)
    assert "INDEX_TOKEN=by-name\n" in (tmp_path / "seen").read_text(), "what a requirement names is passed"
    assert "by-name" not in str(caught.value)


def test_a_python_that_is_not_here_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be fetched where the tests run: what uv would find, it finds here once it was told to install."""
    python = sys.executable
    (tmp_path / "uv").write_text(
        "#!/bin/sh\n"
        f'echo "$UV_PYTHON_DOWNLOADS $*" >> {tmp_path}/seen\n'
        'case "$*" in\n'
        f"*'python find'*) [ -f {tmp_path}/there ] && echo {python} && exit 0; exit 2;;\n"
        f"*'python install'*) touch {tmp_path}/there; echo Installed; exit 0;;\n"
        f'esac\nexec {uv.find_uv()} "$@"\n'
    )
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("STEPWELL_UV", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(EnvironmentException, match=r"wants Python 3\.99.*UV_PYTHON_DOWNLOADS is 'never'"):
        ensure({"python": "3.99"}, tmp_path / "environments", lambda line: None)
    assert "python install" not in (tmp_path / "seen").read_text()
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS")
    said: list[str] = []
    made = ensure({"python": "3.99"}, tmp_path / "environments", said.append)
    assert made.python.exists()
    assert any("Python 3.99 is not installed here; uv fetches it" in line for line in said)
    assert "python install --no-bin 3.99" in (tmp_path / "seen").read_text()


def test_a_python_that_cannot_be_had_is_an_error_that_says_which_are(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentException, match=r"wants Python 3\.99, .* and cannot be fetched \(.*3\.99") as caught:
        ensure({"python": "3.99"}, tmp_path, lambda line: None)
    assert ".".join(map(str, sys.version_info[:2])) in " ".join(caught.value.allowed or [])
    assert left_over(tmp_path) == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB; where it cannot be had (not root, no mounts) the test is skipped with that reason."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small tmpfs is mounted, which takes root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing(small: Path) -> None:
    with pytest.raises(EnvironmentException, match=r"No space left|disk of .* is full") as caught:
        ensure({"pip": ["pyarrow"]}, small, lambda line: None)
    assert str(small) in str(caught.value)
    assert left_over(small) == []
    assert ensure({}, small, lambda line: None).python.exists(), "there is room again"


def test_an_environment_that_was_removed_is_built_again_and_that_is_said(tmp_path: Path) -> None:
    made = ensure(SIX, tmp_path, lambda line: None)
    shutil.rmtree(made.root)
    said: list[str] = []
    again = ensure(SIX, tmp_path, said.append)
    assert again.seconds > 0
    assert any("was there once and has been removed; it is built again" in line for line in said)
    (again.root / builder.RECORD).unlink()  # what a removal by hand that was cut off may leave
    said.clear()
    third = ensure(SIX, tmp_path, said.append)
    assert third.python.exists()
    assert any("no whole environment" in line for line in said)
    assert left_over(tmp_path) == [made.key]
