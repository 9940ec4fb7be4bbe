"""A user-managed interpreter: its key changes with the libraries that are edited where it imports them from."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stepwell.environment import builder, ensure, sources, uv

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    return made


class Mine:
    """An interpreter of one's own, and a library beside it that it does not import yet."""

    def __init__(self, folder: Path, bare: Path) -> None:
        self.folder = folder
        self.venv = folder / "venv"
        shutil.copytree(bare, self.venv, symlinks=True)
        self.site = next(self.venv.glob("lib/python*/site-packages"))
        self.lib = folder / "lib"
        self.lib.mkdir()
        self.module = self.lib / "mylib.py"
        self.module.write_text("V = 1\n")
        self.python = self.venv / "bin" / "python"

    @property
    def spec(self) -> dict[str, object]:
        return {"user_managed": True, "interpreter": str(self.python)}

    def key(self) -> str:
        return builder.key_for(self.spec, self.folder / "environments")

    def installed(self, name: str, **files: str) -> Path:
        """Install a distribution by hand, with *files* in its ``dist-info`` besides ``METADATA``."""
        info = self.site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        for file, content in files.items():
            (info / file.replace("__", ".")).write_text(content)
        return info


@pytest.fixture
def mine(tmp_path: Path, bare: Path) -> Mine:
    return Mine(tmp_path, bare)


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a second look started a process")

    return lambda: monkeypatch.setattr(subprocess, "Popen", refuse)


def test_a_folder_of_a_pth_file(mine: Mine, no_process: Callable[[], None]) -> None:
    without = mine.key()
    (mine.site / "mine.pth").write_text(f"# mine\n\n{mine.lib}\n")
    first = mine.key()
    assert first != without
    no_process()
    assert mine.key() == first == ensure(mine.spec, mine.folder / "environments", print).key
    mine.module.write_text("V = 22\n")
    second = mine.key()
    (mine.lib / "pack" / "inner").mkdir(parents=True)
    (mine.lib / "pack" / "inner" / "settings.json").write_text("{}")
    third = mine.key()
    info = mine.module.stat()
    mine.module.write_text("V = 33\n")
    os.utime(mine.module, ns=(info.st_atime_ns, info.st_mtime_ns + 1))
    fourth = mine.key()
    mine.module.unlink()
    assert len({first, second, third, fourth, mine.key()}) == 5


def test_what_does_not_count(mine: Mine) -> None:
    (mine.site / "mine.pth").write_text(str(mine.lib))
    first = mine.key()
    for name in ("__pycache__/mylib.py", ".git/hook.py", "own/lib/x.py", "notes.txt", "lib.pyc"):
        (mine.lib / name).parent.mkdir(parents=True, exist_ok=True)
        (mine.lib / name).write_text("1")
        if name.startswith("own"):
            (mine.lib / "own" / "pyvenv.cfg").write_text("")
    (mine.lib / "back").symlink_to(mine.lib)
    (mine.lib / "nowhere.py").symlink_to(mine.folder / "nowhere")
    os.mkfifo(mine.lib / "pipe")
    assert mine.key() == first
    moved = mine.lib.rename(mine.folder / "elsewhere")
    assert mine.key() != first, "there is no library now"
    (mine.site / "mine.pth").write_text(str(moved))
    assert mine.key() == first, "where it is does not count"


def test_the_cache_hides_no_pth_file_that_was_edited(mine: Mine) -> None:
    pth = mine.site / "mine.pth"
    pth.write_text("../nowhere-yet\n")
    first = mine.key()
    later = mine.site.parent / "nowhere-yet"
    later.mkdir()
    (later / "new.py").write_text("")
    second = mine.key()
    stamp = mine.site.stat().st_mtime_ns
    pth.write_text(f"{mine.lib}\n")
    assert mine.site.stat().st_mtime_ns == stamp, "what the cache went by"
    assert len({first, second, mine.key()}) == 3


