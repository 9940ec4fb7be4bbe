"""Environments, really built by uv: once per key, whole or not at all, found again at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepwell.environment import BuiltEnvironment, builder, ensure, interpreters, running, uv
from stepwell.errors import EnvironmentException

pytestmark = pytest.mark.integration

SIX = {"pip": ["six==1.17.0"]}


def run(python: Path, code: str) -> str:
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def left_over(root: Path) -> list[str]:
    """What stands below *root* besides environments, locks and the cache of uv."""
    building = root / ".building"
    found = [p.name for p in building.iterdir()] if building.exists() else []
    return found + [p.name for p in root.iterdir() if not p.name.startswith(".")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environments")


@pytest.fixture(scope="module")
def built(root: Path) -> BuiltEnvironment:
    return ensure(SIX, root, lambda line: None)


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the warm path started a process")

    monkeypatch.setattr(subprocess, "Popen", refuse)


def test_it_works_where_it_was_published(built: BuiltEnvironment, root: Path) -> None:
    assert run(built.python, "import six; print(six.__version__)") == "1.17.0"
    assert Path(run(built.python, "import sys; print(sys.prefix)")) == built.root == root / built.key
    assert built.version == run(built.python, "import platform; print(platform.python_version())")
    assert "six==1.17.0" in built.lock
    assert "sha256:" in built.lock
    assert list(built.root.glob("lib/python*/site-packages/__pycache__/six.*.pyc")), "compiled when it was built"
    assert (built.user_managed, built.has_azureml) == (False, False)
    assert ".building" not in (built.root / builder.RECORD).read_text()


def test_console_scripts_work_after_the_rename(root: Path) -> None:
    made = ensure({"pip": ["charset-normalizer"]}, root, lambda line: None)
    done = subprocess.run([made.root / "bin" / "normalizer", "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("no_process")
def test_found_again_without_a_process(built: BuiltEnvironment, root: Path) -> None:
    said: list[str] = []
    started = time.perf_counter()
    again = ensure({**SIX, "variables": {"A": "1"}}, root, said.append)
    assert time.perf_counter() - started < 0.05
    assert (again.key, again.python, again.seconds) == (built.key, built.python, 0.0)
    assert len(said) == 1


def test_eight_steps_build_it_once_and_the_others_say_that_they_wait(tmp_path: Path) -> None:
    said: list[list[str]] = [[] for _ in range(8)]
    gate = threading.Barrier(8)

    def one(i: int) -> BuiltEnvironment:
        gate.wait()
        return ensure(SIX, tmp_path, said[i].append)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(one, range(8)))
    assert sum(m.seconds > 0 for m in made) == 1
    assert len({m.python for m in made}) == 1
    assert sum(any("waiting for it" in line for line in lines) for lines in said) == 7
    assert left_over(tmp_path) == [made[0].key]


def test_an_unsatisfiable_environment_shows_the_resolvers_words_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentException) as caught:
        ensure({"pip": ["six==1.16.0", "six>=1.17"]}, tmp_path, lambda line: None)
    message = str(caught.value)
    assert "cannot be resolved" in message
    assert "six==1.16.0" in message
    assert "six>=1.17" in message
    assert "No solution found" in message
    assert left_over(tmp_path) == []


def test_a_build_that_fails_after_resolving_leaves_nothing(tmp_path: Path) -> None:
    wrong = "six==1.17.0 --hash=sha256:" + "0" * 64
    with pytest.raises(EnvironmentException, match="(?i)hash"):
        ensure({"pip": [wrong]}, tmp_path, lambda line: None)
    assert left_over(tmp_path) == []


def test_hashes_of_a_requirements_file_are_verified_and_kept(built: BuiltEnvironment, tmp_path: Path) -> None:
    requirement = built.lock.replace("\\\n", "").strip()
    made = ensure({"pip": [requirement]}, tmp_path, lambda line: None)
    assert made.lock == "six==1.17.0"
    assert made.key != built.key


def test_an_empty_environment_is_one_too(tmp_path: Path) -> None:
    made = ensure({}, tmp_path, lambda line: None)
    assert made.lock == ""
    assert run(made.python, "import sys; print('%d.%d' % sys.version_info[:2])") == interpreters.own_version()


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentException, match=r"wants Python 3\.99") as caught:
        ensure({"python": "3.99"}, tmp_path, lambda line: None)
    assert ".".join(map(str, sys.version_info[:2])) in " ".join(caught.value.allowed or [])
    assert left_over(tmp_path) == []


def test_another_patch_release_is_taken_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    made = ensure({"python": interpreters.own_version() + ".999"}, tmp_path, said.append)
    assert made.version.startswith(interpreters.own_version() + ".")
    assert any("is not installed here" in line for line in said)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_build_is_no_environment_and_the_next_one_succeeds(tmp_path: Path, ending: signal.Signals) -> None:
    slow = tmp_path / "uv"
    slow.write_text(
        f"#!/bin/sh\ncase \"$*\" in *'pip compile'*) echo $$ > {tmp_path}/uv.pid; sleep 60;; esac\n"
        f'exec {uv.find_uv()} "$@"\n'
    )
    slow.chmod(0o755)
    root = tmp_path / "environments"
    code = (
        "import signal, sys\n"
        "from stepwell.environment import ensure\n"
        "signal.signal(signal.SIGTERM, lambda *a: sys.exit(7))\n"
        f"ensure({SIX!r}, {str(root)!r}, print)\n"
    )
    env = {**os.environ, "STEPWELL_UV": str(slow), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL)
    wait_for(lambda: (tmp_path / "uv.pid").exists() and (tmp_path / "uv.pid").read_text().strip() != "")
    child = int((tmp_path / "uv.pid").read_text())
    process.send_signal(ending)
    process.wait(10)
    try:
        if ending == signal.SIGTERM:
            assert process.returncode == 7
            assert left_over(root) == []
            wait_for(lambda: not alive(child))
        assert not [p for p in root.iterdir() if not p.name.startswith(".")]
        made = ensure(SIX, root, lambda line: None)
        assert left_over(root) == [made.key]
    finally:
        if alive(child):
            os.killpg(child, signal.SIGKILL)


def test_of_two_builds_one_is_killed_and_the_other_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "uv"
    slow.write_text(
        f"#!/bin/sh\ncase \"$*\" in *'pip compile'*) echo $$ > {tmp_path}/uv.pid; sleep 60;; esac\n"
        f'exec {uv.find_uv()} "$@"\n'
    )
    slow.chmod(0o755)
    root, said = tmp_path / "environments", list[str]()
    code = f"from stepwell.environment import ensure\nensure({SIX!r}, {str(root)!r}, print)\n"
    env = {**os.environ, "STEPWELL_UV": str(slow), "PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL)
    wait_for(lambda: (tmp_path / "uv.pid").exists() and (tmp_path / "uv.pid").read_text().strip() != "")
    monkeypatch.setattr(running, "TICK_SECONDS", 0.3)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(ensure, SIX, root, said.append)
        wait_for(lambda: any("waiting for the other step that builds it" in line for line in said))
        assert not second.done()
        first.kill()
        first.wait(10)
        made = second.result(60)
    assert made.seconds > 0
    assert run(made.python, "import six; print(six.__version__)") == "1.17.0"
    assert left_over(root) == [made.key]
    assert any("had left a program running; it is ended" in line for line in said)
    assert not alive(int((tmp_path / "uv.pid").read_text()))


def test_a_cancel_ends_builds_and_waits_in_other_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "uv"
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/uv.pid\nsleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("STEPWELL_UV", str(slow))
    root, said = tmp_path / "environments", list[str]()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(ensure, SIX, root, said.append) for _ in range(2)]
        wait_for(lambda: any("waiting for it" in line for line in said) and (tmp_path / "uv.pid").exists())
        started = time.monotonic()
        uv.stop_builds()
        for future in both:
            with pytest.raises(EnvironmentException, match="was cancelled"):
                future.result(10)
    assert time.monotonic() - started < 5
    assert left_over(root) == []
    assert not alive(int((tmp_path / "uv.pid").read_text()))


def test_an_environment_whose_base_has_gone_is_built_anew(tmp_path: Path) -> None:
    made = ensure(SIX, tmp_path, lambda line: None)
    made.python.unlink()
    made.python.symlink_to("/nowhere/python3")
    again = ensure(SIX, tmp_path, lambda line: None)
    assert again.seconds > 0
    assert run(again.python, "import six; print(six.__version__)") == "1.17.0"
    assert left_over(tmp_path) == [made.key]


def test_settings_and_secrets_of_the_worker_do_not_reach_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = tmp_path / "uv"
    spy.write_text(f'#!/bin/sh\nenv > {tmp_path}/seen\npwd >> {tmp_path}/seen\nexec {uv.find_uv()} "$@"\n')
    spy.chmod(0o755)
    monkeypatch.setenv("STEPWELL_UV", str(spy))
    monkeypatch.setenv("AIRFLOW_CONN_SECRET", "s3cret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    ensure({}, tmp_path / "environments", lambda line: None)
    seen = (tmp_path / "seen").read_text()
    assert "s3cret" not in seen
    assert "PYTHONPATH" not in seen
    assert seen.splitlines()[-1] == "/"


def test_a_user_managed_interpreter_is_looked_at_once(built: BuiltEnvironment, tmp_path: Path) -> None:
    spec = {"user_managed": True, "interpreter": str(built.python)}
    first = ensure(spec, tmp_path, lambda line: None)
    assert (first.python, first.root, first.user_managed) == (built.python, built.root, True)
    assert first.lock == "six==1.17.0"
    assert first.has_azureml is False
    real, subprocess.run = subprocess.run, None  # type: ignore[assignment]
    try:
        assert ensure(spec, tmp_path, lambda line: None) == first
    finally:
        subprocess.run = real


def test_the_real_azureml_is_seen_also_when_it_comes_later(tmp_path: Path) -> None:
    made = ensure({}, tmp_path, lambda line: None)
    spec = {"user_managed": True, "interpreter": str(made.python)}
    assert ensure(spec, tmp_path, lambda line: None).has_azureml is False
    (next(made.root.glob("lib/python*/site-packages")) / "azureml" / "core").mkdir(parents=True)
    assert ensure(spec, tmp_path, lambda line: None).has_azureml is True


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (None, 0, "does not exist"),
        ("#!/bin/sh\necho hello\n", 0o755, "does not run as Python: exit code 0"),
        ("#!/bin/sh\necho broken >&2; exit 3\n", 0o755, "does not run as Python: broken"),
        ("#!/bin/sh\nexit 0\n", 0o644, "is not executable"),
        ('#!/bin/sh\necho \'{"version": "3.6.2", "paths": []}\'\n', 0o755, "is Python 3.6.2"),
    ],
)
def test_a_bad_interpreter(tmp_path: Path, content: str | None, mode: int, message: str) -> None:
    python = tmp_path / "python"
    if content is not None:
        python.write_text(content)
        python.chmod(mode)
    with pytest.raises(EnvironmentException, match=message) as caught:
        ensure({"user_managed": True, "interpreter": str(python)}, tmp_path / "environments", lambda line: None)
    assert str(python) in str(caught.value)


def test_no_uv_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_UV", str(tmp_path / "uv"))
    with pytest.raises(EnvironmentException, match="STEPWELL_UV is .*, which is no program"):
        ensure(SIX, tmp_path, lambda line: None)
    monkeypatch.delenv("STEPWELL_UV")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EnvironmentException, match="pip install uv"):
        ensure(SIX, tmp_path, lambda line: None)


def test_the_record_is_plain_json(built: BuiltEnvironment) -> None:
    record = json.loads((built.root / builder.RECORD).read_text())
    assert record["specification"]["pip"] == ["six==1.17.0"]
    assert "variables" not in record["specification"]


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
        return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
