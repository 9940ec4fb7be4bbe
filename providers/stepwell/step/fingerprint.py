"""What a step is made of, by content: no address, no time, no path of a machine, nobody's name for a thing.

The parts of a step decide whether an earlier run's outputs can be handed on. They are kept with each run that was not
reused, so that the next one can say what is different.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from stepwell.errors import UserErrorException
from stepwell.quality import gates
from stepwell.step.spec import REGENERATE

if TYPE_CHECKING:
    from stepwell.data.version import DatasetVersion
    from stepwell.step.resolve import ResolvedInput
    from stepwell.step.snapshot import Snapshot
    from stepwell.step.spec import StepSpec

#: Part of every fingerprint: raised when Stepwell would make something else of the same step.
FORMAT = 1
#: Parts in which an author's templates may have put a secret.
MASKED = ("arguments", "command", "parameters", "spark", "target", "settings")
#: Settings of Spark whose values are kept by their digest only.
SENSITIVE = re.compile(r"secret|passw|pwd|token|credential|key|\bsas\b", re.IGNORECASE)
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: Spark gives its files another random name each time.
_SPARK_FILE = re.compile(r"(part-[0-9]+-)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Fingerprint:
    """A step by content.

    :param digest: of all parts; the same digest is the same step on the same data.
    :param parts: what it was made of, plain data, with known secrets masked; variables by their digest only.
    :param masked: digests of the parts that may hold something masked.
    :param gates: output → digest of its gate. Not part of *digest*: a gate judges what the step makes.
    :param files: path → sha256 of the source files, which *digest* has by the digest of the snapshot.
    :param packages: what the environment was asked to hold, which *digest* has by the environment's key.
    """

    digest: str
    parts: Mapping[str, Any]
    gates: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    masked: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Fingerprint:
        """Return what :meth:`to_dict` gave.

        :raises KeyError: it is something else.
        """
        needed = {name: document[name] for name in ("digest", "parts")}
        if not _DIGEST.fullmatch(str(needed["digest"])) or not isinstance(needed["parts"], dict):
            raise KeyError("digest")
        return cls(**needed, **{f.name: document[f.name] for f in fields(cls) if f.name in {*document} - {*needed}})


def fingerprint(
    spec: StepSpec,
    inputs: Sequence[ResolvedInput],
    snapshot: Snapshot | None,
    *,
    environment_key: str,
    environment: Mapping[str, Any],
    target: Mapping[str, Any],
    default_datastore: str,
    mask: Callable[[Any], Any],
) -> Fingerprint:
    """Return the step's fingerprint.

    :param snapshot: its source directory; ``None`` = it has none.
    :param environment_key: digest of what is installed where it runs.
    :param environment: its specification in the normal form; its variables are not part of the key.
    :param target: what of the compute target matters: its kind and settings, not its name or address.
    :param default_datastore: where outputs go that name none.
    :param mask: takes known secrets out of what is kept.
    :raises UserErrorException: a suite, or a file that a Spark step names, cannot be read.
    """
    variables = {**environment["variables"], **spec.variables}
    parts = _plain(
        {
            "format": FORMAT,
            "kind": spec.kind,
            "version": spec.version,
            "code": snapshot.digest if snapshot is not None else None,
            "script": spec.script,
            "arguments": list(spec.arguments),
            "command": list(spec.command),
            "parameters": {str(k): v for k, v in spec.params.items() if k != REGENERATE},
            "variables": {name: _digest(value) for name, value in variables.items()},
            "secrets": dict(spec.secrets),
            "environment": environment_key,
            "inputs": {i.name: _input(i, spec.inputs[i.name]) for i in inputs},
            "outputs": {name: _output(item, default_datastore) for name, item in spec.outputs.items()},
            "validations": {name: _gate(gate) for name, gate in spec.validations.items()},
            "spark": _spark(spec.spark, snapshot),
            "target": {**target, **({"conf": _without_secrets(target["conf"])} if target.get("conf") else {})},
            **({"module": spec.module, "settings": spec.settings} if spec.module else {}),
        }
    )
    masked = [name for name in MASKED if name in parts]
    return Fingerprint(
        _digest(parts),
        {**parts, **{name: mask(parts[name]) for name in masked}},
        {name: _gate(o["gate"]) for name, o in spec.outputs.items() if o["gate"]},
        {} if snapshot is None else {file.path: file.sha256 for file in snapshot.files},
        {name: _digest(parts[name]) for name in masked},
        {name: environment[name] for name in ("python", "conda", "pip")},
    )


def content_of(version: DatasetVersion) -> str:
    """Return a digest of the data that a step reads: contents, names below their folder, and how they are read.

    The dataset's name, version and place are not in it. Neither is the random part of the names of Spark's files. Where
    columns are made from the paths, these count as they are; where files are read into one table, so does their order.
    """
    read = {name: value for name, value in version.definition.items() if name != "paths"}
    options = version.definition.get("options") or {}
    if options.get("partition_format") or options.get("include_path"):
        names = [f"{file.datastore}:{file.path}" for file in version.files]
    else:
        names = [_SPARK_FILE.sub(r"\1", name) for name in _names(version)]
    files = [[name, file.checksum, file.size] for name, file in zip(names, version.files, strict=True)]
    if version.kind == "file":
        files.sort()
    return _digest({"files": files, "read": read, "single": version.is_single_file})


def proof_of(version: DatasetVersion) -> str:
    """Return a digest of files as they were published, by which they are known again: names and contents."""
    return _digest(sorted([n, f.checksum, f.size] for n, f in zip(_names(version), version.files, strict=True)))


def _names(version: DatasetVersion) -> list[str]:
    """Return the names of the files below the folder that the definition names."""
    return [posixpath.relpath(file.path, version.path or ".") for file in version.files]


def _input(resolved: ResolvedInput, item: Mapping[str, Any]) -> dict[str, Any]:
    # A mount shows under the same names what a download copies: a step makes the same of both.
    mode = "download" if resolved.mode == "mount" else resolved.mode
    return {"mode": mode, "at": item.get("path_on_compute"), "content": content_of(resolved.version)}


def _output(item: Mapping[str, Any], default_datastore: str) -> dict[str, Any]:
    where = item["destination"]
    return {
        "mode": item["mode"],
        "destination": [where["datastore"] or default_datastore, where["path"]],
        "read": item["read"],
        "plan": item["plan"],
    }


def _gate(gate: Mapping[str, Any]) -> str:
    return _digest({**gate, "suite": gates.suite_of(gate["suite"])})


def _spark(spark: Mapping[str, Any] | None, snapshot: Snapshot | None) -> dict[str, Any] | None:
    """Return sizes and settings, and files outside of the source directory by content; not the application's name."""
    if spark is None:
        return None
    found = {name: value for name, value in spark.items() if name != "app_name"}
    found["conf"] = _without_secrets(found.get("conf") or {})
    for name in ("py_files", "jars", "files"):
        found[name] = [_file(name, path, snapshot) for path in found.get(name) or ()]
    return found


