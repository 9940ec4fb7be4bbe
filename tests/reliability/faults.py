"""The rows of the matrix: what is done to a step, and what has to come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Act = Literal[
    "", "kill_worker", "kill_triggerer", "failed", "success", "clear", "cut", "cut_for_good", "restart", "fill"
]


@dataclass(frozen=True)
class Fault:
    """One row.

    :param title: for people.
    :param deferrable: whether the step waits in the triggerer.
    :param dies: the moment at which the worker is killed by itself: see ``dags/matrix.py``.
    :param act: what is done once the job runs, and the step waits as it should.
    :param state: what the task must come to; several: any of these.
    :param starts: how many jobs there must have been.
    :param lets_go: the job is let end by itself after the act.
    :param needs: what a column must be able to do: a method's name.
    :param lossless: no line of the log may be lost.
    :param says: what the task's log must say.
    """

    name: str
    title: str
    deferrable: bool = True
    retries: int = 0
    dies: str = ""
    act: Act = ""
    state: tuple[str, ...] = ("success",)
    starts: int = 1
    lets_go: bool = True
    exit_code: int = 0
    execution_timeout: float = 0.0
    dagrun_timeout: float = 0.0
    needs: str = ""
    lossless: bool = True
    says: str = ""

    def plan(self) -> dict[str, Any]:
        """What the DAG file has to know."""
        names = ("name", "deferrable", "retries", "exit_code", "execution_timeout", "dagrun_timeout")
        return {name: getattr(self, name) for name in names}


def _worker(name: str, title: str, **more: Any) -> Fault:
    return Fault(name, f"worker SIGKILL {title}", retries=1, **more)


STOPPED: dict[str, Any] = {"lets_go": False}

FAULTS = (
    Fault("none", "no fault"),
    _worker("worker_before_submit", "before submit", dies="before_submit"),
    _worker("worker_before_record", "between submit and record", dies="before_record"),
    _worker("worker_polling", "while polling", deferrable=False, act="kill_worker"),
    _worker("worker_job_ended", "after the job finished", dies="job_ended"),
    _worker("worker_collecting", "while collecting", dies="collecting"),
    Fault("triggerer", "triggerer SIGKILL", act="kill_triggerer"),
    Fault("failed_running", "marked failed while running", deferrable=False, act="failed", state=("failed",),
          **STOPPED),
    Fault("failed_deferred", "marked failed while deferred", act="failed", state=("failed",), **STOPPED),
    Fault("success_running", "marked success while running", deferrable=False, act="success", **STOPPED),
    Fault("success_deferred", "marked success while deferred", act="success", **STOPPED),
    Fault("clear_running", "cleared while running", deferrable=False, act="clear", starts=2),
    Fault("clear_deferred", "cleared while deferred", act="clear", starts=2),
    Fault("timeout_running", "execution_timeout while running", deferrable=False, execution_timeout=60,
          state=("failed",), **STOPPED),
    Fault("timeout_deferred", "execution_timeout while deferred", execution_timeout=60, state=("failed",), **STOPPED),
    Fault("dagrun_timeout_running", "dagrun_timeout while running", deferrable=False, dagrun_timeout=75,
          state=("skipped", "failed"), **STOPPED),
    Fault("dagrun_timeout_deferred", "dagrun_timeout while deferred", dagrun_timeout=75,
          state=("skipped", "failed"), **STOPPED),
    Fault("terminal", "terminal failure of the step", exit_code=3, state=("failed",)),
    Fault("cut", "network cut for 20 s", act="cut", needs="cut"),
    Fault("cut_for_good", "network cut for good", act="cut_for_good", needs="cut", state=("failed",), **STOPPED,
          lossless=False),
    # A batch may outlive the machine that it was submitted from; then it is let go.
    Fault("restart", "target restarted", act="restart", needs="restart", state=("failed", "success"), lossless=False),
    # It costs lines of the log, and whoever runs the step must be told; not the work, if the script can do it.
    Fault("full", "disk full on the target", act="fill", needs="fill", state=("failed", "success"), lossless=False,
          says="No space left"),
)  # fmt: skip
BY_NAME = {fault.name: fault for fault in FAULTS}
#: What `make test-slow` runs.
FEW = ("worker_before_record", "triggerer", "failed_deferred", "clear_deferred")
