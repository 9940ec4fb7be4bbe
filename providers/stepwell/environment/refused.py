"""Parts of v1's classes that are not built yet: readable with their defaults, refused by name when changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from stepwell.runtime.errors import UserErrorException
from stepwell.runtime.names import nearest


class _Fixed(list[Any]):
    """A default that is a list: readable; putting something into it would be ignored, so it is refused."""

    def __init__(self, path: str, values: list[Any], hint: str | None) -> None:
        super().__init__(values)
        self._path = path
        self._hint = hint

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise not_built(f"Changing {self._path}", self._hint)

    append = extend = insert = remove = pop = clear = sort = reverse = _refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse


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
            return _Fixed(f"{self._path}.{name}", value, self._hint) if isinstance(value, list) else value
        if name.startswith("_"):
            raise AttributeError(name)
        raise no_such(self._path, name, defaults)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._defaults:
            raise no_such(self._path, name, self._defaults)
        if value != self._defaults[name]:
            raise not_built(f"{self._path}.{name} = {value!r}", self._hint)

    def __repr__(self) -> str:
        return f"<{self._path}: defaults>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Section) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(self._path)


def no_such(path: str, name: str, known: Iterable[str]) -> UserErrorException:
    """The error that says that *path* has no attribute *name*, with the nearest ones that it has."""
    return UserErrorException(f"{path}.{name} does not exist", allowed=nearest(name, known))


def not_built(what: str, hint: str | None = None) -> UserErrorException:
    """The error that says that *what* is not built yet."""
    return UserErrorException(f"{what} is not built yet in Stepwell", hint=hint or "Leave it at its default")
