"""What a machine is and has, for the probe of a compute target: called there, by the agent."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_PATIENCE_SECONDS = 20.0
_JAVA = 17  #: what Spark 4 needs
_VERSION = re.compile(r"\d+(?:\.\d+)+[\w.+-]*")


def look(root: str) -> dict[str, Any]:
    """Return facts about this machine, and what is wrong with the folder *root*, which is made.

    :returns: ``facts`` and ``problems``.
    """
    import threading

    facts: dict[str, Any] = {
        "root": root,
        "user": _user(),
        "host": os.uname().nodename,
        "system": _system(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "python_path": sys.executable,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "path": os.environ.get("PATH", ""),
    }
    problems = _folder(root, facts)
    found: dict[str, Any] = {}

    def ask(name: str, asked: Callable[[], Any]) -> None:
        try:
            found[name] = asked()
        except Exception as error:
            found[name] = {"problem": f"{type(error).__name__}: {error}"}

    tools = {
        "gpus": _gpus,
        "docker": docker,
        "spark": lambda: _version("spark-submit", "--version"),
        "hadoop": lambda: _version("hadoop", "version"),
        "java": lambda: _version("java", "-version"),
        "r": lambda: _version("Rscript", "--version"),
        "uv": lambda: _version("uv", "--version"),
    }
    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in tools.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _PATIENCE_SECONDS + 1.0
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    facts.update((name, found[name]) for name in tools if found.get(name))
    facts["time"] = time.time()
    return {"facts": facts, "problems": problems}


def spark(root: str, python: str) -> dict[str, str | None]:
    """Return where Java and the Spark of an environment are: ``java_home`` (17 or later) and ``spark_home``.

    :param root: the environment's folder.
    :param python: its interpreter; asked for PySpark where the folder does not tell.
    """
    import glob
    import subprocess

    homes = [os.environ.get("JAVA_HOME") or "", shutil.which("java") or "", *sorted(glob.glob("/usr/lib/jvm/*"))]
    homes = [os.path.dirname(os.path.dirname(os.path.realpath(h))) if h.endswith("/java") else h for h in homes]
    java = next((home for home in homes if home and _java_version(home) >= _JAVA), None)
    found = glob.glob(
        os.path.join(glob.escape(root), "lib", "python*", "site-packages", "pyspark", "bin", "spark-submit")
    )
    if found:
        return {"java_home": java, "spark_home": os.path.dirname(os.path.dirname(found[0]))}
    program = "import os, pyspark; print(os.path.dirname(pyspark.__file__))"
    done = subprocess.run([python, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd="/")
    home = done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else os.environ.get("SPARK_HOME")
    is_whole = bool(home) and os.path.exists(os.path.join(str(home), "bin", "spark-submit"))
    return {"java_home": java, "spark_home": home if is_whole else None}


def _java_version(home: str) -> int:
    """Return the main version of the Java in a folder, as its ``release`` file tells it; 0 if that tells nothing."""
    try:
        with open(os.path.join(home, "release"), encoding="utf-8", errors="replace") as file:
            found = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', file.read(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _system() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            for line in file:
                if line.startswith("PRETTY_NAME="):
                    return line.partition("=")[2].strip().strip('"')
    except OSError:
        pass
    return f"{os.uname().sysname} {os.uname().release}"


def _folder(root: str, facts: dict[str, Any]) -> list[str]:
    try:
        os.makedirs(root, 0o700, exist_ok=True)
        free = shutil.disk_usage(root).free
    except OSError as error:
        return [f"{root} cannot be made: {error.strerror}"]
    facts["disk_free_bytes"] = free
    if not os.access(root, os.W_OK | os.X_OK):
        return [f"{root} is not writable for {facts['user']}"]
    if os.statvfs(root).f_flag & getattr(os, "ST_NOEXEC", 8):
        return [f"{root} is on a file system that runs no programs (noexec)"]
    return [f"{root} has {free >> 20} MB free, 64 are needed"] if free < 64 << 20 else []


def _said(*argv: str) -> tuple[int, str] | None:
    """Return the exit code and the output of a program, None if there is none."""
    import subprocess

    path = shutil.which(argv[0])
    if path is None:
        return None
    done = subprocess.run(
        [path, *argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=_PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def _version(*argv: str) -> Any:
    said = _said(*argv)
    if said is None:
        return None
    code, text = said
    found = _VERSION.search(text)
    return found.group() if found and code == 0 else {"problem": text[-300:] or f"exit code {code}"}


def _gpus() -> list[str] | None:
    said = _said("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return said[1].splitlines() if said and said[0] == 0 else None


def docker() -> dict[str, Any] | None:
    """Return the version of Docker, or why it cannot be used here; None if there is none."""
    said = _said("docker", "version", "--format", "{{.Server.Version}}")
    socket = "/var/run/docker.sock"
    if said is None:
        return {"problem": "there is a daemon, and no docker command"} if os.path.exists(socket) else None
    code, text = said
    if code == 0:
        return {"version": text.splitlines()[-1]}
    if "permission denied" in text:
        return {"problem": f"{_user()} has no rights on Docker (is not in the group of {socket})"}
    return {"problem": "Docker does not run" if "Is the docker daemon running" in text else text[-300:]}
