"""Works one job off within a batch: ``main([URI of the job directory], folder)``.

The story, top to bottom: claim the job on the storage, bring its directory to this machine's disk, start the launcher
as on every target, bring up what it writes and pass down what is asked of it, and at the end bring up outputs and the
final status. Whatever happens after the claim, a final status is written; if even that is impossible, silence means
failure.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from stepwell.payload.batch import here
from stepwell.payload.batch.mirror import Mirror
from stepwell.payload.batch.places import Place, place_of
from stepwell.runtime import processes, protocol

TICK_SECONDS = 0.2
#: How often to look for a cancel request and the like, and to show that we live, in seconds.
LOOK_SECONDS, HEARTBEAT_SECONDS = 1.0, 10.0
#: A driver that has not shown that it lives for so long is dead, in seconds.
SILENT_SECONDS = 60.0
#: How long to try to bring up the end of a job to a storage that does not answer, in seconds.
PATIENCE = 120.0
#: How long a job that is over waits for the Spark context that was being made beside it, in seconds.
HOLDER_SECONDS = 30.0


def main(arguments: list[str], folder: str) -> int:
    """Work off the job in the directory whose URI is given; return 0 if it succeeded.

    :param folder: a new one of this process's own, with the payload in it; it is removed in the end.
    """
    if len(arguments) == 2 and arguments[0] == "--probe":
        try:
            return here.probe(arguments[1])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if len(arguments) != 1 or urlsplit(arguments[0]).scheme == "":
        print(f"usage: <URI of a job directory>, not {arguments!r}", file=sys.stderr)
        return 2
    root, _, job_id = arguments[0].rstrip("/").rpartition("/jobs/")
    gateway = here.gateway()
    driver = Driver(place_of(root, gateway), job_id, arguments[0], gateway, folder)
    if not driver.claim():
        print(f"The job {job_id} is another driver's, or has ended")
        driver.stand_by()
        return 0
    return driver.work()


class Driver:
    """One job, and where it is.

    :param place: the storage.
    :param uri: of the job directory.
    :param folder: this machine's, for all of the job; the payload is in it.
    """

    def __init__(self, place: Place, job_id: str, uri: str, gateway: Any, folder: str) -> None:
        self.place = place
        self.job_id = job_id
        self.top = "jobs/" + job_id
        self.uri = uri
        self.gateway = gateway
        self.folder = folder
        self.job = protocol.JobDirectory(os.path.join(self.folder, job_id))
        self.identity: dict[str, Any] = {**processes.identity(), **here.facts(), "folder": self.folder}
        self.parent = os.getppid()
        self.started = time.time()
        self.asked: str | None = None  # why the launcher was asked to end
        self.over = False  # the job has been ended by somebody else, who may have removed it
        self._looked = self._signalled = 0.0
        self._beaten = time.monotonic()  # the claim itself
        self._lease: float | None = None
        self.lease_seconds = 86400.0

    # -- the story ---------------------------------------------------------------------------------------------------

    def claim(self) -> bool:
        """Make the job ours; nobody else's from now on."""
        if not self.place.create(self.top + "/pid", protocol.to_bytes(self.identity)):
            return False
        # Whoever found no driver may have ended the job in the meantime.
        return "final.json" not in self.place.list(self.top + "/events")

    def stand_by(self) -> None:
        """Wait for the end of a job that another driver has: the service may know this batch only as the job's."""
        shutil.rmtree(self.folder, ignore_errors=True)
        beaten, heard = None, time.monotonic()
        while "final.json" not in self.place.list(self.top + "/events"):
            there = self.place.list(self.top)
            if there.get("pid") != beaten:
                beaten, heard = there.get("pid"), time.monotonic()
            if not there or time.monotonic() - heard > SILENT_SECONDS:
                return
            time.sleep(LOOK_SECONDS)

    def work(self) -> int:
        """Do all the rest."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        keeper = holder = None
        try:
            document = self._bring_here()
            mirror = Mirror(self.job, self.place, self.top)
            self._look()
            if self.asked is None:
                holder = here.settle(document, self.gateway)
                keeper = self._start()
                self._watch(keeper, mirror)
            final = self._final()
            refused = [] if self.over else self._persistently(mirror.finish)
            lost = [name for name in refused if name.startswith("outputs/")]
            if lost and final["status"] == protocol.SUCCEEDED:
                reason = "the storage cannot hold files with such names: " + ", ".join(map(repr, lost[:5]))
                final = protocol.final_document(protocol.FAILED, reason, started=self.started)
        except BaseException as error:  # the last line of defence: whatever it is, it must be told
            reason = f"the batch's driver failed: {type(error).__name__}: {str(error)[:2000]}"
            final = protocol.final_document(protocol.FAILED, reason, started=self.started)
        try:
            self._persistently(lambda: self._end(final))
        finally:
            if keeper is not None and keeper.stdin is not None:
                keeper.stdin.close()
                keeper.wait()
            else:
                shutil.rmtree(self.folder, ignore_errors=True)
        print(f"The job {self.job_id}: {final['status']} {final.get('reason') or ''}")
        if holder is not None and self.asked is None:
            holder.join(HOLDER_SECONDS)  # ended in the midst of it, YARN would call the application failed
        return 0 if final["status"] == protocol.SUCCEEDED else 1

    def _bring_here(self) -> dict[str, Any]:
        """Make the job directory on this machine's disk; return the document as it is here."""
        os.makedirs(self.job.path, 0o700)
        for part in (self.job.logs, self.job.inputs, self.job.outputs, self.job.gates, self.job.events):
            os.makedirs(part)
        with ThreadPoolExecutor(4) as pool:  # each takes the storage its time, however little there is
            reading = pool.submit(self.place.read, self.top + "/job.json")
            bringing: list[Any] = [
                pool.submit(self._bring_code),
                pool.submit(self.place.get, self.top + "/inputs", self.job.inputs),
                pool.submit(self.place.get, self.top + "/resume", self.job.resume),
            ]
        for one in bringing:
            one.result()
        data = reading.result()
        if data is None:
            raise FileNotFoundError("there is no job.json in " + self.uri)
        document: dict[str, Any] = json.loads(data.decode("utf-8"))
        for name, output in (document.get("outputs") or {}).items():
            if output.get("mode") == "upload":
                os.makedirs(os.path.join(self.job.outputs, name))
        runner = document.get("runner") or {}
        payload = os.path.join(self.folder, "payload")
        places = {urlsplit(self.uri).path: self.job.path, str(runner.get("payload")): payload}
        if runner.get("environment"):
            places[runner["environment"]] = here.environment(self.place, runner["environment"], self.folder)
        self.lease_seconds = float(document.get("lease_seconds") or 86400)
        document = here.shared(here.localised(document, places), self.job.path, self.uri)
        document = here.settled(document, here.properties(self.gateway))
        protocol.write_json(self.job.document, document, 0o600)
        protocol.write_bytes(self.job.lease, b"")
        return document

    def _bring_code(self) -> None:
        from stepwell.runtime.archive import extract

        packed = os.path.join(self.folder, "packed")
        os.makedirs(packed)
        self.place.get(self.top + "/code", packed)
        archive = os.path.join(packed, ".stepwell.zip")
        if os.path.exists(archive):
            extract(archive, self.job.code)
            os.unlink(archive)
        shutil.copytree(packed, self.job.code, dirs_exist_ok=True)  # inputs that belong there
        shutil.rmtree(packed)

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the launcher, and the keeper that ends it when we are killed."""
        package = os.path.join(self.folder, "payload", "stepwell")
        launcher = [sys.executable, "-I", "-S", os.path.join(package, "runtime", "launcher.py"), self.job.path]
        keeper = [sys.executable, "-I", "-S", os.path.join(package, "payload", "batch", "keeper.py")]
        return subprocess.Popen(
            [*keeper, self.folder, self.job.pid, *launcher],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def _watch(self, keeper: subprocess.Popen[bytes], mirror: Mirror) -> None:
        """Bring up what is new and pass down what is asked, until the launcher has ended."""
        complained = False
        output: Any = keeper.stdout
        while True:
            readable, _, _ = select.select([output], [], [], TICK_SECONDS)
            if readable:
                return
            if os.getppid() != self.parent:
                self._ask("the batch was killed")
            try:
                self._look()
                if not self.over:
                    mirror.tick()
                complained = False
            except Exception as error:
                if not complained:  # it may come back; the log waits on the disk
                    print(f"The storage does not answer: {str(error)[:500]}", file=sys.stderr)
                complained = True
            if self.asked is not None:
                self._signal_launcher()

    def _final(self) -> dict[str, Any]:
        final = protocol.read_final(self.job.events)
        if final is not None:
            if final["status"] == protocol.CANCELLED and self.asked is not None:
                final["reason"] = self.asked
            return final
        self._sweep()
        reason = self.asked or "the job ended without a final status (its launcher was killed)"
        return protocol.final_document(
            protocol.CANCELLED if self.asked else protocol.FAILED, reason, started=self.started
        )

    def _sweep(self) -> None:
        try:
            processes.kill_session_of(protocol.read_json(self.job.pid))
        except (OSError, ValueError):
            pass

    def _end(self, final: dict[str, Any]) -> None:
        """Write the final status, unless somebody else has, and mark the job as ended."""
        if not self.place.list(self.top):
            return  # it has been forgotten
        self.place.make(self.top + "/events")
        self.place.create(self.top + "/events/final.json", protocol.to_bytes(final))
        self.place.make("ended")
        self.place.write("ended/" + self.job_id, b"")

    def _persistently(self, function: Any) -> Any:
        """Call *function* until the storage answers, at most two minutes."""
        deadline = time.monotonic() + PATIENCE
        pause = 0.5
        while True:
            try:
                return function()
            except Exception as error:
                if time.monotonic() > deadline or os.getppid() != self.parent:
                    raise
                print(f"The storage does not answer: {str(error)[:500]}", file=sys.stderr)
            time.sleep(pause)
            pause = min(pause * 2, 10.0)

    # -- what is asked from outside ----------------------------------------------------------------------------------

    def _on_signal(self, number: int, _frame: object) -> None:
        self._ask(f"the batch received {processes.signal_name(number)}")

    def _ask(self, reason: str) -> None:
        if self.asked is None:
            self.asked = reason
            if os.path.isdir(self.job.path):  # the launcher finds the reason there
                protocol.write_json(self.job.cancel, {"reason": reason})

    def _signal_launcher(self) -> None:
        """Ask the launcher to end; again now and then, for it may only be starting."""
        if time.monotonic() - self._signalled < 2.0:
            return
        try:
            process = protocol.read_json(self.job.pid)
        except (OSError, ValueError):
            return
        self._signalled = time.monotonic()
        if processes.is_alive(process):
            processes.signal_all([int(process["pid"])], signal.SIGTERM)

    def _look(self) -> None:
        """Look for a cancel request, at the lease and for a final status of somebody else's; show that we live."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        there = self.place.list(self.top)
        if not there:
            if "jobs" not in self.place.list(""):
                raise OSError("the folder is gone")  # as of a disk that is not mounted for a while
            self.over = True
            self._ask("the job directory has been removed")
        elif "final.json" in self.place.list(self.top + "/events"):
            self.over = True
            self._ask("somebody else has written the final status of this job")
        elif "cancel" in there:
            self._ask(self._request())
        lease = there.get("lease")
        if self._lease is None and lease is not None and there["pid"] - lease > self.lease_seconds:
            self._ask(f"nobody has asked about the job for {there['pid'] - lease:.0f} s, and it had not begun")
        if lease is not None and lease != self._lease and os.path.isdir(self.job.path):
            self._lease = lease
            with open(self.job.lease, "ab"):
                os.utime(self.job.lease)
        if there and now - self._beaten >= HEARTBEAT_SECONDS:
            self._beaten = now
            self.place.write(self.top + "/pid", protocol.to_bytes(self.identity))

    def _request(self) -> str:
        try:
            found = json.loads((self.place.read(self.top + "/cancel") or b"{}").decode("utf-8"))
            return str(found.get("reason") or "cancelled")
        except (ValueError, AttributeError):
            return "cancelled"
