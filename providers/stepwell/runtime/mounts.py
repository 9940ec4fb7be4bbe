"""Inputs by mount, on the target: mounted before the step starts, watched while it runs, let go of afterwards.

What is mounted is the folder of a store that holds the input's files, out of the way below ``mounts/``. The input's own
folder holds links to the files that its version has, and to no others. So a mount shows what a download would copy.

The launcher does this itself. Where it may not, for it runs in a container, ``mount_holder.py`` does it on the host.
"""

from __future__ import annotations

import os
import subprocess
import time

from stepwell.runtime import mounted, processes, protocol
from stepwell.runtime.mount_probe import Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Say = Callable[[str], None]
    #: Called while waiting; true = do not wait any longer.
    Stop = Callable[[], bool]

READY_SECONDS = 30.0  #: a mount must answer after this long
INTERVAL_SECONDS = 2.0  #: how often a store is asked whether it is still there
DEADLINE_SECONDS = 6.0  #: how long it may take to answer
FAILURES = 2  #: after this many answers in a row that did not come it is lost: after 20 s at the latest
AS_VOLUME = "a read-only volume of the container"
INSTEAD = "Take the input by .as_download() instead"
#: READY = mounted; FAILED = could not be; LOST = was, and does not answer any more; CLOSED = not mounted any more.
READY, FAILED, LOST, CLOSED = "ready", "failed", "lost", "closed"


class MountError(Exception):
    """An input cannot be mounted; the message says which, why, and what to do."""


class Mount:
    """One store's folder, mounted for one input.

    :param item: of ``mounts`` of an input in ``job.json``: ``input``, ``at`` (where its links go, below the job
        directory), ``files`` (their names, below the folder), ``probe`` (some of them, each with its size), ``source``
        (``kind``, ``folder``, and what else the kind needs) and ``uri``, for people.
    :param place: where it is mounted; a folder of our own.
    """

    def __init__(self, item: dict[str, Any], place: str) -> None:
        self.item = item
        self.name = str(item["input"])
        self.uri = str(item["uri"])
        self.source: dict[str, Any] = dict(item["source"])
        self.place = place
        self.how = ""
        self.daemon: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self.next_probe = 0.0
        self.probe: Probe | None = None
        self.killed: list[Probe] = []  # that hung, and may still hang in the kernel
        self._asked = 0

    @property
    def can_be_lost(self) -> bool:
        """Whether there is a store on the other side that may stop to answer."""
        return str(self.source["kind"]) != "local"

    def ask(self, deadline: float = DEADLINE_SECONDS) -> Probe:
        """Start to ask for a byte of one of its files, of another one each time."""
        files = self.item.get("probe") or []
        name, size = files[self._asked % len(files)] if files else ("", None)
        self._asked += 1
        return Probe(os.path.join(self.place, name), size, deadline)

    def error(self, what: str) -> MountError:
        """Return the error that *what* is wrong with it."""
        return MountError(f"the input {self.name!r} cannot be mounted ({self.uri}): {what.rstrip('. ')}. {INSTEAD}")

    def lost(self, what: str) -> str:
        """Return in words that it does not answer any more."""
        return f"the input {self.name!r} was lost: {self.uri} {what}"


