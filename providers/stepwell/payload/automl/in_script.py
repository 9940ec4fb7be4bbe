"""A search from within a script, as v1's local runs were. It is a process of its own all the same.

So a full memory or a library that crashes ends the search and not the script, and FLAML changes nothing of the script's
Spark session.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from stepwell.payload.automl import on_spark
from stepwell.payload.automl.errors import AutoMLError, SearchFailed
from stepwell.payload.automl.request import Request

_work: dict[str, str] = {}


def search(
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
    folder: str,
    *,
    run_id: str,
    spark: Any = None,
    show_output: bool = False,
) -> dict[str, Any]:
    """Search, and return the summary; the results and the best ``model`` are in *folder*.

    The trials are child runs of *run_id* where the script is a step's.

    :param data: ``training`` and maybe ``validation`` and ``test``: pandas frames.
    :param spark: a ``SparkContext`` whose executors run the trials; None = processes here.
    :param show_output: print the search's progress.
    :raises AutoMLError: data and settings do not allow a search.
    :raises SearchFailed: no trial was completed.
    """
    if spark is not None:
        spark = on_spark.session_of(spark)
    work = _work[folder] = tempfile.mkdtemp(prefix="stepwell-automl-")
    atexit.register(shutil.rmtree, work, ignore_errors=True)
    outputs = {"model": os.path.join(folder, "model")}
    best = {"iteration": None, "metric": None}
    inputs = on_spark.save_frames({name: _columns_as_text(frame) for name, frame in data.items()}, work)
    request = Request(run_id, dict(settings), folder, work, outputs, {"model": best}, inputs)
    path = os.path.join(work, "request.json")
    request.write(path)
    log = os.path.join(work, "search.log")
    if spark is not None:
        code = on_spark.search([path], spark, f"automl-{run_id}")
    elif show_output:
        code = _python("main", path)
    else:
        with open(log, "wb") as file:
            code = _python("main", path, stdout=file, stderr=subprocess.STDOUT)
    for name in inputs.values():
        os.unlink(name)
    if code != 0:
        raise _failure(work, log, code)
    with open(os.path.join(folder, "summary.json"), encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def fitted(folder: str, iteration: int) -> Any:
    """Return the model of another iteration of a search that this process has made, fitted to all rows.

    :raises AutoMLError: this process has not made the search, or the model cannot be fitted.
    """
    from stepwell.payload.automl import model

    if folder not in _work:
        raise AutoMLError(
            f"The search in {folder} was made by another process", hint="Only its best model is kept: folder/model"
        )
    path = os.path.join(_work[folder], f"model_{iteration}")
    if not os.path.isdir(path):
        request = os.path.join(_work[folder], "request.json")
        if _python("refit", request, str(iteration), path) != 0:
            raise AutoMLError(f"Iteration {iteration} could not be fitted again; the reason is printed above")
    return model.load(path)


def _python(module: str, *arguments: str, **streams: Any) -> int:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    for name in on_spark.GATEWAY:
        environment.pop(name, None)
    argv = [sys.executable, "-m", f"stepwell.payload.automl.{module}", *arguments]
    sys.stdout.flush()
    return subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, check=False, **streams).returncode


def _failure(work: str, log: str, code: int) -> Exception:
    """Return what the search's process has died of."""
    try:
        with open(os.path.join(work, "error.json"), encoding="utf-8") as file:
            error = json.load(file)
    except FileNotFoundError:
        last = ""
        if os.path.exists(log):
            with open(log, encoding="utf-8", errors="replace") as file:
                last = "".join(file.readlines()[-20:])
        return SearchFailed(f"The process of the search has ended with exit code {code}", hint=last or None)
    kind: Callable[..., Exception] = SearchFailed if error["type"] == "SearchFailed" else AutoMLError
    return kind(error["what"], allowed=error["allowed"], hint=error["hint"])


def _columns_as_text(frame: Any) -> Any:
    """Return the frame as parquet can hold it: a column of values of several types becomes text."""
    from stepwell.payload.automl.columns import kind_of

    mixed = [c for c in frame.columns if kind_of(frame[c]) == "mixed"]
    if not mixed and all(isinstance(c, str) for c in frame.columns):
        return frame
    frame = frame.copy(deep=False)
    for column in mixed:
        frame[column] = frame[column].where(frame[column].isna(), frame[column].astype(str))
    frame.columns = [str(c) for c in frame.columns]
    return frame
