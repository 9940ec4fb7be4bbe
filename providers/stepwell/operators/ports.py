"""From v1's objects in ``inputs``, ``outputs`` and ``arguments`` to plain data, drawing the edges between steps on the
way.

The plain data is what Airflow templates, shows in *Rendered Templates* and serialises: the same at each parse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from stepwell.data.consumption import DatasetConsumptionConfig
from stepwell.data.output import OutputDatasetConfig
from stepwell.errors import UserErrorException

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

_NOT_A_PORT = re.compile(r"\W+")


def plain_inputs(inputs: Any, operator: BaseOperator) -> dict[str, dict[str, Any]]:
    """Return ``{name: {"mode", "path_on_compute", "source"}}``.

    A mapping is taken as it is: that is what Airflow hands in when it builds a mapped step anew.

    :raises UserErrorException: not an input, or two inputs of one name.
    """
    if isinstance(inputs, Mapping):
        return dict(inputs)
    plain: dict[str, dict[str, Any]] = {}
    configs = [_consumption(item) for item in inputs or ()]
    for position, config in enumerate(configs):
        name = config.name or _free_name(position + 1, {c.name for c in configs})
        if name in plain:
            raise UserErrorException(f"Two inputs are named {name!r}", hint="Give each input a name of its own")
        config.name = name  # arguments refer to the same object
        if isinstance(config.dataset, OutputDatasetConfig):
            source = _from_step(config.dataset, operator, name)
        else:
            source = config.source()
        plain[name] = {"mode": config.mode, "path_on_compute": config.path_on_compute, "source": source}
    return plain


def plain_outputs(outputs: Any, operator: BaseOperator) -> dict[str, dict[str, Any]]:
    """Return ``{name: {"mode", "destination", "registration", "read", "plan", "gate"}}`` and bind the outputs to
    *operator*.

    :raises UserErrorException: not an output, two outputs of one name, or an output that another step writes already.
    """
    if isinstance(outputs, Mapping):
        return dict(outputs)
    plain: dict[str, dict[str, Any]] = {}
    for position, config in enumerate(outputs or ()):
        if not isinstance(config, OutputDatasetConfig):
            raise UserErrorException(
                f"{config!r} is not an output", allowed=["OutputFileDatasetConfig", "HDFSOutputDatasetConfig"]
            )
        port = config.port
        if port.producer is not None and port.producer is not operator:
            raise UserErrorException(f"{config!r} is already an output of the step {port.producer.task_id!r}")
        if port.name is None:
            registered = (config.registration or {}).get("name", "")
            name = _NOT_A_PORT.sub("_", registered)
            port.name = name if name and not name[0].isdigit() else f"output_{position + 1}"
        if port.name in plain:
            raise UserErrorException(f"Two outputs are named {port.name!r}", hint="Give each output a name of its own")
        port.producer = operator
        plain[port.name] = config.serialize()
    names = [item["registration"]["name"] for item in plain.values() if item["registration"]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserErrorException(
            f"Two outputs register the dataset {twice[0]!r}", hint="Register each output under a name of its own"
        )
    return plain


def release(outputs: Any) -> None:
    """Hand the references of *outputs* to the steps that were built before their producer."""
    if outputs is None or isinstance(outputs, Mapping):
        return
    for config in outputs:
        for consumer, input_name in config.port.waiting:
            inputs = {name: dict(item) for name, item in consumer.inputs.items()}
            inputs[input_name]["source"] = {"reference": config.port.producer.output[config.port.name]}
            consumer.inputs = inputs  # setting the attribute makes Airflow draw the edge
        config.port.waiting.clear()


def plain_arguments(
    arguments: Sequence[Any] | None, inputs: Mapping[str, Any], outputs: Mapping[str, Any], what: str = "arguments"
) -> list[Any]:
    """Return strings, and ``{"input": name}`` / ``{"output": name}`` where a value is to be filled in.

    :raises UserErrorException: an argument that is neither, or an input or output that the step does not list.
    """
    plain: list[Any] = []
    for argument in arguments or ():
        if isinstance(argument, DatasetConsumptionConfig):
            plain.append({"input": _listed("input", argument.name, inputs, what)})
        elif isinstance(argument, OutputDatasetConfig):
            plain.append({"output": _listed("output", argument.name, outputs, what)})
        elif isinstance(argument, bool | int | float | PurePath):
            plain.append(str(argument))
        elif isinstance(argument, str) or hasattr(argument, "resolve"):  # XComArg
            plain.append(argument)
        elif isinstance(argument, dict) and len(argument) == 1 and next(iter(argument)) in ("input", "output"):
            plain.append(argument)
        else:
            raise UserErrorException(
                f"{what} holds {argument!r}",
                allowed=["str", "int", "float", "bool", "Path", "an input", "an output", "XComArg"],
            )
    return plain


def _free_name(number: int, taken: set[str | None]) -> str:
    """Return ``input_<number>``, or the next that is not *taken* by an input that has a name already."""
    while f"input_{number}" in taken:
        number += 1
    return f"input_{number}"


def _consumption(item: Any) -> DatasetConsumptionConfig:
    if isinstance(item, DatasetConsumptionConfig):
        return item
    if isinstance(item, OutputDatasetConfig):
        return item.as_input()
    if hasattr(item, "as_named_input"):
        raise UserErrorException(f"The input {item!r} has no name", hint="Use dataset.as_named_input('name')")
    return DatasetConsumptionConfig(None, item)


def _from_step(output: OutputDatasetConfig, operator: BaseOperator, name: str) -> dict[str, Any]:
    port = output.port
    if port.producer is operator:
        raise UserErrorException(f"The step {operator.task_id!r} takes its own output {port.name!r} as input")
    if port.producer is None:
        port.waiting.append((operator, name))
        return {"reference": None}
    return {"reference": port.producer.output[port.name]}


def _listed(port: str, name: str | None, known: Mapping[str, Any], what: str) -> str:
    if name is None or name not in known:
        raise UserErrorException(
            f"{what} holds the {port} {name or '(unnamed)'!r}, which is not in {port}s",
            allowed=known,
            hint=f"Add it to {port}s=",
        )
    return name


def workspace_of(workspace: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
    """Return the step's workspace as plain data: the one it was given, else that of its inputs and outputs.

    :raises UserErrorException: they are not of one workspace.
    """
    from stepwell.workspace.workspace import plain

    given = plain(workspace)
    named = {name: item["source"].get("workspace") for name, item in inputs.items()}
    named |= {name: item["destination"].get("workspace") for name, item in outputs.items()}
    for name, other in named.items():
        if other is None:
            continue
        if given is None:
            given = other
        elif other != given:
            raise UserErrorException(
                f"{name!r} is of the workspace {_told(other)}, and the step is of {_told(given)}",
                hint="A step reads and writes one workspace: take its inputs and outputs from one",
            )
    return given


def _told(plain_workspace: Any) -> str:
    if isinstance(plain_workspace, str):
        return repr(plain_workspace)
    return f"{plain_workspace['name']!r} at {plain_workspace['root']}"
