"""The gate: the last phase of a job, on the target, next to the data: ``python -m stepwell.payload.gate <job dir>``.

It writes a verdict and a report for each output that has expectations, and ends with 0 when all are written, whatever
they say: what a bad verdict means is decided where the outputs are published. A missing verdict file is never a pass.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Callable, Union

from stepwell.payload import verdict as verdicts
from stepwell.payload.context import JobContext
from stepwell.payload.errors import GateError, ReadError
from stepwell.runtime.errors import StepwellError
from stepwell.runtime.names import check_port
from stepwell.runtime.protocol import write_bytes, write_json

#: A session, or a function that gives the live one (or None).
Session = Union[Any, Callable[[], Any]]


def run_gates(job_dir: os.PathLike[str] | str, spark: Session | None = None) -> int:
    """Judge every output that has expectations; return the exit code of the phase: 0 when every verdict is written.

    :param spark: for gates of the Spark engine: the session to use, or a function that returns it; a new one when
    left out.
    """
    job = JobContext(job_dir)
    os.makedirs(job.paths.gates, exist_ok=True)
    code = 0
    for gate in job.gates:
        try:
            result = run_gate(gate, spark)
            write(job.paths.gates, result)
            print(summary(result), flush=True)
        except OSError as error:
            print(f"gate {gate.get('name')}: the verdict cannot be written: {error}", file=sys.stderr, flush=True)
            code = 1
    return code


def run_gate(gate: dict[str, Any], spark: Session | None = None) -> dict[str, Any]:
    """Return the verdict on one output; never raises for what is wrong with the data or the suite."""
    started = time.time()
    engine = str(gate.get("engine") or "pandas")
    session = None
    try:
        verdicts.check_suite(gate.get("suite"))
        if engine == "spark":
            session = _session(spark)
        elif engine != "pandas":
            raise GateError(f"{engine!r} is not an engine of gates", allowed=["pandas", "spark"])
        frame = read(gate, engine, session)
        result = verdicts.judge(frame, gate["suite"], engine=engine, samples=bool(gate.get("samples")))
    except Exception as error:
        result = verdicts.errored(_reason(error, session), engine=engine, started=started)
    return {
        "format": verdicts.FORMAT,
        "name": check_port("output", gate["name"]),
        "suite": gate.get("suite_name") or (gate.get("suite") or {}).get("name"),
        **result,
        "started": started,
        "seconds": round(time.time() - started, 3),
    }


def read(gate: dict[str, Any], engine: str, session: Any) -> Any:
    """Return the frame that a gate judges.

    :raises ReadError: there is nothing there, or it cannot be read.
    """
    from stepwell.payload import reading, sources

    files, base = _files(gate, session)
    if not files:
        raise ReadError(
            f"The output {gate['name']!r} has no files at {gate['location']}", hint="The step wrote nothing to it"
        )
    wanted = dict(gate.get("read") or {})
    format = wanted.get("format") or "auto"
    if format == "auto":
        format = sources.detect_format(files)
    definition = {
        "kind": "tabular",
        "format": format,
        "paths": [{"url": base}],
        "options": dict(wanted.get("options") or {}),
        "plan": list(gate.get("plan") or []),
    }
    return reading.to_spark(definition, files, session) if engine == "spark" else reading.to_pandas(definition, files)


def _files(gate: dict[str, Any], session: Any) -> tuple[list[str], str]:
    from stepwell.payload import sources

    location = str(gate["location"])
    if gate.get("files"):
        return [str(f) for f in gate["files"]], location
    if "://" in location and not location.startswith("file:"):
        from stepwell.payload.spark_reading import list_folder

        return list_folder(session, location), location
    return sources.local_folder(location), location


def _session(spark: Session | None) -> Any:
    from stepwell.payload import spark_reading

    found = spark() if callable(spark) and not hasattr(spark, "sparkContext") else spark
    return found if found is not None else spark_reading.session()


def _reason(error: Exception, session: Any) -> str:
    if isinstance(error, StepwellError):
        return str(error)
    if session is not None:
        from stepwell.payload.spark_reading import explain

        explained = explain(error, session)
        if explained is not None:
            return str(explained)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:1000]}"


def write(folder: str, result: dict[str, Any]) -> None:
    """Write verdict and report, each whole or not at all; the verdict last, as it is what counts.

    :raises OSError: it cannot be written.
    """
    from stepwell.payload.metrics import finite
    from stepwell.payload.report import render

    try:
        page = render(result).encode("utf-8")
    except ImportError as error:  # no jinja2 where even Great Expectations is missing: the verdict says why
        page = f"<!doctype html><title>gate</title><p>No report: {type(error).__name__}</p>".encode()
    write_bytes(os.path.join(folder, f"{result['name']}.html"), page)
    write_json(os.path.join(folder, f"{result['name']}.json"), finite(result))


def summary(result: dict[str, Any]) -> str:
    """Return the verdict as lines for the log: what passed, and each expectation that did not."""
    from stepwell.payload import wording

    counts = result["statistics"]
    rows = "" if result["rows"] is None else f", {result['rows']:,} rows"
    lines = [
        f"gate {result['name']}: {result['verdict'].upper()} ({counts['passed']} passed, {counts['warned']} warned, "
        f"{counts['failed']} failed, {counts['errored']} errored{rows}, {result['seconds']:.1f} s)"
    ]
    if result.get("reason"):
        lines.append(f"  {result['reason']}")
    for entry in result["expectations"]:
        if entry["outcome"] != "passed":
            column = entry["kwargs"].get("column")
            where = f"{column}: " if column else ""
            lines.append(f"  {entry['outcome']}: {where}{wording.expectation(entry)}. {entry['message']}")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run the gates of the job in the directory given."""
    if len(arguments) != 1:
        print("usage: python -m stepwell.payload.gate <job directory>", file=sys.stderr)
        return 2
    return run_gates(arguments[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
