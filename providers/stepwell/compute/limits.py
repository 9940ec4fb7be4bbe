"""Times that an installation may want otherwise: from environment variables, the same on all its workers."""

from __future__ import annotations

import os

#: A job that nobody has asked about for so long ends itself, in seconds (``STEPWELL_LEASE_SECONDS``).
LEASE = 86400.0


def lease_seconds() -> float:
    """Return how long a job goes on that nobody asks about."""
    return _seconds("STEPWELL_LEASE_SECONDS", LEASE)


def renewal_seconds() -> float:
    """Return how often who waits for a job renews its lease."""
    return max(1.0, min(3600.0, lease_seconds() / 10))


def unreachable_seconds(default: float) -> float:
    """Return after how long a target that does not answer is given up (``STEPWELL_UNREACHABLE_SECONDS``)."""
    return _seconds("STEPWELL_UNREACHABLE_SECONDS", default)


def _seconds(name: str, default: float) -> float:
    try:
        found = float(os.environ.get(name, ""))
    except ValueError:
        return default
    return found if found > 0 else default
