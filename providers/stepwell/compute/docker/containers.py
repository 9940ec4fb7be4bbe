"""The runner port with containers: one per job, named by its id, so that a second start finds the first."""

from __future__ import annotations

import asyncio
import calendar
import hashlib
import posixpath
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from stepwell.compute.docker.client import Daemon, NotThere, Taken
from stepwell.compute.docker.settings import bind, words
from stepwell.compute.ports import Files, Look, Start
from stepwell.errors import ComputeTargetException

#: Labels of our containers: the job, the folder of the compute target that it belongs to, and that target's name.
JOB, ROOT, TARGET = "stepwell.job", "stepwell.root", "stepwell.target"
_OURS = "stepwell"
_LOOK_SECONDS = 0.2
_LIVING = ("running", "paused", "restarting")
Complete = Callable[[Start], Coroutine[Any, Any, tuple[str, list[str]]]]


class Started:
    """A container with a launcher in it."""

    def __init__(self, runner: Containers, start: Start, container: str) -> None:
        self._runner = runner
        self._start = start
        self._container = container
        self._code: int | None = None
        self._asking: asyncio.Task[None] | None = None
        self._asked = time.monotonic()

    def ended(self) -> int | None:
        """Return its exit code, None while it runs; the daemon is asked now and then, in the background."""
        if self._code is None and time.monotonic() - self._asked > _LOOK_SECONDS:
            if self._asking is None or self._asking.done():
                self._asked = time.monotonic()
                self._asking = asyncio.get_running_loop().create_task(self._ask())
        return self._code

    async def _ask(self) -> None:
        try:
            state = (await self._runner.inspect(self._container))["State"]
            if state["Status"] in _LIVING:
                return
            said = await self._runner.tail(self._container)
            code = int(state["ExitCode"])
        except NotThere:
            code, said = 1, "its container has been removed"
        except ComputeTargetException:
            return  # asked again
        if said:
            path = posixpath.join(self._start.directory, "logs", "launcher.log")
            await self._runner.files.write(path, said.encode(), 0o600)
        self._code = code


