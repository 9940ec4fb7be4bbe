"""A Hadoop cluster behind its head node: what is there, its ResourceManager, and ``spark-submit`` over SSH.

``on_head_node.py`` looks around there, ``head.py`` asks it to, ``resource_manager.py`` asks YARN; ``batches.py`` makes
batches of all of them.
"""

from __future__ import annotations

from pathlib import Path


def packing_source() -> str:
    """Return a program that packs an environment where it is: its arguments are the folder and the archive."""
    source = Path(__file__).parent.parent.joinpath("packing.py").read_text("utf-8")
    return source + "\nimport sys\npack(sys.argv[1], Path(sys.argv[2]), print)\n"
