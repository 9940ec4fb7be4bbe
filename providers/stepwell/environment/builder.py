"""Environments, built once per key, published as a whole, found again without a process.

What uv builds is made aside and gets its name by one rename. What conda builds holds its own path, so it is made in its
place; there it counts only once its record is written, which comes last.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from stepwell.environment import conda_build, docker, leftovers, running, sources, usage
from stepwell.environment.build_log import BuildLog
from stepwell.environment.installing import Installer
from stepwell.environment.interpreters import find_python, user_managed
from stepwell.environment.plan import Plan, plan_of
from stepwell.environment.plan import pip_requirements as pip_requirements
from stepwell.environment.running import stops
from stepwell.environment.specification import normal, own_channels
from stepwell.errors import EnvironmentException

logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.1
RECORD = "stepwell-environment.json"
Log = Callable[[str], None]


@dataclass(frozen=True)
class BuiltEnvironment:
    """An environment that is there.

    :param key: what it is, as a digest: no address in it.
    :param python: its interpreter, absolute.
    :param root: its folder (``sys.prefix``).
    :param user_managed: it is the author's own and never touched.
    :param has_azureml: the real azureml-core is installed in it.
    :param seconds: how long the build took just now; 0 when it was found.
    :param lock: the exact packages in it, one ``name==version`` per line (with hashes where uv resolved them).
    :param version: its Python version, "3.11.7".
    """

    key: str
    python: Path
    root: Path
    user_managed: bool
    has_azureml: bool
    seconds: float
    lock: str
    version: str


def key_for(spec: Mapping[str, Any], root: str | os.PathLike[str]) -> str:
    """Return the key that :func:`ensure` would give the environment, without building it.

    The key is a digest of what is installed, options, platform, Python version and builder; of a user-managed
    environment, of what is installed in it (looked at once, see :func:`interpreters.user_managed`) and of the stamps
    of what it imports from elsewhere (:mod:`sources`); if that is too much to look at, each key is another one.

    :param root: as for :func:`ensure`.
    :raises EnvironmentException: *spec* is malformed or only conda could build it and is not here; a user-managed
        interpreter is not there or does not run.
    """
    if spec.get("user_managed"):
        return _user_managed(normal(spec), Path(os.path.abspath(root)), logger.warning).key
    return plan_of(spec).key


def ensure(spec: Mapping[str, Any], root: str | os.PathLike[str], log: Log) -> BuiltEnvironment:
    """Return the environment for *spec* below *root*, built if it is not there yet.

    Two callers that want the same one build it once: the other waits and says so. A failed or cancelled build leaves
    nothing but its log, ``.logs/<key>.log``.

    :param log: gets the build log, line by line, and a line about every ten seconds while a build goes on.
    :raises EnvironmentException: *spec* is malformed, cannot be resolved (with the resolver's message), needs a Python
        that is not there; a user-managed interpreter does not work; the disk is full.
    """
    folder = Path(os.path.abspath(root))
    docker.say_unused(spec, log)
    if spec.get("user_managed"):
        return _user_managed(normal(spec), folder)
    plan = plan_of(spec)
    channels = [] if plan.program else own_channels(plan.spec)
    if channels:
        log(
            f"Warning: packages of the conda channels {', '.join(channels)} are taken from the Python package index, "
            "where one of the same name may be other software"
        )
    noted = usage.touch(folder, plan.key, create=False)  # before looking: a removal looks at it once more
    found = find(folder, plan.key)
    if found is not None:
        if not noted:
            usage.touch(folder, plan.key)
        log(f"Environment {plan.key[:12]} is there (Python {found.version})")
        return found
    try:
        with only_one(folder, plan.key, log):
            found = find(folder, plan.key)
            if found is not None:
                log(f"Environment {plan.key[:12]} is there now: another step has built it")
                return found
            return _build(plan, folder, log)
    except OSError as error:
        raise EnvironmentException(
            f"The environment {plan.key[:12]} cannot be written below {folder}: {error.strerror or error}",
            hint="See that there is space and that the folder is writable",
        ) from error


def _build(plan: Plan, root: Path, say: Log) -> BuiltEnvironment:
    with BuildLog(root, plan.key, say) as log:
        try:
            return _built(plan, root, log)
        except EnvironmentException as error:
            if not log.kept:
                raise
            hint = f"{error.hint.rstrip('.')}. " if error.hint else ""
            raise EnvironmentException(
                error.what, allowed=error.allowed, hint=f"{hint}The log of the build is kept in {log.path}"
            ) from error


def _built(plan: Plan, root: Path, log: BuildLog) -> BuiltEnvironment:
    cache, building, target = root / ".uv-cache", root / ".building", root / plan.key
    building.mkdir(exist_ok=True)
    program = building / f"{plan.key}.running"
    # The lock of this key is ours: what stands here was left by a build that was killed.
    if leftovers.end(program):
        log(f"Environment {plan.key[:12]}: a build that was killed had left a program running; it is ended")
    for left in building.glob(f"{plan.key}.*"):
        shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=f"{plan.key}.", dir=building))
    made = target if plan.program else aside / "environment"
    whole = False
    try:
        # There, and yet not found: it is half-built or half-removed, or its base interpreter has gone.
        if os.path.lexists(target):
            log(f"Environment {plan.key[:12]}: what stands in its place is no whole environment and is removed")
            os.rename(target, aside / "broken")
        elif usage.last(root, plan.key) is not None:
            log(f"Environment {plan.key[:12]} was there once and has been removed; it is built again")
        installer = Installer(plan, cache, aside, program, log)
        if plan.program:
            lock = conda_build.create(plan, made, program, log)
            pip = installer.install(made)
            lock += f"\n# installed by uv\n{pip}" if pip else ""
        else:
            count = len(plan.requirements)
            log(f"Environment {plan.key[:12]}: building with Python {plan.python}, {count} requirements")
            installer.venv(find_python(plan.python, cache=cache, log=log, tick=log.tick), made)
            lock = installer.install(made)
        record = _record(plan, made, lock, log.seconds)
        aside_record = aside / RECORD
        aside_record.write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
        os.rename(aside_record, made / RECORD)
        if not plan.program:
            os.rename(made, target)
        whole = True
    finally:
        if plan.program and not whole and os.path.lexists(target):
            os.rename(target, aside / "half")
        shutil.rmtree(aside, ignore_errors=True)
        program.unlink(missing_ok=True)
    usage.touch(root, plan.key)
    log(f"Environment {plan.key[:12]} built in {record['seconds']:.1f} s")
    return _from_record(record, target, record["seconds"])


def _record(plan: Plan, made: Path, lock: str, seconds: float) -> dict[str, Any]:
    """Return what is kept in the environment about itself."""
    return {
        "format": 1,
        "key": plan.key,
        "specification": {k: v for k, v in plan.spec.items() if k not in ("variables", "docker")},
        "builder": os.path.basename(plan.program) if plan.program else "uv",
        "python": _version_of(made),
        "has_azureml": any(made.glob("lib/python*/site-packages/azureml/core")),
        "lock": lock,
        "seconds": round(seconds, 3),
        "built": time.time(),
    }


def find(root: Path, key: str) -> BuiltEnvironment | None:
    """Return the environment *key* below *root*, None if there is no whole one."""
    try:
        record = json.loads((root / key / RECORD).read_text(encoding="utf-8"))
        # exists() follows the link to the base interpreter, which an upgrade of the machine may have removed.
        return _from_record(record, root / key, 0.0) if (root / key / "bin" / "python").exists() else None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
        return None


def _from_record(record: dict[str, Any], folder: Path, seconds: float) -> BuiltEnvironment:
    return BuiltEnvironment(
        key=record["key"],
        python=folder / "bin" / "python",
        root=folder,
        user_managed=False,
        has_azureml=record["has_azureml"],
        seconds=seconds,
        lock=record["lock"],
        version=record["python"],
    )


def _user_managed(spec: dict[str, Any], root: Path, tell: Log | None = None) -> BuiltEnvironment:
    found = user_managed(spec["interpreter"], root / ".user-managed")
    edited = None
    if found.sources:
        edited = sources.digest(found.sources, found.path, tell) or uuid.uuid4().hex
    return BuiltEnvironment(
        key=key_of_packages(found.version, found.platform, found.packages, edited),
        python=Path(found.path),
        root=Path(found.prefix),
        user_managed=True,
        has_azureml=found.has_azureml,
        seconds=0.0,
        lock="\n".join(found.packages),
        version=found.version,
    )


def key_of_packages(version: str, platform: str, packages: Sequence[str], edited: str | None) -> str:
    """Return the key of a user-managed environment.

    :param edited: a digest of what it imports from elsewhere; None if there is no such thing.
    """
    material: list[Any] = [version, platform, *packages]
    if edited is not None:
        material.append({"sources": edited})
    return hashlib.sha256(json.dumps(material).encode("utf-8")).hexdigest()


def _version_of(made: Path) -> str:
    """Return the Python version of the environment *made*, "3.11.7"."""
    for line in (
        (made / "pyvenv.cfg").read_text(encoding="utf-8").splitlines() if (made / "pyvenv.cfg").exists() else ()
    ):
        name, _, value = line.partition("=")
        if name.strip() in ("version_info", "version"):
            return ".".join(value.strip().split(".")[:3])
    for record in (made / "conda-meta").glob("python-3*.json"):
        return record.name.split("-")[1]
    return ".".join(map(str, sys.version_info[:3]))


@contextmanager
def only_one(root: Path, key: str, log: Log | None = None, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of the environment *key*; the system takes it back from a process that dies.

    :raises EnvironmentException: another one holds it, and *wait* is false; the wait was cancelled.
    """
    import fcntl

    (root / ".locks").mkdir(parents=True, exist_ok=True)
    with open(root / ".locks" / f"{key}.lock", "a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise EnvironmentException(f"The environment {key[:12]} is being built or removed just now") from None
            if log is not None:
                log(f"Environment {key[:12]} is being built by another step; waiting for it")
            _wait(stream, key, log)
        yield


def _wait(stream: IO[str], key: str, log: Log | None) -> None:
    """Take the lock when the other lets go of it; a cancelled task must not hang here, so look now and then."""
    import fcntl

    before, began, told = stops(), time.monotonic(), 1
    while stops() == before:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_POLL_SECONDS)
        waited = time.monotonic() - began
        if log is not None and waited > told * running.TICK_SECONDS:
            told += 1
            log(f"Environment {key[:12]}: waiting for the other step that builds it, {waited:.0f} s")
    raise EnvironmentException(f"Waiting for the environment {key[:12]} was cancelled")
