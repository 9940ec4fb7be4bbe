"""Runs a step's script and then its gates in one Spark application: ``spark-submit … spark_driver.py <job dir>``.

The script, or the module of the payload that stands in its place, runs as ``__main__`` with the arguments and the first
entry of ``sys.path`` that it would have had by itself, and its exit code is the application's. The gates use the
session that it leaves behind: a second application would cost a good part of a minute.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
# Run as a file, this folder stands first on the path, and our module names would shadow the author's.
sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != _HERE]
_ROOT = os.path.dirname(os.path.dirname(_HERE))
if _ROOT not in sys.path:
    sys.path.append(_ROOT)

import importlib.util  # noqa: E402
import traceback  # noqa: E402
import types  # noqa: E402
from typing import Any, Callable  # noqa: E402

from stepwell.payload.context import JOB_DIR, JobContext  # noqa: E402


def run_script(script: str, arguments: list[str]) -> int:
    """Run *script* in this process as ``__main__`` and return its exit code; a traceback goes to stderr as Python's
    own would.

    :param script: absolute path of the script.
    :param arguments: what follows it in ``sys.argv``.
    """

    def code() -> Any:
        with open(script, "rb") as file:
            return compile(file.read(), script, "exec")

    return _run(code, os.path.dirname(script), [script, *arguments], __file__=script)


def run_module(name: str, arguments: list[str]) -> int:
    """Run the module *name* as ``python -m`` would, in this process, and return its exit code."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        print(f"There is no module {name!r} on this compute target", file=sys.stderr)
        return 1
    loader: Any = spec.loader
    facts = {"__file__": spec.origin, "__spec__": spec, "__package__": spec.parent, "__loader__": loader}
    return _run(lambda: loader.get_code(name), os.getcwd(), [spec.origin, *arguments], **facts)


def _run(code: Callable[[], Any], folder: str, argv: list[str], **facts: Any) -> int:
    module = types.ModuleType("__main__")
    module.__dict__.update(__builtins__=__builtins__, __cached__=None, **facts)
    sys.argv = argv
    sys.path.insert(0, folder)
    # Stays in place: what the script pickles by name, or starts as a process, looks for it here.
    sys.modules["__main__"] = module
    try:
        exec(code(), module.__dict__)  # noqa: S102 - the author's own script is what this process is for
    except SystemExit as stop:
        return exit_code(stop)
    except BaseException as error:
        _print_error(error)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
    return 0


def exit_code(stop: SystemExit) -> int:
    """Return the exit code that Python would give for *stop*, after printing its message if it has one."""
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    print(stop.code, file=sys.stderr)
    return 1


def _print_error(error: BaseException) -> None:
    """Print the traceback without our own frames, and for a file that Spark could not read what is wrong with it."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == os.path.abspath(__file__):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)
    try:
        from stepwell.payload.spark_reading import explain

        reason = explain(error, live_session())
    except Exception:  # an explanation that fails must not replace the script's own error
        return
    if reason is not None:
        print(f"\n{type(reason).__name__}: {reason}", file=sys.stderr)


def live_session() -> Any | None:
    """Return the Spark session that the script left behind, or ``None`` if there is none or it was stopped."""
    if sys.modules.get("pyspark") is None:  # a library may have barred it
        return None
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession() or SparkSession._instantiatedSession
    if session is None or SparkContext._active_spark_context is None or session.sparkContext._jsc is None:
        return None
    return session if session.sparkContext is SparkContext._active_spark_context else None


def main(arguments: list[str]) -> int:
    """Run the job in the directory given; return the exit code of the application."""
    if len(arguments) != 1:
        print("usage: spark_driver.py <job directory>", file=sys.stderr)
        return 2
    os.environ[JOB_DIR] = os.path.abspath(arguments[0])
    job = JobContext(arguments[0])
    entry = job.document["main"]
    given = [str(a) for a in entry.get("arguments") or []]
    if entry.get("module"):
        code = run_module(entry["module"], given)
    else:
        code = run_script(entry["script"], given) if entry["script"] else 0  # there may be nothing but gates
    if code == 0 and job.gates:
        from stepwell.payload.gate import run_gates

        code = run_gates(job.directory, spark=live_session)
    session = live_session()
    if session is not None and code == 0:
        session.stop()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