def _file(parameter: str, path: str, snapshot: Snapshot | None) -> list[str]:
    """Return the name that a file of a Spark step gets, and its content; of one elsewhere its address must do."""
    parts = urlsplit(path.partition("#")[0])
    place = unquote(parts.path) if parts.scheme == "file" else path.partition("#")[0]
    if parts.scheme not in ("", "file") or not os.path.isabs(place):
        return [path]
    places = [place] if os.path.lexists(place) else sorted(glob.glob(place))
    try:
        found = [(one, file) for one in places for file in _files_below(one)]
        contents = [f"{os.path.relpath(file, os.path.dirname(one))}:{_sha256(file)}" for one, file in found]
    except OSError as error:
        raise UserErrorException(
            f"The file {place!r} in {parameter} cannot be read: {error.strerror}",
            hint="Put it into the source directory, or correct the path",
        ) from error
    return [posixpath.basename(path), *contents] if contents else [path]


def _files_below(place: str) -> list[str]:
    """Return *place* if it is a file, else the files in it."""
    if os.path.isfile(place):
        return [place]
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names)


def _sha256(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _without_secrets(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings, those that may hold a secret (the options of a JVM, say) by their digest."""
    return {n: _digest(value) if SENSITIVE.search(f"{n} {value}") else value for n, value in conf.items()}


def _digest(value: Any) -> str:
    return hashlib.sha256(_text(value).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return *value* as a record can hold it: a param may be a date, or not a number."""
    return json.loads(_text(value), parse_constant=str)


def _text(value: Any) -> str:
    value = json.loads(json.dumps(value, default=str))  # keys of several types cannot be sorted; as text they can
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")