def test_a_pth_file_of_rubbish(mine: Mine) -> None:
    (mine.site / "rubbish.pth").write_text(f"{'x' * 5000}\n{mine.lib}\nimport nowhere_to_be_found\n")
    first = mine.key()
    mine.module.write_text("V = 22\n")
    assert mine.key() != first


@pytest.mark.parametrize("layout", ["flat", "src"])
def test_an_editable_install(mine: Mine, layout: str) -> None:
    project = mine.folder / "project"
    package = project / ("src/pack" if layout == "src" else "pack")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("V = 1\n")
    (project / "tests").mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "pack"\nversion = "1.0"\n[build-system]\nrequires = ["setuptools"]\n'
        'build-backend = "setuptools.build_meta"\n[tool.setuptools]\npackages = ["pack"]\n'
        + ('package-dir = {"" = "src"}\n' if layout == "src" else "")
    )
    install = ["pip", "install", "--python", str(mine.python), "-e", str(project)]
    code, lines = uv.run_uv(install, cache=mine.folder / "uv")
    assert code == 0, lines
    first = mine.key()
    assert mine.key() == first
    (project / "tests" / "test_it.py").write_text("")
    assert mine.key() == first, "the package is looked at, not its project"
    (package / "__init__.py").write_text("V = 22\n")
    assert mine.key() != first


def test_an_editable_install_of_a_kind_that_is_not_known(mine: Mine) -> None:
    origin = json.dumps({"url": mine.lib.as_uri(), "dir_info": {"editable": True}})
    mine.installed("mylib", RECORD="", direct_url__json=origin)
    mine.installed("damaged", RECORD="", direct_url__json='{"dir_info": {"editable": true}}')
    mine.installed("worse", RECORD="", direct_url__json="[")
    first = mine.key()
    mine.module.write_text("V = 22\n")
    assert mine.key() != first


def test_what_stands_in_the_package_folder(mine: Mine) -> None:
    for name in ("ours", "theirs"):
        (mine.site / name).mkdir()
        (mine.site / name / "__init__.py").write_text("V = 1\n")
    mine.installed("theirs", RECORD="theirs/__init__.py,,\ntheirs-1.0.dist-info/METADATA,,\n")
    (mine.site / "linked").symlink_to(mine.lib)
    first = mine.key()
    (mine.site / "theirs" / "__init__.py").write_text("V = 22\n")
    assert mine.key() == first, "as documented: a distribution is believed by name and version"
    (mine.site / "ours" / "__init__.py").write_text("V = 22\n")
    second = mine.key()
    mine.module.write_text("V = 22\n")
    assert len({first, second, mine.key()}) == 3


def test_a_distribution_that_does_not_say_what_it_brought(mine: Mine) -> None:
    (mine.site / "theirs").mkdir()
    (mine.site / "theirs" / "__init__.py").write_text("V = 1\n")
    mine.installed("theirs")
    first = mine.key()
    (mine.site / "theirs" / "__init__.py").write_text("V = 22\n")
    assert mine.key() == first, "which of the files are put there by hand is not known"


@pytest.mark.parametrize(("what", "limit"), [("mod{}.py", "MOST_FILES"), ("data{}.csv", "MOST_ENTRIES")])
def test_too_large_to_be_looked_at(
    mine: Mine, what: str, limit: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sources, limit, 5)
    (mine.site / "mine.pth").write_text(str(mine.lib))
    for number in range(4):
        (mine.lib / what.format(number)).write_text("")
    with caplog.at_level(logging.WARNING):
        assert mine.key() == mine.key()
        assert not caplog.messages
        for number in range(4, 7):
            (mine.lib / what.format(number)).write_text("")
        assert mine.key() != mine.key()
    assert len(caplog.messages) == 2
    assert f"{mine.lib}, from which {mine.python} imports, is too large to be looked at" in caplog.messages[0]
