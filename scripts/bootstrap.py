#!/usr/bin/env python3
"""Make what Stepwell's commands need, inside the project's folder, and do nothing when it is there already.

    python3 scripts/bootstrap.py [airflow] [payload] [java] [openmp] [maven | maven?] [machines?]

``airflow``  ``.venv``: Airflow, this project (editable), linters and test tools, from ``requirements.lock``
``payload``  ``.venv-payload``: what runs on targets (Spark, Great Expectations), from ``requirements-payload.lock``
``java``     a Java 17 or later is there, else Debian's is installed
``openmp``   OpenMP's library is there, which LightGBM needs, else Debian's is installed
``maven``    Maven is there, else Debian's is installed; ``maven?`` only says so when it cannot be
``machines?``  what the tests need to be a Docker host and a machine behind SSH; only if this runs as root

Standard library only, and only the Python that a bare Debian has (no venv, no pip). Everything is pinned by hash.
Debian packages are installed when this runs as root; otherwise one line says what to type. Nothing is written to the
home directory. Exit status: 0, or 1 with one line on stderr.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
CACHE = PROJECT / ".cache"
TOOLS = PROJECT / ".tools"
UV = TOOLS / "bin" / "uv"
#: Program → Debian package, of what tests/machines starts.
MACHINES = {
    "dockerd": "docker.io",
    "debootstrap": "debootstrap",
    "docker-init": "tini",
    "sshd": "openssh-server",
    "ssh-keyscan": "openssh-client",
    "ip": "iproute2",
    "iptables": "iptables",
    "rclone": "rclone",
    "sshfs": "sshfs",
    "fusermount3": "fuse3",
    "rsync": "rsync",
}
OLDEST, TOO_NEW = (3, 11), (3, 14)
OLDEST_JAVA = 17
JAVA_PACKAGES = ("openjdk-17-jre-headless", "openjdk-21-jre-headless", "openjdk-25-jre-headless")


class BootstrapError(Exception):
    """Something is missing and cannot be installed; the message is the one line that the user reads."""


def say(text):
    """One line for the user, at once."""
    print("stepwell: " + text, flush=True)


def run(what, command, log):
    """Run a command with its output in ``.cache/<log>``; on failure its last lines go to stderr."""
    path = CACHE / log
    with path.open("wb") as out:
        code = subprocess.call(
            command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=str(PROJECT)
        )
    if code:
        tail = path.read_text("utf-8", "replace").strip().splitlines()[-15:]
        print("\n".join(tail), file=sys.stderr)
        raise BootstrapError(f"{what} failed (exit status {code}); the whole output is in {path}")


@contextlib.contextmanager
def timed(what):
    """Say what begins, and how long it took."""
    say(what)
    begin = time.monotonic()
    yield
    say(f"  done in {time.monotonic() - begin:.0f} s")


# --- what the system brings ------------------------------------------------------------------------------------------


def java():
    """The path of a Java 17 or later, or None."""
    places = [Path(os.environ["JAVA_HOME"]) / "bin" / "java"] if os.environ.get("JAVA_HOME") else []
    found = shutil.which("java")
    places += [Path(found)] if found else []
    for place in places:
        if place.is_file():
            return place if java_version(place) >= OLDEST_JAVA else None
    return None


def java_version(place):
    """Its feature version (17), 0 if it does not say. Asked once per binary: starting Java takes a while."""
    stat = place.resolve().stat()
    key = f"{place.resolve()} {stat.st_mtime_ns} {stat.st_size}"
    stamp = CACHE / "java"
    if stamp.is_file():
        known, _, version = stamp.read_text("utf-8").rpartition("\n")
        if known == key:
            return int(version)
    answer = subprocess.run([str(place), "-version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stdout.decode("utf-8", "replace"))
    version = int(match.group(1)) if match else 0
    stamp.write_text(f"{key}\n{version}", "utf-8")
    return version


def has_venv():
    """Whether this Python can make a virtual environment (Debian ships ``venv`` apart, and without it no ensurepip)."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return False
    return True


