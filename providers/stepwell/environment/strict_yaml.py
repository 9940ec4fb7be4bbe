"""Reading small YAML files that people write: strict, with line numbers, and safe against hostile ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.errors import EnvironmentException

if TYPE_CHECKING:
    import yaml

#: An environment file has some dozens of lines.
MAX_BYTES = 256 * 1024
_MAX_DEPTH = 20


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """Return the text of the small file *path*.

    :param what: what the file is, for messages ("conda specification").
    :raises EnvironmentException: it does not exist, is too large, is not UTF-8.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise EnvironmentException(f"The {what} {file} has {size} bytes", allowed=[f"at most {MAX_BYTES} bytes"])
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        shown = file if file.is_absolute() else f"{file} (looked for {file.absolute()})"
        raise EnvironmentException(
            f"The {what} {shown} does not exist", hint="Give its path as seen by the worker, best built from __file__"
        ) from error
    except UnicodeDecodeError as error:
        raise EnvironmentException(f"The {what} {file} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise EnvironmentException(f"The {what} {file} cannot be read: {error.strerror}") from error


def load_mapping(text: str, where: str, keys: tuple[str, ...] | None) -> dict[str, Any]:
    """Parse *text* as one YAML mapping with no other top-level *keys*, no aliases, no repeated keys.

    :param keys: ``None`` = any.
    :param where: the file's name, for messages.
    :returns: plain data; an empty text gives an empty mapping.
    :raises EnvironmentException: it is malformed; the message has the line.
    """
    import yaml

    from stepwell.runtime.names import nearest

    root = _compose(text, where)
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise EnvironmentException(
            f"{where}, line {_line(root)}: a mapping is expected here", allowed=keys or ["name: value"]
        )
    for key, _ in root.value:
        if keys is not None and key.value not in keys:
            near = nearest(str(key.value), keys)
            hint = f"Did you mean {near[0]!r}?" if len(near) < len(keys) else None
            raise EnvironmentException(
                f"{where}, line {_line(key)}: unknown key {key.value!r}", allowed=keys, hint=hint
            )
    try:
        data: dict[str, Any] = yaml.SafeLoader("").construct_document(root)
    except yaml.YAMLError as error:
        raise _malformed(error, where) from error
    except (ValueError, TypeError) as error:  # a date that is none; an unhashable key
        raise EnvironmentException(f"{where}: {error}") from error
    return data


def lines_of(text: str, key: str) -> list[int]:
    """Return the line of each item of the sequence under the top-level *key* of *text*, which was loaded before."""
    import yaml

    root = _compose(text, "")
    for name, node in root.value if isinstance(root, yaml.MappingNode) else ():
        if name.value == key and isinstance(node, yaml.SequenceNode):
            return [_line(item) for item in node.value]
    return []


def _compose(text: str, where: str) -> yaml.Node | None:
    import yaml

    class Composer(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                event: Any = self.peek_event()  # type: ignore[no-untyped-call]
                raise EnvironmentException(
                    f"{where}, line {event.start_mark.line + 1}: the alias *{event.anchor} is not accepted",
                    hint="Write the value out: aliases can make a small file expand without end",
                )
            self.depth += 1
            if self.depth > _MAX_DEPTH:
                event = self.peek_event()  # type: ignore[no-untyped-call]
                line = event.start_mark.line + 1
                raise EnvironmentException(f"{where}, line {line}: nested deeper than {_MAX_DEPTH} levels")
            node = super().compose_node(parent, index)
            self.depth -= 1
            if isinstance(node, yaml.MappingNode):
                _no_repeats(node, where)
            return node

    try:
        loader = Composer(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _malformed(error, where) from error


def _no_repeats(node: yaml.MappingNode, where: str) -> None:
    seen: set[Any] = set()
    for key, _ in node.value:
        if isinstance(key.value, str):
            if key.value in seen:
                raise EnvironmentException(f"{where}, line {_line(key)}: the key {key.value!r} comes twice")
            seen.add(key.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _malformed(error: yaml.YAMLError, where: str) -> EnvironmentException:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if "'\\t'" in str(problem):
        return EnvironmentException(
            f"{where}{line}: a tab cannot indent YAML", allowed=["spaces"], hint="Replace the tab with spaces"
        )
    return EnvironmentException(f"{where}{line}: {problem}", hint="Correct the YAML")
