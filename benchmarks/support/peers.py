"""Metaflow and ZenML: installed into environments of their own, from locks, and run without telemetry."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from support.surroundings import CACHE, PROJECT, plain_environment


def python_of(peer: str) -> Path:
    """Return the interpreter of a peer's environment, which is made when it is not there yet."""
    lock = PROJECT / "benchmarks" / "peers" / f"{peer}.lock"
    folder = CACHE / "peers" / peer
    stamp, key = folder / "stamp", hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    python = folder / "bin" / "python"
    if not (stamp.is_file() and stamp.read_text() == key):
        uv = str(PROJECT / ".tools" / "bin" / "uv")
        env = {**os.environ, "UV_CACHE_DIR": str(PROJECT / ".cache" / "uv")}
        for command in (
            ["venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            ["pip", "sync", "--quiet", "--python", str(python), "--require-hashes", "--compile-bytecode", str(lock)],
        ):
            subprocess.run([uv, *command], check=True, env=env)
        stamp.write_text(key)
    return python


def metaflow_environment(home: Path) -> dict[str, str]:
    """Return Metaflow's variables: local datastore and metadata, nothing sent."""
    return {
        **plain_environment(home),
        "METAFLOW_USER": "bench",
        "METAFLOW_HOME": str(home / "metaflow"),
        "METAFLOW_DEFAULT_METADATA": "local",
        "METAFLOW_DEFAULT_DATASTORE": "local",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(home / "metaflow"),
        "METAFLOW_DEFAULT_EVENT_LOGGER": "nullSidecarLogger",
        "METAFLOW_DEFAULT_MONITOR": "nullSidecarMonitor",
    }


def zenml_environment(home: Path) -> dict[str, str]:
    """Return ZenML's variables: its local stack, nothing sent."""
    return {
        **plain_environment(home),
        "ZENML_CONFIG_PATH": str(home / "zenml"),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_LOGGING_VERBOSITY": "ERROR",
        "ZENML_ENABLE_RICH_TRACEBACK": "false",
        "AUTO_OPEN_DASHBOARD": "false",
    }
