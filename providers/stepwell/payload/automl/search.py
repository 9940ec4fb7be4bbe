"""The state of a search that its workers share: one count of iterations, one history, one decision when it is over."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepwell.payload.automl import scores
from stepwell.payload.automl.engines import BASELINES, model_of
from stepwell.payload.automl.limits import Limits, Progress, duration
from stepwell.payload.automl.trial import CANCELED, COMPLETED, ENSEMBLE, FAILED, Trial

#: A trial that does not end by itself is killed so long after its limit, in seconds.
GRACE = 2.0
#: A worker leaves a learner out after so many of its trials have ended the worker.
DEATHS = 2
#: A worker that dies so often without a finished trial in between is given up.
LIVES = 5
#: How many of the best parameters of a learner a worker that begins anew, or a resumed search, starts from.
STARTS = 3
Emit = Callable[..., None]


@dataclass
class _Worker:
    """What is known of a worker."""

    learners: list[str]
    trial: Trial | None = None
    begun: float = 0.0
    starts: int = 0
    deaths: dict[str, int] = field(default_factory=dict)
    lives: int = LIVES
    over: bool = False


class Search:
    """A search. Its methods may be called from any thread; what they print and write is in order.

    :param learners: of each worker.
    :param task: as ``AutoMLConfig`` names it.
    :param folder: where the history is kept.
    :param predictions: a folder for what trials predicted, which ensembles are made of.
    :param earlier: trials of a search that was interrupted; this one goes on behind them.
    :param seed: of the engine's draws.
    """

    def __init__(
        self,
        run_id: str,
        limits: Limits,
        learners: Sequence[Sequence[str]],
        task: str,
        folder: str,
        predictions: str,
        *,
        rows: int,
        earlier: Sequence[Trial] = (),
        seed: int = 1,
        emit: Emit | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.run_id = run_id
        self.limits = limits
        self._aside = predictions
        self.trials: list[Trial] = list(earlier)
        self.over: str | None = None
        self.predictions: dict[int, str] = {}
        self._workers = [_Worker(list(names)) for names in learners]
        self._dealt = [tuple(names) for names in learners]
        self.task = task
        self._rows = rows
        self._seed = seed
        self._emit = emit or (lambda kind, **fields: None)
        self._say = say
        self._lock = threading.RLock()
        self._next = max((t.iteration for t in earlier), default=-1) + 1
        self._begun = len(self.trials)
        self._counted_out, self._over_since = False, 0.0
        self._before = sum(t.seconds or 0 for t in earlier) / max(1, len(learners))
        self._start = time.monotonic()
        os.makedirs(folder, exist_ok=True)
        os.makedirs(predictions, exist_ok=True)
        self.best: Trial | None = None  # of the completed ones
        self._progress = Progress(limits.metric)
        for trial in self.trials:
            trial.id = f"{run_id}_{trial.iteration}"
            self._count(trial)
            self._tell(trial)
        self._history = os.path.join(folder, "trials.jsonl")
        with open(self._history, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(t.to_dict()) + "\n" for t in self.trials)

    # -- what workers ask ------------------------------------------------------------------------------------------

    def work(self, worker: int) -> dict[str, Any]:
        """Return what a worker is to do, once more if an earlier process of it has died."""
        with self._lock:
            known = self._workers[worker]
            known.starts += 1
            tried = {t.learner for t in self.trials if t.learner in BASELINES}  # once says all about these
            return {
                "generation": known.starts,
                "learners": [name for name in known.learners if name not in tried],
                "starts": self._starting_points(known.learners) if known.starts > 1 or self._before else {},
                "seed": (self._seed + worker * 1000 + known.starts - 1) % 2**31,
                "seconds": max(1.0, self.limits.seconds - self.spent),
                "trial_seconds": self.limits.trial_seconds,
            }

    def generation(self, worker: int) -> int:
        """Return which process of a worker is the one that counts: the newest."""
        return self._workers[worker].starts

    def begin(self, worker: int, learner: str, pipeline: str, parameters: Mapping[str, Any], rows: int) -> str | None:
        """Note that a trial begins; return why it must not, if the search is over."""
        with self._lock:
            self._look()
            if self.over is not None:
                return self.over
            if self._workers[worker].trial is not None:
                self._ended(worker, FAILED, "its worker was lost")
            known, number = self._workers[worker], self._next
            self._next += 1
            self._begun += 1
            known.begun = time.monotonic()
            known.trial = Trial(
                number, f"{self.run_id}_{number}", model_of(learner, self.task), pipeline, dict(parameters), learner,
                rows,
                started=time.time(), worker=worker,
            )  # fmt: skip
            self._tell(known.trial)
            return None

    def completed(
        self, worker: int, metrics: Mapping[str, float], parameters: Mapping[str, Any], predictions: Any = None
    ) -> None:
        """A worker's trial is over."""
        with self._lock:
            trial = self._workers[worker].trial
            if trial is None:
                return
            self._workers[worker].lives = LIVES
            self._workers[worker].deaths.pop(trial.learner, None)
            # One that has no value, as of a logarithm of what is negative, is left out: JSON has no NaN.
            trial.metrics = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
            trial.score, trial.parameters = trial.metrics.get(self.limits.metric), dict(parameters)
            if predictions is not None:
                path = os.path.join(self._aside, f"{trial.iteration}.npy")
                np.save(path, predictions, allow_pickle=False)
                self.predictions[trial.iteration] = path
            self._ended(worker, COMPLETED)

    def failed(self, worker: int, reason: str, status: str = FAILED) -> None:
        """A worker's trial has failed; the search goes on."""
        with self._lock:
            if self._workers[worker].trial is not None:
                self._ended(worker, status, reason)

    def wanted(self, worker: int) -> str | None:
        """Return why the worker's process must be killed now, if it must."""
        with self._lock:
            self._look()
            known, limit, now = self._workers[worker], self.limits.trial_seconds, time.monotonic()
            if known.trial is not None and limit is not None and now - known.begun > limit + GRACE:
                return f"iteration_timeout_minutes: it has taken longer than {duration(limit)}"
            if self.over is None:
                return None
            # The last ones of so many iterations may end in peace; whatever else ends a search ends its trials.
            if known.trial is not None and self._counted_out and self.spent < self.limits.seconds + GRACE:
                return None
            return self.over if now - self._over_since > GRACE else None

    def died(self, worker: int, reason: str) -> bool:
        """A worker's process has ended by itself or was killed; return whether it shall begin anew."""
        with self._lock:
            known = self._workers[worker]
            if known.over:
                return False
            trial = known.trial
            if trial is not None:
                # The last trials go on when all iterations have begun: what ends them then is not the search's end.
                self._ended(worker, CANCELED if reason == self.over else FAILED, reason)
                known.deaths[trial.learner] = known.deaths.get(trial.learner, 0) + 1
                deadly = known.deaths[trial.learner] >= DEATHS and len(known.learners) > 1
                if deadly and trial.learner in known.learners and self.over is None:
                    known.learners.remove(trial.learner)
                    self._say(f"{trial.model} has ended worker {worker} {DEATHS} times: left out there")
            elif self.over is None:
                self._say(f"worker {worker}: {reason}")
            known.lives -= 1
            again = self.over is None and known.lives > 0 and bool(known.learners)
            if not again:
                self.finished(worker)
            return again

    def lost(self, worker: int) -> None:
        """Nobody watches over a worker any more: its executor may be gone, and another one take its place."""
        with self._lock:
            if not self._workers[worker].over and (self.over is None or self._counted_out):
                self.died(worker, "its worker was lost, with all that watched over it")

    def unable(self, worker: int, reason: str) -> None:
        """A worker cannot even begin: its machine lacks something."""
        with self._lock:
            self._say(f"worker {worker} cannot work: {reason}")
            self.finished(worker, f"no worker can work: {reason}")

    def finished(self, worker: int, reason: str = "nothing is left to try") -> None:
        """A worker has nothing left to do."""
        with self._lock:
            self._workers[worker].over = True
            if self.over is None and all(w.over for w in self._workers):
                self.over = reason

    def cancel(self, reason: str) -> None:
        """End the search now: running trials are ended."""
        with self._lock:
            self._counted_out, self._over_since = False, 0.0
            self.over = self.over or reason
            for number, worker in enumerate(self._workers):
                if worker.trial is not None:
                    self._ended(number, CANCELED, reason)

    # -- what others ask -------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """See whether the search is over; return whether it has been for so long that nobody seems to have heard."""
        with self._lock:
            self._look()
            late = self.over is not None and time.monotonic() - self._over_since > 5 * GRACE
            return late and (not self._counted_out or self.spent > self.limits.seconds + 5 * GRACE)

    @property
    def untried(self) -> list[str]:
        """The models that no trial has begun for."""
        wanted = {model_of(name, self.task) for names in self._dealt for name in names}
        return sorted(wanted - {t.model for t in self.trials})

    @property
    def idle(self) -> list[int]:
        """The workers that have not begun yet."""
        return [n for n, w in enumerate(self._workers) if not w.starts and not w.over]

    @property
    def unfinished(self) -> list[int]:
        """The workers that have something left to do."""
        return [] if self.over is not None else [n for n, w in enumerate(self._workers) if not w.over]

    @property
    def spent(self) -> float:
        """Seconds that the search has taken, with those of the interrupted one before it."""
        return self._before + time.monotonic() - self._start

    def take_number(self) -> int:
        """Return the number of one more iteration, such as an ensemble."""
        with self._lock:
            self._next += 1
            return self._next - 1

    def add(self, trial: Trial) -> None:
        """Add a trial that was made elsewhere, such as an ensemble."""
        with self._lock:
            self._keep(trial)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self.over is None:
            self.over, self._over_since = self.limits.reached(self._progress, self._begun, self.spent), time.monotonic()
            self._counted_out = self.over is not None and self.over.startswith("iterations")

    def _ended(self, worker: int, status: str, reason: str | None = None) -> None:
        known = self._workers[worker]
        trial, known.trial = known.trial, None
        if trial is not None:
            trial.status, trial.reason = status, reason
            trial.seconds = round(time.monotonic() - known.begun, 3)
            self._keep(trial)

    def _count(self, trial: Trial) -> None:
        if trial.status == COMPLETED and trial.score is not None and self._progress.add(trial.score):
            self.best = trial

    def _keep(self, trial: Trial) -> None:
        self.trials.append(trial)
        self._count(trial)
        with open(self._history, "a", encoding="utf-8") as file:
            file.write(json.dumps(trial.to_dict()) + "\n")
        self._tell(trial)
        self._say(self._line(trial))

    def _tell(self, trial: Trial) -> None:
        properties = {n: getattr(trial, n) for n in ("iteration", "model", "pipeline", "rows", "worker", "score")}
        self._emit(
            "child", id=trial.id, name=trial.pipeline, parent=self.run_id, state=trial.status, started=trial.started,
            seconds=trial.seconds, metrics=trial.metrics, parameters=trial.parameters, error=trial.reason,
            properties={**properties, "primary_metric": self.limits.metric},
        )  # fmt: skip

    def _line(self, trial: Trial) -> str:
        best = self.best
        score = f"{trial.score:.5f}" if trial.score is not None else trial.status.lower()
        sample = "" if trial.rows >= self._rows else f" on {trial.rows:,} rows"
        count = "+" if trial.learner == ENSEMBLE else f"{len(self.trials)}/{self.limits.iterations}"
        parts = [
            f"{count:>9}  #{trial.iteration:<3}",
            f"{trial.pipeline + sample:<38}",
            f"{trial.seconds or 0:7.1f} s",
            f"{score:>10}",
            f"best {best.score:.5f}" if best is not None and best.score is not None else "best -",
            self._left(),
        ]
        return "  ".join(parts) + (f"  {trial.reason}" if trial.reason else "")

    def _left(self) -> str:
        if self.over is not None:
            return "ending"
        done = max(1, self._begun)
        by_count = (self.limits.iterations - done) * self.spent / done
        return f"at most {duration(max(0.0, min(by_count, self.limits.seconds - self.spent)))} left"

    def _starting_points(self, learners: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return the best parameters of each learner so far."""
        found: dict[str, list[dict[str, Any]]] = {}
        for name in learners:
            done = [t for t in self.trials if t.learner == name and t.status == COMPLETED and t.score is not None]
            done.sort(key=lambda t: scores.loss(self.limits.metric, t.score))
            if done:
                found[name] = [t.parameters for t in done[:STARTS]]
        return found


def read_history(folder: str, *, ensembles: bool = False) -> list[Trial]:
    """Return the trials of an interrupted search: those that were over. A line that was cut off is left out.

    :param ensembles: also what has combined others, which a search that goes on does again.
    """
    found = []
    try:
        with open(os.path.join(folder, "trials.jsonl"), encoding="utf-8") as file:
            lines = file.readlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            trial = Trial.from_dict(json.loads(line))
        except (ValueError, KeyError, TypeError):
            continue
        if trial.status in (COMPLETED, FAILED) and (ensembles or trial.learner != ENSEMBLE):
            found.append(trial)
    return found
