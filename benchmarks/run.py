"""Measure what Stepwell costs, beside Airflow, Metaflow, ZenML, Spark and uv: ``make bench``.

Each benchmark is a file below ``cases/``, runs in a process of its own, and measures its sides one after the other in
every round (A B A B …), so that a machine that gets busier is busier for all of them. What is written down is the
median of the rounds.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from support import report, surroundings
from support.figures import Bench, said
from support.surroundings import CACHE, PROJECT

CASES = (
    "step", "reuse", "snapshot", "imports", "parse", "spark", "gate", "environment", "memory", "index", "waiting",
    "ssh", "docker", "mount", "livy", "yarn",
    "automl_trials", "automl_concurrent", "automl_first", "automl_scores", "automl_memory", "automl_report",
)  # fmt: skip
#: Variables that make a benchmark another one, for whoever works on it: nothing is written down.
SHORTER = "BENCH_AUTOML_"
REPEAT = 5
HERE = PROJECT / "benchmarks"


def main() -> int:
    """Return 0 if all benchmarks could be run, whatever their figures say."""
    options = _options()
    if options.list:
        for name in CASES:
            print(f"{name:18} {importlib.import_module('cases.' + name).TITLE}")
        return 0
    if options.inside:
        _measure(options.inside, options.repeat, options.quick)
        return 0
    CACHE.mkdir(parents=True, exist_ok=True)
    broken = []
    dry = options.quick or options.dry or any(name.startswith(SHORTER) for name in os.environ)
    for name in options.cases or CASES:
        try:
            case = _case(name, options)
        except RuntimeError as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            broken.append(name)
            continue
        if not dry:  # after each, so that an interrupt costs one
            results = {"machine": surroundings.machine(), "cases": {name: case}}
            report.into_readme(HERE / "README.md", report.merge(HERE / "results.json", results, list(CASES)))
    if broken:
        print(f"could not be run: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="which (default: all); automl: all automl_…")
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--repeat", type=int, metavar="N", help=f"rounds (default: {REPEAT} or what the case says)")
    parser.add_argument("--quick", action="store_true", help="two rounds of smaller data; nothing is written down")
    parser.add_argument("--dry", action="store_true", help="write nothing down")
    parser.add_argument("--inside", metavar="CASE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    groups = {name.partition("_")[0] for name in CASES if "_" in name}
    options.cases = [
        name
        for word in options.cases
        for name in ([c for c in CASES if c.startswith(word + "_")] if word in groups else [word])
    ]
    unknown = sorted(set(options.cases) - set(CASES))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(CASES)}")
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat is at least 1")
    return options


def _case(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one benchmark in a process of its own and return its results."""
    module = importlib.import_module("cases." + name)
    repeat = options.repeat or (2 if options.quick else getattr(module, "REPEAT", REPEAT))
    print(f"{name}: {module.TITLE}", flush=True)
    before, began = surroundings.moment(), time.monotonic()
    samples = []
    for number, sample in enumerate(_samples(name, repeat, options.quick), 1):
        samples.append(sample)
        sides = ", ".join(f"{side} {value:.4g}" for side, value in sample.items())
        print(f"  {number}/{repeat}  {sides}", flush=True)
    seconds = time.monotonic() - began
    figures = [figure.made_of(samples) for figure in module.FIGURES]
    for figure in figures:
        verdict = {True: "met", False: "MISSED", None: ""}[figure["met"]]
        print(f"  {figure['what']}: {said(figure['reached'], figure['unit'])}  {figure['to_reach']} {verdict}".rstrip())
    print(f"  {seconds:.0f} s", flush=True)
    return {
        "title": module.TITLE,
        **{k: before[k] for k in ("date", "commit")},
        "load_before": before["load"],
        "load_after": surroundings.moment()["load"],
        "seconds": round(seconds, 1),
        "figures": figures,
        "samples": samples,
    }


def _samples(name: str, repeat: int, quick: bool) -> Iterator[dict[str, float]]:
    """Yield what the benchmark's process measures, as it comes. What it says besides goes to a log file."""
    scratch, log = CACHE / "scratch" / name, CACHE / "logs" / f"{name}.log"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    log.parent.mkdir(exist_ok=True)
    surroundings.airflow_database(scratch)
    receive, send = os.pipe()
    command = [sys.executable, str(HERE / "run.py"), "--inside", name, "--repeat", str(repeat)]
    env = {**surroundings.environment(scratch), "BENCH_SCRATCH": str(scratch), "BENCH_SAMPLES": str(send)}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *(["--quick"] if quick else [])],
            env=env,
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            pass_fds=[send],
        )
    os.close(send)
    try:
        with os.fdopen(receive, encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if code:
        said_last = "\n".join(log.read_text("utf-8", "replace").strip().splitlines()[-8:])
        raise RuntimeError(f"ended with {code}; the whole log is {log.relative_to(PROJECT)}:\n{said_last}")


def _measure(name: str, repeat: int, quick: bool) -> None:
    """Run the rounds of a benchmark, in this process."""
    module = importlib.import_module("cases." + name)
    bench = Bench(PROJECT, CACHE, Path(os.environ["BENCH_SCRATCH"]), quick)
    with os.fdopen(int(os.environ["BENCH_SAMPLES"]), "w", encoding="utf-8") as out:
        os.set_inheritable(out.fileno(), False)
        with closing(module.rounds(bench)) as rounds:
            for sample in itertools.islice(rounds, repeat):
                print(json.dumps(sample), file=out, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
