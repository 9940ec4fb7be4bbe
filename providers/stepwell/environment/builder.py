"""Building environments with uv: once per key, aside, published by one rename, found again without a process."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from stepwell.environment import conda_names
from stepwell.environment.interpreters import find_python, user_managed, wanted_version
from stepwell.environment.specification import normal
from stepwell.environment.uv import run_uv, stops
from stepwell.errors import EnvironmentException

#: Part of every key: raised when the same specification would be built differently.
BUILDER_VERSION = 1
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

    The key is a digest of packages, options, platform, Python version and builder version; of a user-managed
    environment, of what is installed in it (looked at once, see :func:`interpreters.user_managed`). Variables are not
    part of it: they change no file.

    :param root: as for :func:`ensure`.
    :raises EnvironmentException: *spec* is malformed, a user-managed interpreter is not there or does not run.
    """
    wanted = normal(spec)
    return _user_managed(wanted, Path(os.path.abspath(root))).key if wanted["user_managed"] else _key(wanted)


def pip_requirements(spec: Mapping[str, Any]) -> list[str]:
    """The pip requirements that *spec* comes to, conda's packages included.

    :raises EnvironmentException: packages that only conda is known to have.
    """
    mapped = [
        (item, conda_names.to_pip(conda_names.parse(item, "Environment specification"))) for item in spec["conda"]
    ]
    unknown = [item for item, pip in mapped if pip is None]
    if unknown:
        raise EnvironmentException(
            f"Only conda is known to have {', '.join(unknown)}, and this builder installs with pip's packages",
            hint="If the Python package index has the same software, name it under 'pip:'; else use a user-managed "
            "environment that has it",
        )
    return sorted({*spec["pip"], *(pip for _, pip in mapped if pip)})


def ensure(spec: Mapping[str, Any], root: str | os.PathLike[str], log: Log) -> BuiltEnvironment:
    """Return the environment for *spec* below *root*, built if it is not there yet.

    Two callers that want the same one build it once: the other waits and says so. A failed or cancelled build leaves
    nothing.

    :param log: gets the build log, line by line.
    :raises EnvironmentException: *spec* is malformed, cannot be resolved (with the resolver's message), needs a Python
        that is not there; a user-managed interpreter does not work; the disk is full.
    """
    wanted = normal(spec)
    folder = Path(os.path.abspath(root))
    if wanted["user_managed"]:
        return _user_managed(wanted, folder)
    key = _key(wanted)
    found = _find(folder, key)
    if found is not None:
        log(f"Environment {key[:12]} is there (Python {found.version})")
        return found
    requirements = pip_requirements(wanted)
    try:
        (folder / ".locks").mkdir(parents=True, exist_ok=True)
        with _only_one(folder / ".locks" / f"{key}.lock", key, log):
            found = _find(folder, key)
            if found is not None:
                log(f"Environment {key[:12]} is there now: another step has built it")
                return found
            return _build(wanted, requirements, folder, key, log)
    except OSError as error:
        raise EnvironmentException(
            f"The environment {key[:12]} cannot be written below {folder}: {error.strerror or error}",
            hint="See that there is space and that the folder is writable",
        ) from error


