"""``airflow stepwell apply -f targets.yaml``: compute targets and linked services become what a file says.

The difference is shown first. The file holds no secrets: it names connections, or says ``password: ask``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stepwell.cli.asking import ASK, on_terminal, say, yes
from stepwell.cli.table import print_json, print_table
from stepwell.errors import ComputeTargetException, StepwellError, UserErrorException
from stepwell.runtime.names import nearest

if TYPE_CHECKING:
    from stepwell.compute.base import Configuration
    from stepwell.compute.records import Record
    from stepwell.compute.settings import Form
    from stepwell.workspace import Workspace

T = TypeVar("T")
_TOP = ("workspace", "linked_services", "targets")
_OF_EACH = ("kind", "tags", "description")
_SERVICE = (
    "subscription_id", "resource_group", "name", "spark_conn_id", "master", "azure_conn_id", "endpoint",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """What one entry of the file is about to change.

    :param what: ``linked service`` or ``target``.
    :param values: setting → (before, after), for people; secrets are never in it.
    """

    what: str
    name: str
    is_new: bool
    values: dict[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass
class Wanted:
    """One target of the file."""

    name: str
    kind: str
    form: Form
    values: dict[str, Any]
    tags: dict[str, str]
    description: str | None


def apply(args: Any) -> None:
    """Show how the workspace differs from the file, and make it the same.

    :raises UserErrorException: the file is not right; nobody can be asked whether to go on.
    :raises ComputeTargetException: not all of it could be done; the rest was.
    """
    from stepwell.environment.strict_yaml import load_mapping, read_text
    from stepwell.workspace import Workspace

    if not Path(args.file).exists():
        raise UserErrorException(f"There is no file {args.file}")
    document = load_mapping(read_text(args.file, "file of compute targets"), Path(args.file).name, _TOP)
    ws = Workspace(args.workspace or str(document.get("workspace") or "default"))
    with _Faults() as faults:
        services = faults.each(_service, _mapping(document, "linked_services").items())
        targets = faults.each(_target, _mapping(document, "targets").items())
    named = dict(zip(_mapping(document, "linked_services"), services, strict=True))
    with _Faults() as faults:
        found = faults.each(lambda name, wanted: _service_change(ws, name, wanted), named.items())
        found += faults.each(lambda target: _target_change(ws, target, named), zip(targets, strict=True))
    changes = [change for change in found if change is not None]
    _tell(ws, changes, args.output)
    _tell_others(ws, targets)
    if not changes or args.dry_run:
        return
    if not args.yes:
        if not on_terminal():
            raise UserErrorException("Nothing has been changed: there is nobody to ask", hint="Say --yes, or --dry-run")
        if not yes("Make these changes?"):
            return say("Nothing has been changed")
    _do(ws, changes, named, {target.name: target for target in targets})


def _do(ws: Workspace, changes: list[Change], services: dict[str, Any], targets: dict[str, Wanted]) -> None:
    from stepwell.compute.targets import LinkedService, SynapseWorkspaceLinkedServiceConfiguration

    failed = []
    for change in changes:
        try:
            if change.what == "target":
                _attach(ws, targets[change.name])
            else:
                configuration = SynapseWorkspaceLinkedServiceConfiguration(**services[change.name])
                LinkedService.register(ws, change.name, configuration)
            say(f"{change.what} {change.name}: {'made' if change.is_new else 'changed'}")
        except StepwellError as error:
            failed.append(change.name)
            say(f"{change.what} {change.name}: {error}")
    if failed:
        raise ComputeTargetException(
            f"Not done: {', '.join(failed)}", hint="See above why; the others are as the file says"
        )


class _Faults:
    """Goes on after an entry that is not right, and says at the end what is wrong with all of them."""

    def __init__(self) -> None:
        self._found: list[StepwellError] = []

    def each(self, check: Callable[..., T], entries: Iterable[tuple[Any, ...]]) -> list[T]:
        """Return what *check* returns of each entry that is right."""
        right = []
        for entry in entries:
            try:
                right.append(check(*entry))
            except StepwellError as error:
                self._found.append(error)
        return right

    def __enter__(self) -> _Faults:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None and len(self._found) == 1:
            raise self._found[0]
        if kind is None and self._found:
            said = "".join(f"\n- {fault}" for fault in self._found)
            raise UserErrorException(
                f"{len(self._found)} entries of the file are not right:{said}\nNothing was changed"
            )


# -- the file ----------------------------------------------------------------------------------------------------------


def _mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key) or {}
    if not isinstance(found, dict):
        raise UserErrorException(f"{key} of the file is not right", allowed=["a mapping of names"])
    return found


def _target(name: str, entry: Any) -> Wanted:
    """Return a target of the file, checked as far as that goes without looking anywhere."""
    from stepwell.compute import attaching
    from stepwell.compute.classes import class_of, kinds

    attaching.check_new_name(name)
    what = f"the compute target {name!r}"
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise UserErrorException(f"The file does not say the kind of {what}", allowed=sorted(kinds()))
    known = kinds()
    kind = entry["kind"]
    if kind not in known:
        raise UserErrorException(f"{kind!r}, the kind of {what}, is not known", allowed=nearest(kind, known))
    form = known[kind]
    values = {key: value for key, value in entry.items() if key not in _OF_EACH}
    for setting in form.every:
        if setting.secret and values.get(setting.name) not in (None, ASK):
            raise UserErrorException(
                f"The file says the {setting.name} of {what}: secrets do not belong into files",
                allowed=[f"{setting.name}: {ASK}", "the name of a connection"],
            )
    class_of(kind)._check_name(name)
    tags = entry.get("tags") or {}
    if not isinstance(tags, dict):
        raise UserErrorException(f"The tags of {what} are not right", allowed=["names with values"])
    description = entry.get("description")
    checked = form.check(values, what)
    given = {key: checked[key] for key in values if key in checked}
    return Wanted(name, kind, form, given, {str(k): str(v) for k, v in tags.items()}, description and str(description))


def _service(name: str, entry: Any) -> dict[str, Any]:
    from stepwell.compute.targets import SynapseWorkspaceLinkedServiceConfiguration
    from stepwell.runtime.names import check_name

    check_name("linked service", name)
    for key in entry if isinstance(entry, dict) else ():
        if key not in _SERVICE:
            raise UserErrorException(
                f"{key!r} is no setting of the linked service {name!r}", allowed=nearest(key, _SERVICE)
            )
    if not isinstance(entry, dict | None):
        raise UserErrorException(f"The linked service {name!r} is not right", allowed=_SERVICE)
    made = SynapseWorkspaceLinkedServiceConfiguration(**(entry or {})).to_dict()
    return {key: value for key, value in made.items() if value is not None}


# -- the difference ----------------------------------------------------------------------------------------------------


def _service_change(ws: Workspace, name: str, wanted: dict[str, Any]) -> Change | None:
    from stepwell.compute import records

    if name not in records.linked_service_names(ws):
        return Change("linked service", name, True, {key: (None, value) for key, value in wanted.items()})
    before = {k: v for k, v in records.read_linked_service(ws, name)["configuration"].items() if v is not None}
    values = _difference(before, wanted)
    return Change("linked service", name, False, values) if values else None


def _target_change(ws: Workspace, wanted: Wanted, services: dict[str, Any]) -> Change | None:
    from stepwell.compute import records
    from stepwell.compute.classes import class_of

    shown = {**wanted.values, **({"description": wanted.description} if wanted.description else {})}
    if wanted.tags:
        shown["tags"] = wanted.tags
    new = Change("target", wanted.name, True, {"kind": (None, wanted.kind), **{k: (None, v) for k, v in shown.items()}})
    configuration = _configuration(wanted)  # what does not go together is an error before anything is done
    if wanted.name not in records.names(ws):
        return new
    record = records.read(ws, wanted.name)
    records.refuse_other_type(record, class_of(wanted.kind)._compute_type)
    if wanted.kind == "synapse" and (name := wanted.values["linked_service"]) not in {
        *records.linked_service_names(ws), *services,
    }:  # fmt: skip
        records.read_linked_service(ws, name)  # says which there are
    settings = configuration.settings
    before = {key: value for key, value in record["configuration"].items() if key in {*settings, *_own(wanted.form)}}
    values = _difference(before, settings)
    if "host_key" in values and _same_host_key(*values["host_key"]):
        values.pop("host_key")
    values |= _login_difference(record, configuration, wanted)
    values |= _difference({"tags": record.get("tags") or {}}, {"tags": wanted.tags})
    values |= _difference({"description": record.get("description")}, {"description": wanted.description})
    if record["provisioning_state"] == "Failed":
        values["state"] = ("Failed", "Succeeded")
    return Change("target", wanted.name, False, values) if values else None


def _own(form: Form) -> set[str]:
    return {setting.name for setting in form.settings}


def _configuration(wanted: Wanted) -> Configuration:
    from stepwell.compute.classes import class_of

    return class_of(wanted.kind).configuration(wanted.values, wanted.tags, wanted.description)


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = sorted({*before, *after})
    return {k: (before.get(k), after.get(k)) for k in keys if (before.get(k) or None) != (after.get(k) or None)}


def _same_host_key(pinned: Any, wanted: Any) -> bool:
    """Whether the pinned key is the one that is wanted; where none is said, the pinned one stays."""
    from stepwell.compute.ssh import hostkeys

    if not wanted or not pinned:
        return not wanted
    keys = hostkeys.parse(str(pinned))
    if hostkeys.is_fingerprint(str(wanted).split()[0]):
        return bool(hostkeys.matching(keys, str(wanted).split()))
    return set(hostkeys.parse(str(wanted))) == set(keys)


def _login_difference(record: Record, configuration: Configuration, wanted: Wanted) -> dict[str, tuple[Any, Any]]:
    """Return how the target is logged in to differently; of secrets only that they are another sort."""
    from stepwell.compute.logins import WORKSPACE_KEY
    from stepwell.compute.resolve import connection_of

    login = configuration.login
    if wanted.form.login is None:
        return {}
    if login is None:
        return _difference({"connection": record.get("connection_id")}, {"connection": configuration.connection_id})
    try:
        there = connection_of(record)
    except ComputeTargetException:
        there = None
    if there is None:
        return {"connection": (None, f"{login.login}@{login.host}")}
    before = {
        "address": there.host,
        "port": there.port,
        "username": there.login,
        "log in by": _way(there.password, there.extra.get(WORKSPACE_KEY)),
    }
    after = {
        "address": login.host,
        "port": login.port,
        "username": login.login,
        "log in by": _way(login.password, login.workspace_key),
    }
    if login.private_key_file and there.extra.get("private_key"):
        from stepwell.compute.ssh import keys

        if keys.read_file(login.private_key_file) != there.extra["private_key"]:
            after["log in by"] = "another key"
    return _difference(before, after)


def _way(password: str | None, workspace_key: Any) -> str:
    return "password" if password else "the workspace's key" if workspace_key else "key"


def _tell(ws: Workspace, changes: list[Change], output: str) -> None:
    if output == "json":
        return print_json(
            [
                {"what": c.what, "name": c.name, "new": c.is_new, "changes": {k: list(v) for k, v in c.values.items()}}
                for c in changes
            ]
        )
    if not changes:
        return print(f"Nothing to change in the workspace {ws.name}")
    rows = []
    for change in changes:
        first = [f"{'+' if change.is_new else '~'} {change.what} {change.name}"]
        for key, (before, after) in change.values.items():
            rows.append([*(first or [""]), key, _text(before), _text(after)])
            first = []
        if first:
            rows.append([*first, "", "", ""])
    print_table(["what", "setting", "before", "after"], rows, f"Changes of the workspace {ws.name} ({ws.root})")


def _tell_others(ws: Workspace, targets: list[Wanted]) -> None:
    from stepwell.compute import records

    others = set(records.names(ws)) - {target.name for target in targets} - {"local"}
    if others:
        say(f"Not in the file, and left alone: {', '.join(sorted(others))}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}={one}" for key, one in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return "\n".join(map(str, value))
    return "" if value is None else str(value)


# -- doing it ----------------------------------------------------------------------------------------------------------


def _attach(ws: Workspace, wanted: Wanted) -> None:
    from stepwell.cli import pinning
    from stepwell.cli.computetarget import ask_secrets
    from stepwell.compute.classes import class_of
    from stepwell.compute.targets import ComputeTarget

    values = dict(wanted.values)
    if values.get("password") == ASK:
        kept = _kept_password(ws, wanted)
        if kept is not None:
            values["password"] = kept
    if values.get("password") in (None, ASK):
        ask_secrets(wanted.form, values)
    if wanted.form.over_ssh:
        pinning.host_key(ws, wanted.name, wanted.form, values)
        pinning.workspace_key(ws, values, None)
    configuration = class_of(wanted.kind).configuration(values, wanted.tags, wanted.description)
    make = ComputeTarget.create if wanted.form.managed else ComputeTarget.attach
    make(ws, wanted.name, configuration)


def _kept_password(ws: Workspace, wanted: Wanted) -> str | None:
    """Return the password of the target's own connection, if machine and user are the same as before."""
    from stepwell.compute import logins, records, resolve

    login = _configuration(wanted).login
    try:
        record = records.read(ws, wanted.name)
        there = resolve.connection_of(record)
    except ComputeTargetException:
        return None
    if there is None or login is None or there.extra.get(logins.MADE_FOR) != logins.owner(ws, wanted.name):
        return None
    same = (there.host, there.port, there.login) == (login.host, login.port, login.login)
    return there.password if same else None
