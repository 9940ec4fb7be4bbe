"""Hooks: the operations of a workspace, its datastores and its compute targets, for tasks of one's own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "ComputeTargetHook": "stepwell.hooks.compute",
    "DatastoreHook": "stepwell.hooks.datastore",
    "MachineHook": "stepwell.hooks.compute",
    "WorkspaceHook": "stepwell.hooks.workspace",
}

__all__ = sorted(_WHERE)

if TYPE_CHECKING:
    from stepwell.hooks.compute import ComputeTargetHook as ComputeTargetHook
    from stepwell.hooks.compute import MachineHook as MachineHook
    from stepwell.hooks.datastore import DatastoreHook as DatastoreHook
    from stepwell.hooks.workspace import WorkspaceHook as WorkspaceHook


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
