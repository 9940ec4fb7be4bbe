"""An environment as an archive for Spark executors, made once per environment."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

#: Executors have their own Spark; its jars are most of the environment.
LEFT_OUT = ("pyspark/jars", "pyspark/examples", "pyspark/data", "pyspark/licenses")


def pack(root: str, archive: Path, log: Callable[[str], None]) -> Path:
    """Return *archive*, made from the environment in the folder *root* unless it is there already.

    Its interpreter is a link to the machine's: executors need the same Python at the same path.
    """
    if archive.exists():
        return archive
    log(f"Packing the environment for executors: {archive}")
    archive.parent.mkdir(parents=True, exist_ok=True)
    aside = archive.with_name(f".{archive.name}.{os.getpid()}.tmp")

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        left_out = any(f"site-packages/{part}" in member.name for part in LEFT_OUT)
        return None if left_out or member.name.endswith("__pycache__") else member

    try:
        # Light compression: this is sent to each executor, and it is most often one copy on one network.
        with tarfile.open(aside, "w:gz", compresslevel=1) as out:
            out.add(root, arcname=".", filter=wanted)
        os.replace(aside, archive)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return archive
