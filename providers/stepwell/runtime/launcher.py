"""Runs one job on a target: ``python -I -S launcher.py <job directory>``.

The story, top to bottom: claim the job (one launcher has it, for ever), read and delete the secrets, wait for a slot if
the target has slots, run the phases one after another while relaying what they print, and write the one final status.
Whatever happens on the way, a final status is written; if even that is impossible, silence means failure.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # run as a file: become the module, so that its compiled form is found the next time
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from stepwell.runtime.launcher import main as _main

    sys.exit(_main(sys.argv[1:]))

import fcntl
import signal
import time

from stepwell.runtime import memory, processes, protocol
from stepwell.runtime.child import Child
from stepwell.runtime.relay import Relay, variants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stepwell.runtime.mount_holder import HeldOutside
    from stepwell.runtime.mounts import Mounts

GRACE_SECONDS = 6.0  #: between SIGTERM and SIGKILL of a cancelled step, unless job.json has another "grace_seconds"
LEFTOVER_SECONDS = 2.0  #: the same for what a finished phase left running
LOOK_SECONDS = 1.0  #: how often to look for a cancel request and at the lease
HEARTBEAT_SECONDS = 10.0  #: how often the pid file is touched
SLOT_SECONDS = 0.1  #: how often to look for a free slot
RESERVE_BYTES = 65536  #: kept on disk so that a full disk still takes the final status


def main(arguments: list[str]) -> int:
    """Run the job of the directory ``arguments[0]``; return 0 whenever a final status was written."""
    if len(arguments) != 1 or not os.path.isdir(arguments[0]):
        sys.stderr.write(f"usage: launcher.py <job directory>, not {arguments!r}\n")
        return 2
    job = protocol.JobDirectory(os.path.abspath(arguments[0]))
    secrets = claim(job)
    if secrets is None:
        return 0
    launch = Launch(job)
    try:
        launch.run(secrets)
    except BaseException as error:  # the last line of defence: whatever it is, it must be told
        launch.outcome = (protocol.FAILED, f"the launcher failed: {type(error).__name__}: {error}")
        launch.stop_children(0.0)
    return 0 if launch.write_final() else 1


def claim(job: protocol.JobDirectory) -> dict[str, str] | None:
    """Make the job ours and return its secrets; None if another launcher has it, or it has ended.

    The lock holds a second launcher off until the secrets of the first have been read, so that it can delete its own.
    """
    with open(job.claim, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ours = not os.path.exists(job.final)
        if ours:
            try:
                protocol.create_json(job.pid, {**processes.identity(), "job": job.path})
            except FileExistsError:
                ours = False
        # Whoever found no launcher may have ended the job in the meantime.
        ours = ours and not os.path.exists(job.final)
        secrets: dict[str, str] = {}
        try:
            if ours:
                secrets = protocol.read_json(job.secrets)
            os.unlink(job.secrets)
        except FileNotFoundError:
            pass
    return secrets if ours else None


class Launch:
    """One run of one job."""

    def __init__(self, job: protocol.JobDirectory) -> None:
        self.job = job
        self.started = time.time()
        self.outcome = (protocol.SUCCEEDED, "")
        self.failed_phase: str | None = None
        self.exit_code: int | None = None
        self.signal: str | None = None
        self.phases: list[dict[str, Any]] = []
        self.last_lines: list[str] = []
        self.relay: Relay | None = None
        self.cancelled: str | None = None  # why, once it is
        self.mounts: Mounts | HeldOutside | None = None
        self.lost: str | None = None  # which mounted input, once one is
        self.lease_seconds = 86400.0
        self.grace_seconds = GRACE_SECONDS
        self._looked = self._beaten = 0.0
        self._kill_at: float | None = None  # when a step that does not stop is killed
        self._slot: int | None = None

    # -- the story ---------------------------------------------------------------------------------------------------

    def run(self, secrets: dict[str, str]) -> None:
        """Run the phases; the result is in :attr:`outcome`."""
        self._listen()
        self._reserve()
        document = protocol.read_json(self.job.document)
        self.lease_seconds = float(document.get("lease_seconds") or 86400)
        self.grace_seconds = float(document.get("grace_seconds") or GRACE_SECONDS)
        self.relay = Relay(
            self.job.step_log,
            {"stdout": self.job.driver_stdout, "stderr": self.job.driver_stderr},
            variants(secrets.values()),
            int(document.get("last_lines") or 20),
        )
        missing = [name for name in document.get("secret_names") or [] if name not in secrets]
        if missing:
            self.outcome = (protocol.FAILED, "secrets were not handed over: " + ", ".join(missing))
            return
        self._wait_for_slot(document.get("slots"))
        try:
            if self._mount(document):
                self._run_phases(document, secrets)
        finally:
            if self.mounts is not None:
                self.mounts.close()
        if self.cancelled is not None:
            self.outcome = (protocol.CANCELLED, self.cancelled)

    def _mount(self, document: dict[str, Any]) -> bool:
        """Mount the inputs that are to be mounted; return whether the phases can run."""
        if not any(port.get("mounts") for port in (document.get("inputs") or {}).values()):
            return True
        from stepwell.runtime import mounts

        items = mounts.wanted(document)
        opening: Mounts | HeldOutside = mounts.Mounts(self.job, items, self._relay().say)
        if os.path.exists(self.job.mounts_note):  # somebody has mounted them before we were started
            from stepwell.runtime.mount_holder import HeldOutside

            opening = HeldOutside(self.job, items, self._relay().say)
        try:
            opening.open(self._stops)
            mounts.link(self.job, items)
        except (mounts.MountError, OSError) as error:
            opening.close()
            self.outcome = (protocol.FAILED, str(error))
            self._relay().say(str(error))
            return False
        self.mounts = opening
        return True

    def _stops(self) -> bool:
        self._look()
        return self.cancelled is not None

    def _run_phases(self, document: dict[str, Any], secrets: dict[str, str]) -> None:
        variables = dict(os.environ, STEPWELL_JOB_DIR=self.job.path)
        variables.update({name: str(value) for name, value in (document.get("variables") or {}).items()})
        variables.update(secrets)
        for phase in document["phases"]:
            if self.cancelled is None and (self.outcome[0] == protocol.SUCCEEDED or phase.get("always")):
                self._run_phase(phase, variables)

    def _run_phase(self, phase: dict[str, Any], variables: dict[str, str]) -> None:
        relay = self._relay()
        events = protocol.EventWriter(self.job.events, "launcher")
        name = phase["name"]
        self._event(events, name=name, state="started")
        started, killed_before = time.monotonic(), memory.kills()
        for relative, text in (phase.get("files") or {}).items():
            protocol.write_bytes(self.job.below(relative), text.encode("utf-8"), 0o600)
        environment = dict(variables)
        environment.update({key: str(value) for key, value in (phase.get("variables") or {}).items()})
        status = self._run_child([str(a) for a in phase["argv"]], phase.get("cwd") or self.job.path, environment)
        relay.end()
        code, killed_by = (status >> 8, None) if not status & 0x7F else (128 + (status & 0x7F), status & 0x7F)
        self.phases.append({"name": name, "exit_code": code, "seconds": round(time.monotonic() - started, 3)})
        self._event(events, name=name, state="ended", exit_code=code)
        if self.outcome[0] != protocol.SUCCEEDED or self.cancelled is not None or (code == 0 and not self.lost):
            return
        if self.lost is None and self.mounts is not None:
            self.lost = self.mounts.check()
        self.failed_phase, self.exit_code, self.last_lines = name, code, relay.last_lines()
        self.signal = processes.signal_name(killed_by) if killed_by else None
        reason = f"the phase {name!r} ended with exit code {code}"
        if killed_by:
            reason = f"the phase {name!r} was killed by {self.signal}"
        if memory.kills() > killed_before:
            limit = memory.limit()
            reason += ": out of memory" + (f", the limit is {limit}" if limit else "")
        elif killed_by == signal.SIGKILL:
            reason += " (often the kernel, when memory runs out)"
        self.outcome = (protocol.FAILED, self.lost or reason)

    def write_final(self) -> bool:
        """Write the final status, on a full disk too; return whether it stands."""
        status, reason = self.outcome
        relay = self.relay
        if relay is not None:
            relay.end()
            if relay.problem:
                reason = (reason + "; " if reason else "") + relay.problem
        final = protocol.final_document(
            status, reason, phase=self.failed_phase, exit_code=self.exit_code, signal=self.signal,
            started=self.started, phases=self.phases,
            last_lines=self.last_lines or (relay.last_lines() if relay else []),
        )  # fmt: skip
        if status == protocol.SUCCEEDED:
            final["exit_code"] = 0
        _remove(self.job.below(".reserve"))
        _remove(self.job.queued)
        for attempt in range(3):
            try:
                os.makedirs(self.job.events, exist_ok=True)
                protocol.create_json(self.job.final, final)
                return True
            except FileExistsError:
                return True
            except OSError as error:
                # The disk is full to the last byte: the driver's copies say nothing that step.log does not.
                for path in (self.job.driver_stdout, self.job.driver_stderr):
                    try:
                        os.truncate(path, 0)
                    except OSError:
                        pass
                final["last_lines"] = final["last_lines"][-5:] if attempt == 0 else []
                sys.stderr.write(f"cannot write the final status: {error}\n")
        return False

    # -- a child and what it prints ----------------------------------------------------------------------------------

    def _run_child(self, argv: list[str], cwd: str, environment: dict[str, str]) -> int:
        """Run one process, relay what it prints, and stop it when the job is cancelled; return its wait status."""
        child, relay = Child(argv, cwd, environment, self._wakeup), self._relay()
        self._kill_at = None
        while not child.has_ended() or child.is_open():
            for stream, data in child.read(50 if self._kill_at or child.status is not None else 250):
                relay.feed(stream, data)
            relay.tick()
            self._look()
            if child.status is None:
                self._stop_if_over(child)
            elif child.seconds_since_end() > LEFTOVER_SECONDS * 2:
                break
            elif child.seconds_since_end() > 0.2:
                # What the step left behind holds its output open. It ends with the step.
                self.stop_children(LEFTOVER_SECONDS)
        child.close()
        self.stop_children(LEFTOVER_SECONDS)
        return child.status or 0

    def _stop_if_over(self, child: Child) -> None:
        reason = self.cancelled or self.lost
        if reason is None:
            return
        now = time.monotonic()
        if self._kill_at is None:
            self._relay().say(f"stopping the step: {reason}")
            processes.signal_all([child.pid, *self._members()], signal.SIGTERM)
            self._kill_at = now + self.grace_seconds
        elif now > self._kill_at:
            self._relay().say(f"the step did not stop within {self.grace_seconds:g} s and is killed")
            if self.mounts is not None:
                self.mounts.abort()  # who waits for a store that hangs cannot be killed
            processes.signal_all([child.pid, *self._members()], signal.SIGKILL)
            self._kill_at = now + 1.0

    def _members(self) -> list[int]:
        found = processes.members(os.getpid(), self.job.path)
        held = self.mounts.pids() if self.mounts is not None else []
        return [pid for pid in found if pid not in held]

    def stop_children(self, grace: float) -> list[int]:
        """End everything of the job but ourselves, first with SIGTERM; return the pids there were."""
        left = self._members()
        if left and self.relay is not None and grace:
            self.relay.say(f"ending {len(left)} process(es) that the step left running")
        processes.signal_all(left, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while self._members():
            if time.monotonic() >= deadline:
                processes.signal_all(self._members(), signal.SIGKILL)
            time.sleep(0.02)
            if time.monotonic() > deadline + 5:  # stuck in the kernel: nothing more can be done
                break
        return left

    # -- what may end the job from outside ---------------------------------------------------------------------------

    def _listen(self) -> None:
        self._wakeup, writer = os.pipe()
        for descriptor in (self._wakeup, writer):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self.cancelled is None:
            self.cancelled = self._request() or f"the launcher received {processes.signal_name(number)}"

    def _request(self) -> str | None:
        try:
            return str(protocol.read_json(self.job.cancel).get("reason") or "cancelled")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError):
            return "cancelled"

    def _look(self) -> None:
        """Look for a cancel request and at the lease, and show that we live; at most once a second."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS or self.cancelled is not None:
            return
        self._looked = now
        self.cancelled = self._request()
        if self.cancelled is None and os.path.exists(self.job.final):
            self.cancelled = "somebody else has written the final status of this job"
        if self.cancelled is None:
            try:
                age = time.time() - os.stat(self.job.lease).st_mtime
            except OSError:
                age = time.time() - self.started
            if age > self.lease_seconds:
                self.cancelled = (
                    f"nobody has asked about the job for {age:.0f} s (its lease is {self.lease_seconds:g} s)"
                )
        if self.lost is None and self.mounts is not None:
            self.lost = self.mounts.look()
        if now - self._beaten >= HEARTBEAT_SECONDS:
            self._beaten = now
            try:
                os.utime(self.job.pid)
            except FileNotFoundError:
                self.cancelled = "the job directory has been removed"
            except OSError:
                pass

    # -- slots, disk, events -----------------------------------------------------------------------------------------

    def _wait_for_slot(self, slots: dict[str, Any] | None) -> None:
        """Take one of the target's slots. The kernel gives it back when we end, however we end."""
        if not slots:
            return
        from stepwell.runtime import slots as places

        directory, told = slots["directory"], 0
        place = places.Place(directory)
        while self.cancelled is None:
            count = places.count_of(directory, int(slots["count"]))
            self._slot = place.take(count)
            if self._slot is not None:
                if told:
                    _remove(self.job.queued)
                    self._relay().say("a node is free: starting")
                return
            if count != told:
                told = count
                reason = f"all {count} node(s) of the compute target are busy"
                protocol.write_bytes(self.job.queued, reason.encode())
                self._relay().say("waiting: " + reason)
            time.sleep(SLOT_SECONDS)
            self._look()
        place.leave()

    def _reserve(self) -> None:
        try:
            with open(self.job.below(".reserve"), "wb") as file:
                file.write(os.urandom(RESERVE_BYTES))  # random: a filesystem that compresses would reserve nothing
        except OSError:
            pass

    def _event(self, events: protocol.EventWriter, **fields: Any) -> None:
        try:
            events.write("phase", **fields)
        except OSError:  # a full disk; the final status tells the phases again
            pass

    def _relay(self) -> Relay:
        if self.relay is None:
            raise RuntimeError("no relay yet")
        return self.relay


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
