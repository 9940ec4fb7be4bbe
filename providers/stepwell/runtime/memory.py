"""Whether the kernel has killed something of ours for its memory: what the control group of a container says."""

from __future__ import annotations

_FOLDER = "/sys/fs/cgroup/"
#: Files of the two versions of control groups: with the count of kills, and with the limit in bytes.
_KILLS = ("memory.events", "memory/memory.oom_control")
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
_NONE = 1 << 60  # what version 1 says when there is no limit


def kills() -> int:
    """Return how many processes of this container the kernel has killed for their memory; 0 where nobody says."""
    for line in _first(_KILLS).splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill" and count.strip().isdigit():
            return int(count)
    return 0


def limit() -> str:
    """Return the limit in words, "512 MB"; nothing if there is none."""
    text = _first(_LIMITS).strip()
    if not text.isdigit() or int(text) >= _NONE:
        return ""
    size = int(text)
    return f"{size / (1 << 30):.3g} GB" if size >= 1 << 30 else f"{size >> 20} MB"


def _first(names: tuple[str, ...]) -> str:
    for name in names:
        try:
            with open(_FOLDER + name) as file:
                return file.read()
        except OSError:
            continue
    return ""
