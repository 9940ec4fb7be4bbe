"""Containers keep the contract; and what is special about them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.contract.compute.case import Case, Runner, eventually, launchers
from tests.contract.compute.contract import TargetContract
from tests.contract.compute.guarantees import TargetGuarantees
from tests.machines.docker import DockerDaemon, base_image, dockerd, mortal_dockerd

from stepwell.compute import portal
from stepwell.compute.contract import EnvironmentRef
from stepwell.compute.docker import containers
from stepwell.compute.docker.settings import ContainerSettings
from stepwell.compute.kinds.amlcompute import AmlComputeTarget, _over
from stepwell.compute.kinds.docker import DockerTarget
from stepwell.errors import ComputeTargetException, EnvironmentException

__all__ = ["base_image", "dockerd", "mortal_dockerd"]

pytestmark = pytest.mark.integration

Box = Callable[..., Runner]


class OnDocker(Case):
    @pytest.fixture
    def target(self, tmp_path: Path, dockerd: DockerDaemon, base_image: str) -> DockerTarget:
        settings = ContainerSettings(base_image=base_image, network="none")
        return DockerTarget("box", tmp_path / "scratch", settings, dockerd.host)

    @pytest.fixture
    def environment(self, target: DockerTarget) -> EnvironmentRef:
        return portal.call(target.prepare({}, print))


class TestDocker(OnDocker, TargetContract, TargetGuarantees):
    pass


@pytest.fixture
def box(tmp_path: Path, dockerd: DockerDaemon, base_image: str) -> Iterator[Box]:
    """Return what makes a runner of jobs in containers with those settings."""
    made: list[Runner] = []

    def make(spec: dict[str, Any] | None = None, daemon: DockerDaemon = dockerd, **settings: Any) -> Runner:
        chosen = ContainerSettings(**{"base_image": base_image, "network": "none", **settings})
        target = DockerTarget("box", tmp_path / "scratch", chosen, daemon.host)
        environment = portal.call(target.prepare(spec or {}, print))
        made.append(Runner(Case(), target, environment, tmp_path))
        return made[-1]

    yield make
    for runner in made:
        for handle in runner.handles:
            try:
                portal.call(runner.target.cancel(handle, None), 30)
            except ComputeTargetException:
                pass  # its daemon has been stopped


def inspected(runner: Runner, handle: Any) -> dict[str, Any]:
    target = runner.target
    assert isinstance(target, DockerTarget)
    return portal.call(target.runner.inspect(target.runner.name(handle.job_id)))


# -- what a container is given -----------------------------------------------------------------------------------------


def test_limits_and_v1s_arguments_reach_the_container(box: Box, dockerd: DockerDaemon, tmp_path: Path) -> None:
    section = {"arguments": ["--cap-drop", "ALL", "--ulimit", "nofile=512:512", "-v", f"{tmp_path}:/more:ro"]}
    (tmp_path / "there").write_text("seen")
    run = box({"docker": {**section, "shm_size": "16m"}}, memory="256m", cpus=0.5)
    handle = run(
        "import os, resource\n"
        "print(open('/more/there').read(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
        "print(os.statvfs('/dev/shm').f_blocks * os.statvfs('/dev/shm').f_frsize >> 20)"
    )
    assert run.log(handle).split() == ["seen", "512", "16"]
    host = inspected(run, handle)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (256 << 20, 256 << 20, 500_000_000)
    assert host["Init"] is True
    assert host["CapDrop"] == ["ALL"]


def test_a_step_that_runs_out_of_memory_says_so_with_the_limit(box: Box) -> None:
    run = box(memory="64m")
    final = run.wait(run("x = bytearray(200 << 20)")).final
    assert final["signal"] == "SIGKILL"
    assert final["reason"].endswith("out of memory, the limit is 64 MB")
    # Also where the step survives it.
    script = (
        "import subprocess, sys\n"
        "sys.exit(subprocess.run([sys.executable, '-c', 'bytearray(200 << 20)']).returncode and 3)"
    )
    final = run.wait(run(script)).final
    assert final["reason"] == "the phase 'step' ended with exit code 3: out of memory, the limit is 64 MB"


@pytest.mark.parametrize("user", [None, "4242:4343"])
def test_a_user_that_the_image_does_not_know_has_a_name_and_a_home(box: Box, user: str | None) -> None:
    run = box(user=user)
    handle = run(
        "import getpass, os, pathlib, pwd\n"
        "home = pathlib.Path.home(); (home / '.cache' / 'x').mkdir(parents=True)\n"
        "os.makedirs('outputs'); open('outputs/x', 'w').write('mine'); os.chmod('outputs/x', 0o600)\n"
        "print(os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name, getpass.getuser(), home.name)"
    )
    outcome = run.wait(handle)
    assert outcome.final["status"] == "succeeded", outcome.final
    said = (outcome.directory / "logs/step.log").read_text().split()
    expected = (user or f"{os.getuid()}:{os.getgid()}").split(":")
    assert said[:2] == expected
    assert said[3:] == ["stepwell", ".home"]
    assert (outcome.directory / "outputs/x").read_text() == "mine"
    portal.call(run.target.forget(handle))
    assert not run.exists(handle)


def test_nothing_of_the_worker_is_seen_in_a_container(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BANK", "hunter22")
    run = box()
    handle = run("import os; print(dict(os.environ), os.listdir('/tmp'))")
    assert "hunter22" not in run.log(handle)
    assert "hunter22" not in json.dumps(inspected(run, handle))


# -- images and environments -------------------------------------------------------------------------------------------


def test_packages_are_a_layer_that_is_built_once(box: Box) -> None:
    said: list[str] = []
    run = box({"pip": ["six==1.17.0"]}, network="host")
    assert run.log(run("import six, sys; print(six.__version__, sys.prefix)")).startswith("1.17.0 /opt/stepwell/")
    started = time.perf_counter()
    again = portal.call(run.target.prepare({"pip": ["six==1.17.0"]}, said.append))
    assert time.perf_counter() - started < 0.2
    assert again == run.environment
    assert "is there" in said[0]
    assert portal.call(run.target.environment_key({"pip": ["six==1.17.0"]})) == again.key


def test_an_image_of_ones_own_by_name_or_as_a_dockerfile(box: Box, base_image: str) -> None:
    text = f'FROM {base_image}\nRUN echo built > /made\nENTRYPOINT ["/bin/false"]\nWORKDIR /nowhere\nUSER 99\n'
    run = box({"docker": {"base_dockerfile": text}, "user_managed": True})
    assert run.log(run("print(open('/made').read())")).strip() == "built"
    other = box({"docker": {"base_image": base_image}, "user_managed": True, "interpreter": "/usr/bin/python3"})
    assert other.environment.python == "/usr/bin/python3"
    assert other.environment.key != run.environment.key


@pytest.mark.slow
def test_two_who_want_the_same_environment_build_it_once(
    tmp_path: Path, dockerd: DockerDaemon, base_image: str
) -> None:
    said: list[str] = []

    def prepare(number: int) -> str:
        settings = ContainerSettings(base_image=base_image, network="host")
        target = DockerTarget("box", tmp_path / str(number), settings, dockerd.host)
        return str(portal.call(target.prepare({"pip": ["six==1.16.0", "pyyaml"]}, said.append)).image)

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(prepare, range(3)))) == 1
    assert sum(" built in " in line for line in said) == 1
    assert any("being built by another step" in line for line in said)


@pytest.mark.slow
def test_a_builder_that_is_killed_is_taken_over_from(tmp_path: Path, dockerd: DockerDaemon, base_image: str) -> None:
    build = (
        "import sys\nfrom stepwell.compute import portal\n"
        "from stepwell.compute.docker.settings import ContainerSettings\n"
        "from stepwell.compute.kinds.docker import DockerTarget\n"
        "settings = ContainerSettings(base_image=sys.argv[3], network='host')\n"
        "target = DockerTarget('box', sys.argv[1], settings, sys.argv[2])\n"
        "portal.call(target.prepare({'pip': ['six==1.15.0', 'numpy']}, lambda line: print(line, flush=True)))\n"
    )
    arguments = [str(tmp_path), dockerd.host, base_image]
    argv = [sys.executable, "-c", build, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stdout is not None
        assert "building on" in first.stdout.readline()
        eventually(lambda: dockerd.docker("ps", "--quiet", "--filter", "name=stepwell-build"))
        first.kill()
    second = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment, check=True)
    assert " built in " in second.stdout
    assert not dockerd.docker("ps", "--all", "--quiet", "--filter", "name=stepwell-build")


@pytest.mark.slow
def test_credentials_of_an_index_are_in_no_layer(
    box: Box, dockerd: DockerDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UV_INDEX_PRIVATE_PASSWORD", "hunter44")
    run = box({"pip": ["six==1.14.0"]}, network="host")
    image = str(run.environment.image)
    with open(tmp_path / "image.tar", "wb") as file:
        subprocess.run(dockerd.command("save", image), stdout=file, check=True)
    assert subprocess.run(["grep", "-c", "-a", "hunter44", str(tmp_path / "image.tar")], check=False).returncode == 1


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"pip": ["no-such-package-of-nobody"]}, "cannot be resolved.*no-such-package-of-nobody"),
        ({"conda": ["r-base"]}, "Only conda is known to have r-base.*base_image"),
        ({"user_managed": True, "interpreter": "/no/python"}, "no usable Python .*/no/python"),
        ({"docker": {"base_dockerfile": "FROM stepwell-base:test\nRUN false\n"}}, "Dockerfile.*cannot be built"),
    ],
)
def test_what_cannot_be_built_says_why_and_leaves_nothing(
    box: Box, dockerd: DockerDaemon, spec: dict[str, Any], said: str
) -> None:
    images = dockerd.docker("images", "--quiet")
    with pytest.raises(EnvironmentException, match=f"(?s){said}"):
        box(spec, network="host")
    assert dockerd.docker("images", "--quiet") == images
    assert not dockerd.docker("ps", "--all", "--quiet", "--filter", "name=stepwell-build")


def test_an_image_that_does_not_exist(box: Box) -> None:
    with pytest.raises(ComputeTargetException, match="'no/such-image:1' is not on this machine, and cannot be pulled"):
        box({"docker": {"base_image": "no/such-image:1"}})


# -- silence is failure ------------------------------------------------------------------------------------------------

_SLEEP = "import time; print('up', flush=True); time.sleep(300)"


def test_a_container_that_is_removed_by_hand_is_a_failure(box: Box, dockerd: DockerDaemon) -> None:
    run = box()
    handle = run(_SLEEP)
    dockerd.docker("rm", "--force", inspected(run, handle)["Name"].lstrip("/"))
    status = eventually(lambda: (s := run.status(handle)).ended and s)
    assert status.state == "failed"
    assert "its container has been removed, though not by Stepwell" in status.detail


def test_a_container_that_is_killed_is_a_failure(box: Box, dockerd: DockerDaemon) -> None:
    run = box()
    handle = run(_SLEEP)
    dockerd.docker("kill", inspected(run, handle)["Name"].lstrip("/"))
    status = eventually(lambda: (s := run.status(handle)).ended and s)
    assert status.state == "failed"
    assert "exit code 137 (killed from outside" in status.detail


@pytest.mark.slow
def test_a_daemon_that_crashes_is_waited_for(box: Box, mortal_dockerd: DockerDaemon) -> None:
    mortal_dockerd.make_image()
    run = box(daemon=mortal_dockerd)
    handle = run("import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\nprint('went')")
    eventually(lambda: launchers(handle.job_id))
    mortal_dockerd.stop(signal.SIGKILL)
    status = run.status(handle)
    assert status.state == "unknown"
    assert "nobody answers" in status.detail
    run.desk(handle.job_id, "go").touch()
    eventually(lambda: run.status(handle).state == "succeeded")
    assert "went" in run.log(handle)


@pytest.mark.slow
def test_a_daemon_that_is_restarted_ends_its_jobs_and_they_say_so(box: Box, mortal_dockerd: DockerDaemon) -> None:
    mortal_dockerd.make_image()
    run = box(daemon=mortal_dockerd)
    handle = run(_SLEEP)
    assert mortal_dockerd.process is not None
    mortal_dockerd.process.terminate()
    mortal_dockerd.process.wait(30)
    mortal_dockerd.start()
    status = eventually(lambda: (s := run.status(handle)).ended and s)
    assert status.state in ("failed", "cancelled")
    assert "SIGTERM" in status.detail or "restarted" in status.detail
    portal.call(run.target.forget(handle))
    assert portal.call(run.target.runner.known()) == {}  # type: ignore[attr-defined]


# -- once --------------------------------------------------------------------------------------------------------------


def test_a_container_that_was_made_and_never_started_is_started(box: Box) -> None:
    run = box()
    job = run.job("open('ran', 'a').write('x')")
    portal.call(run.target.stage(job))
    target = run.target
    assert isinstance(target, DockerTarget)
    real = containers._start
    try:

        def killed(*_: Any) -> None:
            raise RuntimeError("the worker was killed")

        containers._start = killed
        with pytest.raises(RuntimeError, match="was killed"):
            portal.call(target.submit(job))
    finally:
        containers._start = real
    assert portal.call(target.find(job.id)) is None
    handle = portal.call(target.submit(job))
    run.handles.append(handle)
    assert run.wait(handle).final["status"] == "succeeded"
    assert run.desk(job.id, "ran").read_text() == "x"


def test_what_nobody_came_back_for_is_reaped(box: Box, tmp_path: Path) -> None:
    run = box()
    handle = run("pass")
    run.wait(handle)
    subprocess.run(["rm", "-rf", handle.directory], check=True)
    assert list(portal.call(run.target.runner.known())) == [handle.job_id]  # type: ignore[attr-defined]
    assert portal.call(run.target.reap(0)) == [handle.job_id]
    assert portal.call(run.target.runner.known()) == {}  # type: ignore[attr-defined]


# -- a daemon that does not do -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"memory": "500g"}, "memory=500 GB is more than this machine has"),
        ({"cpus": 4096}, "cpus=4096 is more than this machine has"),
        ({"gpus": "all"}, "no GPU that Docker can give"),
        ({"network": "no-such-network"}, "no-such-network not found"),
        ({"volumes": ("/no/such/folder:/x:ro",)}, "/no/such/folder"),
    ],
)
def test_a_target_that_asks_for_too_much_is_refused(
    tmp_path: Path, dockerd: DockerDaemon, base_image: str, settings: dict[str, Any], said: str
) -> None:
    chosen = ContainerSettings(**{"base_image": base_image, "network": "none", **settings})
    report = portal.call(DockerTarget("box", tmp_path / "scratch", chosen, dockerd.host).probe())
    assert not report.ok
    assert said in report.problems[0]
    assert not dockerd.docker("ps", "--all", "--quiet", "--filter", "name=trial")


def test_a_step_that_asks_for_more_memory_than_there_is_is_not_started(box: Box) -> None:
    run = box({"docker": {"arguments": ["--memory", "900g"]}})
    with pytest.raises(ComputeTargetException, match="Memory=900 GB is more than this machine has"):
        run("pass")
    assert portal.call(run.target.runner.known()) == {}  # type: ignore[attr-defined]


def test_docker_that_is_not_there_is_stopped_or_not_for_us(
    tmp_path: Path, dockerd: DockerDaemon, mortal_dockerd: DockerDaemon
) -> None:
    def problem(host: str) -> str:
        return portal.call(DockerTarget("box", tmp_path, None, host).probe()).problems[0]

    assert "There is no Docker on this machine" in problem(f"unix://{tmp_path}/none.sock")
    mortal_dockerd.stop(signal.SIGKILL)
    assert "is stopped: nobody answers" in problem(mortal_dockerd.host)
    with pytest.raises(ComputeTargetException, match="is no daemon of this machine.*remotedocker"):
        problem("ssh://user@host")
    said = as_nobody(lambda: problem(dockerd.host))
    assert "The user nobody may not use Docker on this machine: no right to unix://" in said
    assert "usermod -aG docker nobody" in said


def as_nobody(function: Callable[[], str]) -> str:
    """Return what *function* returns in a process of a user without rights."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.environ["LOGNAME"] = "nobody"
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writer, function().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(child, 0)
    return said


