"""``airflow stepwell computetarget …``: attach, create, look at and remove compute targets.

The flags of ``attach`` and ``create`` are made from what each kind declares.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from stepwell.cli.asking import ASK, say, secret
from stepwell.cli.table import print_json, print_table, size, when
from stepwell.errors import ComputeTargetException, UserErrorException

if TYPE_CHECKING:
    from stepwell.compute.base import ComputeTarget
    from stepwell.compute.records import Record
    from stepwell.compute.settings import Form, Setting
    from stepwell.workspace import Workspace

_POLL_SECONDS = 5.0


# -- attach and create -------------------------------------------------------------------------------------------------


def attach(args: Any) -> None:
    """Attach something that exists: make its connection, look at it, write its record."""
    _make(args.kind, args.arguments, managed=False)


def create(args: Any) -> None:
    """Create a managed compute target."""
    _make(args.kind, args.arguments, managed=True)


def _make(kind: str, arguments: list[str], *, managed: bool) -> None:
    from stepwell.cli import pinning
    from stepwell.compute import attaching
    from stepwell.compute.classes import class_of, kinds
    from stepwell.compute.targets import ComputeTarget

    known = kinds(managed=managed)
    if kind not in known:
        lines = "\n".join(f"  {name:<14}{form.about}" for name, form in sorted(known.items()))
        raise UserErrorException(
            f"{kind!r} is no kind of compute target that can be {'created' if managed else 'attached'}",
            hint=f"These can be:\n{lines}",
        )
    args = vars(_parser(kind, known[kind], managed=managed).parse_args(arguments))
    ws = _workspace(args.pop("workspace"))
    name, output, description = args.pop("name"), args.pop("output"), args.pop("description")
    attaching.check_new_name(name)
    tags = dict(args.pop("tags") or {})
    form = known[kind]
    values = {s.name: args[s.name] for s in form.every if args.get(s.name) is not None}
    values = {s.name: dict(v) if s.type == "map" else v for s in form.every if (v := values.get(s.name)) is not None}
    authorize = ask_secrets(form, values)
    if form.over_ssh:
        pinning.host_key(ws, name, form, values, args.get("known_hosts"), args.get("accept_host_key"))
        pinning.workspace_key(ws, values, authorize)
    configuration = class_of(kind).configuration(values, tags, description)
    made = (ComputeTarget.create if managed else ComputeTarget.attach)(ws, name, configuration)
    if output == "json":
        return print_json(made.serialize())
    _show(made)


def list_kinds(args: Any) -> None:
    """Print the kinds, those of other packages too, and how their targets come about."""
    from stepwell.compute.classes import kinds

    found = sorted(kinds().items())
    if args.output == "json":
        return print_json([{"kind": k, "type": f.type, "managed": f.managed, "about": f.about} for k, f in found])
    rows = [[kind, "create" if form.managed else "attach", form.about] for kind, form in found]
    print_table(["kind", "by", "what"], rows)


def _parser(kind: str, form: Form, *, managed: bool) -> argparse.ArgumentParser:
    """Return the parser of a kind's flags."""
    verb = "create" if managed else "attach"
    parser = argparse.ArgumentParser(
        prog=f"airflow stepwell computetarget {verb} {kind}",
        description=f"{verb.capitalize()} {form.about or kind}.",
        allow_abbrev=False,
    )
    parser.add_argument("-n", "--name", required=True, help="its name in the workspace")
    for setting in form.every:
        _add_flag(parser, setting)
    if form.over_ssh:
        parser.add_argument("--known-hosts", metavar="FILE", help="take the host key from a known_hosts file")
        parser.add_argument(
            "--accept-host-key",
            metavar="SHA256:…",
            action="append",
            help="take the key of that fingerprint, if the machine shows it",
        )
    parser.add_argument("--tag", dest="tags", metavar="NAME=VALUE", action="append", type=_pair, help="a tag")
    parser.add_argument("--description", help="what it is for")
    parser.add_argument("--workspace", default="default", help="name of the workspace")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="table or json")
    return parser


