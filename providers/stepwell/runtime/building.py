"""Builds one environment on a machine that is reached over SSH: a process there, told what to do on standard input.

As with :mod:`stepwell.environment.builder` on the worker it is made aside, published by one rename, built once however
many want it, and nothing is left of a build that fails but its log.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Callable, Iterator

RECORD = "stepwell-environment.json"
#: What comes behind it on a line of standard output is the result, or the error.
MARK = "\x1estepwell "
_TICK_SECONDS = 10.0
_CREDENTIALS = re.compile(r"(://)[^/@\s]+@")


class BuildError(Exception):
    """The environment cannot be built; with what is there instead, and a hint."""

    def __init__(self, what: str, allowed: list[str] | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.document = {"what": what, "allowed": allowed, "hint": hint}


def main() -> int:
    """Build, or find what another one has built meanwhile, and say so on standard output."""
    request = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    try:
        said: dict[str, Any] = {"record": build(request)}
    except BuildError as error:
        said = {"error": error.document}
    except OSError as error:
        folder = request["root"]
        what = f"The environment {request['key'][:12]} cannot be written below {folder}: {error.strerror or error}"
        said = {"error": {"what": what, "allowed": None, "hint": "See that there is space and the folder is writable"}}
    sys.stdout.write(MARK + json.dumps(said) + "\n")
    sys.stdout.flush()
    return 0


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Return the record of the environment."""
    import fcntl

    root, key = request["root"], request["key"]
    os.makedirs(os.path.join(root, ".locks"), exist_ok=True)
    with open(os.path.join(root, ".locks", key + ".lock"), "a", encoding="utf-8") as lock:
        began = told = time.monotonic()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if told == began or time.monotonic() - told > _TICK_SECONDS:
                    told = time.monotonic()
                    print(f"Environment {key[:12]} is being built by another step; waiting for it", flush=True)
                time.sleep(0.1)
        found = find(root, key)
        if found is not None:
            print(f"Environment {key[:12]} is there now: another step has built it", flush=True)
            return found
        return Build(request).run()


def find(root: str, key: str) -> dict[str, Any] | None:
    """Return the record of the environment *key*, None if there is no whole one."""
    try:
        with open(os.path.join(root, key, RECORD), encoding="utf-8") as file:
            record: dict[str, Any] = json.load(file)
        return record if os.path.exists(os.path.join(root, key, "bin", "python")) else None
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