# -- slots -------------------------------------------------------------------------------------------------------------


class TestAmlComputeOnDocker(OnDocker):
    @pytest.fixture
    def target(self, tmp_path: Path, dockerd: DockerDaemon, base_image: str) -> AmlComputeTarget:
        record = {
            "name": "cpucluster",
            "configuration": {"max_nodes": 1},
            "backing": {
                "name": "box",
                "kind": "docker",
                "configuration": {"base_image": base_image, "network": "none", "docker_host": dockerd.host},
            },
        }
        made = AmlComputeTarget.from_record(record, str(tmp_path / "scratch"))
        assert isinstance(made, DockerTarget)
        assert isinstance(made, _over("docker"))
        return made

    def test_more_jobs_than_nodes_wait_until_there_are_more(self, run: Runner, target: AmlComputeTarget) -> None:
        script = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)"
        busy = run(script)
        eventually(lambda: target.busy_nodes() == 1)
        waiting = run("print('my turn')")
        eventually(lambda: run.status(waiting).state == "queued")
        assert run.status(waiting).detail == "all 1 node(s) of the compute target are busy"
        last = run(script)
        target.max_nodes = 2
        portal.call(target.resize())
        assert "my turn" in run.log(waiting)
        assert run.status(busy).state == "running"
        eventually(lambda: run.status(last).state == "running")
        for handle in (busy, last):
            run.desk(handle.job_id, "go").touch()
            assert run.wait(handle).final["status"] == "succeeded"
        eventually(lambda: target.busy_nodes() == 0)