def _add_flag(parser: argparse.ArgumentParser, setting: Setting) -> None:
    shown = {"text": "TEXT", "integer": "N", "number": "N", "list": "TEXT", "map": "NAME=VALUE"}
    more: dict[str, Any] = {"dest": setting.name, "help": setting.help.replace("%", "%%")}
    if setting.default is not None:
        more["help"] += f" (default: {setting.default})"
    if setting.type == "switch":
        more["action"] = argparse.BooleanOptionalAction if len(setting.flags) < 2 else "store_true"
        more["default"] = None
    elif setting.secret:
        more |= {"nargs": "?", "const": ASK, "metavar": "TEXT"}
        more["help"] += " (no value: it is asked for; -: a line of standard input)"
    else:
        more["metavar"] = "{" + ",".join(setting.choices) + "}" if setting.choices else shown[setting.type]
        more["type"] = {"integer": int, "number": float, "map": _pair}.get(setting.type, str)
        if setting.type in ("list", "map"):
            more["action"] = "append"
            more["help"] += " (may be given several times)"
    parser.add_argument(*(setting.flags or (setting.flag,)), **more)


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def ask_secrets(form: Form, values: dict[str, Any]) -> str | None:
    """Ask for the secrets that are wanted and not there; they go into *values*.

    :returns: a password that is only for the first time, to put the workspace's own key on the machine.
    """
    if form.login is None or values.get(form.login.parameter):
        return None
    who = "@".join(str(values[n]) for n in ("username", "address") if values.get(n)) or "the machine"
    if values.get("private_key_passphrase") or _is_encrypted(values.get("private_key_file")):
        values["private_key_passphrase"] = secret(
            f"the passphrase of {values.get('private_key_file')}",
            values.get("private_key_passphrase"),
            "Give it by standard input: --private-key-passphrase -",
        )
    keyed = values.get("private_key_file") or values.get("use_azureml_ssh_key")
    wanted = form.over_ssh or values.get("username")
    if values.get("password") is None and (keyed or not wanted or not values.get("username")):
        return None
    found = secret(
        f"the password of {who}",
        values.pop("password", None),
        "Give it by standard input (--password -), or log in with a key: -i FILE, or -k for the workspace's own",
    )
    if values.get("use_azureml_ssh_key"):
        return found
    values["password"] = found
    return None


def _is_encrypted(path: str | None) -> bool:
    if path is None:
        return False
    from stepwell.compute.ssh import keys

    return keys.is_encrypted(keys.read_file(path), f"the private key {path}")


# -- look --------------------------------------------------------------------------------------------------------------


def list_targets(args: Any) -> None:
    """Print the compute targets, those too that somebody made by hand and nobody has used yet."""
    from stepwell.compute.targets import ComputeTarget

    ws = _workspace(args.workspace)
    found = ComputeTarget.list(ws)
    known = {target.name for target in found}
    found += [ComputeTarget._from_record(ws, record) for record in _by_hand(ws) if record["name"] not in known]
    if args.output == "json":
        return print_json([target.serialize() for target in found])
    rows = []
    for target in found:
        report = target.report or {}
        rows.append([target.name, str(target._record["kind"]), target.provisioning_state, when(report["at"])
                     if report else "", _where(ws, target._record)])  # fmt: skip
    print_table(["name", "kind", "state", "probed", "where"], rows)


def _by_hand(ws: Workspace) -> list[Record]:
    from stepwell.compute import records
    from stepwell.workspace.connections import connection_store

    found = []
    try:
        for conn_id in connection_store("targets").ids(records.BY_HAND):
            record = records.by_hand(ws, conn_id)
            if record is not None:
                found.append(record)
    except (ComputeTargetException, UserErrorException) as error:
        say(f"Note: {error}")
    return found


def show(args: Any) -> None:
    """Print what is known about a compute target: its settings, and the dated facts of the last probe."""
    target = _target(args)
    if args.output == "json":
        return print_json(target.serialize())
    _show(target)


def probe(args: Any) -> None:
    """Look at a compute target now, keep the dated report, and print it.

    :raises ComputeTargetException: it cannot work.
    """
    target = _target(args)
    report = target.probe()
    if args.output == "json":
        print_json(target.serialize())
    else:
        _show(target, report.to_dict())
    if not report.ok:
        raise ComputeTargetException(f"The compute target {target.name!r} cannot work: {'; '.join(report.problems)}")


