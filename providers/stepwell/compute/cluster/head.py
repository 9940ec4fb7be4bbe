"""What is on a head node: asked there once, and remembered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stepwell.compute.ports import Exec
from stepwell.errors import ComputeTargetException

#: A login there may be slow.
_SECONDS = 60.0
#: What was seen counts for so long, in seconds.
FRESH_SECONDS = 600.0
_known: dict[tuple[str, ...], tuple[float, Head]] = {}
_SCRIPT = Path(__file__).with_name("on_head_node.py")


@dataclass(frozen=True)
class Head:
    """What a head node has.

    :param variables: what Hadoop and Spark go by, as a login there sets it.
    :param spark_submit: its path; None if there is none.
    :param defaults: Spark's settings there.
    :param yarn: addresses of the ResourceManager's REST.
    :param skew: its clock less ours, in seconds.
    """

    variables: Mapping[str, str]
    spark_submit: str | None
    spark: str | None
    defaults: Mapping[str, str]
    java: str | None
    hadoop_conf: str | None
    default_fs: str | None
    kerberos: bool
    yarn: tuple[str, ...]
    python: str
    skew: float

    def problems(self, name: str) -> list[str]:
        """Return why jobs cannot be submitted from there."""
        found = []
        if self.spark_submit is None:
            found.append(
                f"there is no spark-submit on the head node of {name}: not in SPARK_HOME, not on PATH, not where "
                "distributions put it; give its path as spark_submit"
            )
        if self.java is None:
            found.append("there is no Java on the head node: set JAVA_HOME there, or in the target's variables")
        if self.hadoop_conf is None:
            found.append("HADOOP_CONF_DIR is not set on the head node: set it there, or in the target's variables")
        if self.kerberos:
            found.append("the cluster wants Kerberos, which is not supported")
        return found


class HeadNode:
    """A head node that is asked when something of it is wanted for the first time.

    :param run: commands there.
    :param python: the interpreter there.
    :param spark_submit: a path; default: it is looked for.
    :param variables: go before those of a login.
    :param key: whose answer may be remembered for others of this process.
    """

    def __init__(
        self,
        name: str,
        run: Exec,
        python: str,
        spark_submit: str | None,
        variables: Mapping[str, str] | None,
        key: str = "",
    ) -> None:
        self.name = name
        self.python = python
        self.asked = spark_submit or ""
        self.variables = dict(variables or {})
        self._run = run
        self._key = (key, python, self.asked, json.dumps(self.variables, sort_keys=True))

    async def look(self) -> Head:
        """Ask it.

        :raises ComputeTargetException: it cannot be asked, or its Python does not run.
        """
        source = await asyncio.to_thread(_SCRIPT.read_text, "utf-8")
        argv = [self.python, "-I", "-c", source, self.asked, json.dumps(self.variables)]
        before = time.time()
        done = await self._run.run(argv, timeout=_SECONDS)
        after = time.time()
        try:
            found: dict[str, Any] = json.loads(done.out.splitlines()[-1])
        except (ValueError, IndexError):
            said = (done.err or done.out).strip()[-500:] or f"exit code {done.code}"
            raise ComputeTargetException(
                f"The head node of {self.name} cannot be looked at: {said}",
                hint=f"Is {self.python!r} a Python 3.8 or later there?",
            ) from None
        skew = float(found.pop("now")) - (before + after) / 2
        known = {field.name: found[field.name] for field in fields(Head) if field.name in found}
        head = Head(**{**known, "yarn": tuple(found["yarn"])}, skew=skew)
        _known[self._key] = (time.monotonic(), head)
        return head

    async def known(self) -> Head:
        """Return what is there, asked every ten minutes at most.

        :raises ComputeTargetException: something that submitting needs is not there.
        """
        at, head = _known.get(self._key, (0.0, None))
        if head is None or time.monotonic() - at > FRESH_SECONDS:
            head = await self.look()
        problems = head.problems(self.name)
        if problems:
            _known.pop(self._key)  # somebody may put it right
            raise ComputeTargetException(f"{self.name} cannot run jobs: {'; '.join(problems)}")
        return head
