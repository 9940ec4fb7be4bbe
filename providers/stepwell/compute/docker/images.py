"""Images that jobs run in: a base, given by name or as a Dockerfile, and environments as layers over it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepwell.compute.contract import Log
from stepwell.compute.docker import archives, layers
from stepwell.compute.docker.client import Daemon, NotThere, lines
from stepwell.compute.docker.layers import Layer
from stepwell.environment.interpreters import OLDEST
from stepwell.environment.plan import pip_requirements
from stepwell.environment.specification import normal
from stepwell.errors import ComputeTargetException, EnvironmentException

#: Where environments are in images.
FOLDER = "/opt/stepwell/environments"
#: Part of every key: raised when the same wish would be built differently.
_VERSION = 2
INSIDE = Path(__file__).with_name("inside.py")


@dataclass(frozen=True)
class Wish:
    """What a specification comes to on an image, whichever image that is.

    :param digest: of all of it; names the environment's folder.
    :param interpreter: of an environment that is the image's own; then nothing is installed.
    """

    digest: str
    interpreter: str | None = None
    python: str | None = None
    requirements: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Wish:
        """Return what *spec* asks for.

        :raises EnvironmentException: it is malformed, or only conda has a package.
        """
        spec = normal(spec)
        if spec["user_managed"]:
            return cls(_digest(["own", spec["interpreter"]]), interpreter=spec["interpreter"])
        try:
            requirements = pip_requirements(spec)
        except EnvironmentException as error:
            raise EnvironmentException(
                error.what.partition(",")[0] + ", and in containers packages come from the Python package index",
                hint="Name an image that has them, in environment.docker.base_image, and set user_managed_dependencies",
            ) from error
        options = [option for option in spec["pip_options"] if option.startswith("--prerelease")]
        lines_ = [option for option in spec["pip_options"] if option not in options]
        if not requirements and spec["python"] is None:
            return cls(_digest(["plain"]), interpreter="python")
        split = [part for option in options for part in option.split()]
        if all("--hash=" in line for line in requirements) and requirements:
            split.append("--require-hashes")
        material = [spec["python"], requirements, spec["pip_options"], spec["constraints"]]
        return cls(
            _digest(material),
            None,
            spec["python"],
            (*lines_, *requirements),
            tuple(split),
            tuple(spec["constraints"]),
        )

    def key(self, base: str) -> str:
        """Return the key of the environment on the image of that id."""
        return _digest([_VERSION, base, self.digest], 64)

    @property
    def folder(self) -> str:
        """Where it is in an image."""
        return f"{FOLDER}/{self.digest}"


def _digest(material: Any, length: int = 16) -> str:
    return hashlib.sha256(json.dumps(material).encode()).hexdigest()[:length]


class Images:
    """The images of one daemon.

    :param cache: a folder of this machine, for what was found out and for archives of what was built.
    :param network: in which environments are built.
    :param ships: keep an archive of what took long to build, and take one that is kept instead of building.
    """

    def __init__(self, daemon: Daemon, cache: Path, builder: layers.Builder, *, ships: bool = False) -> None:
        self.daemon = daemon
        self.cache = cache
        self.builder = builder
        self.ships = ships
        self._facts: dict[tuple[str, str], dict[str, Any]] = {}

    # -- the base ------------------------------------------------------------------------------------------------------

    async def base(self, section: Mapping[str, Any], default: str, log: Log) -> str:
        """Return the id of the image that *section* (``environment.docker``) names or describes; pulled or built now.

        :raises ComputeTargetException: it does not exist; the Dockerfile cannot be built.
        """
        if section.get("base_dockerfile"):
            return await self._from_dockerfile(section["base_dockerfile"], log)
        name = section.get("base_image") or default
        try:
            return await self.identity(name)
        except NotThere:
            log(f"The image {name} is not on {self.daemon.where}: pulling it")
        try:
            await self.daemon.call_long(_pull, name, log)
            return await self.identity(name)
        except ComputeTargetException as error:
            raise ComputeTargetException(
                f"The image {name!r} is not on {self.daemon.where}, and cannot be pulled: {error.what}",
                hint="Check its name, or load it there: 'docker pull' or 'docker load'",
            ) from error

    async def identity(self, name: str) -> str:
        """Return the id of an image that is there: a digest of its content.

        :raises NotThere: it is not there.
        """
        return str((await self.daemon.call(_inspect, name))["Id"])

    async def _from_dockerfile(self, text: str, log: Log) -> str:
        tag = f"stepwell/base:{_digest([_VERSION, text], 32)}"
        try:
            return await self.identity(tag)
        except NotThere:
            log(f"Building the image of the Dockerfile as {tag}")
        try:
            await self.daemon.call_long(_build, text, tag, self.builder.network, log)
        except ComputeTargetException as error:
            raise EnvironmentException(
                f"The Dockerfile of the environment cannot be built: {error.what}",
                hint="See the lines of its log above",
            ) from error
        return await self.identity(tag)

    # -- what is in an image -------------------------------------------------------------------------------------------

    async def facts(self, image: str, interpreter: str) -> dict[str, Any]:
        """Return what is known of an interpreter in the image of that id; looked at once.

        :raises EnvironmentException: it has no such interpreter, or one that is too old.
        """
        kept = self._facts.get((image, interpreter))
        record = self.cache / "images" / f"{_digest([_VERSION, image, interpreter], 32)}.json"
        if kept is None:
            try:
                kept = json.loads(record.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                kept = await self._look(image, interpreter)
                await asyncio.to_thread(_write, record, kept)
        self._facts[image, interpreter] = kept
        return kept

    async def passwd(self, image: str, python: str) -> str:
        """Return the users that an image knows, as its ``/etc/passwd`` has them.

        :param python: an interpreter in it.
        """
        layer = await layers.find(self.daemon, image)
        return str((layer.facts if layer else await self.facts(await self.identity(image), python))["passwd"])

    async def _look(self, image: str, interpreter: str) -> dict[str, Any]:
        names = ["python", "python3"] if interpreter == "python" else [interpreter]
        said = ""
        for name in names:
            code, out = await self.daemon.call(_run, image, [name], ["-c", _script(), "look"])
            if code == 0:
                try:
                    found: dict[str, Any] = json.loads(out.splitlines()[-1])
                    if tuple(int(part) for part in found["version"].split(".")[:2]) >= OLDEST:
                        return found
                    out = f"{name} is Python {found['version']}"
                except (ValueError, IndexError, KeyError) as error:
                    out = f"{name} says {out[-200:]!r} ({error})"
            said = out.strip()[-500:] or f"exit code {code}"
        raise EnvironmentException(
            f"The image {image[:19]} has no usable Python ({' or '.join(names)}): {said}",
            allowed=["an image with Python 3.8 or later"],
            hint="Name one in environment.docker.base_image, or its interpreter in python.interpreter_path",
        )

    # -- environments --------------------------------------------------------------------------------------------------

    async def environment(self, base: str, wish: Wish, log: Log) -> Layer:
        """Return the image with the environment on the image *base*, built, or loaded, if it is not there.

        :raises EnvironmentException: it cannot be built; the message has the installer's words.
        """
        if wish.interpreter is not None:
            return Layer(base, await self.facts(base, wish.interpreter))
        key = wish.key(base)
        tag = f"{layers.REPOSITORY}:{key[:32]}"
        found = await layers.find(self.daemon, tag)
        if found is not None:
            log(f"Environment {key[:12]} is there, as the image {tag} on {self.daemon.where}")
            return found
        if self.ships and await archives.load(self.daemon, self.cache, tag, log):
            found = await layers.find(self.daemon, tag)
            if found is not None:
                return found
        order = {
            "folder": wish.folder,
            "python": wish.python,
            "requirements": wish.requirements,
            "options": wish.options,
            "constraints": wish.constraints,
            "script": _script(),
        }
        python = (await self.facts(base, "python"))["python"]
        built = await self.builder.build(self.daemon, base, python, order, tag, log)
        if self.ships:
            await archives.keep(self.daemon, self.cache, tag, base, built, log)
        return built


def _script() -> str:
    return INSIDE.read_text(encoding="utf-8")


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(content), encoding="utf-8")
    aside.replace(path)


# -- calls, each in a thread -------------------------------------------------------------------------------------------


def _inspect(client: Any, name: str) -> dict[str, Any]:
    return dict(client.inspect_image(name))


def _pull(client: Any, name: str, log: Log) -> None:
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(name)
    for line in lines(client.pull(repository, tag=tag or "latest", stream=True, decode=True)):
        log(line)


def _build(client: Any, dockerfile: str, tag: str, network: str | None, log: Log) -> None:
    """Build a Dockerfile without a context, as v1 does: nothing is there to be copied."""
    file = io.BytesIO(dockerfile.encode())
    for line in lines(client.build(fileobj=file, tag=tag, rm=True, forcerm=True, decode=True, network_mode=network)):
        log(line)


def _run(client: Any, image: str, entrypoint: list[str], arguments: list[str]) -> tuple[int, str]:
    """Run a short command in the image and return its exit code and what it said."""
    config = {
        "Image": image,
        "Entrypoint": entrypoint,
        "Cmd": arguments,
        "User": "0:0",
        "WorkingDir": "/",
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {"NetworkMode": "none"},
    }
    container = client.create_container_from_config(config)["Id"]
    try:
        from docker.errors import APIError

        try:
            client.start(container)
        except APIError as error:
            return 127, str(error.explanation or error)
        code = int(client.wait(container)["StatusCode"])
        return code, bytes(client.logs(container, stdout=True, stderr=code != 0)).decode("utf-8", "replace")
    finally:
        client.remove_container(container, v=True, force=True)
