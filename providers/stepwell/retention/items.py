"""What may go, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from stepwell.retention.rules import GROUPS, Rules


@dataclass(frozen=True)
class Item:
    """Something that may go.

    :param kind: one of those in :data:`~stepwell.retention.rules.GROUPS`.
    :param path: where it is: below the workspace's root, the datastore's root, or as it is on a target.
    :param size: in bytes.
    :param age: in seconds; None if nothing tells.
    :param why: why it may go.
    :param where: empty for the workspace, else the name of the datastore or of the compute target.
    :param subject: the run, the version (``name/number``), the environment or the job that it belongs to.
    """

    kind: str
    path: str
    size: int
    age: float | None
    why: str
    where: str = ""
    subject: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Which item it is."""
        return (self.kind, self.where, self.path)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass
class Plan:
    """What may go.

    :param notes: what was left alone, and why.
    :param pending: versions that are gone, and whose files cannot be looked at now.
    """

    rules: Rules
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pending: set[str] = field(default_factory=set)

    def totals(self) -> dict[str, dict[str, int]]:
        """Return for each kind how many items there are, and how many bytes."""
        return totals(self.items)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"totals": self.totals(), "items": [i.to_dict() for i in self.items], "notes": self.notes}


def totals(items: Iterable[Item]) -> dict[str, dict[str, int]]:
    """Return for each kind how many *items* there are, and how many bytes, in the order in which they are removed."""
    order = list(dict.fromkeys(kind for kinds in GROUPS.values() for kind in kinds))
    found: dict[str, dict[str, int]] = {}
    for item in sorted(items, key=lambda i: order.index(i.kind)):
        one = found.setdefault(item.kind, {"count": 0, "bytes": 0})
        one["count"] += 1
        one["bytes"] += item.size
    return found
