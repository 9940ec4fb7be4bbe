"""The search of a step: ``python -m stepwell.payload.automl.main <job directory, or file of a request>``.

The story: read, check, featurize, split; search by several workers; finish. In the driver of a Spark application it is
told by a process beside the driver, which lends its executors to it (:mod:`stepwell.payload.automl.on_spark`).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from stepwell.payload.automl import on_spark
from stepwell.payload.automl.request import Request

#: A worker that has not begun after so long is told of, in seconds.
IDLE_SECONDS = 30.0
#: The exit code of a search that was told to end.
STOPPED = 128 + signal.SIGTERM


def main(arguments: list[str]) -> int:
    """Search; return the exit code of the step."""
    from stepwell.runtime.errors import StepwellError

    if len(arguments) != 1:
        print("usage: python -m stepwell.payload.automl.main <job directory>", file=sys.stderr)
        return 2
    try:
        if on_spark.is_driver():
            return on_spark.drive(arguments[0])
        run(Request.read(arguments[0]))
    except StepwellError as error:
        _tell(arguments[0], error)
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def run(request: Request, say: Callable[[str], None] = lambda text: print(text, flush=True)) -> dict[str, Any]:
    """Search, finish, and return the summary.

    :raises AutoMLError: data and settings do not allow a search; nothing has been written to the outputs.
    :raises SearchFailed: no trial was completed.
    """
    from stepwell.payload.automl import engines
    from stepwell.payload.automl.crew import Crew
    from stepwell.payload.automl.errors import SearchFailed
    from stepwell.payload.automl.limits import Limits
    from stepwell.payload.automl.pools import Processes
    from stepwell.payload.automl.problem import Problem
    from stepwell.payload.automl.search import Search, read_history
    from stepwell.payload.automl.trial import COMPLETED

    ending = _Ending()
    settings = request.settings
    emit = _events(request)
    os.makedirs(request.results, exist_ok=True)
    _json(request, "settings.json", settings)
    crew = Crew(settings, say)
    crew.start()  # they load their libraries while the data are being prepared
    try:
        prepared = _prepared(request, say)
        prefix = "search."
        folder = os.path.join(request.work, "problem")
        files = prepared.problem.save(folder, prefix)
        prepared.problem = Problem.load(folder, prefix)  # mapped: not once more in memory
        earlier = read_history(request.resume) if request.resume else []
        if not any(t.status == COMPLETED for t in earlier):
            earlier = []  # whatever it was that failed them all, this try must find out for itself
        if earlier:
            say(f"going on after {len(earlier)} trials of an earlier try")
        models, server, size = engines.models(settings), crew.server, crew.size
        search = Search(
            request.run_id,
            Limits.of(settings),
            engines.islands(engines.learners(settings["task"], models), size),
            settings["task"],
            request.results,
            os.path.join(request.work, "predictions"),
            rows=len(prepared.problem.folds[0][0]),
            earlier=earlier,
            seed=int(settings.get("seed") or 0),
            emit=emit,
            say=say if int(settings.get("verbosity") or logging.INFO) <= logging.INFO else lambda line: None,
        )
        ending.search = search
        at_a_time = f"{size} workers" if size > 1 else "1 worker"
        say(f"searching with {at_a_time} by {search.limits.metric}: {', '.join(models)}; {search.limits}")
        server.open(search, files, {"engine": crew.engine, "cores": crew.threads, "prefix": prefix})
        begun = time.monotonic()
        while crew.is_alive() and not search.look():
            crew.join(0.2)  # signals are heard between two of these
            if begun and time.monotonic() - begun > IDLE_SECONDS:
                begun = 0.0
                _note_idle(search, say)
    finally:
        crew.dismiss()
    if ending.told:
        print(f"stopped: {ending.told}", file=sys.stderr, flush=True)
        sys.exit(STOPPED)
    if search.over is None:
        raise SearchFailed(f"The workers of the search have ended before it: {crew.reason}")
    if search.untried:
        say(f"note: not tried, for want of iterations or time: {', '.join(search.untried)}")
    say(f"the search is over after {len(search.trials)} trials: {search.over}")
    from stepwell.payload.automl.finish import Finish

    summary = Finish(request, prepared, search, engines.engine_of(crew.engine), Processes().cores(), say).run()
    if emit is not None:
        _log_best(emit, summary, {} if request.job is not None else {"run": request.run_id})
    if request.job is not None:
        shutil.rmtree(os.path.join(request.work, "problem"), ignore_errors=True)
    return summary


def _log_best(emit: Callable[..., None], summary: dict[str, Any], of: dict[str, str]) -> None:
    """Log the best score, and that on test data, as metrics of the step, or of a script's child run."""
    name = summary["primary_metric"]
    found = {name: summary["best_trial"]["score"]}
    if summary["test"]:
        found[f"test_{name}"] = summary["test"]["metrics"].get(name)
    for metric, value in found.items():
        if value is None:  # it has none for these labels
            continue
        emit("metric", type="scalar", name=metric, value=value, step=None, scope="run", **of)


def _note_idle(search: Any, say: Callable[[str], None]) -> None:
    """Say which workers wait: their part of the models is not tried meanwhile."""
    if search.idle:
        names = ", ".join(map(str, search.idle))
        say(f"note: no place yet for worker {names}: are there cores for all?")


def _prepared(request: Request, say: Callable[[str], None]) -> Any:
    from stepwell.payload.automl.preparing import prepare

    prepared = prepare(request.settings, _data(request), say)
    _json(request, "guardrails.json", prepared.guardrails)
    _json(request, "featurization.json", prepared.featurizer.described)
    return prepared


def _tell(where: str, error: Any) -> None:
    """Leave the error to the script that has asked for the search."""
    if os.path.isfile(where):
        told = {"type": type(error).__name__, "what": error.what, "allowed": error.allowed, "hint": error.hint}
        with open(os.path.join(os.path.dirname(where), "error.json"), "w", encoding="utf-8") as file:
            json.dump(told, file)


class _Ending:
    """Ends the search when the step is told to end."""

    def __init__(self) -> None:
        self.search: Any = None
        self.told: str | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def _end(self, number: int, _frame: object) -> None:
        self.told = f"the step was told to end ({signal.Signals(number).name})"
        if self.search is None or self.search.over is not None:
            sys.exit(STOPPED)
        self.search.cancel(self.told)


def _data(request: Request) -> dict[str, Any]:
    if request.inputs is not None:
        import pandas as pd

        return {name: pd.read_parquet(path) for name, path in request.inputs.items()}
    from stepwell.payload.automl.reading import read_inputs
    from stepwell.payload.context import JobContext

    return read_inputs(JobContext(str(request.job)))


def _events(request: Request) -> Callable[..., None] | None:
    """Return what writes the events of the job that this process belongs to, if it belongs to one."""
    from stepwell.payload.context import JobContext, current

    job = JobContext(request.job) if request.job else current()
    return None if job is None else job.emit


def _json(request: Request, name: str, value: Any) -> None:
    with open(os.path.join(request.results, name), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, default=str)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
