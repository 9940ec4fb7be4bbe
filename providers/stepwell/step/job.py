"""From a step and its resolved inputs to the one job document that a target runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stepwell.compute.contract import Entry, EntryKind, EnvironmentRef, Layout, Target
from stepwell.compute.limits import lease_seconds
from stepwell.errors import EnvironmentException, UserErrorException
from stepwell.quality import gates
from stepwell.runtime.protocol import FORMAT
from stepwell.workspace.connections import get_connection

if TYPE_CHECKING:
    from stepwell.step.publish import PlannedOutput
    from stepwell.step.resolve import ResolvedInput
    from stepwell.step.spec import JobKey, StepSpec
    from stepwell.workspace import Workspace

_NOT_A_WORD = re.compile(r"\W")


@dataclass(frozen=True)
class Blueprint:
    """All that goes into a job document.

    :param resume: where in the job directory is what an earlier try has left.
    """

    ws: Workspace
    spec: StepSpec
    key: JobKey
    run_id: str
    owner: str
    try_number: int
    inputs: Sequence[ResolvedInput]
    outputs: Sequence[PlannedOutput]
    resume: str | None = None


def entry_kind(spec: StepSpec, target: Target) -> EntryKind:
    """Return what *target* is asked to run: a module of the payload runs on any engine."""
    if spec.module is not None:
        return "spark" if target.engine == "spark" else "python"
    return spec.kind  # type: ignore[return-value]


def engine_of(spec: StepSpec, target: Target) -> str:
    """Return what judges the step's outputs: the Spark application that wrote them, else pandas in a process apart."""
    return "spark" if entry_kind(spec, target) == "spark" else target.engine


def document(
    plan: Blueprint, target: Target, layout: Layout, environment: EnvironmentRef, gates_in: EnvironmentRef | None
) -> dict[str, Any]:
    """Return ``job.json``.

    :param gates_in: the environment in which the gates run; ``None`` = there are none.
    :raises UserErrorException: an argument names what the step does not have, a suite that cannot be read.
    """
    spec = plan.spec
    values_in = {i.name: i.value for i in plan.inputs}
    values_out = {o.name: o.value for o in plan.outputs}
    arguments = spec.fill(spec.arguments, values_in, values_out)
    command = spec.fill(spec.command, values_in, values_out)
    kind = entry_kind(spec, target)
    entry = Entry(kind, spec.script, tuple(arguments), tuple(command), spec.spark, spec.module)
    variables = {**environment.variables, **_variables(plan)}
    judged = gates_of(plan, engine_of(spec, target))
    phases = target.phases(entry, environment, layout, variables=variables, gates_in=gates_in)
    return {
        **_of_module(plan),
        "format": FORMAT,
        "job_id": plan.run_id,
        "run_id": plan.run_id,
        "owner": plan.owner,
        "step": {
            "name": spec.name,
            "dag_id": plan.key.dag_id,
            "task_id": plan.key.task_id,
            "dag_run_id": plan.key.dag_run_id,
            "map_index": plan.key.map_index,
            "try_number": plan.try_number,
            "experiment": spec.experiment,
            "compute_target": spec.compute_target,
        },
        "workspace": {
            "name": plan.ws.name,
            "uuid": plan.ws.uuid,
            "default_datastore": plan.ws.get_default_datastore().name,
        },
        "variables": variables,
        "secret_names": sorted(spec.secrets),
        "phases": phases,
        "runner": target.needs(entry, environment, layout),
        "main": {
            "script": f"{layout.code}/{spec.script}" if spec.script else None,
            "module": spec.module,
            "arguments": [layout.root, *arguments] if spec.module else arguments,
        },
        "inputs": {i.name: i.port() for i in plan.inputs},
        "outputs": {o.name: {"mode": o.mode, "value": o.value} for o in plan.outputs},
        "datasets": {i.version.id: {**i.dataset(), "id": i.version.id} for i in plan.inputs},
        "gates": judged,
        "lease_seconds": lease_seconds(),
        "last_lines": 20,
    }


def _of_module(plan: Blueprint) -> dict[str, Any]:
    """Return what the job says to the module that it runs, under the name of the module's package."""
    if plan.spec.module is None:
        return {}
    return {plan.spec.module.split(".")[-2]: {**plan.spec.settings, "resume": plan.resume}}