class Build:
    """One build."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request, self.root, self.key = request, request["root"], request["key"]
        self.began, self.doing = time.monotonic(), "preparing"
        os.makedirs(os.path.join(self.root, ".logs"), exist_ok=True)
        self.log_path = os.path.join(self.root, ".logs", self.key + ".log")
        self.log = open(self.log_path, "w", encoding="utf-8", buffering=1)

    def say(self, line: str) -> None:
        """Show and keep a line."""
        try:
            self.log.write(line + "\n")
        except OSError:
            pass  # the disk is full; the error will be told
        print(line, flush=True)

    def run(self) -> dict[str, Any]:
        """Build it aside and give it its name."""
        building, target = os.path.join(self.root, ".building"), os.path.join(self.root, self.key)
        os.makedirs(building, exist_ok=True)
        for name in os.listdir(building):
            if name.startswith(self.key + "."):  # the lock is ours: it was left by a build that was killed
                shutil.rmtree(os.path.join(building, name), ignore_errors=True)
        aside = tempfile.mkdtemp(prefix=self.key + ".", dir=building)
        try:
            if os.path.lexists(target):
                self.say(
                    f"Environment {self.key[:12]}: what stands in its place is no whole environment and is removed"
                )
                os.rename(target, os.path.join(aside, "broken"))
            record = self._made(aside, os.path.join(aside, "environment"))
            os.rename(os.path.join(aside, "environment"), target)
        except BuildError as error:
            kept = f"The log of the build is kept there in {self.log_path}"
            hint = error.document["hint"]
            error.document["hint"] = f"{str(hint).rstrip('.')}. {kept}" if hint else kept
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            self.log.close()
        print(f"Environment {self.key[:12]} built in {record['seconds']:.1f} s", flush=True)
        return record

    def _made(self, aside: str, made: str) -> dict[str, Any]:
        request = self.request
        count = len(request["requirements"])
        self.say(f"Environment {self.key[:12]}: building with Python {request['python']}, {count} requirements")
        base = self._python(request["python"])
        self._uv(["venv", "--quiet", "--relocatable", "--no-project", "--python", base, made])
        lock = self._install(aside, made) if count else ""
        version = ""
        with open(os.path.join(made, "pyvenv.cfg"), encoding="utf-8") as file:
            for line in file:
                name, _, value = line.partition("=")
                if name.strip() in ("version_info", "version"):
                    version = ".".join(value.strip().split(".")[:3])
        folders = [os.path.join(made, "lib", name, "site-packages") for name in os.listdir(os.path.join(made, "lib"))]
        record = {
            "format": 1,
            "key": self.key,
            "specification": request["specification"],
            "builder": "uv",
            "python": version,
            "has_azureml": any(os.path.isdir(os.path.join(folder, "azureml", "core")) for folder in folders),
            "lock": lock,
            "seconds": round(time.monotonic() - self.began, 3),
            "built": time.time(),
        }
        with open(os.path.join(made, RECORD), "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1, sort_keys=True)
        return record

    def _install(self, aside: str, made: str) -> str:
        request, python = self.request, os.path.join(made, "bin", "python")
        wish = self._write(aside, "requirements.in", request["options"] + request["requirements"])
        extra = list(request["extra"])
        if request["constraints"]:
            extra += ["--constraints", self._write(aside, "constraints.txt", request["constraints"])]
        self.doing = "installing"
        self._uv(
            ["pip", "install", "--python", python, "--compile-bytecode", *extra, "--requirements", wish], show=True
        )
        self.doing = "writing the lock"
        pinned = self._uv(["pip", "freeze", "--quiet", "--python", python])
        if request["hashed"] or " @ " in "".join(pinned):
            return "\n".join(pinned)
        pins, lock = self._write(aside, "pins.in", request["options"] + pinned), os.path.join(aside, "pins.txt")
        form = ["--generate-hashes", "--no-header", "--no-annotate", "--output-file", lock, pins]
        code, _ = self._run(["pip", "compile", "--quiet", "--offline", "--no-deps", "--python", python, *form], False)
        if code:
            return "\n".join(pinned)
        with open(lock, encoding="utf-8") as file:
            return file.read()

    def _python(self, wanted: str) -> str:
        """Return an interpreter of the version *wanted*: our own, one that is installed, one that uv fetches."""
        own = ".".join(map(str, sys.version_info[:3]))
        if own == wanted or own.startswith(wanted + "."):
            return str(getattr(sys, "_base_executable", None) or sys.executable)
        minor = wanted if wanted[0] in "<>=!~" else ".".join(wanted.split(".")[:2])
        path = self._installed(wanted, minor)
        said = ""
        if path is None and os.environ.get("UV_PYTHON_DOWNLOADS") not in ("never", "manual"):
            self.say(f"Python {wanted} is not installed on this machine; uv fetches it")
            for version in dict.fromkeys((wanted, minor)):
                code, lines = self._run(["python", "install", "--no-bin", version], True, downloads=True)
                path = path or (self._installed(wanted, minor) if code == 0 else None)
                said = f" and cannot be fetched ({'; '.join(line.strip() for line in lines[-4:])})"
                if path is not None:
                    break
        if path is None:
            raise BuildError(
                f"The environment wants Python {wanted}, which is not installed on this machine{said}",
                allowed=self._versions() or [own],
                hint="Install it there, ask for another version, or use a user-managed environment",
            )
        return path

    def _installed(self, wanted: str, minor: str) -> str | None:
        for version in dict.fromkeys((wanted, minor)):
            code, lines = self._run(["python", "find", "--system", "--no-project", version], False)
            paths = [line for line in lines if line.startswith("/")]
            if code == 0 and paths:
                if version != wanted:
                    self.say(f"Python {wanted} is not installed here; the environment is built with {paths[-1]}")
                return paths[-1]
        return None

    def _versions(self) -> list[str]:
        _, lines = self._run(["python", "list", "--only-installed", "--output-format", "json"], False)
        try:
            found = json.loads(next(line for line in lines if line.startswith("[{")))
            return sorted({str(item["version"]) for item in found})
        except (StopIteration, ValueError, KeyError, TypeError):
            return []

    def _uv(self, arguments: list[str], *, show: bool = False) -> list[str]:
        code, lines = self._run(arguments, show)
        if code == 0:
            return lines
        text = "\n".join(lines[-40:]) or f"uv ended with exit code {code} and no message"
        what, hint = "cannot be built", None
        if "No solution found" in text:
            what, hint = "cannot be resolved", "Change the requirements so that they go together"
        elif "No space left" in text:
            hint = f"The disk of {self.root} is full: make room there, then run again"
        raise BuildError(f"The environment {what} ({', '.join(self.request['requirements'])}): {text}", hint=hint)

    def _run(self, arguments: list[str], show: bool, downloads: bool = False) -> tuple[int, list[str]]:
        variables = dict(os.environ, UV_NO_PROGRESS="1")
        variables.setdefault("UV_CACHE_DIR", os.path.join(self.root, ".uv-cache"))
        for name in ("VIRTUAL_ENV", "UV_PYTHON", "UV_PROJECT", "PYTHONPATH", "PYTHONHOME"):
            variables.pop(name, None)
        if not downloads:
            variables["UV_PYTHON_DOWNLOADS"] = "never"
        process = subprocess.Popen(
            [self.request["uv"], "--color", "never", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=variables, cwd="/",
        )  # fmt: skip
        lines = []
        assert process.stdout is not None  # noqa: S101 - asked for above
        for line in _lines(process.stdout, self._tick):
            lines.append(_CREDENTIALS.sub(r"\1***@", line))
            if show and line:
                self.say(lines[-1])
        return process.wait(), lines

    def _tick(self) -> None:
        print(f"Environment {self.key[:12]}: {self.doing}, {time.monotonic() - self.began:.0f} s", flush=True)

    @staticmethod
    def _write(folder: str, name: str, lines: list[str]) -> str:
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return path


def _lines(stream: IO[bytes], tick: Callable[[], None]) -> Iterator[str]:
    pending, due = b"", time.monotonic() + _TICK_SECONDS
    while True:
        if select.select([stream], [], [], max(0.0, due - time.monotonic()))[0]:
            piece = os.read(stream.fileno(), 1 << 16)
            if not piece:
                break
            *whole, pending = (pending + piece).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace").rstrip()
        if time.monotonic() >= due:
            due = time.monotonic() + _TICK_SECONDS
            tick()
    if pending:
        yield pending.decode("utf-8", "replace").rstrip()
