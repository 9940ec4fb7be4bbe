"""A gate as the step sees it: the request that goes into the job, and the verdict that comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepwell.errors import UserErrorException

VERDICTS = ("passed", "warned", "failed", "errored")


def request(
    name: str, gate: Mapping[str, Any], engine: str, *, files: list[str] | None = None, **where: Any
) -> dict[str, Any]:
    """Return what ``job.json`` asks of the gate *name*.

    :param gate: ``suite``, ``samples`` and ``suite_name``, as ``validate_with`` took them.
    :param where: ``location`` or *files* to read, ``read`` (format and options) and ``plan``.
    :raises UserErrorException: a suite that is missing or no suite.
    """
    suite = suite_of(gate["suite"])
    return {
        "name": name,
        "files": files,
        **where,
        "suite": suite,
        "suite_name": gate.get("suite_name") or suite.get("name") or name,
        "samples": gate["samples"],
        "engine": engine,
    }


def suite_of(suite: Any) -> dict[str, Any]:
    """Return the suite that *suite* is, or whose path it is.

    :raises UserErrorException: no such file, no JSON, no suite.
    """
    where = "The suite"
    if isinstance(suite, str):
        where = f"The suite {suite}"
        try:
            suite = json.loads(Path(suite).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserErrorException(f"{where} does not exist", hint=f"It is looked for from {Path.cwd()}") from error
        except (OSError, ValueError) as error:
            raise UserErrorException(f"{where} cannot be read: {error}") from error
    if not isinstance(suite, dict) or not isinstance(suite.get("expectations"), list) or not suite["expectations"]:
        raise UserErrorException(
            f"{where} holds no list 'expectations'", hint="Give a Great Expectations suite as JSON"
        )
    return suite


def verdict_of(directory: Path, name: str) -> dict[str, Any]:
    """Return the result of the gate *name* from a collected job; without one, nothing could be judged."""
    try:
        result = json.loads((directory / "gates" / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {"verdict": "errored", "reason": f"the gate has left no verdict: {error}"}
    if not isinstance(result, dict) or result.get("verdict") not in VERDICTS:
        return {"verdict": "errored", "reason": "the gate has left no verdict"}
    return result


def fatal(verdict: Mapping[str, Any], on_failure: str) -> bool:
    """Whether the verdict stops the step.

    ``warn`` lets failed expectations pass. It does not let pass what could not be judged: nobody knows what that is.
    """
    return verdict["verdict"] == "errored" or (verdict["verdict"] == "failed" and on_failure != "warn")


def brief(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the run's record keeps of a gate's result."""
    return {k: verdict.get(k) for k in ("verdict", "suite", "rows", "statistics", "seconds", "engine")}


def sentence(verdict: Mapping[str, Any]) -> str:
    """Return a gate's result in words."""
    counts = verdict.get("statistics") or {}
    words = str(verdict["verdict"])
    if counts.get("evaluated"):
        words += f", {counts.get('passed', 0)} of {counts['evaluated']} expectations passed"
    if verdict.get("reason"):
        words += f": {verdict['reason']}"
    bad = [e for e in verdict.get("expectations") or [] if e.get("outcome") not in ("passed", None)]
    named = [f"{e['type']}({e.get('kwargs', {}).get('column', '')}) {e['outcome']}{_because(e)}" for e in bad[:5]]
    return words + (": " + "; ".join(named) if named else "")


def _because(expectation: Mapping[str, Any]) -> str:
    return f" ({expectation['message']})" if expectation.get("message") else ""