def wait(args: Any) -> None:
    """Wait until a compute target can work, looking at it again and again.

    :raises ComputeTargetException: it cannot after so long.
    """
    target = _target(args)
    deadline = time.monotonic() + seconds(args.timeout)
    while True:
        report = target.probe()
        if report.ok:
            print(f'Succeeded\nProvisioning operation finished, operation "{target.provisioning_state}"')
            return
        reason = "; ".join(report.problems)
        if time.monotonic() >= deadline:
            raise ComputeTargetException(
                f"The compute target {target.name!r} cannot work after {args.timeout}: {reason}"
            )
        say(f"{target.name}: {reason}")
        time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def _show(target: ComputeTarget, report: dict[str, Any] | None = None) -> None:
    record = target._record
    rows = [
        ["type", f"{target.type} ({record['kind']})"],
        ["state", target.provisioning_state],
        ["where", _where(target.workspace, record)],
    ]
    if record.get("connection_id"):
        rows.append(["connection", str(record["connection_id"])])
    for name, value in sorted(record["configuration"].items()):
        if value not in (None, "", [], {}):
            rows.append([name, _host_key(value) if name == "host_key" else fact(name, value)])
    if target.tags:
        rows.append(["tags", ", ".join(f"{name}={value}" for name, value in sorted(target.tags.items()))])
    if target.description:
        rows.append(["description", target.description])
    print_table(["setting", "value"], rows, target.name)
    report = report or target.report
    if report is None:
        print("Nobody has looked at it yet: airflow stepwell computetarget probe " + target.name)
        return
    facts = [
        [name.replace("_bytes", "").replace("_", " "), fact(name, value)]
        for name, value in sorted(report["facts"].items())
    ]
    problems = [["cannot work" if not n else "", problem] for n, problem in enumerate(report["problems"])]
    print_table(["fact", "value"], [*facts, *problems], f"Probed {when(report['at'])}")


def _where(ws: Workspace, record: Record) -> str:
    """Return where a target is, for people."""
    from stepwell.compute import records
    from stepwell.compute.resolve import connection_of

    try:
        connection = connection_of(record)
    except ComputeTargetException:
        return f"the connection {record['connection_id']} is missing"
    if connection is not None and connection.host:
        login = f"{connection.login}@" if connection.login else ""
        return f"{login}{connection.host}" + (f":{connection.port}" if connection.port else "")
    settings = record["configuration"]
    backing = settings.get("backing_target")
    if backing and backing not in records.names(ws):
        return f"{backing}, which is not there any more"
    return str(settings.get("endpoint") or settings.get("master") or settings.get("backing_target") or "this machine")


def _host_key(value: object) -> str:
    from stepwell.compute.ssh import hostkeys

    return "\n".join(f"{key.split()[0]} {hostkeys.fingerprint(key)}" for key in hostkeys.parse(str(value)))


def fact(name: str, value: Any) -> str:
    """Return a fact or a setting as people read it."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_bytes") and isinstance(value, (int, float)):
        return size(value)
    if name.endswith("_seconds") and isinstance(value, (int, float)):
        return f"{value:g} s"
    if isinstance(value, dict):
        return "\n".join(f"{key}: {fact(str(key), one)}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(one if isinstance(one, str) else json.dumps(one) for one in value)
    return str(value)


# -- remove ------------------------------------------------------------------------------------------------------------


def detach(args: Any) -> None:
    """Remove an attached compute target from the workspace."""
    target = _target(args)
    target.detach(force=args.force)
    print(f"Detached {target.name}")


def delete(args: Any) -> None:
    """Delete a managed compute target."""
    target = _target(args)
    target.delete(force=args.force)
    print(f"Deleted {target.name}")


def key(args: Any) -> None:
    """Print the public half of the workspace's own key pair, which is made if there is none."""
    from stepwell.compute.ssh import keys

    print(keys.pair(_workspace(args.workspace)).public)


def reap(args: Any) -> None:
    """Remove what ended jobs have left on compute targets, and nobody has fetched."""
    from stepwell.cli.reaping import reap as remove

    remove(_workspace(args.workspace), args.target, seconds(args.older_than), dry_run=args.dry_run, output=args.output)


def _target(args: Any) -> ComputeTarget:
    from stepwell.compute.targets import ComputeTarget

    return ComputeTarget(_workspace(args.workspace), args.name)


def _workspace(name: str) -> Workspace:
    from stepwell.workspace import Workspace

    return Workspace(name)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(text: str) -> float:
    """Return how many seconds ``90s``, ``10m``, ``24h``, ``7d`` or ``2w`` are.

    :raises UserErrorException: it is no such time.
    """
    number, unit = str(text).strip()[:-1], str(text).strip()[-1:]
    if unit not in _UNITS or not number.isascii() or not number.replace(".", "", 1).isdigit():
        raise UserErrorException(f"{text!r} is no length of time", allowed=["90s", "10m", "24h", "7d", "2w"])
    return float(number) * _UNITS[unit]
