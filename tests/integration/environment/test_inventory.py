"""Environments as the command line sees them: built ahead, listed, shown, removed; never from under a running step."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from tests.support.steps import Bench, until
from tests.support.steps import bench as new_bench

from stepwell import Environment, cli
from stepwell.environment import builder, ensure, inventory, uv
from stepwell.errors import ActivityFailedException, EnvironmentException
from stepwell.operators import PrepareEnvironmentOperator, PythonScriptStepOperator

pytestmark = pytest.mark.integration

SIX = {"pip": ["six==1.17.0"]}
TRAIN = """
import pathlib, sys, time
here = pathlib.Path(sys.argv[1])
(here / "up").touch()
while not (here / "go").exists():
    time.sleep(0.02)
import six
print("with six", six.__version__)
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("STEPWELL_SCRATCH", str(tmp_path / "target"))
    monkeypatch.setenv("STEPWELL_ROOT", str(tmp_path / "workspace"))
    return new_bench(tmp_path)


@pytest.fixture
def root(bench: Bench, tmp_path: Path) -> Path:
    return tmp_path / "target" / "environments"


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    return tmp_path / "target" / "jobs"


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    capsys.readouterr()
    assert cli.main(["environment", *argv, "-o", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def age(root: Path, key: str, seconds: float) -> None:
    """Make the environment look as if it was not used for some time."""
    then = time.time() - seconds
    os.utime(root / ".used" / key, (then, then))


def training(bench: Bench, tmp_path: Path) -> PythonScriptStepOperator:
    environment = Environment("train")
    environment.python.conda_dependencies.add_pip_package("six==1.17.0")
    return PythonScriptStepOperator(
        task_id="train",
        source_directory=bench.source({"train.py": TRAIN}),
        script_name="train.py",
        arguments=[str(tmp_path)],
        environment=environment,
    )


# -- the commands ------------------------------------------------------------------------------------------------------


def test_prepare_list_show_remove(bench: Bench, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "conda.yml").write_text("dependencies:\n- six=1.17.0\n")
    assert said(capsys, "list") == []
    assert cli.main(["environment", "prepare", str(tmp_path / "conda.yml"), "-o", "json"]) == 0
    shown = capsys.readouterr()
    made = json.loads(shown.out)
    assert (made["target"], made["user_managed"], made["folder"]) == ("local", False, str(root / made["key"]))
    assert "building with Python" in shown.err
    assert " built in " in shown.err, "the log of the build does not get into the JSON"

    (entry,) = said(capsys, "list")
    assert (entry["key"], entry["python"], entry["builder"], entry["packages"]) == (
        made["key"], made["python"], "uv", 1
    )  # fmt: skip
    assert entry["bytes"] > 10_000
    assert abs(entry["used"] - time.time()) < 60
    assert abs(entry["built"] - time.time()) < 60
    cli.main(["environment", "list"])
    assert made["key"][:12] in capsys.readouterr().out

    facts = said(capsys, "show", made["key"][:6])
    assert facts["specification"]["conda"] == ["six==1.17.0.*"] or "six" in facts["specification"]["conda"][0]
    assert "sha256:" in facts["lock"]
    assert Path(facts["log"]).read_text().endswith("Done\n")
    cli.main(["environment", "show", made["key"][:6]])
    assert "six==1.17.0" in capsys.readouterr().out

    age(root, made["key"], 3600)
    assert said(capsys, "remove", "--unused-for", "2h") == {"removed": [], "kept": []}
    (removed,) = said(capsys, "remove", "--unused-for", "30m")["removed"]
    assert (removed["key"], removed["bytes"] > 10_000) == (made["key"], True)
    assert said(capsys, "list") == []
    for place in ("", ".used", ".logs", ".building"):
        assert [p.name for p in (root / place).iterdir() if p.name.startswith(made["key"])] == []


def test_a_registered_environment_is_prepared_by_its_name(
    bench: Bench, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = Environment("train")
    environment.register(bench.ws)
    environment.python.conda_dependencies.add_pip_package("six==1.17.0")
    environment.register(bench.ws)
    keys = [said(capsys, "prepare", name)["key"] for name in ("train", "train:1")]
    assert keys == [builder.key_for(SIX, root), builder.key_for({}, root)]
    details = environment.build(bench.ws)
    assert (details.status, details.key) == ("Succeeded", keys[0])
    assert details.wait_for_completion(show_output=True) is details


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["prepare", "trian"], "error: The workspace 'default' has no environment 'trian'"),
        (["prepare", "nowhere.yml"], "error: The conda specification nowhere.yml .* does not exist"),
        (["prepare", "x.yml", "--target", "nowhere"], "error: .*name nowhere not found"),
        (["show", "abc"], "error: No environments .* begin with 'abc'"),
        (["remove"], "error: What is to be removed is not clear"),
        (["remove", "abc", "--unused-for", "30d"], "error: What is to be removed is not clear"),
        (["remove", "--unused-for", "soon"], "error: 'soon' is no length of time. Allowed: 30d"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(argv: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        cli.main(["environment", *argv])


def test_a_key_must_say_which(bench: Bench, root: Path, jobs: Path) -> None:
    made = ensure({}, root, print)
    twin = root / (made.key[:10] + "f" * 54)
    shutil.copytree(made.root, twin, symlinks=True)
    with pytest.raises(EnvironmentException, match=f"2 environments .* begin with '{made.key[:8]}'"):
        inventory.matching(root, jobs, made.key[:8])
    assert inventory.matching(root, jobs, made.key).key == made.key


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_ends_its_build(
    bench: Bench, root: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    slow = tmp_path / "uv"
    slow.write_text(f'#!/bin/sh\ncase "$*" in *pip*) sleep 60;; esac\nexec {uv.find_uv()} "$@"\n')
    slow.chmod(0o755)
    (tmp_path / "requirements.txt").write_text("six\n")
    env = {**os.environ, "STEPWELL_UV": str(slow), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "stepwell.cli", "environment", "prepare", str(tmp_path / "requirements.txt")]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    until(lambda: list(root.glob(".building/*/requirements.in")))
    process.send_signal(ending)
    assert process.wait(60) == 128 + ending
    assert "Traceback" not in (process.communicate()[1])
    assert list((root / ".building").iterdir()) == []
    assert [p.name for p in root.iterdir() if not p.name.startswith(".")] == []


# -- what is used stays ------------------------------------------------------------------------------------------------


def test_what_was_just_asked_for_stays_unless_forced(
    bench: Bench, root: Path, jobs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ensure(SIX, root, print)
    with pytest.raises(SystemExit, match=r"error: .*was asked for \d+ seconds ago: a step may be about to start"):
        cli.main(["environment", "remove", made.key[:8]])
    assert "removed" not in capsys.readouterr().out
    assert made.python.exists()
    age(root, made.key, 3600)
    ensure(SIX, root, print)
    with pytest.raises(EnvironmentException, match="was asked for 0 seconds ago"):
        inventory.remove(root, jobs, made.key)
    inventory.remove(root, jobs, made.key, force=True)
    assert not made.root.exists()


def test_a_step_that_comes_at_the_last_moment_keeps_it(
    bench: Bench, root: Path, jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ensure(SIX, root, print)
    age(root, made.key, 3600)
    real = os.rename

    def late(source: Any, target: Any) -> None:
        if Path(source) == made.root:
            monkeypatch.setattr(os, "rename", real)
            ensure(SIX, root, print)
        real(source, target)

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(EnvironmentException, match="was asked for"):
        inventory.remove(root, jobs, made.key)
    assert ensure(SIX, root, print).seconds == 0.0, "it is back"


def test_an_environment_is_not_removed_from_under_a_step_and_is_rebuilt_if_it_is(
    bench: Bench, root: Path, jobs: Path, tmp_path: Path
) -> None:
    step = training(bench, tmp_path)
    with bench.meanwhile(step) as end:
        until(lambda: (tmp_path / "up").exists())
        (entry,) = inventory.entries(root, jobs)
        age(root, entry.key, 3600)
        assert len(entry.jobs) == 1
        assert inventory.unused(root, jobs, 60) == []
        with pytest.raises(EnvironmentException, match=rf"{entry.key[:12]} is used by {entry.jobs[0]}"):
            inventory.remove(root, jobs, entry.key)
        inventory.remove(root, jobs, entry.key, force=True)
        (tmp_path / "go").touch()
    (error,) = end
    assert isinstance(error, ActivityFailedException)
    assert "six" in str(error)
    bench.log.lines.clear()
    bench.run(step, try_number=2)
    assert "with six 1.17.0" in bench.log.text
    assert " built in " in bench.log.text
    (entry,) = inventory.entries(root, jobs)
    age(root, entry.key, 3600)
    assert inventory.in_use(root, jobs, [entry.key]) == {entry.key: []}, "its job has ended"
    inventory.remove(root, jobs, entry.key)


def test_one_removed_by_hand_is_rebuilt_and_that_is_said(bench: Bench, root: Path, jobs: Path, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    step = training(bench, tmp_path)
    bench.run(step)
    (entry,) = inventory.entries(root, jobs)
    shutil.rmtree(entry.folder)
    bench.run(step, dag_run_id="run 2")
    assert "was there once and has been removed; it is built again" in bench.log.text


def test_what_is_half_built_is_shown_and_can_be_swept(bench: Bench, root: Path, jobs: Path) -> None:
    made = ensure({}, root, print)
    (made.root / builder.RECORD).unlink()
    (root / ".building" / f"{made.key}.left").mkdir()
    (entry,) = inventory.entries(root, jobs)
    assert (entry.record, entry.to_dict()["whole"]) == (None, False)
    cli.main(["environment", "list"])
    inventory.sweep(root)
    assert list((root / ".building").iterdir()) == []
    inventory.remove(root, jobs, made.key, force=True)
    assert inventory.entries(root, jobs) == []


def test_what_is_being_built_is_left_alone(bench: Bench, root: Path, jobs: Path) -> None:
    made = ensure(SIX, root, print)
    (root / ".building" / f"{made.key}.now").mkdir()
    with builder.only_one(root, made.key):
        with pytest.raises(EnvironmentException, match="is being built or removed just now"):
            inventory.remove(root, jobs, made.key, force=True)
        inventory.sweep(root)
        assert (root / ".building" / f"{made.key}.now").exists()


# -- the operator ------------------------------------------------------------------------------------------------------


class Pushed:
    """Takes what a task pushes."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.values[key] = value


def execute(operator: PrepareEnvironmentOperator) -> tuple[dict[str, Any], dict[str, Any]]:
    pushed = Pushed()
    return operator.execute({"ti": pushed}), pushed.values  # type: ignore[typeddict-item]


def test_a_task_builds_it_ahead_and_the_step_finds_it(bench: Bench, root: Path, tmp_path: Path) -> None:
    step = training(bench, tmp_path)
    task = PrepareEnvironmentOperator(task_id="prepare", environment=step.environment)
    assert json.loads(json.dumps(task.environment)) == step.environment, "plain data, as templates need it"
    made, pushed = execute(task)
    assert made == {"key": builder.key_for(SIX, root), "python": pushed["python"], "user_managed": False}
    assert pushed["key"] == made["key"]
    (tmp_path / "go").touch()
    bench.run(step)
    assert f"Environment {made['key'][:12]} is there" in bench.log.text


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize("environment", ["nowhere.yml", "trian", "broken.yml", "libgdal.yml"])
def test_what_no_retry_would_mend_fails_for_good(
    environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("STEPWELL_CONDA_EXE", raising=False)
    (tmp_path / "broken.yml").write_text("dependancies: []\n")
    (tmp_path / "libgdal.yml").write_text("dependencies: [libgdal]\n")
    path = tmp_path / environment
    with pytest.raises(AirflowFailException):
        execute(PrepareEnvironmentOperator(task_id="p", environment=str(path) if "." in environment else environment))


@pytest.mark.usefixtures("bench")
def test_what_another_try_may_mend_does_not() -> None:
    environment = Environment("e")
    environment.python.conda_dependencies.add_pip_package("six==99")
    with pytest.raises(EnvironmentException, match="cannot be resolved"):
        execute(PrepareEnvironmentOperator(task_id="p", environment=environment))


def test_a_killed_task_stops_the_build(
    bench: Bench, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "uv"
    slow.write_text(
        f'#!/bin/sh\necho $$ > {tmp_path}/uv.pid\ncase "$*" in *pip*) sleep 60;; esac\nexec {uv.find_uv()} "$@"\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("STEPWELL_UV", str(slow))
    environment = Environment("e")
    environment.python.conda_dependencies.add_pip_package("six==1.17.0")
    task = PrepareEnvironmentOperator(task_id="p", environment=environment, workspace=bench.ws)
    end: list[Exception] = []

    def work() -> None:
        try:
            execute(task)
        except Exception as error:
            end.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: list(root.glob(".building/*/requirements.in")))
    task.on_kill()
    thread.join(10)
    assert not thread.is_alive()
    assert "was cancelled" in str(end[0])
    assert [p.name for p in root.iterdir() if not p.name.startswith(".")] == []
    assert list((root / ".building").iterdir()) == []