def has_openmp():
    """Whether the system has the library that LightGBM is built on, and does not bring."""
    import ctypes

    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return not sys.platform.startswith("linux")
    return True


def missing(wanted):
    """What of ``wanted`` is not here: {what: Debian packages, the first that exists is taken}."""
    lacking = {}
    if wanted & {"airflow", "payload"} and not UV.exists() and not has_venv() and not shutil.which("uv"):
        lacking["Python's venv"] = ("python3-venv",)
    # Maven brings a Java of its own choice with it if there is none: ask for ours in the same breath.
    if wanted & {"java", "maven", "maven?"} and java() is None:
        lacking[f"Java {OLDEST_JAVA} or later"] = JAVA_PACKAGES
    if wanted & {"openmp", "payload"} and not has_openmp():
        lacking["OpenMP's library (libgomp)"] = ("libgomp1",)
    if wanted & {"maven", "maven?"} and not shutil.which("mvn"):
        lacking["Maven"] = ("maven",)
    if "machines?" in wanted and os.geteuid() == 0 and shutil.which("apt-get"):
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        for program, package in MACHINES.items():
            if not shutil.which(program, path=path):
                lacking[program] = (package,)
    return lacking


def install(lacking, optional):
    """Install with apt what is missing, if we may; otherwise say what to type."""
    if not lacking:
        return
    debian = shutil.which("apt-get") is not None
    if debian and os.geteuid() == 0:
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        run("apt-get update", ["apt-get", "update", "-qq"], "apt-update.log")
        packages = [first_available(choice) for choice in lacking.values()]
        with timed("installing {} with apt".format(", ".join(packages))):
            command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
            run("apt-get install", command, "apt-install.log")
        return
    typed = " ".join(choice[0] for choice in lacking.values())
    how = f"type: sudo apt-get install {typed}" if debian else "install it with your system's package manager"
    hint = "" if "Python's venv" not in lacking else " (or put uv on your PATH)"
    line = "{} {} missing: {}{}".format(" and ".join(lacking), "is" if len(lacking) == 1 else "are", how, hint)
    if not optional:
        raise BootstrapError(line)
    say(line + "; what needs it is left out")


def first_available(packages):
    """The first of these that this Debian has."""
    for package in packages:
        answer = subprocess.run(["apt-cache", "policy", package], stdout=subprocess.PIPE, check=False).stdout
        if b"Candidate:" in answer and b"Candidate: (none)" not in answer:
            return package
    raise BootstrapError("none of the packages {} is to be had from this Debian's sources".format(", ".join(packages)))


# --- what is made in the project -------------------------------------------------------------------------------------


def digest(*paths):
    """What an environment depends on. The folder counts: scripts in an environment hold its absolute path."""
    state = hashlib.sha256(str(PROJECT).encode())
    for path in paths:
        state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def is_current(folder, key):
    """Whether ``folder`` was made for ``key`` and its interpreter is still there."""
    stamp = folder / ".stepwell-stamp"
    return (folder / "bin" / "python").exists() and stamp.is_file() and stamp.read_text("utf-8") == key


