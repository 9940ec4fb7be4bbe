"""Parts of v1's classes that are not built yet: readable with their defaults, refused by name when changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepwell.runtime.errors import UserErrorException


class Section:
    """A section of v1's configuration that Stepwell does not honour yet.

    Reading gives v1's default; setting the same value again is harmless; any other value is refused, by name, so that
    nobody's setting is ignored in silence.

    :param path: how the author writes it ("environment.docker").
    :param defaults: v1's defaults.
    :param hint: what to do instead.
    """

    def __init__(self, path: str, defaults: Mapping[str, Any], hint: str | None = None) -> None:
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_defaults", dict(defaults))
        object.__setattr__(self, "_hint", hint)

    def __getattr__(self, name: str) -> Any:
        defaults = self.__dict__.get("_defaults", {})
        if name in defaults:
            value = defaults[name]
            return type(value)(value) if isinstance(value, (list, dict)) else value  # a copy: changing it is no setting
        if name.startswith("_"):
            raise AttributeError(name)
        raise UserErrorException(f"{self._path}.{name} does not exist", allowed=sorted(defaults))

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._defaults:
            raise UserErrorException(f"{self._path}.{name} does not exist", allowed=sorted(self._defaults))
        if value != self._defaults[name]:
            raise not_built(f"{self._path}.{name} = {value!r}", self._hint)

    def __repr__(self) -> str:
        return f"<{self._path}: defaults>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Section) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(self._path)


def not_built(what: str, hint: str | None = None) -> UserErrorException:
    """The error that says that *what* is not built yet."""
    return UserErrorException(f"{what} is not built yet in Stepwell", hint=hint or "Leave it at its default")
