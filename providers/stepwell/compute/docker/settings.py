"""How containers are started: the settings of a compute target, and v1's ``environment.docker`` over them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NoReturn

from stepwell.errors import ComputeTargetException, UserErrorException

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TEXTS = (
    ("user", re.compile(r"[0-9]+(:[0-9]+)?"), "numbers: uid or uid:gid, such as '1000:1000'"),
    ("network", re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*"), "bridge", "host", "none", "the name of a network"),
    ("base_image", re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@-]*"), "the name of an image, such as 'python:3.11-slim'"),
)
#: v1's size of /dev/shm.
SHM_SIZE = "2g"


@dataclass(frozen=True)
class ContainerSettings:
    """What a compute target says about its containers; all of it may be left out.

    :param base_image: of steps whose environment names no image.
    :param memory: the most that a container may use, "4g" or bytes; none of it is swapped.
    :param cpus: how many processors, such as 1.5.
    :param gpus: "all", or how many.
    :param shm_size: of /dev/shm.
    :param user: "uid" or "uid:gid"; default: those of who runs the worker (on a VM: who logs in).
    :param network: "bridge", "host", "none", or a network that exists; default: Docker's own.
    :param volumes: folders of the Docker host that every container sees, "/data:/data:ro".
    """

    base_image: str | None = None
    memory: str | int | None = None
    cpus: float | None = None
    gpus: str | int | None = None
    shm_size: str | int = SHM_SIZE
    user: str | None = None
    network: str | None = None
    volumes: tuple[str, ...] = ()

    @classmethod
    def of(cls, configuration: Mapping[str, Any]) -> ContainerSettings:
        """Return the settings in a compute record.

        :raises ComputeTargetException: a value is not allowed.
        """
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in configuration.items() if name in known and value is not None}
        if isinstance(given.get("volumes"), (list, tuple)):
            given["volumes"] = tuple(given["volumes"])
        made = cls(**given)
        made.check()
        return made

    def check(self) -> None:
        """Refuse what Docker would not take.

        :raises ComputeTargetException: a value is not allowed.
        """
        for name in ("memory", "shm_size"):
            if getattr(self, name) is not None:
                size(name, getattr(self, name))
        if self.cpus is not None and not (type(self.cpus) in (int, float) and self.cpus >= 0.01):
            raise _wrong("cpus", self.cpus, "a number of at least 0.01, such as 1.5")
        if self.gpus is not None:
            _gpus(self.gpus)
        for name, form, *allowed in _TEXTS:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and form.fullmatch(value)):
                raise _wrong(name, value, *allowed)
        if not isinstance(self.volumes, tuple):
            raise _wrong("volumes", self.volumes, "a list of /folder:/folder:ro")
        for volume in self.volumes:
            bind(volume)

    def with_section(self, section: Mapping[str, Any]) -> tuple[ContainerSettings, dict[str, Any]]:
        """Return the settings with those of ``environment.docker``, and what else its ``arguments`` ask for.

        :raises UserErrorException: an argument that is not supported, or wrong.
        """
        made = self
        more: dict[str, Any] = {}
        if section.get("gpu_support"):
            made = replace(made, gpus=made.gpus or "all")
        if section.get("shm_size"):
            made = replace(made, shm_size=section["shm_size"])
        if section.get("arguments"):
            given, more = parse_arguments(section["arguments"])
            made = replace(made, **{**given, "volumes": (*made.volumes, *given.get("volumes", ()))})
        try:
            made.check()
        except ComputeTargetException as error:
            raise UserErrorException(error.what, allowed=error.allowed, hint=error.hint) from error
        return made, more

    def to_dict(self) -> dict[str, Any]:
        """Return them as plain JSON."""
        return {**asdict(self), "volumes": list(self.volumes)}


def size(name: str, value: object) -> int:
    """Return the bytes of "512m", "2g", or a number of bytes.

    :raises ComputeTargetException: it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not float(match[1]):
        raise _wrong(name, value, "512m", "2g", "a number of bytes")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def words(size_in_bytes: int) -> str:
    """Return a size for people."""
    return f"{size_in_bytes / (1 << 30):.3g} GB" if size_in_bytes >= 1 << 30 else f"{size_in_bytes >> 20} MB"


def bind(volume: object) -> tuple[str, str, str]:
    """Return host folder, container folder and mode of "/data:/data:ro".

    :raises ComputeTargetException: it is not of that form.
    """
    parts = volume.split(":") if isinstance(volume, str) else []
    if len(parts) == 2:
        parts.append("rw")
    if len(parts) != 3 or not all(part.startswith("/") for part in parts[:2]) or parts[2] not in ("ro", "rw"):
        raise _wrong("volumes", volume, "/folder/there:/folder/in/the/container", "…:ro")
    return parts[0], parts[1], parts[2]