def fetch_uv():
    """Put the pinned uv into ``.tools``, with pip, or with a uv that the user has."""
    lock = PROJECT / "requirements-tools.lock"
    key = digest(lock)
    if is_current(TOOLS, key) and UV.exists():
        return
    with timed(f"fetching uv into {TOOLS.name}"):
        uv = shutil.which("uv")
        if has_venv():
            if not (TOOLS / "bin" / "pip").exists() or not (TOOLS / ".stepwell-stamp").exists():
                run("python3 -m venv", [sys.executable, "-m", "venv", "--clear", str(TOOLS)], "tools.log")
            pip = [str(TOOLS / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
            run("fetching uv", [*pip, "install", "--require-hashes", "-r", str(lock)], "tools.log")
        else:
            run("uv venv", [uv, "venv", "--clear", "--python", sys.executable, str(TOOLS)], "tools.log")
            python = str(TOOLS / "bin" / "python")
            command = [uv, "pip", "sync", "--python", python, "--require-hashes", str(lock)]
            run("fetching uv", command, "tools.log")
    (TOOLS / ".stepwell-stamp").write_text(key, "utf-8")


def python():
    """The interpreter for the environments: this one, another one on PATH, or one that uv fetches into ``.cache``."""
    if OLDEST <= sys.version_info[:2] < TOO_NEW:
        return sys.executable
    for minor in range(TOO_NEW[1] - 1, OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    say("this Python is {}.{}; uv fetches Python {}.{}".format(*sys.version_info[:2], 3, TOO_NEW[1] - 1))
    return f"3.{TOO_NEW[1] - 1}"


def make_environment(name, lock_name, editable):
    """``name`` holds exactly what its lock says (and the project itself, if ``editable``)."""
    folder, lock = PROJECT / name, PROJECT / lock_name
    key = digest(lock, PROJECT / "pyproject.toml") if editable else digest(lock)
    if is_current(folder, key):
        return
    fetch_uv()
    with timed(f"making {name} from {lock_name}"):
        stamp = folder / ".stepwell-stamp"
        moved = stamp.is_file() and not is_at_home(folder)
        stamp.unlink() if stamp.is_file() else None
        if moved or not (folder / "bin" / "python").exists():
            run("making " + name, [str(UV), "venv", "--clear", "--python", python(), str(folder)], name[1:] + ".log")
        install_into = ["--python", str(folder / "bin" / "python")]
        sync = [str(UV), "pip", "sync", *install_into, "--require-hashes", str(lock)]
        run("installing " + lock_name, sync, name[1:] + ".log")
        if editable:
            # Its dependencies and its build back end are those of the lock.
            command = [
                str(UV),
                "pip",
                "install",
                *install_into,
                "--no-deps",
                "--no-build-isolation",
                "-e",
                str(PROJECT),
            ]
            run("installing the project", command, name[1:] + "-project.log")
    stamp.write_text(key, "utf-8")


def is_at_home(folder):
    """Whether the environment was made at this very path (a project that was moved takes its environments along)."""
    activate = folder / "bin" / "activate"
    return activate.is_file() and str(folder) in activate.read_text("utf-8", "replace")


@contextlib.contextmanager
def alone():
    """One bootstrap at a time: two makes wait for each other."""
    with (CACHE / "bootstrap.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another command that is making the same")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keep_inside():
    """Tell pip and uv to keep their caches, and any Python they fetch, in the project."""
    os.environ["PIP_CACHE_DIR"] = str(CACHE / "pip")
    os.environ["UV_CACHE_DIR"] = str(CACHE / "uv")
    os.environ["UV_PYTHON_INSTALL_DIR"] = str(CACHE / "python")
    os.environ["UV_PYTHON_BIN_DIR"] = str(CACHE / "python" / "bin")
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "UV_PROJECT_ENVIRONMENT"):
        os.environ.pop(name, None)


def bootstrap(wanted):
    """Bring about everything in ``wanted``."""
    CACHE.mkdir(exist_ok=True)
    keep_inside()
    with alone():
        lacking = missing(wanted)
        optional = {}
        if "maven?" in wanted and "Maven" in lacking and os.geteuid() != 0:
            optional["Maven"] = lacking.pop("Maven")
        install(lacking, optional=False)
        install(optional, optional=True)
        if "airflow" in wanted:
            make_environment(".venv", "requirements.lock", editable=True)
        if "payload" in wanted:
            make_environment(".venv-payload", "requirements-payload.lock", editable=False)
        if "uv" in wanted:
            fetch_uv()


def main(arguments):
    """Exit status 0, or 1 after one line on stderr."""
    known = {"airflow", "payload", "java", "openmp", "maven", "maven?", "machines?", "uv"}
    wanted = set(arguments) or {"airflow", "java"}
    if wanted - known:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        bootstrap(wanted)
    except BootstrapError as error:
        print(f"stepwell: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stepwell: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
