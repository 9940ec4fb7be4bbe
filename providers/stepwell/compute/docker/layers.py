"""An environment as one layer over an image: made in a container of it, and committed.

The container's main process reads its input, which is ours: when we are done, or die, it ends, and whoever waits for
the same environment takes over. Credentials reach the installer as variables of its process only, and no layer.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepwell.compute.contract import Log
from stepwell.compute.docker.client import Daemon, NotThere, Taken
from stepwell.environment.running import TICK_SECONDS, passed_variables, stops
from stepwell.errors import ComputeTargetException, EnvironmentException

REPOSITORY = "stepwell/environment"
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_CREDENTIALS = re.compile(r"(://)[^/@\s]+@")
_KEY, _FACTS, _LOCK, _SECONDS = "stepwell.key", "stepwell.facts", "stepwell.lock", "stepwell.seconds"
_TOOLS, _CACHE = "/opt/stepwell/tools", "/opt/stepwell/cache"
_VOLUME = "stepwell-uv-cache"
#: In the folder of tools, beside ``uv``: whom to trust.
CERTIFICATES = "certificates.pem"


@dataclass(frozen=True)
class Layer:
    """An image with an environment in it.

    :param facts: as ``inside.look`` returns them.
    :param seconds: how long it took to build, the image included.
    :param size: of what was built, in bytes.
    """

    image: str
    facts: Mapping[str, Any]
    seconds: float = 0.0
    size: int = 0


async def find(daemon: Daemon, tag: str) -> Layer | None:
    """Return the environment that was built as *tag*, None if there is none."""
    try:
        found = await daemon.call(_inspect, tag)
    except NotThere:
        return None
    labels = found["Config"].get("Labels") or {}
    try:
        facts, seconds = json.loads(labels[_FACTS]), float(labels[_SECONDS])
    except (KeyError, ValueError):
        return None
    return Layer(tag, facts, seconds, int(found.get("Size") or 0))


class Builder:
    """Builds environments.

    :param network: of the containers in which is built; "none" is no way to the packages, so then Docker's own.
    :param tools: returns a folder of the Docker host that holds ``uv`` and may hold ``certificates``; None = uv is not
        to be had there.
    """

    def __init__(self, network: str | None, tools: Callable[[], Coroutine[Any, Any, str | None]]) -> None:
        self.network = None if network == "none" else network
        self.tools = tools

    async def build(
        self, daemon: Daemon, base: str, python: str, order: Mapping[str, Any], tag: str, log: Log
    ) -> Layer:
        """Build the environment that *order* describes over the image *base*, unless somebody else is at it.

        :raises EnvironmentException: it cannot be built, or the build was cancelled.
        """
        short = tag.rpartition(":")[2]
        name, told = f"stepwell-build-{short}", False
        tools = await self.tools()
        before = stops()
        while True:
            try:
                await daemon.call(_create, name, _config(base, python, self.network, tools))
                break
            except Taken:
                if not told:
                    log(f"Environment {short[:12]} is being built by another step; waiting for it")
                    told = True
            await _clear_dead(daemon, name)
            await asyncio.sleep(0.3)
            found = await find(daemon, tag)
            if found is not None:
                return found
            if stops() != before:
                raise EnvironmentException(f"Waiting for the environment {short[:12]} was cancelled")
        log(f"Environment {short[:12]}: building on {daemon.where}, {len(order['requirements'])} requirements")
        order = {
            **order,
            "uv": tools and f"{_TOOLS}/uv",
            "certificates": tools and f"{_TOOLS}/{CERTIFICATES}",
            "aside": "/dev/shm",  # noqa: S108 - the container's own
        }
        variables = _variables(order["requirements"])
        work = asyncio.ensure_future(daemon.call_long(_work, name, python, order, variables, tag, base, log))
        try:
            await _until(work, before, log, short[:12])
            return await work
        except (NotThere, Taken) as error:
            raise EnvironmentException(
                f"The build of the environment {short[:12]} broke off, for its container is gone: {error.what}",
                hint="Was Docker stopped or the container removed? Run the step again",
            ) from error
        finally:
            if not work.done():
                work.cancel()
            await asyncio.shield(_gone(daemon, name))


async def _until(work: asyncio.Future[Layer], before: int, log: Log, short: str) -> None:
    """Wait for *work*, and say now and then that it goes on."""
    began, told = time.monotonic(), 1
    while not (await asyncio.wait([work], timeout=0.2))[0]:
        if stops() != before:
            raise EnvironmentException("The build of the environment was cancelled")
        waited = time.monotonic() - began
        if waited > told * TICK_SECONDS:
            told += 1
            log(f"Environment {short}: still building, {waited:.0f} s")


async def _clear_dead(daemon: Daemon, name: str) -> None:
    """Remove the container of a builder that has died."""
    try:
        found = await daemon.call(_inspect_container, name)
        state = found["State"]["Status"]
        from stepwell.compute.docker.containers import epoch

        never = state == "created" and time.time() - epoch(found["Created"]) > 30
        if state in ("exited", "dead") or never:
            await daemon.call(_remove, name)
    except (NotThere, Taken):
        pass


async def _gone(daemon: Daemon, name: str) -> None:
    try:
        await daemon.call(_remove, name)
    except (NotThere, Taken):
        pass


def _config(base: str, python: str, network: str | None, tools: str | None) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [{"Type": "volume", "Source": _VOLUME, "Target": _CACHE}]
    if tools:
        mounts.append({"Type": "bind", "Source": tools, "Target": _TOOLS, "ReadOnly": True})
    return {
        "Image": base,
        "Entrypoint": [python],
        "Cmd": ["-c", "import sys; sys.stdin.buffer.read()"],
        "User": "0:0",
        "WorkingDir": "/",
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {"Mounts": mounts, "Init": True, **({"NetworkMode": network} if network else {})},
    }


def _variables(requirements: Sequence[str]) -> dict[str, str]:
    """Return what the installer sees of this process's variables: where packages come from, and with which rights."""
    named = {name for line in requirements for name in _VARIABLE.findall(line)}
    found = {
        name: value
        for name, value in passed_variables(sorted(named)).items()
        if name.startswith(("UV_", "PIP_")) or name.lower().endswith("_proxy") or name in named
    }
    for name in (
        "UV_CACHE_DIR",
        "UV_PYTHON_INSTALL_DIR",
        "UV_TOOL_DIR",
        "PIP_CERT",
        "PIP_CACHE_DIR",
        "PIP_CONFIG_FILE",
    ):
        found.pop(name, None)  # places on this machine
    found.update(
        HOME="/root",
        UV_CACHE_DIR=_CACHE,
        UV_LINK_MODE="copy",
        UV_NO_PROGRESS="1",
        UV_PYTHON_INSTALL_DIR="/opt/stepwell/python",
        PIP_NO_INPUT="1",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
    )
    return found