def host_config(settings: ContainerSettings, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the limits as the Docker API has them (``HostConfig``)."""
    found: dict[str, Any] = {"Init": True, "ShmSize": size("shm_size", settings.shm_size)}
    if settings.memory is not None:
        found["Memory"] = found["MemorySwap"] = size("memory", settings.memory)
    if settings.cpus is not None:
        found["NanoCpus"] = round(settings.cpus * 1e9)
    if settings.network is not None:
        found["NetworkMode"] = settings.network
    if settings.gpus is not None:
        found["DeviceRequests"] = [{"Driver": "", "Count": _gpus(settings.gpus), "Capabilities": [["gpu"]]}]
    return {**found, **(more or {})}


def _gpus(value: object) -> int:
    if value in ("all", -1):
        return -1
    number = int(value) if isinstance(value, str) and value.isdigit() else value
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise _wrong("gpus", value, "all", "a number")
    return number


def _wrong(name: str, value: object, *allowed: str) -> ComputeTargetException:
    return ComputeTargetException(f"{name}={value!r} of a Docker compute target is not right", allowed=allowed)


# -- v1's arguments: options of ``docker run`` -------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserErrorException(
            f"environment.docker.arguments: {message}",
            allowed=sorted(option for action in self._actions for option in action.option_strings),
            hint="These options of 'docker run' can be given",
        )


def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False, prog="docker run")
    for names in (("--memory", "-m"), ("--cpus",), ("--gpus",), ("--shm-size",), ("--user", "-u"), ("--network",)):
        parser.add_argument(*names)
    parser.add_argument("--net", dest="network")
    for names in (("--ipc",), ("--pid",), ("--cpuset-cpus",), ("--pids-limit",)):
        parser.add_argument(*names)
    for names in (("--volume", "-v"), ("--add-host",), ("--cap-add",), ("--cap-drop",), ("--device",)):
        parser.add_argument(*names, action="append", default=[])
    for names in (("--dns",), ("--group-add",), ("--security-opt",), ("--tmpfs",), ("--ulimit",)):
        parser.add_argument(*names, action="append", default=[])
    for name in ("--privileged", "--init", "--rm"):  # the last two are so anyway
        parser.add_argument(name, action="store_true")
    return parser


def parse_arguments(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that options of ``docker run`` stand for, and the rest as ``HostConfig``.

    :raises UserErrorException: an option that is not supported, or wrong.
    """
    given = vars(_parser().parse_args(list(arguments)))
    settings = {n: given[n] for n in ("memory", "gpus", "shm_size", "user", "network") if given[n] is not None}
    if given["cpus"] is not None:
        try:
            settings["cpus"] = float(given["cpus"])
        except ValueError:
            raise UserErrorException(f"environment.docker.arguments: --cpus {given['cpus']!r} is no number") from None
    if given["volume"]:
        settings["volumes"] = tuple(given["volume"])
    plain = {
        "IpcMode": given["ipc"],
        "PidMode": given["pid"],
        "CpusetCpus": given["cpuset_cpus"],
        "PidsLimit": None if given["pids_limit"] is None else _number("--pids-limit", given["pids_limit"]),
        "ExtraHosts": given["add_host"],
        "CapAdd": given["cap_add"],
        "CapDrop": given["cap_drop"],
        "Dns": given["dns"],
        "GroupAdd": given["group_add"],
        "SecurityOpt": given["security_opt"],
        "Privileged": given["privileged"],
        "Tmpfs": dict((*path.split(":", 1), "")[:2] for path in given["tmpfs"]),
        "Devices": [_device(device) for device in given["device"]],
        "Ulimits": [_ulimit(limit) for limit in given["ulimit"]],
    }
    return settings, {name: value for name, value in plain.items() if value}


def _number(option: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise UserErrorException(f"environment.docker.arguments: {option} {value!r} is no number") from None


def _device(text: str) -> dict[str, str]:
    host, _, rest = text.partition(":")
    inside, _, rights = rest.partition(":")
    return {"PathOnHost": host, "PathInContainer": inside or host, "CgroupPermissions": rights or "rwm"}


def _ulimit(text: str) -> dict[str, Any]:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    return {"Name": name, "Soft": _number("--ulimit", soft), "Hard": _number("--ulimit", hard or soft)}
