"""Environments on another machine: keyed as on this one, built there with uv, found again with one look."""

from __future__ import annotations

import json
import os
import posixpath
import sysconfig
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.environment import probe, sources
from stepwell.environment.builder import RECORD, BuiltEnvironment, key_of_packages
from stepwell.environment.interpreters import OLDEST
from stepwell.environment.plan import Plan, plan_of
from stepwell.environment.running import passed_variables
from stepwell.environment.specification import normal
from stepwell.environment.uv import find_uv
from stepwell.errors import ComputeTargetException, EnvironmentException, Unreachable
from stepwell.runtime.building import MARK

if TYPE_CHECKING:
    from stepwell.compute.ssh import SshExec, SshFiles

Log = Callable[[str], None]
_BUILD = "import sys; sys.path.insert(0, sys.argv[1]); from stepwell.runtime.building import main; sys.exit(main())"


class Elsewhere:
    """The environments of another machine.

    :param machine: its name, for messages.
    :param folder: where they are there, absolute.
    :param payload: where Stepwell's payload is there.
    :param hello: asks what the machine is: *python*, *version*, *platform*.
    :param call: calls a function of the runtime there.
    :param python: what a specification means by the interpreter ``python``, v1's default.
    """

    def __init__(
        self,
        machine: str,
        folder: str,
        payload: str,
        files: SshFiles,
        execute: SshExec,
        hello: Callable[[], Awaitable[dict[str, Any]]],
        call: Callable[..., Awaitable[Any]],
        python: str,
    ) -> None:
        self.machine, self.folder, self.payload = machine, folder, payload
        self._files, self._exec, self._hello, self._call, self._python = files, execute, hello, call, python

    async def key_for(self, spec: Mapping[str, Any]) -> str:
        """Return the key that :meth:`ensure` would give the environment, without building it.

        :raises EnvironmentException: *spec* is malformed, or only conda has one of its packages; a user-managed
            interpreter is not there or does not run.
        """
        if spec.get("user_managed"):
            return (await self._user_managed(normal(spec))).key
        return (await self._plan(spec)).key

    async def ensure(self, spec: Mapping[str, Any], log: Log) -> BuiltEnvironment:
        """Return the environment for *spec*, built there if it is not there yet.

        :param log: gets the build log, line by line.
        :raises EnvironmentException: it cannot be built; the message has the resolver's words.
        """
        if spec.get("user_managed"):
            return await self._user_managed(normal(spec))
        plan = await self._plan(spec)
        found = await self._found(plan.key)
        if found is not None:
            log(f"Environment {plan.key[:12]} is there (Python {found.version})")
        else:
            found = await self._built(plan, log)
        await self._files.make(posixpath.join(self.folder, ".used"))
        await self._files.touch(posixpath.join(self.folder, ".used", plan.key))
        return found

    async def _plan(self, spec: Mapping[str, Any]) -> Plan:
        hello = await self._hello()
        own = ".".join(hello["version"].split(".")[:2])
        return plan_of(spec, platform=hello["platform"], own=own)

    async def _found(self, key: str) -> BuiltEnvironment | None:
        folder = posixpath.join(self.folder, key)
        try:
            record = json.loads(await self._files.read(posixpath.join(folder, RECORD)))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        if await self._files.modified(posixpath.join(folder, "bin", "python")) is None:
            return None
        return _from_record(record, folder, 0.0)

    async def _built(self, plan: Plan, log: Log) -> BuiltEnvironment:
        wanted = plan.spec
        hashed = sum("--hash=" in line for line in plan.requirements)
        strict = ["--require-hashes"] if plan.requirements and hashed == len(plan.requirements) else []
        prerelease = [part for o in wanted["pip_options"] if o.startswith("--prerelease") for part in o.split()]
        request = {
            "root": self.folder,
            "key": plan.key,
            "python": plan.python,
            "uv": await self._uv(log),
            "requirements": plan.requirements,
            "options": [o for o in wanted["pip_options"] if not o.startswith("--prerelease")],
            "constraints": wanted["constraints"],
            "extra": [*prerelease, *strict],
            "hashed": bool(hashed),
            "specification": {k: v for k, v in wanted.items() if k != "variables"},
        }
        said: dict[str, Any] = {}

        def take(line: str) -> None:
            if line.startswith(MARK):
                said.update(json.loads(line[len(MARK) :]))
            elif line:
                log(line)
                said["last"] = line

        python = (await self._hello())["python"]
        # Only what the requirements name: a private index's password, say. The machine has settings of its own.
        named = {name: value for name, value in passed_variables(plan.named).items() if name in plan.named}
        argv = [python, "-I", "-S", "-c", _BUILD, self.payload]
        code = await self._exec.follow(argv, take, variables=named, body=json.dumps(request).encode())
        if "record" in said:
            return _from_record(said["record"], posixpath.join(self.folder, plan.key), said["record"]["seconds"])
        problem = said.get("error") or {
            "what": f"The build of the environment {plan.key[:12]} on {self.machine} ended with exit code {code}"
            + (f": {said['last']}" if "last" in said else "")
        }
        raise EnvironmentException(
            f"{self.machine}: {problem['what']}", allowed=problem.get("allowed"), hint=problem.get("hint")
        )

    async def _uv(self, log: Log) -> str:
        """Return uv's path there; where there is none this worker's own is brought along, if it runs there."""
        hello = await self._hello()
        tools = posixpath.join(posixpath.dirname(self.folder), "tools")
        places = ["uv", f"{hello['home']}/.local/bin/uv", f"{hello['home']}/.cargo/bin/uv"]
        places += [posixpath.join(tools, name) for name in await self._files.names(tools) if name.startswith("uv-")]
        for place in places:
            if place == "uv" or await self._files.modified(place) is not None:
                try:
                    if (await self._exec.run([place, "--version"])).code == 0:
                        return place
                except Unreachable:
                    raise
                except ComputeTargetException:
                    continue
        platform, here = hello["platform"], sysconfig.get_platform()
        hint = "Install uv there ('pip install uv'), or use a user-managed environment"
        if platform != here:
            raise EnvironmentException(
                f"{self.machine} has no uv, and this worker's is for {here}, not for {platform}", hint=hint
            )
        mine = find_uv()
        size = os.stat(mine)
        brought = posixpath.join(tools, f"uv-{size.st_size:x}-{int(size.st_mtime):x}")
        log(f"{self.machine} has no uv: this worker's is brought there ({size.st_size >> 20} MB)")
        with open(mine, "rb") as reader:
            await self._files.put(reader, brought, tools, 0o755)
        tried = await self._exec.run([brought, "--version"])
        if tried.code != 0:
            await self._files.remove(brought)
            said = (tried.err or tried.out).strip()[-300:]
            raise EnvironmentException(
                f"{self.machine} has no uv, and this worker's does not run there: {said}", hint=hint
            )
        return brought

    async def _user_managed(self, spec: dict[str, Any]) -> BuiltEnvironment:
        wanted = self._python if spec["interpreter"] == "python" else spec["interpreter"]
        found = await self._call(
            "looking",
            "look",
            interpreter=wanted,
            cache=posixpath.join(self.folder, ".user-managed"),
            probe=Path(str(probe.__file__)).read_text("utf-8"),
            sources=Path(str(sources.__file__)).read_text("utf-8"),
        )
        if "problem" in found:
            raise EnvironmentException(
                f"The interpreter {wanted!r} of the user-managed environment {found['problem']} on {self.machine}",
                hint="Set interpreter_path to a Python program on the compute target",
            )
        if tuple(map(int, found["version"].split("."))) < OLDEST:
            raise EnvironmentException(
                f"The interpreter {found['path']} on {self.machine} is Python {found['version']}",
                allowed=["Python 3.8 or later"],
            )
        edited = (found["digest"] or uuid.uuid4().hex) if found["sources"] else None
        return BuiltEnvironment(
            key=key_of_packages(found["version"], found["platform"], found["packages"], edited),
            python=Path(found["path"]),
            root=Path(found["prefix"]),
            user_managed=True,
            has_azureml=found["has_azureml"],
            seconds=0.0,
            lock="\n".join(found["packages"]),
            version=found["version"],
        )


def _from_record(record: Mapping[str, Any], folder: str, seconds: float) -> BuiltEnvironment:
    return BuiltEnvironment(
        key=record["key"],
        python=Path(folder, "bin", "python"),
        root=Path(folder),
        user_managed=False,
        has_azureml=record["has_azureml"],
        seconds=seconds,
        lock=record["lock"],
        version=record["python"],
    )