class Containers:
    """Launchers as main processes of containers, below Docker's own ``init``.

    :param files: of the machine that the daemon is on.
    :param root: the target's folder there.
    :param complete: returns who runs in the container of a start, "uid:gid", and its mounts, "/there:/inside:ro".
    """

    def __init__(self, daemon: Daemon, files: Files, target: str, root: str, complete: Complete) -> None:
        self.daemon = daemon
        self.files = files
        self.target = target
        self.root = root
        self._complete = complete
        self._scope = hashlib.sha256(root.encode()).hexdigest()[:8]  # one daemon may serve several workspaces

    def name(self, job_id: str) -> str:
        """Return the name of the job's container."""
        return f"{_OURS}-{self._scope}-{job_id}"

    async def start(self, start: Start) -> Started:
        """Create and start the container, or find it.

        :raises ComputeTargetException: the image does not exist, a limit is beyond the host's, …
        """
        name = self.name(start.job_id)
        config = await self._config(start)
        for _ in range(3):
            try:
                await self.daemon.call(_create, name, config)
            except Taken:
                if not await self._is_of_use(name):
                    continue
            except NotThere as error:
                raise ComputeTargetException(
                    f"The image {start.needs.get('image')!r} does not exist on {self.daemon.where}: {error.what}",
                    hint="It has been removed since the environment was prepared; run the step again",
                ) from error
            try:
                await self.daemon.call(_start, name)
            except NotThere:
                continue  # somebody else has just cleared it away
            except ComputeTargetException as error:
                await self.clear(start.job_id)
                raise refused(error, start.needs) from error
            return Started(self, start, name)
        raise ComputeTargetException(f"The container {name} is removed again and again", hint="Try again")

    async def _is_of_use(self, name: str) -> bool:
        """Return whether the container that has the name is one to be started or running; else remove it."""
        try:
            state = (await self.inspect(name))["State"]
            if state["Status"] in ("created", *_LIVING) and not state.get("Error"):
                return True
            await self.daemon.call(_remove, name)  # it ended before its launcher has claimed the job
        except (NotThere, Taken):
            await asyncio.sleep(0.1)  # it is being removed
        return False

    async def run(self, start: Start) -> tuple[int, str]:
        """Run a short command as a job would be run, and return its exit code and what it said."""
        name = self.name(start.job_id)
        try:
            await self.daemon.call(_create, name, await self._config(start))
            await self.daemon.call(_start, name)
            code: int = await self.daemon.call_long(_wait, name)
            return code, await self.tail(name)
        finally:
            await self.clear(start.job_id)

    async def _config(self, start: Start) -> dict[str, Any]:
        needs = start.needs
        user, mounts = await self._complete(start)
        host = {**needs["host_config"], "Mounts": [*map(_mount, mounts)]}
        return {
            "Image": needs["image"],
            "Entrypoint": [needs["python"]],
            "Cmd": list(start.argv[1:]),
            "Env": [f"{name}={value}" for name, value in needs["variables"].items()],
            "User": user,
            "WorkingDir": "/",
            "Labels": {JOB: start.job_id, ROOT: self.root, TARGET: self.target},
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {**host, "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}},
        }

    async def look(self, jobs: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Look]:
        """Return how each container is; the daemon is asked once for all that run."""
        living = {}
        for container in await self.daemon.call(_list, self.root, alive=True):
            living[container["Labels"][JOB]] = container["State"]
        found = {}
        for job_id, process in jobs.items():
            if job_id in living:
                found[job_id] = Look("alive", "its container is paused" if living[job_id] == "paused" else "")
            else:
                found[job_id] = Look("gone", "" if process is None else await self._why(job_id))
        return found

    async def _why(self, job_id: str) -> str:
        """Return why a container is gone whose launcher has written no final status."""
        try:
            found = await self.inspect(self.name(job_id))
        except NotThere:
            return "its container has been removed, though not by Stepwell"
        state = found["State"]
        if state["Status"] in _LIVING:
            return ""
        if state.get("OOMKilled"):
            limit = found["HostConfig"].get("Memory")
            return "killed: out of memory" + (f", the limit is {words(limit)}" if limit else "")
        said = (await self.tail(self.name(job_id))).strip()
        how = f"its container ended with exit code {state['ExitCode']}"
        if state["ExitCode"] in (137, 255):
            how += " (killed from outside, or the daemon was restarted)"
        return "; ".join(filter(None, (how, state.get("Error"), said)))

    async def stop(self, job_id: str, process: Mapping[str, Any] | None) -> None:
        """Send SIGTERM to its launcher."""
        try:
            await self.daemon.call(_kill, self.name(job_id), "SIGTERM")
        except (NotThere, Taken):
            pass  # it does not run

    async def sweep(self, job_id: str, process: Mapping[str, Any] | None) -> None:
        """Kill the container, if it should still run."""
        try:
            await self.daemon.call(_kill, self.name(job_id), "SIGKILL")
        except (NotThere, Taken):
            pass

    async def clear(self, job_id: str) -> None:
        """Remove the container, with what it has written outside of the job directory."""
        try:
            await self.daemon.call(_remove, self.name(job_id))
        except (NotThere, Taken):
            pass  # there is none, or it is just being removed

    async def known(self) -> dict[str, float]:
        """Return the jobs that have containers → when those were created."""
        containers = await self.daemon.call(_list, self.root, alive=False)
        return {container["Labels"][JOB]: float(container["Created"]) for container in containers}

    async def inspect(self, container: str) -> dict[str, Any]:
        """Return what the daemon knows of a container."""
        found: dict[str, Any] = await self.daemon.call(_inspect, container)
        return found

    async def tail(self, container: str) -> str:
        """Return the last that its main process has said."""
        said: bytes = await self.daemon.call(_logs, container)
        return said.decode("utf-8", "replace")[-2000:]


def refused(error: ComputeTargetException, needs: Mapping[str, Any]) -> ComputeTargetException:
    """Return what the daemon says about a container that it does not start, with what to do."""
    said, hint = error.what, None
    if "capabilities: [[gpu]]" in said:
        said, hint = "There is no GPU that Docker can give to containers", "Install NVIDIA's container toolkit there"
    elif "executable file not found" in said or "no such file or directory" in said:
        said = f"The image {needs.get('image')!r} has no {needs.get('python')!r}: {said}"
        hint = "The environment needs an image with Python 3.8 or later"
    elif "bind source path does not exist" in said:
        hint = "Docker must see the compute target's folder at the same path as the worker"
    return type(error)(said, allowed=error.allowed, hint=hint or error.hint)


# -- calls, each in a thread -------------------------------------------------------------------------------------------


def _create(client: Any, name: str, config: dict[str, Any]) -> None:
    client.create_container_from_config(config, name)


def _start(client: Any, name: str) -> None:
    client.start(name)


def _inspect(client: Any, name: str) -> dict[str, Any]:
    return dict(client.inspect_container(name))


def _list(client: Any, root: str, *, alive: bool) -> list[dict[str, Any]]:
    filters: dict[str, Any] = {"label": [f"{ROOT}={root}", JOB]}
    if alive:
        filters["status"] = list(_LIVING)
    return list(client.containers(all=True, filters=filters))


def _mount(volume: str) -> dict[str, Any]:
    source, target, mode = bind(volume)
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": mode == "ro"}


def _wait(client: Any, name: str) -> int:
    return int(client.wait(name)["StatusCode"])


def _kill(client: Any, name: str, signal: str) -> None:
    client.kill(name, signal)


def _remove(client: Any, name: str) -> None:
    client.remove_container(name, v=True, force=True)


def _logs(client: Any, name: str) -> bytes:
    return bytes(client.logs(name, tail=20))


def epoch(stamp: str) -> float:
    """Return the seconds of a time as Docker writes it."""
    return float(calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")))
