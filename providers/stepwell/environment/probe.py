"""Run as a file by a user-managed interpreter: says on one line what it is and from where it imports.

Standard library only, Python 3.8: the interpreter is not ours.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname


class Found:
    """What is found out, collected bit by bit.

    :ivar folders: the package folders (``site-packages``).
    :ivar watched: files in them that say from where else to import: ``.pth`` files and the modules that these import.
    :ivar sources: folders and files that are imported and that no installed distribution's name and version tells of.
    """

    def __init__(self) -> None:
        self.folders = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
        self.packages: set[str] = set()
        self.watched: list[str] = []
        self.sources: list[str] = []
        self.claimed: set[str] = set()  # names in the package folders that distributions have brought
        self.unclear: set[str] = set()  # package folders where a distribution does not say what it brought
        self.editable: list[str] = []

    def add(self, path: str) -> None:
        """Add a source, unless it stands in a package folder."""
        path = os.path.abspath(path)
        if path not in self.sources and not any((path + os.sep).startswith(f + os.sep) for f in self.folders):
            self.sources.append(path)

    def distributions(self) -> None:
        """Names, versions, which files are theirs, and where the editable ones are."""
        try:
            from importlib import metadata
        except ImportError:
            return
        for one in metadata.distributions():
            self.packages.add("{}=={}".format((one.metadata["Name"] or "").lower(), one.version))
            brought = one.read_text("RECORD") or one.read_text("top_level.txt")
            if brought is None:
                self.unclear.add(os.path.abspath(str(one.locate_file(""))))
            self.claimed.update(line.split(",")[0].split("/")[0].split(".")[0] for line in (brought or "").splitlines())
            try:
                origin = json.loads(one.read_text("direct_url.json") or "{}")
                if origin.get("dir_info", {}).get("editable"):
                    self.editable.append(url2pathname(urlparse(origin["url"]).path))
            except (ValueError, KeyError, AttributeError):
                pass  # a damaged note; its .pth file still tells

    def pth_files(self) -> None:
        """Folders named in ``.pth`` files, there or not."""
        for folder in self.folders:
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
                if name.endswith(".pth"):
                    self.watched.append(os.path.join(folder, name))
                    for line in _lines(self.watched[-1]):
                        self.add(os.path.join(folder, line))

    def finders(self) -> None:
        """What the modules that ``.pth`` files import say: setuptools' map packages to folders, modules to files."""
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if file and os.path.dirname(file) in self.folders:
                self.watched.append(file)
                for path in _values(module, "MAPPING"):
                    self.add(path if os.path.exists(path) else path + ".py")
                for paths in _values(module, "NAMESPACES"):
                    for path in paths:
                        self.add(path)

    def search_path(self) -> None:
        """The other folders of ``sys.path``, without the standard library."""
        own = {os.path.dirname(os.__file__), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
        own = {os.path.realpath(path) for path in own if path}
        for path in sys.path:
            name = os.path.basename(path)
            if name != "lib-dynload" and os.path.realpath(path) not in own:
                if not (name.startswith("python") and name.endswith(".zip")):
                    self.add(path)

    def put_by_hand(self) -> None:
        """What stands in a package folder and came with no distribution, or is a link to the outside."""
        prefixes = [os.path.realpath(p) + os.sep for p in (sys.prefix, sys.base_prefix)]
        for folder in self.folders:
            for entry in sorted(os.scandir(folder), key=lambda e: e.name) if os.path.isdir(folder) else []:
                stem = entry.name.split(".")[0]
                if entry.name.endswith((".dist-info", ".egg-info", ".pth")) or stem in (
                    "",
                    "__pycache__",
                    "_virtualenv",
                ):
                    continue
                ours = stem not in self.claimed and folder not in self.unclear and entry.path not in self.watched
                if ours or (entry.is_symlink() and not os.path.realpath(entry.path).startswith(tuple(prefixes))):
                    if entry.is_dir() or entry.name.endswith((".py", ".so")):
                        self.sources.append(entry.path)

    def roots(self) -> None:
        """The projects of editable distributions of whose folders nothing else has told."""
        for root in map(os.path.abspath, self.editable):
            inside = [s for s in self.sources if (s + os.sep).startswith(root + os.sep) or root.startswith(s + os.sep)]
            if not inside:
                self.add(root)


def _lines(path: str) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as lines:
            for line in map(str.strip, lines):
                if line and "\0" not in line and not line.startswith(("#", "import ", "import\t")):
                    yield line
    except OSError:
        return  # Python does not read it either


def _values(module: Any, name: str) -> list[Any]:
    found = getattr(module, name, None)
    return list(found.values()) if isinstance(found, dict) else []


def main() -> dict[str, Any]:
    """Look at this interpreter.

    :returns: *version*, *prefix*, *platform*, *paths* (package folders), *packages* ("name==version"), *watched* and
        *sources* (see :class:`Found`).
    """
    found = Found()
    found.distributions()
    found.pth_files()
    found.finders()
    found.search_path()
    found.put_by_hand()
    found.roots()
    return {
        "version": ".".join(map(str, sys.version_info[:3])),
        "prefix": sys.prefix,
        "paths": found.folders,
        "platform": sysconfig.get_platform(),
        "packages": sorted(found.packages),
        "watched": found.watched,
        "sources": found.sources,
    }


if __name__ == "__main__":
    print(json.dumps(main()))
