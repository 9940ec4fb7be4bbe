"""CI's rule: a skipped integration test is a failure, any other skip is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.fixture
def cluster():
    pytest.skip("no cluster")

@pytest.mark.integration
def test_in_body():
    pytest.skip("no Spark")

@pytest.mark.integration
def test_in_fixture(cluster):
    pass

@pytest.mark.integration
@pytest.mark.xfail(strict=True)
def test_expected():
    raise ValueError

def test_ordinary():
    pytest.skip("not on this machine")
"""


@pytest.fixture
def suite(tmp_path: Path, project: Path) -> Path:
    shutil.copy(project / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  integration\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    return tmp_path


def run(folder: Path, *arguments: str, ci: str) -> str:
    environment = {**os.environ, "CI": ci}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, str(folder)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


def test_without_ci_skips_are_skips(suite: Path) -> None:
    assert "4 skipped, 1 xfailed" in run(suite, ci="")


@pytest.mark.parametrize(("arguments", "ci"), [((), "true"), (("--no-skip",), "")])
def test_in_ci_they_fail_and_say_why(suite: Path, arguments: tuple[str, ...], ci: str) -> None:
    said = run(suite, "--continue-on-collection-errors", *arguments, ci=ci)
    assert "1 failed, 1 skipped, 1 xfailed, 2 errors" in said
    for reason in ("no Spark", "no cluster", "no_such_module"):
        assert reason in said
