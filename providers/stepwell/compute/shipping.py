"""The payload: what Stepwell itself needs on a target, named by its digest and unpacked there once."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

#: The package's own ``__init__`` is core's; on a target the package is only a roof.
_ROOF = b'"""Stepwell on a compute target: the runtime and the payload."""\n'
_LEFT_OUT = {"__pycache__", ".mypy_cache", ".ruff_cache"}


def _files() -> Iterator[tuple[str, Path | bytes]]:
    package = Path(__file__).resolve().parent.parent
    yield "stepwell/__init__.py", _ROOF
    for part in ("runtime", "payload"):
        for path in sorted((package / part).rglob("*")):
            relative = path.relative_to(package)
            if not path.is_file() or path.suffix == ".pyc" or _LEFT_OUT.intersection(relative.parts):
                continue
            if relative.parts[:2] == ("payload", "azureml"):  # on a path of its own: not every step may see it
                yield f"v1/{relative.relative_to('payload')}", path
            else:
                yield f"stepwell/{relative}", path


@functools.lru_cache(maxsize=1)
def digest() -> str:
    """Return the payload's digest, which names its folder on every target."""
    found = hashlib.sha256()
    for name, content in _files():
        data = content if isinstance(content, bytes) else content.read_bytes()
        found.update(f"{name}\0{len(data)}\0".encode() + data)
    return found.hexdigest()[:20]


def archive() -> bytes:
    """Return the payload as a zip archive."""
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in _files():
            data = content if isinstance(content, bytes) else content.read_bytes()
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o100644 << 16
            out.writestr(info, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
