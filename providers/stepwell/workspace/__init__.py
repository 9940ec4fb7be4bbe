"""The workspace: a root URL below which Stepwell keeps its records, and the port through which connections come.

``Workspace`` is looked up when it is asked for, so that importing a part of this package costs no more than that part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.workspace.workspace import Workspace as Workspace

__all__ = ["Workspace"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from stepwell.workspace import workspace

        return getattr(workspace, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
