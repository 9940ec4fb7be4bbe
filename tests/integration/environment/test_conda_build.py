"""Environments that only conda can build.

No conda is to be had on every machine that runs these tests, and its channels even less. A fake stands in its place: it
writes its arguments down and makes the prefix as a plain virtual environment with conda's records in it. So what is
tested is all that Stepwell does with conda, and not conda.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stepwell.environment import builder, ensure, uv
from stepwell.errors import EnvironmentException

pytestmark = pytest.mark.integration

FAKE = """\
#!{python}
import json, os, subprocess, sys, time
from pathlib import Path
arguments = sys.argv[1:]
with open({seen!r}, "a") as file:
    file.write(json.dumps([arguments, sorted(os.environ)]) + "\\n")
prefix = Path(arguments[arguments.index("--prefix") + 1])
assert not prefix.exists(), "conda refuses a folder that is there"
prefix.mkdir()
(prefix / "half").touch()
mode = Path({mode!r}).read_text()
if mode == "fail":
    print("PackagesNotFoundError: channel https://conda.example/nowhere")
    sys.exit(3)
if mode == "hang":
    time.sleep(60)
subprocess.run([{uv!r}, "venv", "-q", "--allow-existing", "--python", {python!r}, str(prefix)], check=True)
(prefix / "conda-meta").mkdir()
for name, version in (("libgdal", "3.9.1"), ("python", "3.11.7")):
    record = {{"name": name, "version": version, "build": "h1_0", "files": []}}
    (prefix / "conda-meta" / f"{{name}}-{{version}}-h1_0.json").write_text(json.dumps(record))
