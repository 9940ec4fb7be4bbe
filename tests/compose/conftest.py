"""A stack for the session: everything that it starts is removed when the tests end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compose import images, program
from tests.compose.stack import ComposedAirflow, Stack
from tests.machines.docker import DockerDaemon, running
from tests.support.examples import on_targets


def _refuse(reason: str) -> None:
    (pytest.fail if os.environ.get("CI", "").lower() in {"1", "true"} else pytest.skip)(reason)


@pytest.fixture(scope="session")
def daemon() -> DockerDaemon:
    """A daemon with networks, and the images that cannot be made by the project's own Dockerfiles."""
    found = running("compose", bridge=True)
    begin = time.monotonic()
    try:
        images.bring(found)
    except images.NoImageError as error:
        _refuse(str(error))
    print(f"compose: images of Debian's packages in {time.monotonic() - begin:.0f} s")
    return found


@pytest.fixture(scope="session")
def stack(daemon: DockerDaemon, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All that is there without a profile, built and healthy."""
    try:
        words = program.compose(project / ".cache" / "compose")
    except program.NoComposeError as error:
        _refuse(str(error))
    made = Stack(words, daemon, project, tmp_path_factory.mktemp("compose"))
    dags = made.folder / "dags"
    (dags / "compose_tests.py").write_text((Path(__file__).parent / "dags.py").read_text())
    (dags / "on_vm.py").write_text(on_targets(project, "python_step_local", "on_vm", count="vm"))
    (dags / "on_livy.py").write_text(on_targets(project, "titanic_pipeline", "on_livy", prepare="livy", train="vm"))
    try:
        for what, words in (("built", ("build",)), ("healthy", ("up", "--detach", "--wait", "--wait-timeout", "900"))):
            begin = time.monotonic()
            made.compose(*words)
            print(f"compose: {what} in {time.monotonic() - begin:.0f} s")
        made.password()  # a later api-server does not say it again
        yield made
    finally:
        made.down()
        left = made.left()
    assert not left, f"docker compose down --volumes has left {left}"


@pytest.fixture(scope="session")
def airflow(stack: Stack) -> ComposedAirflow:
    """Its Airflow, logged in."""
    return stack.airflow()
