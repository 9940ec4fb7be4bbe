"""``environment.docker``: for compute targets that run containers; others say that they do not use it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stepwell.environment.refused import no_such, not_built
from stepwell.errors import EnvironmentException
from stepwell.runtime.errors import UserErrorException

_DEFAULTS: dict[str, Any] = {
    "enabled": False,
    "base_image": None,
    "base_dockerfile": None,
    "shared_volumes": True,
    "gpu_support": False,
    "shm_size": "2g",
    "arguments": [],
}
#: Parts of v1's section that are not kept, with their default and what to do instead.
_NOT_KEPT = {
    "build_context": "Name an image that is built already: docker.base_image",
    "base_image_registry": "Credentials of a registry would be stored with the DAG",
}

_DOCKERFILE = re.compile(r"^\s*(FROM|ARG)\s", re.IGNORECASE | re.MULTILINE)


class DockerSection:
    """v1's settings of the container: *base_image* or *base_dockerfile* (text, or the path of a file), *arguments* of
    ``docker run``, *shm_size*, …

    :raises UserErrorException: an unknown attribute, a value of the wrong type, image and Dockerfile at once.
    """

    enabled: bool
    base_image: str | None
    base_dockerfile: str | None
    shared_volumes: bool
    gpu_support: bool
    shm_size: str
    arguments: list[str]

    def __init__(self, **values: Any) -> None:
        for name, default in _DEFAULTS.items():
            object.__setattr__(self, name, list(default) if isinstance(default, list) else default)
        for name, value in values.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name in _NOT_KEPT:
            return None
        if name.startswith("_"):
            raise AttributeError(name)
        raise no_such("environment.docker", name, _DEFAULTS)

    def __setattr__(self, name: str, value: Any) -> None:
        path = f"environment.docker.{name}"
        if name in _NOT_KEPT:
            if value is not None:
                raise not_built(f"{path} = {value!r}" if name == "build_context" else path, _NOT_KEPT[name])
            return
        if name not in _DEFAULTS:
            raise no_such("environment.docker", name, _DEFAULTS)
        object.__setattr__(self, name, _checked(path, value, _DEFAULTS[name]))
        if self.base_image is not None and self.base_dockerfile is not None:
            other = "base_dockerfile" if name == "base_image" else "base_image"
            object.__setattr__(self, name, None)
            raise UserErrorException(
                f"{path} is set beside {other}", hint=f"An image is named or built: set {other} to None first"
            )

    def serialize(self) -> dict[str, Any]:
        """What differs from v1's defaults, as plain data."""
        return {
            name: list(value) if isinstance(value, list) else value
            for name in _DEFAULTS
            if (value := _checked(f"environment.docker.{name}", getattr(self, name), _DEFAULTS[name]))
            != _DEFAULTS[name]
        }

    @classmethod
    def deserialize(cls, data: Mapping[str, Any]) -> DockerSection:
        """The section that :meth:`serialize` wrote."""
        return cls(**data)

    def __repr__(self) -> str:
        return f"<environment.docker: {self.serialize() or 'defaults'}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DockerSection) and self.serialize() == other.serialize()

    __hash__ = None  # type: ignore[assignment]  # it can be edited


def normal(section: object) -> dict[str, Any]:
    """Return the part of the section that says how a container is made and started, a Dockerfile as its text.

    :raises EnvironmentException: it is malformed, or the Dockerfile cannot be read.
    """
    if not isinstance(section, Mapping):
        raise EnvironmentException(f"Environment specification: 'docker' is {section!r}", allowed=["a mapping"])
    try:
        found = DockerSection.deserialize(section).serialize()
    except UserErrorException as error:
        raise EnvironmentException(error.what, allowed=error.allowed, hint=error.hint) from error
    for name in ("enabled", "shared_volumes"):  # what runs in containers is the compute target's to say
        found.pop(name, None)
    text = found.get("base_dockerfile")
    if text and not _DOCKERFILE.search(text):
        try:
            found["base_dockerfile"] = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise EnvironmentException(
                f"The Dockerfile {text!r} of the environment cannot be read: {getattr(error, 'strerror', error)}",
                hint="base_dockerfile is the text of a Dockerfile, or the path of one",
            ) from error
    return found


def say_unused(spec: Mapping[str, Any], log: Callable[[str], None]) -> None:
    """Tell *log* what of the specification counts in containers only."""
    if spec.get("docker"):
        own = f"; what counts is its interpreter {spec['interpreter']!r}" if spec.get("user_managed") else ""
        log(
            f"Warning: the docker settings of the environment ({', '.join(spec['docker'])}) are not used: this compute "
            f"target runs no containers{own}"
        )


def _checked(path: str, value: Any, default: Any) -> Any:
    if isinstance(default, bool):
        good, allowed = isinstance(value, bool), "True, False"
    elif isinstance(default, list):
        good = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
        allowed = "a list of text"
        # The very list is kept: what is appended to it later counts.
        value = list(value) if isinstance(value, tuple) else value
    else:
        good = (
            isinstance(value, str) and bool(value)
            if default
            else value is None or (isinstance(value, str) and value != "")
        )
        allowed = "text" if default else "text, None"
    if not good:
        raise UserErrorException(f"{path} is {value!r}", allowed=[allowed])
    return value
