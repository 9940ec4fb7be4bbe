"""One worker of a search, as a process of its own: ``… -m stepwell.payload.automl.worker <host:port> …``.

It may be killed at any time: all that matters is told to the search as it happens.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from stepwell.payload.automl import wire
from stepwell.payload.automl.engine import Reporter, SearchOver

#: Predictions larger than this are not sent: an ensemble does without them. In bytes.
LARGEST = 64 << 20


class _Remote(Reporter):
    """Tells the search of each trial."""

    def __init__(self, line: wire.Line, minimise: Any, words: Any) -> None:
        self._line = line
        self._loss = minimise
        self._words = words
        self._best: dict[str, float] = {}
        self._learner = ""

    def begin(self, learner: str, parameters: Mapping[str, Any], rows: int) -> None:
        self._learner = learner
        pipeline = self._words(learner)
        asked = {"kind": "begin", "learner": learner, "pipeline": pipeline, "parameters": parameters, "rows": rows}
        over = self._line.ask(asked).get("over")
        if over is not None:
            raise SearchOver(over)

    def completed(self, metrics: Mapping[str, float], predictions: Any, parameters: Mapping[str, Any]) -> None:
        message: dict[str, Any] = {"kind": "completed", "metrics": metrics, "parameters": parameters}
        data = b""
        loss = self._loss(metrics)
        if predictions is not None and loss < self._best.get(self._learner, float("inf")):
            self._best[self._learner] = loss  # ensembles are made of the best of each learner
            small = predictions.astype("<f4")
            if small.nbytes <= LARGEST:
                message["shape"], data = list(small.shape), small.tobytes()
        self._line.send(message, data)
        self._line.receive()

    def failed(self, reason: str) -> None:
        self._line.ask({"kind": "failed", "reason": reason})


def main(arguments: list[str]) -> int:
    """Search until the search is over.

    :param arguments: where the search listens, the worker's number, a folder of its own, the engine.
    """
    try:
        return _work(arguments)
    except ConnectionError:
        # The search has ended while this process was starting or at work: it says itself why, and nobody is told here.
        return 1


def _work(arguments: list[str]) -> int:
    address, number, folder, name = arguments
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    token = os.environ.pop(wire.TOKEN)
    with wire.connect(address, token, role="worker", worker=int(number)) as line:
        # While the data are being prepared: loading the libraries takes longer than most trials. FLAML would load
        # MLflow too, which takes longer than all the rest, to record what we record ourselves.
        sys.modules.setdefault("mlflow", None)  # type: ignore[arg-type]
        from stepwell.payload.automl import scores
        from stepwell.payload.automl.engines import engine_of
        from stepwell.payload.automl.problem import Problem

        try:
            engine = engine_of(name)
        except Exception as error:
            line.ask({"kind": "unable", "reason": f"{type(error).__name__}: {error}"})
            return 1
        work = line.ask({"kind": "work"})
        if "over" in work:
            return 0
        problem = Problem.load(_fetched(line, work, folder), work["prefix"])
        metric = problem.primary_metric
        remote = _Remote(line, lambda m: scores.loss(metric, m[metric]), lambda one: engine.words(one, work["task"]))
        engine.search(
            problem,
            work["learners"],
            remote,
            seed=work["seed"],
            cores=work["cores"],
            seconds=work["seconds"],
            trial_seconds=work["trial_seconds"],
            starts=work["starts"],
            say=lambda text: print(text, flush=True),
        )
        line.ask({"kind": "finished"})
    return 0


def _fetched(line: wire.Line, work: Mapping[str, Any], folder: str) -> str:
    """Return the folder of the problem's files: as they are, on the same machine, else a copy that is made once."""
    if all(os.path.exists(os.path.join(work["folder"], name)) for name in work["files"]):
        return str(work["folder"])
    os.makedirs(folder, exist_ok=True)
    for name in work["files"]:
        path = os.path.join(folder, os.path.basename(name))
        if not os.path.exists(path):
            line.send({"kind": "file", "name": name})
            line.receive_file(path + ".part")
            os.replace(path + ".part", path)
    return folder


def _die_with(parent: int) -> None:
    """End this process when the one that watches over it is gone: nobody else would."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
