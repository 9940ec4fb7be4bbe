"""From a kind to v1's class of its compute targets, and to what that kind wants to be told."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from stepwell.compute import registry
from stepwell.compute.settings import Form

if TYPE_CHECKING:
    from stepwell.compute.base import ComputeTarget, Configuration

_log = logging.getLogger(__name__)
#: The built-in ones. A kind of another package has its class made from the ``form`` of its target.
CLASSES = {
    "local": "stepwell.compute.base:LocalTarget",
    "amlcompute": "stepwell.compute.aml_compute:AmlCompute",
    "spark": "stepwell.compute.spark_compute:SparkCompute",
    "synapse": "stepwell.compute.spark_compute:SynapseCompute",
    "docker": "stepwell.compute.docker_compute:DockerCompute",
    "remote": "stepwell.compute.remote_compute:RemoteCompute",
    "remotedocker": "stepwell.compute.remote_compute:RemoteDockerCompute",
    "cluster": "stepwell.compute.cluster_compute:HDInsightCompute",
    "livy": "stepwell.compute.livy_compute:LivyCompute",
}


def class_of(kind: str) -> type[ComputeTarget]:
    """Return v1's class of a kind.

    :raises ComputeTargetException: there is no such kind.
    """
    if kind in CLASSES:
        module, _, name = CLASSES[kind].partition(":")
        found: type[ComputeTarget] = getattr(importlib.import_module(module), name)
        return found
    return compute_class(registry.target_class(kind))


def form_of(kind: str) -> Form:
    """Return what a kind wants to be told.

    :raises ComputeTargetException: there is no such kind.
    """
    if kind not in CLASSES:
        return _form_of_target(kind)
    cls = class_of(kind)
    return cls.form if cls.form.type else Form(cls._compute_type, managed=cls._managed)


def kinds(*, managed: bool | None = None) -> dict[str, Form]:
    """Return the kinds that can be attached or created, with their forms; a package that does not load is left out.

    :param managed: only those that are created (True) or attached (False).
    """
    found = {}
    for kind in registry.kinds():
        if kind == "local":
            continue
        try:
            form = form_of(kind)
        except Exception:  # somebody else's module: whatever is the matter with it, the others are there
            _log.warning("The kind of compute targets %r cannot be loaded", kind, exc_info=True)
            continue
        if managed is None or form.managed is managed:
            found[kind] = form
    return found


def compute_class(target: Any) -> type[ComputeTarget]:
    """Return v1's class for a kind of another package, made from its target's ``kind`` and ``form``.

    ``attach_configuration`` of it has the form's settings as parameters (``provisioning_configuration``, if managed).
    """
    from stepwell.compute.base import ComputeTarget

    kind, form = target.kind, _form(target)
    known = ComputeTarget._classes.get(form.type)
    if known is not None:
        return known
    name = "".join(word.capitalize() for word in form.type.replace("-", "_").split("_"))
    members: dict[str, Any] = {
        "form": form,
        "kind": kind,
        "_compute_type": form.type,
        "_managed": form.managed,
        "__doc__": f"A compute target of the kind ``{kind}``: {form.about}.",
        "__module__": getattr(target, "__module__", __name__),
        "provisioning_configuration" if form.managed else "attach_configuration": classmethod(_configuration),
    }
    return type(f"{name}Compute", (ComputeTarget,), members)


def _form_of_target(kind: str) -> Form:
    return _form(registry.target_class(kind))


def _form(target: Any) -> Form:
    form = getattr(target, "form", None)
    return form if isinstance(form, Form) else Form(target.kind, "")  # nothing to tell


def _configuration(
    cls: type[ComputeTarget],
    /,
    *,
    tags: dict[str, str] | None = None,
    description: str | None = None,
    **settings: Any,
) -> Configuration:
    """Return what ``ComputeTarget.attach`` needs, or ``create``; the kind's own settings are the parameters."""
    return cls.configuration(settings, tags, description)