def _build(spec: dict[str, Any], requirements: list[str], root: Path, key: str, log: Log) -> BuiltEnvironment:
    started = time.monotonic()
    cache = root / ".uv-cache"
    (root / ".building").mkdir(exist_ok=True)
    # The lock of this key is ours: what stands here was left by a build that was killed. The folder has a new name
    # each time, because uv of that build may still be running.
    for left in (root / ".building").glob(f"{key}.*"):
        shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=root / ".building"))
    try:
        version = wanted_version(spec["python"])
        log(f"Environment {key[:12]}: building with Python {version}, {len(requirements)} requirements")
        python = find_python(version, cache=cache, log=log)
        made = aside / "environment"
        _run(["venv", "--quiet", "--relocatable", "--no-project", "--python", python, str(made)], cache, log, spec)
        lock = _install(requirements, spec, made, cache, log)
        seconds = round(time.monotonic() - started, 3)
        record = {
            "format": 1,
            "key": key,
            "specification": {k: v for k, v in spec.items() if k != "variables"},
            "python": _version_of(made),
            "has_azureml": any(made.glob("lib/python*/site-packages/azureml/core")),
            "lock": lock,
            "seconds": seconds,
        }
        (made / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
        target = root / key
        if os.path.lexists(target):  # there, and yet not found: its base interpreter has gone
            os.rename(target, aside / "broken")
        os.rename(made, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    log(f"Environment {key[:12]} built in {seconds:.1f} s")
    return _from_record(record, root / key, seconds)


def _install(requirements: list[str], spec: dict[str, Any], made: Path, cache: Path, log: Log) -> str:
    """Install *requirements* into the environment *made* and return the lock."""
    if not requirements:
        return ""
    python = str(made / "bin" / "python")
    wish, lock = made.parent / "requirements.in", made.parent / "requirements.txt"
    wish.write_text("\n".join([*_for_file(spec["pip_options"]), *requirements]) + "\n", encoding="utf-8")
    before = [part for option in spec["pip_options"] if option.startswith("--prerelease") for part in option.split()]
    install = ["pip", "install", "--python", python, "--compile-bytecode", *before]
    hashed = sum("--hash=" in line for line in requirements)
    if hashed:
        # The author's own hashes are kept and checked; resolving anew would replace them.
        if hashed < len(requirements):
            log(f"{hashed} of {len(requirements)} requirements carry hashes; only those are verified")
        strict = ["--require-hashes"] if hashed == len(requirements) else []
        _run([*install, *strict, "--requirements", str(wish)], cache, log, spec)
        return _run(["pip", "freeze", "--quiet", "--python", python], cache, None, spec)
    resolve = ["pip", "compile", "--quiet", "--python", python, "--generate-hashes", "--no-header", "--no-annotate"]
    _run([*resolve, *before, "--output-file", str(lock), str(wish)], cache, log, spec)
    text = lock.read_text(encoding="utf-8")
    # Options (an index, say) are not part of the lock: they stand in front of it, as they did for resolving.
    wish.write_text("\n".join(_for_file(spec["pip_options"])) + "\n" + text, encoding="utf-8")
    _run([*install, "--no-deps", "--requirements", str(wish)], cache, log, spec)
    return text


def _for_file(options: list[str]) -> list[str]:
    return [option for option in options if not option.startswith("--prerelease")]


def _run(arguments: list[str], cache: Path, log: Log | None, spec: dict[str, Any]) -> str:
    before = stops()
    code, lines = run_uv(arguments, cache=cache, log=log)
    if stops() != before:
        raise EnvironmentException("The build of the environment was cancelled")
    if code == 0:
        return "\n".join(lines)
    text = "\n".join(lines[-40:]) or f"uv ended with exit code {code} and no message"
    what = "cannot be resolved" if "No solution found" in text else "cannot be built"
    wish = f"conda: {', '.join(spec['conda']) or 'nothing'}; pip: {', '.join(spec['pip']) or 'nothing'}"
    raise EnvironmentException(
        f"The environment {what} ({wish}): {text}",
        hint="Change the requirements so that they go together" if what == "cannot be resolved" else None,
    )


def _key(spec: dict[str, Any]) -> str:
    material = {
        "builder": BUILDER_VERSION,
        "platform": sysconfig.get_platform(),
        "python": wanted_version(spec["python"]),
        **{name: spec[name] for name in ("conda", "pip", "pip_options")},
    }
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode("utf-8")).hexdigest()


def _find(root: Path, key: str) -> BuiltEnvironment | None:
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


def _user_managed(spec: dict[str, Any], root: Path) -> BuiltEnvironment:
    found = user_managed(spec["interpreter"], root / ".user-managed")
    material = [found.version, found.platform, *found.packages]
    return BuiltEnvironment(
        key=hashlib.sha256(json.dumps(material).encode("utf-8")).hexdigest(),
        python=Path(found.path),
        root=Path(found.prefix),
        user_managed=True,
        has_azureml=found.has_azureml,
        seconds=0.0,
        lock="\n".join(found.packages),
        version=found.version,
    )


def _version_of(made: Path) -> str:
    for line in (made / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name.strip() in ("version_info", "version"):
            return ".".join(value.strip().split(".")[:3])
    return ".".join(map(str, sys.version_info[:3]))


@contextmanager
def _only_one(path: Path, key: str, log: Log) -> Iterator[None]:
    """Hold the lock *path*; the system takes it back from a process that dies."""
    import fcntl

    with open(path, "a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"Environment {key[:12]} is being built by another step; waiting for it")
            _wait(stream, key)
        yield


def _wait(stream: IO[str], key: str) -> None:
    """Take the lock when the other lets go of it; a cancelled task must not hang here, so look now and then."""
    import fcntl

    before = stops()
    while stops() == before:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_POLL_SECONDS)
    raise EnvironmentException(f"Waiting for the environment {key[:12]} was cancelled")