class Mounts:
    """All mounts of a job, held by this process.

    :param job: its directory.
    :param items: see :func:`wanted`.
    :param say: takes lines for the step's log.
    :param shared: they are for a container, which gets the local ones as volumes.
    :param reader: the user that reads them, if it is another one.
    """

    def __init__(
        self,
        job: protocol.JobDirectory,
        items: list[dict[str, Any]],
        say: Say,
        *,
        shared: bool = False,
        reader: int | None = None,
    ) -> None:
        self.job = job
        self.say = say
        self.shared = shared
        self.reader = reader
        self.state = CLOSED
        self.mounts = [Mount(item, place_of(job, number)) for number, item in enumerate(items)]

    def open(self, stop: Stop) -> None:
        """Mount them.

        :raises MountError: one cannot be; then none is.
        """
        try:
            os.makedirs(self.job.mounts, 0o755, exist_ok=True)
            for mount in self.mounts:
                if stop():
                    break
                began = time.monotonic()
                self._open(mount, stop)
                took = time.monotonic() - began
                self.say(in_words(mount.name, mount.uri, mount.how) + f", in {took:.2f} s")
            self._note(READY)
        except BaseException as error:
            self._note(FAILED, str(error))
            self.close()
            raise

    def _open(self, mount: Mount, stop: Stop) -> None:
        if mounted.release(mount.place):
            raise mount.error(f"something else is mounted at {mount.place}, and cannot be unmounted from here")
        if os.path.islink(mount.place):
            os.unlink(mount.place)
        os.makedirs(mount.place, exist_ok=True)
        if mount.source["kind"] == "local" and self.shared:
            mount.how = AS_VOLUME  # it is made with the container
            return
        if mount.source["kind"] == "local":
            _open_local(mount)
        elif mount.source["kind"] == "hdfs":
            self._open_hdfs(mount, stop)
        else:
            raise mount.error(f"a store of the kind {mount.source['kind']!r} is not known here")
        first = mount.ask(READY_SECONDS)
        answer = first.answer()
        while answer is None and not stop():
            time.sleep(0.005)
            answer = first.answer()
        if not first.ended and not first.end():
            mount.killed.append(first)
        if answer:
            raise mount.error(answer)

    def _open_hdfs(self, mount: Mount, stop: Stop) -> None:
        """Start rclone, which speaks to the NameNode by RPC."""
        program = _which("rclone")
        if program is None:
            raise mount.error("rclone, which mounts HDFS, is not installed here (Debian: apt-get install rclone fuse3)")
        if _which("fusermount3") is None and _which("fusermount") is None:
            raise mount.error("fusermount3 is not installed here (Debian: apt-get install fuse3)")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            why = "may not be opened by this user" if os.path.exists("/dev/fuse") else "does not exist"
            raise mount.error(f"FUSE is not allowed here: /dev/fuse {why}")
        source = mount.source
        argv = [
            program, "mount", f":hdfs:{source['folder']}", mount.place, "--read-only", "--poll-interval", "0",
            "--dir-cache-time", "24h", "--attr-timeout", "1h", "--low-level-retries", "3", "--log-level", "NOTICE",
        ]  # fmt: skip
        if self.reader not in (None, os.geteuid()):
            argv.append("--allow-other")  # who is not root needs user_allow_other in /etc/fuse.conf for this
        environment = {
            "PATH": _path(), "HOME": self.job.mounts, "RCLONE_CONFIG": os.devnull, "RCLONE_HDFS_ENCODING": "None",
            "RCLONE_HDFS_NAMENODE": source["namenode"], "RCLONE_HDFS_USERNAME": source.get("user") or _hadoop_user(),
        }  # fmt: skip
        mount.how = "rclone over FUSE, read-only"
        self._start(mount, argv, environment, stop)

    def _start(self, mount: Mount, argv: list[str], environment: dict[str, str], stop: Stop) -> None:
        """Start a FUSE daemon and wait until the kernel knows its mount."""
        os.makedirs(self.job.logs, exist_ok=True)
        path = self._log_of(mount)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            mount.daemon = subprocess.Popen(
                argv, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_SECONDS
        while not mounted.below(mount.place):
            code = mount.daemon.poll()
            if code is not None or time.monotonic() > deadline:
                why = f"ended with exit code {code}" if code is not None else f"is not ready after {READY_SECONDS:g} s"
                raise mount.error(f"{os.path.basename(argv[0])} {why}: {_tail(path) or 'it said nothing'}")
            if stop():
                return
            time.sleep(0.01)

    def look(self) -> str | None:
        """Look whether all are still there, without ever waiting; call it about once a second.

        :returns: which input was lost, in words. Then its readers have been let go, with an error.
        """
        for mount in self.mounts:
            reason = self._look(mount) if mount.can_be_lost else None
            if reason is not None:
                self.abort()
                self._note(LOST, reason)
                return reason
        return None

    def _look(self, mount: Mount) -> str | None:
        if mount.daemon is None or mount.daemon.poll() is not None:
            return mount.lost("(the process that held its mount has ended)")
        now = time.monotonic()
        if mount.probe is None:
            if now >= mount.next_probe:
                mount.probe = mount.ask()
            return None
        answer = mount.probe.answer()
        if answer is None:
            return None
        if not mount.probe.ended and not mount.probe.end():
            mount.killed.append(mount.probe)
        mount.probe = None
        mount.killed = [probe for probe in mount.killed if not probe.end()]
        mount.failures = mount.failures + 1 if answer else 0
        mount.next_probe = now + (1.0 if answer else INTERVAL_SECONDS)
        return mount.lost(answer) if mount.failures >= FAILURES else None

    def check(self) -> str | None:
        """Ask all of them now, and wait for the answers: a step has failed, and this may be why.

        An answer may come from what the kernel or a daemon still has in memory. So what a daemon has said counts, too.
        """
        for mount in (m for m in self.mounts if m.can_be_lost):
            reason = self._check(mount) or self._said(mount)
            if reason is not None:
                return reason
        return None

    def _said(self, mount: Mount) -> str | None:
        try:
            errors = [line for line in _tail(self._log_of(mount)).splitlines() if " ERROR " in line]
        except OSError:
            return None
        return mount.lost("gave errors: " + errors[-1].partition(" ERROR ")[2].strip(" :")[:300]) if errors else None

    def _check(self, mount: Mount) -> str | None:
        probe = mount.ask()
        answer = probe.answer()
        while answer is None and mount.daemon is not None and mount.daemon.poll() is None:
            time.sleep(0.01)
            answer = probe.answer()
        if not probe.ended and not probe.end():
            mount.killed.append(probe)
        if answer or mount.daemon is None or mount.daemon.poll() is not None:
            return mount.lost(answer or "(the process that held its mount has ended)")
        return None

    def abort(self) -> None:
        """Let all who read go, at once and with an error: those that hang cannot even be killed before."""
        for mount in self.mounts:
            if mount.daemon is not None and mount.daemon.poll() is None:
                mount.daemon.kill()

    def close(self) -> None:
        """Unmount all; what is still read is cut off."""
        mounted.release(self.job.mounts)
        for mount in self.mounts:
            if mount.daemon is not None and mount.daemon.poll() is None:
                mount.daemon.terminate()
        for mount in self.mounts:
            if mount.daemon is not None:
                try:
                    mount.daemon.wait(2.0)
                except subprocess.TimeoutExpired:
                    mount.daemon.kill()
                    mount.daemon.wait()
            for probe in [*mount.killed, *([mount.probe] if mount.probe else [])]:
                probe.end()
            _drop_if_empty(self._log_of(mount))
        mounted.release(self.job.mounts)
        if self.state == READY:
            self._note(CLOSED)

    def pids(self) -> list[int]:
        """Return the processes that hold and watch the mounts: they belong to the job, and not to its step."""
        found = [m.daemon.pid for m in self.mounts if m.daemon is not None]
        return found + [p.pid for m in self.mounts for p in [*m.killed, *([m.probe] if m.probe else [])]]

    def _log_of(self, mount: Mount) -> str:
        return os.path.join(self.job.logs, f"mount-{os.path.basename(mount.place)}.log")

    def _note(self, state: str, reason: str = "") -> None:
        """Write down in the job directory what is mounted, and by whom."""
        self.state = state
        held = [
            {"input": m.name, "uri": m.uri, "place": m.place, "how": m.how, "pid": m.daemon and m.daemon.pid}
            for m in self.mounts
        ]
        note = {"state": state, "reason": reason, "holder": processes.identity(), "mounts": held}
        try:
            protocol.write_json(self.job.mounts_note, note)  # a container's user must be able to read it
        except OSError:  # the disk is full, or the job directory is gone
            pass


def in_words(name: str, uri: str, how: str) -> str:
    """Return what the step's log says of a mount."""
    return f"input {name}: {uri} is mounted by {how}"


def wanted(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what ``job.json`` asks to be mounted, in the order by which places are counted."""
    ports = document.get("inputs") or {}
    return [item for name in sorted(ports) for item in ports[name].get("mounts") or ()]


def place_of(job: protocol.JobDirectory, number: int) -> str:
    """Return where the mount of that number is."""
    return os.path.join(job.mounts, str(number))


def link(job: protocol.JobDirectory, items: list[dict[str, Any]]) -> None:
    """Make the inputs' folders: a link for each file of the version, to where it is mounted."""
    for number, item in enumerate(items):
        place, made = place_of(job, number), set()
        for name in item["files"]:
            path = os.path.normpath(job.below(item["at"], name))
            if not path.startswith(job.path + os.sep):
                raise MountError(f"the file {name!r} of the input {item['input']!r} leads out of the job directory")
            folder = os.path.dirname(path)
            if folder not in made:
                os.makedirs(folder, exist_ok=True)
                made.add(folder)
            if os.path.lexists(path):  # a file of the snapshot, or a link of an earlier try
                os.unlink(path)
            os.symlink(os.path.join(place, name), path)


def _open_local(mount: Mount) -> None:
    """Bind the folder read-only if we may; else link to it."""
    folder = str(mount.source["folder"])
    if not os.path.isdir(folder):
        raise mount.error(f"there is no folder {folder} on this machine")
    try:
        mounted.bind(folder, mount.place)
        mount.how = "a read-only bind"
    except OSError as error:
        os.rmdir(mount.place)
        os.symlink(folder, mount.place)
        mount.how = f"a link (a read-only bind cannot be made here: {error.strerror})"


def _hadoop_user() -> str:
    if os.environ.get("HADOOP_USER_NAME"):
        return os.environ["HADOOP_USER_NAME"]
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _path() -> str:
    return os.environ.get("PATH") or os.defpath


def _which(program: str) -> str | None:
    import shutil

    return shutil.which(program, path=_path())


def _drop_if_empty(path: str) -> None:
    try:
        if os.path.getsize(path) == 0:
            os.unlink(path)
    except OSError:
        pass


def _tail(path: str) -> str:
    with open(path, "rb") as file:
        return file.read()[-600:].decode("utf-8", "replace").strip()