def environment_of(ws: Workspace, spec: StepSpec, log: Callable[[str], None]) -> dict[str, Any]:
    """Return the normal form of the step's environment; now its files are read, or its name is looked up.

    :raises UserErrorException: a file that is missing or malformed; no registered environment of that name.
    """
    from stepwell.environment import registered
    from stepwell.environment.specification import specification

    try:
        return specification(registered.load(ws, spec.environment), log=log)
    except EnvironmentException as error:  # wrong as it is written: no retry would help
        raise UserErrorException(error.what, allowed=error.allowed, hint=error.hint) from error


def secrets_of(spec: StepSpec) -> dict[str, str]:
    """Return environment variable → secret, from the connections that the step names.

    :raises UserErrorException: a connection that does not exist or has no password.
    """
    secrets = {}
    for variable, conn_id in spec.secrets.items():
        connection = get_connection(conn_id)
        if connection is None or not connection.password:
            raise UserErrorException(
                f"The secret {variable} comes from the connection {conn_id!r}, which does not exist or has no password",
                hint="Create the connection in Airflow (Admin, Connections) with the secret as its password",
            )
        secrets[variable] = connection.password
    return secrets


def gates_of(plan: Blueprint, engine: str) -> list[dict[str, Any]]:
    """Return the gates of the step's outputs, and of what it validates, with their suites read.

    :raises UserErrorException: a suite that is missing or no suite.
    """
    found = []
    for output in plan.outputs:
        if output.item["gate"]:
            read = dict(output.item["read"] or {"format": "auto", "options": {}})
            here = "pandas" if output.mode == "upload" else engine  # what is by upload, only the driver's machine has
            gate, plan_of = output.item["gate"], output.item["plan"]
            found.append(gates.request(output.name, gate, here, location=output.value, read=read, plan=plan_of))
    for resolved in plan.inputs:
        if resolved.name in plan.spec.validations:
            definition = resolved.version.definition
            found.append(
                gates.request(
                    resolved.name,
                    plan.spec.validations[resolved.name],
                    engine,
                    location=None,
                    files=list(resolved.files),
                    read={"format": definition["format"] or "auto", "options": definition["options"]},
                    plan=definition["plan"],
                )
            )
    return found


def _variables(plan: Blueprint) -> dict[str, str]:
    """Return the environment of the script: v1's variables, the ports, the params, and the author's own, which win."""
    variables = {
        **_store_variables(plan),
        "AZUREML_RUN_ID": plan.run_id,
        "AZUREML_ARM_WORKSPACE_NAME": plan.ws.name,
        "AZUREML_ARM_PROJECT_NAME": plan.spec.experiment,
        "AZUREML_WORKSPACE_ID": plan.ws.uuid,
    }
    for resolved in plan.inputs:
        for name in (resolved.name, resolved.name.upper(), f"AZURE_ML_INPUT_{resolved.name}"):
            variables[name] = resolved.value
    for output in plan.outputs:
        variables[f"AZURE_ML_OUTPUT_{output.name}"] = output.value
    for name, value in plan.spec.params.items():
        variables[f"AML_PARAMETER_{_NOT_A_WORD.sub('_', name)}"] = str(value)
    return {**variables, **plan.spec.variables}


def _store_variables(plan: Blueprint) -> dict[str, str]:
    """Return what the job's datastores need in its environment, such as the HDFS user to be.

    :raises UserErrorException: two datastores need different things: a process can be one user only.
    """
    names = {f.datastore for i in plan.inputs for f in i.version.files if f.uri in i.files}
    backends = {n: plan.ws.datastore(n).backend for n in sorted(names)}
    backends.update({o.datastore.name: o.datastore.backend for o in plan.outputs if o.mode == "hdfs"})
    found: dict[str, str] = {}
    for name, backend in backends.items():
        for variable, value in backend.variables().items():
            if found.setdefault(variable, value) != value:
                raise UserErrorException(
                    f"The datastore {name!r} needs {variable}={value!r}, another one of this step {found[variable]!r}",
                    hint="Let the step read the other one by download, or give both the same user",
                )
    return found
