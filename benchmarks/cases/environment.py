"""Environments: one that is there already, and one that is to be built, beside uv itself.

*Warm*: from what a step says (the path of a conda file) to the interpreter that it runs in: read, normalise, key,
look up, and start that interpreter once, with nothing to do. *Cold*: Stepwell's builder against ``uv venv`` and
``uv pip install --compile-bytecode`` of the same packages, uv's cache has them all, and nobody goes to the network
(``UV_OFFLINE``). uv gets the author's requirements, which it resolves; Stepwell also keeps a lock with hashes.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.figures import Bench, Figure, Sample
from support.processes import timed

TITLE = "environments, warm and cold"
FIGURES = [
    Figure("warm environment: decide and use", lambda s: s["warm"] + s["interpreter"], "ms", 0.05),
    Figure("… of that, starting the interpreter", lambda s: s["interpreter"], "ms"),
    Figure("cold environment (scikit-learn, pandas), over `uv` itself", lambda s: s["cold"] / s["uv"], "×", 1.1),
    Figure("… ours", lambda s: s["cold"], "s"),
    Figure("… `uv venv`, then `uv pip install --compile-bytecode`", lambda s: s["uv"], "s"),
]


def rounds(bench: Bench) -> Iterator[Sample]:
    """Yield the seconds of each."""
    from stepwell.environment import builder
    from stepwell.environment.specification import specification

    file = bench.project / "include" / "train" / "conda_dependencies.yml"
    spec = specification(str(file), log=print)
    requirements = builder.pip_requirements(spec)
    python = _warm(bench, file)[1]  # builds it, over the network if need be: uv's cache has everything afterwards
    _uv(bench, requirements)
    os.environ["UV_OFFLINE"] = "1"
    while True:
        yield {
            "warm": _warm(bench, file)[0],
            "interpreter": timed([python, "-I", "-c", "pass"]),
            "cold": _cold(bench, spec),
            "uv": _uv(bench, requirements),
        }


def _warm(bench: Bench, file: Path) -> tuple[float, str]:
    """Do what a step does; return the seconds and the interpreter."""
    from stepwell import Workspace
    from stepwell.step.life import Life
    from stepwell.step.spec import JobKey, StepSpec

    spec = StepSpec("train", "python", "local", environment=str(file))
    key = JobKey("bench", "a_dag", uuid.uuid4().hex, "train")
    log = logging.getLogger("stepwell.step")
    life = Life(Workspace.from_config(), spec, key, try_number=1, triggering=(), log=log)
    life._begin()
    life._plan()
    began = time.perf_counter()
    reference, _ = life._prepare()
    return time.perf_counter() - began, reference.python


def _cold(bench: Bench, spec: dict[str, Any]) -> float:
    from stepwell.environment import builder

    root = bench.scratch / "cold"
    began = time.perf_counter()
    builder.ensure(spec, root, print)
    seconds = time.perf_counter() - began
    shutil.rmtree(root)
    return seconds


def _uv(bench: Bench, requirements: list[str]) -> float:
    import sys

    from stepwell.environment.uv import find_uv

    uv, folder = find_uv(), bench.scratch / "uv"
    seconds = timed([uv, "venv", "--quiet", "--no-project", "--python", sys.executable, folder])
    install = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", "--compile-bytecode"]
    seconds += timed([*install, *requirements])
    shutil.rmtree(folder)
    return seconds
