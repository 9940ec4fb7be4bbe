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
from stepwell.errors import DatasetError
from stepwell.runtime import definition as definitions

if TYPE_CHECKING:
    from stepwell.data.registry import DatasetVersion
    from stepwell.workspace import Workspace

#: Below a datastore's root: what is being written, and what a gate has turned down. No dataset's path leads here.
STAGING = ".stepwell/staging"
QUARANTINE = ".stepwell/quarantine"


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
    return planned


def prepare(planned: list[PlannedOutput]) -> None:
    """Remove what a lost try of the same run may have left aside, before the job writes."""
    for output in planned:
        output.datastore.backend.delete(output.staging, recursive=True)


def upload(planned: list[PlannedOutput], uploads: Mapping[str, Path], log: Logger) -> None:
    """Bring outputs by upload to their datastores, still aside.

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
        files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
        log.info("Output %s: uploading %d files", output.name, len(files))
        for file in files:
            backend.put(file, posixpath.join(output.staging, file.relative_to(folder).as_posix()))


def publish(
    ws: Workspace,
    planned: list[PlannedOutput],
    verdicts: Mapping[str, Mapping[str, Any]],
    producer: Mapping[str, Any],
    log: Logger,
) -> dict[str, DatasetVersion]:
    """Move each output to its place as a whole, pin its files, and register it if it is to be.

    All outputs are looked at before the first one moves.

    :param verdicts: output → its gate's result.
    :param producer: the run, as the version keeps it; the same producer never registers twice.
    :raises DatasetError: an output is empty.
    """
    for output in planned:
        backend = output.datastore.backend
        if not backend.exists(output.final) and not _has_files(output, output.staging):
            raise DatasetError(
                f"The output {output.name!r} is empty: the step wrote nothing to {output.value}",
                hint="Write at least one file there, or take the output out of the step",
            )
    versions = {}
    for output in planned:
        backend = output.datastore.backend
        if not backend.exists(output.final):
            backend.rename(output.staging, output.final)
        definition = output.definition()
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
                definition,
                registry.pin(ws, definition),
                description=registration["description"],
                tags=registration["tags"],
                **facts,
            )
            log.info("Output %s: registered as %s version %d", output.name, version.name, version.version or 0)
        else:
            version = replace(registry.unregistered(ws, definition), **facts)
            log.info("Output %s: published, not registered", output.name)
        versions[output.name] = version
    return versions


def register_from_script(
    ws: Workspace, events: Iterable[Mapping[str, Any]], producer: Mapping[str, Any], log: Logger
) -> list[DatasetVersion]:
    """Register what the script registered with ``dataset.register(...)``, now that its step has succeeded."""
    versions = []
    for position, event in enumerate(e for e in events if e.get("kind") == "register"):
        version = registry.register(
            ws,
            event["name"],
            event["definition"],
            registry.pin(ws, event["definition"]),
            description=event.get("description"),
            tags=event.get("tags"),
            producer={**producer, "output": f"script:{position}", "key": f"{producer['run']}:script:{position}"},
        )
        log.info("The script registered %s version %d", version.name, version.version or 0)
        versions.append(version)
    return versions


def promote(
    ws: Workspace,
    name: str,
    reference: Mapping[str, Any],
    promote_as: str | None,
    verdict: Mapping[str, Any],
    producer: Mapping[str, Any],
    log: Logger,
) -> DatasetVersion | None:
    """Keep the validation of data that is published already, and register its files under the gated name.

    :param reference: of what was judged.
    :returns: the promoted version, or ``None`` if none was asked for.
    """
    record = {"dataset": dict(reference), "verdict": dict(verdict), "run": producer["run"], "promoted_as": promote_as}
    ws.store.update(f"validations/{producer['run']}.{name}.json", lambda _: record)
    if promote_as is None:
        return None
    judged = registry.resolve_reference(ws, dict(reference))
    version = registry.register(
        ws,
        promote_as,
        judged.definition,
        list(judged.files),
        producer={**producer, "output": name, "validated": judged.id, "key": f"{producer['run']}:{name}"},
        verdict=verdict["verdict"],
        rows=verdict.get("rows"),
        schema=verdict.get("columns"),
    )
    log.info("%s: promoted as %s version %d", name, version.name, version.version or 0)
    return version


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


def _has_files(output: PlannedOutput, folder: str) -> bool:
    return any(not posixpath.basename(f.path).startswith((".", "_")) for f in output.datastore.backend.list(folder))