# -- calls, each in a thread -------------------------------------------------------------------------------------------


def _inspect(client: Any, tag: str) -> dict[str, Any]:
    return dict(client.inspect_image(tag))


def _inspect_container(client: Any, name: str) -> dict[str, Any]:
    return dict(client.inspect_container(name))


def _create(client: Any, name: str, config: dict[str, Any]) -> None:
    client.create_container_from_config(config, name)


def _remove(client: Any, name: str) -> None:
    client.remove_container(name, v=True, force=True)


def _work(
    client: Any,
    name: str,
    python: str,
    order: Mapping[str, Any],
    variables: dict[str, str],
    tag: str,
    base: str,
    log: Log,
) -> Layer:
    """Build in the container *name*, and make an image of it."""
    began = time.monotonic()
    leash = client.attach_socket(name, params={"stdin": 1, "stream": 1})
    try:
        client.start(name)
        argv = [python, "-u", "-c", order["script"], "build"]
        environment = {**variables, "STEPWELL_BUILD": json.dumps(order)}
        running = client.exec_create(name, argv, environment=environment, user="0:0")["Id"]
        said = _follow(client.exec_start(running, stream=True), log)
        code = client.exec_inspect(running)["ExitCode"]
        if code != 0:
            raise _failed(order, said, code)
        told = json.loads(said[-1])
        seconds = time.monotonic() - began
        labels = {_KEY: tag, _FACTS: json.dumps(told["facts"]), _LOCK: told["lock"], _SECONDS: f"{seconds:.3f}"}
        user = client.inspect_image(base)["Config"].get("User") or "root"
        conf = {"Labels": labels, "Entrypoint": [], "Cmd": [told["facts"]["python"]], "User": user}
        repository, _, version = tag.partition(":")
        client.commit(name, repository=repository, tag=version, conf=conf)
        size = int(client.inspect_image(tag).get("Size") or 0) - int(client.inspect_image(base).get("Size") or 0)
        log(f"Environment {version[:12]} built in {time.monotonic() - began:.1f} s, as the image {tag}")
        return Layer(tag, told["facts"], time.monotonic() - began, size)
    finally:
        leash.close()


def _follow(chunks: Any, log: Log) -> list[str]:
    """Hand the lines to *log* as they come, and return the last ones; those that are for us are not shown."""
    said: list[str] = []
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for raw in whole:
            line = _CREDENTIALS.sub(r"\1***@", raw.decode("utf-8", "replace").rstrip())
            if line:
                said = [*said[-80:], line]
                if not line.startswith('{"facts"'):
                    log(line)
    if rest.strip():
        said.append(rest.decode("utf-8", "replace"))
    return said


def _failed(
    order: Mapping[str, Any], said: list[str], code: int | None
) -> ComputeTargetException | EnvironmentException:
    text = "\n".join(said[-40:]) or f"the installer ended with exit code {code} and no message"
    what, hint = "cannot be built", None
    if "No solution found" in text:
        what, hint = "cannot be resolved", "Change the requirements so that they go together"
    elif "No space left" in text:
        hint = "The disk of Docker is full: make room there ('docker system df'), then run again"
    elif "dns error" in text or "error sending request" in text or "Temporary failure in name" in text:
        hint = "From the container the package index cannot be reached: see the compute target's network"
    wish = _CREDENTIALS.sub(r"\1***@", ", ".join(order["requirements"]))
    return EnvironmentException(f"The environment {what} ({wish}): {text}", hint=hint)
