"""Handing on what an earlier run has made: the same versions, its metrics, tags and verdicts, and which run it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from logging import Logger
from typing import TYPE_CHECKING, Any

from stepwell.data import registry
from stepwell.errors import DatasetError
from stepwell.quality import gates
from stepwell.step.reuse import HANDED_ON

if TYPE_CHECKING:
    from stepwell.data.registry import DatasetVersion
    from stepwell.step.reuse import Earlier
    from stepwell.step.spec import JobKey, StepSpec
    from stepwell.workspace import Workspace


def versions(
    ws: Workspace,
    spec: StepSpec,
    key: JobKey,
    run_id: str,
    earlier: Earlier,
    verdicts: Mapping[str, Mapping[str, Any]],
    log: Logger,
) -> dict[str, dict[str, Any]]:
    """Return output → reference of what *earlier* has made, each marked with the run that it was reused from.

    An output that is registered is its dataset's latest version; if that is other data by now, or has another verdict,
    the same files become the next version: whoever reads the latest gets what the pipeline has made last.

    :param verdicts: of the gates that judged it anew just now.
    """
    registrations = {name: item["registration"] for name, item in spec.outputs.items()}
    for name, gate in spec.validations.items():
        registrations[name] = gate["promote_as"] and {"name": gate["promote_as"], "description": None, "tags": {}}
    handed = {}
    for name, version in earlier.versions.items():
        verdict = verdicts.get(name)
        if verdict is not None:
            version = replace(
                version, verdict=verdict["verdict"], rows=verdict.get("rows"), schema=verdict.get("columns")
            )
        producer = {**key.producer(run_id), "output": name, "key": f"{run_id}:{name}", "reused_from": earlier.origin}
        registration = registrations.get(name)
        if registration:
            found = _registered(ws, registration, version, producer, log)
        elif version.name is not None or verdict is not None:
            found = replace(registry.unregistered(ws, version.definition), **_facts(version))
        else:
            handed[name] = {**earlier.record["outputs"][name], "reused_from": earlier.origin}
            continue
        handed[name] = {**found.reference(), "reused_from": earlier.origin}
    return handed


def by_script(ws: Workspace, key: JobKey, run_id: str, earlier: Earlier, log: Logger) -> list[dict[str, Any]]:
    """Return references of what the script of *earlier* registered; each is its dataset's latest version."""
    handed = []
    for position, version in enumerate(earlier.by_script):
        producer = {**key.producer(run_id), "output": f"script:{position}", "key": f"{run_id}:script:{position}"}
        registration = {"name": version.name, "description": version.description, "tags": version.tags}
        found = _registered(ws, registration, version, {**producer, "reused_from": earlier.origin}, log)
        handed.append({**found.reference(), "reused_from": earlier.origin})
    return handed


def _registered(
    ws: Workspace, registration: Mapping[str, Any], version: DatasetVersion, producer: dict[str, Any], log: Logger
) -> DatasetVersion:
    wanted = (registration["description"], dict(registration["tags"] or {}))
    name = registration["name"]
    with ws.store.lock(f"datasets/{name}/latest"):  # of two at once, one makes the next version, the other takes it
        try:
            latest = registry.get(ws, name)
        except DatasetError:
            latest = None
        if latest is not None and (latest.description, latest.tags) == wanted and _same(latest, version):
            return latest
        facts = {**_facts(version), "producer": producer}
        made = registry.register(
            ws, name, version.definition, list(version.files), description=wanted[0], tags=wanted[1], **facts
        )
    log.info("%s: the same data is registered as version %d", name, made.version or 0)
    return made


def _same(one: DatasetVersion, other: DatasetVersion) -> bool:
    return (one.definition_id, one.files, one.verdict) == (other.definition_id, other.files, other.verdict)


def _facts(version: DatasetVersion) -> dict[str, Any]:
    return {n: getattr(version, n) for n in ("producer", "verdict", "rows", "schema")}


def facts(ws: Workspace, run_id: str, earlier: Earlier, judged: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the record of the run *run_id* takes over.

    :param judged: verdicts of gates that judged the outputs anew in this run.
    """
    found = {name: earlier.record[name] for name in HANDED_ON if name in earlier.record}
    if found.get("metric_counts") or found.get("parent_metric_counts"):
        try:
            ws.store.replace(f"runs/{run_id}/metrics.json", ws.store.read(f"runs/{earlier.run_id}/metrics.json"))
        except FileNotFoundError:
            pass
    verdicts = {
        name: {**verdict, "run": verdict.get("run") or earlier.run_id}
        for name, verdict in (earlier.record.get("verdicts") or {}).items()
    }
    verdicts |= {name: gates.brief(verdict) for name, verdict in judged.items()}
    return {**found, "verdicts": verdicts, "reused_from": earlier.origin}
