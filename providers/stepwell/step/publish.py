"""From what a step wrote to dataset versions: written aside, judged there, published whole, registered last.

Every function can be run again by another try: what an earlier one has published already is found, not done twice.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from logging import Logger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.compute.contract import Layout
from stepwell.data import registry
from stepwell.data.datastore import Datastore
from stepwell.data.version import digest_of
from stepwell.errors import DatasetError, UserErrorException
from stepwell.runtime import definition as definitions

if TYPE_CHECKING:
    from stepwell.data.registry import DatasetVersion, PinnedFile
    from stepwell.workspace import Workspace

#: Below a datastore's root: what is being written, and what a gate has turned down. No dataset's path leads here.
STAGING = ".stepwell/staging"
QUARANTINE = ".stepwell/quarantine"
Event = Mapping[str, Any]


@dataclass(frozen=True)
class PlannedOutput:
    """Where one output is written, and where it will be published.

    :param item: the output as the step's specification has it.
    :param staging: the folder on the datastore that is written to.
    :param final: the folder on the datastore that the version will name.
    :param value: what the script gets: a local path, or a URL.
    """

    name: str
    item: Mapping[str, Any]
    datastore: Datastore
    staging: str
    final: str
    value: str

    @property
    def mode(self) -> str:
        """``upload`` or ``hdfs``."""
        return str(self.item["mode"])

    def definition(self) -> dict[str, Any]:
        """The definition of what will be published."""
        read = dict(self.item["read"])
        options = dict(read.get("options") or {})
        glob = options.pop("path_glob", None)
        path = posixpath.join(self.final, glob) if glob else self.final
        definition = definitions.make(
            "tabular" if read else "file",
            read.get("format"),
            [{"datastore": self.datastore.name, "path": path}],
            options,
        )
        for operation in self.item["plan"]:
            definition = definitions.with_operation(definition, operation)
        return definition


def plan_outputs(
    ws: Workspace, outputs: Mapping[str, Mapping[str, Any]], run_id: str, layout: Layout, reads: frozenset[str]
) -> list[PlannedOutput]:
    """Return where each output goes: a folder of this run's own, below its destination.

    :raises DatasetError: the target cannot write to the datastore itself, and the output is one that it should.
    """
    planned = []
    for name, item in outputs.items():
        where = item["destination"]
        datastore = Datastore(ws, where["datastore"]) if where["datastore"] else ws.get_default_datastore()
        if not datastore.backend.writable:
            raise DatasetError(
                f"The output {name!r} goes to the datastore {datastore.name!r}, whose data can only be read",
                hint="Give it a destination in another datastore",
            )
        path = where["path"].replace("{output-name}", name)
        final = path.replace("{run-id}", run_id) if "{run-id}" in path else posixpath.join(path, run_id)
        staging = posixpath.join(STAGING, run_id, name)
        value = layout.output(name)
        if item["mode"] == "hdfs":
            value = datastore.backend.uri(staging)
            scheme = value.partition("://")[0]
            if scheme not in reads:
                raise DatasetError(
                    f"The output {name!r} goes to {scheme}://, which the compute target cannot write itself",
                    allowed=sorted(reads),
                    hint="Use OutputFileDatasetConfig(...).as_upload()",
                )
        planned.append(PlannedOutput(name, item, datastore, staging, final, value))
    return _apart(planned)


def _apart(planned: list[PlannedOutput]) -> list[PlannedOutput]:
    """Return *planned* with a folder of its own for each output, whatever destinations they share.

    :raises UserErrorException: one's folder lies in another's, which would then hold both outputs' files.
    """
    places = [(o.datastore.name, o.final) for o in planned]
    apart = [
        replace(o, final=posixpath.join(o.final, o.name)) if places.count(place) > 1 else o
        for o, place in zip(planned, places, strict=True)
    ]
    for outer in apart:
        for inner in apart:
            if outer.datastore.name == inner.datastore.name and inner.final.startswith(outer.final + "/"):
                raise UserErrorException(
                    f"The output {inner.name!r} would be published into the folder of the output {outer.name!r}: "
                    f"{inner.final} lies in {outer.final}",
                    hint="Give them destinations of which none lies in another",
                )
    return apart


def prepare(planned: list[PlannedOutput], earlier: str | None) -> None:
    """Remove what lost tries may have left aside, before the job writes.

    :param earlier: the run before this one, which could not clean up if its datastore was gone.
    """
    for output in planned:
        backend = output.datastore.backend
        backend.delete(output.staging, recursive=True)
        if earlier is not None:
            backend.delete(posixpath.join(STAGING, earlier), recursive=True)


def upload(planned: list[PlannedOutput], uploads: Mapping[str, Path], log: Logger) -> None:
    """Bring outputs by upload to their datastores, still aside.

    :raises DatasetError: an output holds a link that leads out of it, or to a folder.
    :raises DatastoreError: the datastore does not take them.
    """
    for output in planned:
        folder = uploads.get(output.name)
        if output.mode != "upload" or folder is None:
            continue
        backend = output.datastore.backend
        if backend.exists(output.final):
            continue  # an earlier try has published it
        backend.delete(output.staging, recursive=True)
        files = _files(output.name, folder)
        log.info("Output %s: uploading %d files", output.name, len(files))
        for file in files:
            backend.put(file, posixpath.join(output.staging, file.relative_to(folder).as_posix()))


def settle(ws: Workspace, planned: list[PlannedOutput]) -> list[tuple[PlannedOutput, list[PinnedFile]]]:
    """Move each output to its place as a whole and pin its files; all are looked at before the first one moves.

    :raises DatasetError: an output is empty, or holds nothing of what it is read as; then none has moved.
    """
    for output in planned:
        backend = output.datastore.backend
        if not backend.exists(output.final) and not _has_files(output, output.staging):
            raise DatasetError(
                f"The output {output.name!r} is empty: the step wrote nothing to {output.value}",
                hint="Write at least one file there, or take the output out of the step",
            )
    moved = []
    try:
        for output in planned:
            backend = output.datastore.backend
            if not backend.exists(output.final):  # an earlier try may have moved it
                backend.rename(output.staging, output.final)
                moved.append(output)
        return [(output, registry.pin(ws, output.definition())) for output in planned]
    except Exception:
        for output in moved:
            output.datastore.backend.delete(output.final, recursive=True)
        raise


def register(
    ws: Workspace,
    settled: Iterable[tuple[PlannedOutput, list[PinnedFile]]],
    verdicts: Mapping[str, Mapping[str, Any]],
    producer: Mapping[str, Any],
    log: Logger,
) -> dict[str, DatasetVersion]:
    """Make a version of each output, registered if it is to be.

    :param verdicts: output → its gate's result.
    :param producer: the run, as the version keeps it; the same producer never registers twice.
    """
    versions = {}
    for output, files in settled:
        verdict = verdicts.get(output.name)
        facts: dict[str, Any] = {
            "producer": {**producer, "output": output.name, "key": f"{producer['run']}:{output.name}"},
            "verdict": verdict["verdict"] if verdict else None,
            "rows": verdict.get("rows") if verdict else None,
            "schema": verdict.get("columns") if verdict else None,
        }
        registration = output.item["registration"]
        if registration:
            version = registry.register(
                ws,
                registration["name"],
                output.definition(),
                files,
                description=registration["description"],
                tags=registration["tags"],
                **facts,
            )
            log.info("Output %s: registered as %s version %d", output.name, version.name, version.version or 0)
        else:
            version = replace(registry.unregistered(ws, output.definition()), **facts)
            log.info("Output %s: published, not registered", output.name)
        versions[output.name] = version
    return versions


def asked_by_script(ws: Workspace, events: Iterable[Mapping[str, Any]]) -> list[tuple[Event, list[PinnedFile]]]:
    """Return what the script registers with ``dataset.register(…)``, pinned: all is looked at before anything moves.

    :raises DatasetError: a path that does not exist.
    :raises UserErrorException: the name exists with another definition, and ``create_new_version`` is not true.
    """
    asked = [(event, registry.pin(ws, event["definition"])) for event in events if event.get("kind") == "register"]
    for event, _ in asked:
        if not event.get("create_new_version"):
            known = {definitions.content_id(v.definition) for v in registry.versions(ws, event["name"])}
            if known and definitions.content_id(event["definition"]) not in known:
                raise UserErrorException(
                    f"The script registers {event['name']!r}, which exists with another definition",
                    hint="Pass create_new_version=True to make this its next version",
                )
    return asked


def register_from_script(
    ws: Workspace, asked: Iterable[tuple[Event, list[PinnedFile]]], producer: Mapping[str, Any], log: Logger
) -> list[DatasetVersion]:
    """Register what the script registers, now that its step has succeeded.

    The same definition with the same data as the latest version is that version, as in v1.
    """
    versions = []
    for position, (event, files) in enumerate(asked):
        known = registry.versions(ws, event["name"])
        identity = definitions.content_id(event["definition"])
        if known and (definitions.content_id(known[-1].definition), known[-1].digest) == (identity, digest_of(files)):
            version = known[-1]
        else:
            version = registry.register(
                ws,
                event["name"],
                event["definition"],
                files,
                description=event.get("description"),
                tags=event.get("tags"),
                producer={**producer, "output": f"script:{position}", "key": f"{producer['run']}:script:{position}"},
            )
        log.info("The script registered %s version %d", version.name, version.version or 0)
        versions.append(version)
    return versions


def keep_validations(
    ws: Workspace,
    run_id: str,
    validations: Mapping[str, Mapping[str, Any]],
    references: Mapping[str, Mapping[str, Any]],
    verdicts: Mapping[str, Mapping[str, Any]],
) -> None:
    """Keep what was found out about data that is published already, whatever it was.

    :param validations: input → its gate.
    :param references: input → what was judged.
    """
    for name, gate in validations.items():
        record = {
            "dataset": references[name],
            "verdict": verdicts[name],
            "run": run_id,
            "promote_as": gate["promote_as"],
        }
        _keep(ws, f"validations/{run_id}.{name}.json", record)


def promote(
    ws: Workspace,
    validations: Mapping[str, Mapping[str, Any]],
    references: Mapping[str, Mapping[str, Any]],
    verdicts: Mapping[str, Mapping[str, Any]],
    producer: Mapping[str, Any],
    log: Logger,
) -> dict[str, DatasetVersion]:
    """Register the files of data that has passed under its gated name.

    :param references: input → what was judged.
    :returns: input → the promoted version, where one was asked for.
    """
    promoted = {}
    for name, gate in validations.items():
        wanted, verdict = gate["promote_as"], verdicts[name]
        if wanted is None:
            continue
        judged = registry.resolve_reference(ws, references[name])
        promoted[name] = version = registry.register(
            ws,
            wanted,
            judged.definition,
            list(judged.files),
            producer={**producer, "output": name, "validated": judged.id, "key": f"{producer['run']}:{name}"},
            verdict=verdict["verdict"],
            rows=verdict.get("rows"),
            schema=verdict.get("columns"),
        )
        log.info("%s: promoted as %s version %d", name, version.name, version.version or 0)
    return promoted


def discard(planned: list[PlannedOutput], quarantined: frozenset[str], log: Logger) -> None:
    """Remove what was written aside; what is *quarantined* is kept apart instead."""
    for output in planned:
        backend = output.datastore.backend
        if output.name in quarantined and backend.exists(output.staging):
            kept = output.staging.replace(STAGING, QUARANTINE, 1)
            backend.delete(kept, recursive=True)
            backend.rename(output.staging, kept)
            log.warning("Output %s: kept in quarantine at %s", output.name, backend.uri(kept))
        else:
            backend.delete(output.staging, recursive=True)
    sweep(planned)


def sweep(planned: list[PlannedOutput]) -> None:
    """Remove the run's folders of what was written aside."""
    for (_, folder), output in {(o.datastore.name, posixpath.dirname(o.staging)): o for o in planned}.items():
        output.datastore.backend.delete(folder, recursive=True)


def _keep(ws: Workspace, path: str, record: dict[str, Any]) -> None:
    ws.store.update(path, lambda _: record)


def _files(name: str, folder: Path) -> list[Path]:
    """Return the files of an output by upload; nothing is left out in silence, and nothing else is taken along."""
    root = folder.resolve()
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(root)):
            raise DatasetError(
                f"The output {name!r} holds a link, {path.relative_to(folder)} → {path.readlink()}, "
                f"which leads {'to a folder' if path.is_dir() else 'out of the output'}",
                hint="Copy what it leads to into the output, or leave the link out",
            )
        if path.is_file():
            files.append(path)
    return files


def _has_files(output: PlannedOutput, folder: str) -> bool:
    return any(not posixpath.basename(f.path).startswith((".", "_")) for f in output.datastore.backend.list(folder))
