"""The machine, the variables that benchmarks run under, and Airflow's database."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".cache" / "bench"
DAGS = PROJECT / "benchmarks" / "dags"
#: Not in the folder of DAGs: ``dag.test()`` reads all that is there, each time.
PARSED = PROJECT / "benchmarks" / "parsed"
_OURS = ("AIRFLOW", "STEPWELL", "PYTHON", "METAFLOW", "ZENML", "SPARK", "AZUREML", "VIRTUAL_ENV")


def plain_environment(home: Path) -> dict[str, str]:
    """Return this process's variables without what would make a measurement another one.

    Bytecode is cached (``PYTHONDONTWRITEBYTECODE`` is gone): without it every start of a Python is two to three times
    as slow, here and at the peers.

    :param home: takes the place of the home directory, so that nobody's settings count and none are written.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, "HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}


def environment(scratch: Path) -> dict[str, str]:
    """Return the variables of a benchmark of ours: an Airflow and a workspace of its own."""
    home = scratch / "airflow"
    return {
        **plain_environment(scratch),
        "PYTHONPATH": str(PROJECT / "providers"),
        "STEPWELL_ROOT": str(scratch / "workspace"),
        "STEPWELL_SCRATCH": str(CACHE / "targets"),  # environments are built once
        "STEPWELL_UV": str(PROJECT / ".tools" / "bin" / "uv"),
        "UV_CACHE_DIR": str(PROJECT / ".cache" / "uv"),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
    }


def airflow_database(scratch: Path) -> None:
    """Put a fresh Airflow database below *scratch*; it is made once per version of Airflow, then copied."""
    kept = CACHE / f"airflow-{version('apache-airflow-core')}.db"
    if not kept.is_file():
        making = CACHE / "airflow-being-made"
        shutil.rmtree(making, ignore_errors=True)
        variables = environment(making)
        making.mkdir(parents=True)
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"], env=variables, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"Airflow's database cannot be made:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        os.replace(making / "airflow" / "airflow.db", kept)
        shutil.rmtree(making)
    (scratch / "airflow").mkdir(parents=True)
    shutil.copyfile(kept, scratch / "airflow" / "airflow.db")


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "airflow": version("apache-airflow-core"),
        "uv": _said([str(PROJECT / ".tools" / "bin" / "uv"), "--version"]).removeprefix("uv ").split(" ")[0],
    }


def moment() -> dict[str, Any]:
    """Return when it is, how busy the machine is, and what is measured."""
    written = [":!benchmarks/README.md", ":!benchmarks/results.json"]
    changed = _said(["git", "status", "--porcelain", "--", "providers", "benchmarks", *written])
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load": round(os.getloadavg()[0], 2),
        "commit": _said(["git", "rev-parse", "--short=12", "HEAD"]) + ("+changes" if changed else ""),
    }


def _said(command: list[str]) -> str:
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
