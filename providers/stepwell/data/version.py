"""A version of a dataset: a definition, and the files that it meant when it was pinned."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stepwell.data.stores.base import normal, split_pattern
from stepwell.runtime import definition as definitions

FORMAT = 1


@dataclass(frozen=True)
class PinnedFile:
    """A file as it was when a version was made.

    :param datastore: the datastore's name; empty for a URL.
    :param path: relative to the datastore's root; or the URL.
    :param uri: the file as Spark reads it.
    :param size: in bytes.
    :param checksum: ``algorithm:digest``.
    """

    datastore: str
    path: str
    uri: str
    size: int
    checksum: str


@dataclass(frozen=True)
class DatasetVersion:
    """One version of a dataset; ``name`` and ``version`` are ``None`` if it is not registered.

    :param id: a registered version's own id, else the id of the definition (see ``stepwell.data.manifests``).
    :param digest: of the files' contents: which data it is, whatever the files are called.
    :param created: seconds since the epoch.
    :param verdict: what the gate said (``passed``, ``warned``), or ``None`` if there was none.
    """

    name: str | None
    version: int | None
    id: str
    definition: dict[str, Any]
    files: tuple[PinnedFile, ...]
    digest: str
    workspace: str
    workspace_name: str
    created: float
    rows: int | None = None
    schema: list[dict[str, Any]] | None = None
    producer: dict[str, Any] | None = None
    verdict: Any = None
    tags: dict[str, str] = field(default_factory=dict)
    description: str | None = None

    @property
    def definition_id(self) -> str:
        """The content id of the definition, which versions may share."""
        return definitions.content_id(self.definition)

    @property
    def kind(self) -> str:
        """``tabular`` or ``file``."""
        return str(self.definition["kind"])

    @property
    def size(self) -> int:
        """Of all files together, in bytes."""
        return sum(f.size for f in self.files)

    @property
    def is_single_file(self) -> bool:
        """Whether the definition names one file: such a dataset resolves to the file, any other to its folder."""
        paths = self.definition["paths"]
        return len(paths) == 1 and len(self.files) == 1 and _names(paths[0], self.files[0])

    @property
    def path(self) -> str:
        """Where the data is in its datastore: the single file, else the folder."""
        if self.is_single_file or not self.files:
            return self.files[0].path if self.files else ""
        folders = []
        for path in self.definition["paths"]:
            if "url" in path:
                folders.append(posixpath.dirname(path["url"]))
                continue
            fixed, magic = split_pattern(normal(path["path"]))
            names_file = not magic and any(f.path == fixed for f in self.files)
            folders.append(posixpath.dirname(fixed) if names_file else fixed)
        return posixpath.commonpath(folders) if all(folders) else ""

    @property
    def uri(self) -> str:
        """The data's own URI, as Spark reads it: of the single file, else of the folder."""
        if not self.files:
            return ""
        first = self.files[0]
        if first.datastore == "":
            return self.path
        root = first.uri[: len(first.uri) - len(first.path)]
        return (root + self.path).rstrip("/")

    @property
    def asset(self) -> str | None:
        """The stable URI of the dataset, whatever its version: what Airflow schedules on."""
        return f"stepwell://{self.workspace_name}/{self.name}" if self.name else None

    def reference(self) -> dict[str, Any]:
        """Return the plain dict that stands for this version on XCom and in asset events."""
        return {
            "dataset": self.name,
            "version": self.version,
            "id": self.id,
            "uri": self.uri,
            "asset": self.asset,
            "digest": self.digest,
            "rows": self.rows,
            "schema": self.schema,
            "size": self.size,
            "files": len(self.files),
            "producer": self.producer,
            "verdict": self.verdict,
            "workspace": self.workspace,
            "datastore": self.files[0].datastore if self.files else None,
            "path": self.path,
            "kind": self.kind,
            "format": self.definition["format"],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest."""
        return {"format": FORMAT, **asdict(self), "files": [asdict(f) for f in self.files]}

    @classmethod
    def from_dict(cls, manifest: Mapping[str, Any]) -> DatasetVersion:
        """Return the registered version that *manifest* describes; its id is made of what it says."""
        fields = {k: v for k, v in manifest.items() if k in cls.__dataclass_fields__}
        fields["id"] = registered_id(fields["definition"], fields["name"], fields["version"], fields["digest"])
        return cls(**{**fields, "files": tuple(PinnedFile(**f) for f in manifest["files"])})


def registered_id(definition: Mapping[str, Any], name: str, version: int, digest: str) -> str:
    """Return the id of a registered version: no two versions have the same one, also where they mean the same."""
    meant = definitions.content_id(dict(definition))
    return definitions.content_id({"definition": meant, "name": name, "version": version, "digest": digest})


def digest_of(files: Iterable[PinnedFile]) -> str:
    """Return the digest of the files' contents, free of their names (Spark's are random) and of their order."""
    facts = sorted((*f.checksum.split(":", 1), f.size) for f in files)
    return "sha256:" + hashlib.sha256(definitions.canonical(facts).encode()).hexdigest()


def _names(path: Mapping[str, str], file: PinnedFile) -> bool:
    if "url" in path:
        return path["url"] == file.path
    return normal(path["path"]) == file.path
