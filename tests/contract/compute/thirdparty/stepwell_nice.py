"""A kind of compute target of another package, in one file: processes of this machine that let all others go first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from stepwell.compute.classes import compute_class
from stepwell.compute.contract import Entry, EnvironmentRef, Layout, Report
from stepwell.compute.kinds.local import LocalTarget
from stepwell.compute.settings import Form, Setting
from stepwell.errors import UserErrorException


def check_level(level: int) -> int:
    """Return *level* if ``nice`` takes it from everybody.

    :raises UserErrorException: it does not.
    """
    if not 1 <= level <= 19:
        raise UserErrorException(f"level={level} is not right", allowed=["1 to 19"])
    return level


class NiceTarget(LocalTarget):
    """This machine, through ``nice``.

    :param level: how far back a step stands, 1 to 19.
    """

    kind: ClassVar[str] = "nice"
    form: ClassVar[Form] = Form(
        "Nice",
        "this machine, with steps that let all other processes go first",
        (Setting("level", "how far back they stand, 1 to 19", "integer", default=10, check=check_level),),
    )

    def __init__(self, name: str, root: str | os.PathLike[str], level: int = 10) -> None:
        super().__init__(name, root)
        self.level = level

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: str) -> NiceTarget:
        """Return the target that a compute record describes."""
        return cls(record["name"], root, record["configuration"]["level"])

    async def probe(self) -> Report:
        """Look at this machine, and for ``nice``."""
        report = await super().probe()
        program = shutil.which("nice")
        problems = () if program else ("there is no program 'nice' on this machine",)
        return replace(report, facts={**report.facts, "nice": program}, problems=(*report.problems, *problems))

    def phases(
        self,
        entry: Entry,
        environment: EnvironmentRef,
        layout: Layout,
        *,
        variables: Mapping[str, str] | None = None,
        gates_in: EnvironmentRef | None = None,
    ) -> list[dict[str, Any]]:
        """Return the phases of a plain process, each through ``nice``."""
        found = super().phases(entry, environment, layout, variables=variables, gates_in=gates_in)
        return [{**phase, "argv": ["nice", "-n", str(self.level), *phase["argv"]]} for phase in found]


NiceCompute = compute_class(NiceTarget)