"""
SPEC = {"conda": ["libgdal>=3", "numpy=1.26", "theirs::r-base"], "channels": ["conda-forge", "nodefaults", "theirs"]}


class Fake:
    """The fake conda, and what it has seen."""

    def __init__(self, folder: Path) -> None:
        self.path, self._seen, self._mode = folder / "micromamba", folder / "seen", folder / "mode"
        self.path.write_text(
            FAKE.format(python=sys.executable, seen=str(self._seen), mode=str(self._mode), uv=uv.find_uv())
        )
        self.path.chmod(0o755)
        self.mode("work")

    def mode(self, mode: str) -> None:
        self._mode.write_text(mode)

    @property
    def calls(self) -> list[tuple[list[str], list[str]]]:
        lines = self._seen.read_text().splitlines() if self._seen.exists() else []
        return [tuple(json.loads(line)) for line in lines]  # type: ignore[misc]


@pytest.fixture
def conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake(tmp_path)
    monkeypatch.setenv("STEPWELL_CONDA_EXE", str(fake.path))
    return fake


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "environments"


def test_conda_gets_packages_and_channels_and_uv_the_rest(
    conda: Fake, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_TOKEN", "s3cret")
    said: list[str] = []
    made = ensure({**SPEC, "pip": ["six==1.17.0"], "python": "3.11"}, root, said.append)
    ((arguments, variables),) = conda.calls
    assert arguments == [
        "create", "--yes", "--quiet", "--prefix", str(made.root), "--override-channels",
        "--channel", "conda-forge", "--channel", "theirs",
        "python=3.11", "libgdal >=3", "numpy 1.26.*", "theirs::r-base",
    ]  # fmt: skip
    assert "WORKER_TOKEN" not in variables
    assert made.version == "3.11.7"
    assert made.lock.splitlines() == [
        "libgdal=3.9.1=h1_0", "python=3.11.7=h1_0", "# installed by uv", "six==1.17.0"
    ]  # fmt: skip
    done = subprocess.run([made.python, "-c", "import six; print(six.__version__)"], capture_output=True, text=True)
    assert done.stdout.strip() == "1.17.0"
    assert not any("Python package index" in line for line in said), "conda honours the channels"
    again = ensure({**SPEC, "pip": ["six==1.17.0"], "python": "3.11"}, root, said.append)
    assert (again.key, again.seconds, len(conda.calls)) == (made.key, 0.0, 1)
    assert json.loads((made.root / builder.RECORD).read_text())["builder"] == "micromamba"


def test_what_the_index_has_is_not_built_with_conda(conda: Fake, root: Path) -> None:
    said: list[str] = []
    ensure({"conda": ["six"], "channels": ["https://conda.example/nowhere"]}, root, said.append)
    assert conda.calls == []
    assert any(line.startswith("Warning: ") and "https://conda.example/nowhere" in line for line in said)


@pytest.mark.usefixtures("conda")
def test_the_key_is_not_that_of_uv_and_knows_the_channels(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        builder.key_for({**SPEC, "channels": channels}, root) for channels in (["a"], ["b"], ["a", "b"], ["b", "a"])
    }
    assert len(keys) == 4
    names = root.parent / "names.yml"
    names.write_text("libgdal: gdal\nr-base: rpy2\n")
    monkeypatch.setenv("STEPWELL_CONDA_NAMES", str(names))
    keys.add(builder.key_for(SPEC, root))
    assert len(keys) == 5


def test_an_unknown_channel_is_condas_own_error_and_nothing_stays(conda: Fake, root: Path) -> None:
    conda.mode("fail")
    with pytest.raises(EnvironmentException, match="PackagesNotFoundError") as caught:
        ensure(SPEC, root, lambda line: None)
    (log,) = (root / ".logs").iterdir()
    assert str(log) in str(caught.value)
    assert "PackagesNotFoundError" in log.read_text()
    assert [p.name for p in root.iterdir() if not p.name.startswith(".")] == []
    assert list((root / ".building").iterdir()) == []


def test_a_pip_section_that_fails_leaves_no_half_environment(conda: Fake, root: Path) -> None:
    with pytest.raises(EnvironmentException, match="six"):
        ensure({**SPEC, "pip": ["six==99"]}, root, lambda line: None)
    assert len(conda.calls) == 1
    assert [p.name for p in root.iterdir() if not p.name.startswith(".")] == []


def test_a_killed_build_is_cleared_away_and_its_conda_ended(conda: Fake, root: Path) -> None:
    conda.mode("hang")
    code = f"from stepwell.environment import ensure\nensure({SPEC!r}, {str(root)!r}, print)\n"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while not list(root.glob("*/half")):
        assert time.monotonic() < until
        time.sleep(0.05)
    (note,) = (root / ".building").glob("*.running")
    child = int(json.loads(note.read_text())["pid"])
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    os.kill(child, 0)  # it is still at work, in the place of the environment
    conda.mode("work")
    said: list[str] = []
    made = ensure(SPEC, root, said.append)
    assert any("had left a program running" in line for line in said)
    assert not (made.root / "half").exists() or len(conda.calls) == 2
    assert made.seconds > 0
    assert Path(f"/proc/{child}/stat").exists() is False or " Z " in Path(f"/proc/{child}/stat").read_text()
    assert list((root / ".building").iterdir()) == []


def test_credentials_in_a_channel_belong_elsewhere(conda: Fake, root: Path) -> None:
    spec = {**SPEC, "channels": ["https://me:s3cret@conda.example/t/tk-9/ours"]}
    with pytest.raises(EnvironmentException, match=r"carries credentials.*condarc") as caught:
        ensure(spec, root, lambda line: None)
    assert "s3cret" not in str(caught.value)
    assert "tk-9" not in str(caught.value)
    assert conda.calls == []


def test_without_conda_the_packages_are_named(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STEPWELL_CONDA_EXE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentException, match=r"Only conda .* libgdal>=3, theirs::r-base.*STEPWELL_CONDA_EXE"):
        ensure(SPEC, root, lambda line: None)
    monkeypatch.setenv("STEPWELL_CONDA_EXE", str(tmp_path / "nowhere"))
    with pytest.raises(EnvironmentException, match=r"STEPWELL_CONDA_EXE is .*, which is no program"):
        ensure(SPEC, root, lambda line: None)
    assert not root.exists()
