"""From a Spark step's parameters to Spark settings: v1's rules for sizes, ``conf`` and file lists. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.errors import UserErrorException

_MEMORY = re.compile(r"[1-9][0-9]*[kmgt]b?", re.IGNORECASE)
_KEY = re.compile(r"spark\.[^\s=:\\]+")
#: parameter → Spark setting, for the sizes.
SIZES = {
    "driver_memory": "spark.driver.memory",
    "driver_cores": "spark.driver.cores",
    "executor_memory": "spark.executor.memory",
    "executor_cores": "spark.executor.cores",
    "num_executors": "spark.executor.instances",
}
#: parameter → Spark setting, for the lists of files; these are joined with what ``conf`` says.
LISTS = {"py_files": "spark.submit.pyFiles", "jars": "spark.jars", "files": "spark.files"}
#: The setting that v1 used for jars; here there may be no YARN.
_SAME_AS = {"spark.yarn.dist.jars": "spark.jars"}
#: What the compute target decides, not the step.
_TARGETS_OWN = ("spark.master", "spark.submit.deployMode", "spark.remote")


def settings(spark: Mapping[str, Any]) -> dict[str, str]:
    """Return the Spark settings of a step.

    :param spark: the five sizes (required), and ``app_name``, ``conf``, ``py_files``, ``jars``, ``files``.
    :raises UserErrorException: a size is missing or of the wrong type, ``conf`` contradicts a parameter, or names what
        only the compute target decides.
    """
    found: dict[str, str] = {}
    for parameter, key in SIZES.items():
        check = _memory if parameter.endswith("_memory") else _count
        found[key] = check(parameter, spark.get(parameter))
    if spark.get("app_name"):
        found["spark.app.name"] = _text("app_name", spark["app_name"])
    said_by = {key: parameter for parameter, key in SIZES.items()} | {"spark.app.name": "app_name"}
    conf = _conf(spark.get("conf"))
    for key, value in conf.items():
        if key in found and not _same(key, found[key], value):
            raise UserErrorException(
                f"The values of the parameter {key} have conflict: "
                f"{said_by[key]}={found[key]!r} and conf has {value!r}",
                hint="Give it once",
            )
        if key not in LISTS.values():
            found.setdefault(key, value)
    for parameter, key in LISTS.items():
        listed = [*_files(parameter, spark.get(parameter)), *filter(None, conf.get(key, "").split(","))]
        if listed:
            found[key] = ",".join(dict.fromkeys(item.strip() for item in listed))
    return found


def target_conf(conf: object) -> dict[str, str]:
    """Return the settings of a compute target as texts, by the same rules as a step's ``conf``."""
    return _conf(conf)


def over(target: Mapping[str, str], step: Mapping[str, str]) -> dict[str, str]:
    """Return a step's settings over those of its compute target: lists of files are joined, the step's first."""
    found = {**target, **step}
    for key in LISTS.values():
        items = [item.strip() for text in (step.get(key, ""), target.get(key, "")) for item in text.split(",")]
        if any(items):
            found[key] = ",".join(dict.fromkeys(filter(None, items)))
    return found


def absolute_files(found: Mapping[str, str], code: str) -> dict[str, str]:
    """Return the settings with the relative names in file lists made absolute, below the folder *code*."""

    def absolute(item: str) -> str:
        return item if item.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:", item) else f"{code}/{item}"

    return {
        key: ",".join(absolute(item) for item in value.split(",")) if key in LISTS.values() else value
        for key, value in found.items()
    }


def properties(found: Mapping[str, str]) -> str:
    """Return the settings as the text of a Java properties file."""
    lines = []
    for key, value in sorted(found.items()):
        text = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
        if text.startswith(" "):
            text = "\\" + text
        lines.append(re.sub(r"([ =:#!\\])", r"\\\1", key) + "=" + text)
    return "\n".join(lines) + "\n"


def _templated(value: object) -> bool:
    """Whether the value is still to be rendered by Airflow; it is checked again when the step runs."""
    return isinstance(value, str) and "{{" in value


def _memory(parameter: str, value: object) -> str:
    if _templated(value) or (isinstance(value, str) and _MEMORY.fullmatch(value)):
        return str(value)
    raise _wrong(parameter, value, 'a string of a number and a unit, such as "7g" or "512m"')


def _count(parameter: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return str(value)
    raise _wrong(parameter, value, "a whole number of at least 1 (int)")


def _wrong(parameter: str, value: object, allowed: str) -> UserErrorException:
    if value is None:
        return UserErrorException(f"{parameter} is required", allowed=[allowed])
    return UserErrorException(f"{parameter}={value!r} ({type(value).__name__}) is not right", allowed=[allowed])


def _text(parameter: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(parameter, value, "a string")
    return value


def _conf(conf: object) -> dict[str, str]:
    """Return ``conf`` with texts as values."""
    if conf is None:
        return {}
    if not isinstance(conf, Mapping):
        raise _wrong("conf", conf, 'a dict, such as {"spark.sql.shuffle.partitions": 8}')
    found: dict[str, str] = {}
    for key, value in conf.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise UserErrorException(f"{key!r} in conf is not a Spark setting", hint='Their names begin with "spark."')
        if key in _TARGETS_OWN:
            raise UserErrorException(f"{key} in conf is decided by the compute target", hint="Leave it out")
        if isinstance(value, bool):
            value = str(value).lower()
        if not isinstance(value, str | int | float):
            raise _wrong(f"conf[{key!r}]", value, "a string, a number, or a bool")
        key = _SAME_AS.get(key, key)
        if key in LISTS.values() and key in found:
            value = f"{found[key]},{value}"
        found[key] = str(value)
    return found


def _files(parameter: str, value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) and v for v in value):
        raise _wrong(parameter, value, "a list of file names")
    for item in value:
        if "," in item:
            raise UserErrorException(f"The file name {item!r} in {parameter} holds a comma, which Spark cannot take")
        if ".." in item.split("/"):
            hint = "Give a path without '..'"
            raise UserErrorException(f"The file {item!r} in {parameter} leaves its root", hint=hint)
    return list(value)


def _same(key: str, one: str, other: str) -> bool:
    return one == other or (key.endswith(".memory") and one.lower().rstrip("b") == other.lower().rstrip("b"))
