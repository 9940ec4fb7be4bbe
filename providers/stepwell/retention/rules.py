"""How long things are kept, and how a user says so."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stepwell.errors import UserErrorException
from stepwell.runtime.names import check_name

DAY = 86400.0
#: Nothing younger is ever removed, in seconds: whoever has just made it may not have noted yet that it needs it.
YOUNG = DAY
#: A job directory whose run has ended is of no use after so many seconds.
JOB_AGE = 7 * DAY

#: What can be asked for → the kinds of items that belong to it, in the order in which they are removed.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "runs": ("index", "outputs", "manifests", "validations", "runs", "heads"),
    "versions": ("versions", "data"),
    "snapshots": ("snapshots",),
    "staging": ("staging", "drafts"),
    "quarantine": ("quarantine",),
    "index": ("index", "claims"),
    "environments": ("environments",),
    "jobs": ("jobs",),
}
_UNITS = {"h": 3600.0, "d": DAY, "w": 7 * DAY}
_FORMS = ("30d", "36h", "2w")


@dataclass(frozen=True)
class Rules:
    """What may be removed.

    :param older_than: runs that ended fewer seconds ago are kept.
    :param keep: how many of the newest completed runs of each step are kept, whatever their age.
    :param versions: dataset → how many of its newest versions are kept; of others all are.
    :param environments_unused_for: environments that were used fewer seconds ago are kept.
    :param what: keys of :data:`GROUPS`.
    :param now: the time that ages are counted from, in seconds since 1970.
    """

    older_than: float = 30 * DAY
    keep: int = 10
    versions: Mapping[str, int] = field(default_factory=dict)
    environments_unused_for: float = 90 * DAY
    what: frozenset[str] = frozenset(GROUPS)
    now: float = field(default_factory=time.time)

    def age(self, when: float) -> float:
        """Return how many seconds ago that was."""
        return self.now - when


def rules(
    *,
    older_than: str = "30d",
    keep: int | str = 10,
    datasets: str | Iterable[str] | None = None,
    keep_versions: int | str | None = None,
    environments_unused_for: str = "90d",
    what: str | Iterable[str] | None = None,
) -> Rules:
    """Return the rules that a user has written down.

    :param older_than: a length of time: ``30d``, ``36h``, ``2w``; at least a day, as for *environments_unused_for*.
    :param keep: 0 or more.
    :param datasets: names, as a list or separated by commas, whose older versions may go.
    :param keep_versions: how many of their versions stay, 1 or more; needed with *datasets*.
    :param what: keys of :data:`GROUPS`, as a list or separated by commas; default: all.
    :raises UserErrorException: a value is none of that.
    """
    names = [check_name("dataset", name) for name in _list(datasets)]
    if (keep_versions is None) == bool(names):
        raise UserErrorException(
            "--datasets and --keep-versions are given together: which datasets, and how many versions of each stay",
            hint="For instance --datasets passengers --keep-versions 5",
        )
    count = 0 if keep_versions is None else _number("--keep-versions", keep_versions, 1)
    wanted = _list(what) if what is not None else list(GROUPS)
    unknown = [name for name in wanted if name not in GROUPS]
    if unknown or not wanted:
        said = ", ".join(map(repr, unknown)) or "nothing"
        raise UserErrorException(f"--what names {said}, which cannot be pruned", allowed=GROUPS)
    return Rules(
        older_than=seconds("--older-than", older_than),
        keep=_number("--keep", keep, 0),
        versions=dict.fromkeys(names, count),
        environments_unused_for=seconds("--environments-unused-for", environments_unused_for),
        what=frozenset(wanted),
    )


def seconds(name: str, text: Any) -> float:
    """Return how many seconds ``30d``, ``36h`` or ``2w`` are.

    :param name: of the parameter, for the message.
    :raises UserErrorException: it is no such time, or shorter than a day.
    """
    match = re.fullmatch(r"\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*([hdw])\s*", str(text), re.ASCII)
    if match is None:
        raise UserErrorException(
            f"{name} is {text!r}, which is no length of time",
            allowed=_FORMS,
            hint="A number, then h (hours), d (days) or w (weeks)",
        )
    found = float(match[1]) * _UNITS[match[2]]
    if found < YOUNG:
        raise UserErrorException(
            f"{name} is {text!r}, which is less than a day",
            allowed=["1d and more"],
            hint="What is younger may be needed by a DAG run that is under way",
        )
    return found


def _number(name: str, value: int | str, least: int) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) < least:
        raise UserErrorException(f"{name} is {value!r}", allowed=[f"a whole number, {least} or more"])
    return int(text)


def _list(value: str | Iterable[str] | None) -> list[str]:
    given = value.split(",") if isinstance(value, str) else list(value or ())
    return list(dict.fromkeys(text for name in given if (text := str(name).strip())))
