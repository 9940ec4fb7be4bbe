"""From a step and its resolved inputs to the one job document that a target runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.compute.contract import Entry, EnvironmentRef, Layout, Target
from stepwell.errors import GateFailedException, UserErrorException
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
    """All that goes into a job document."""

    ws: Workspace
    spec: StepSpec
    key: JobKey
    run_id: str
    owner: str
    try_number: int
    inputs: Sequence[ResolvedInput]
    outputs: Sequence[PlannedOutput]


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
    entry = Entry(spec.kind, spec.script, tuple(arguments), tuple(command), spec.spark)  # type: ignore[arg-type]
    variables = {**environment.variables, **_variables(plan)}
    gates = gates_of(plan, target.engine)
    phases = target.phases(entry, environment, layout, variables=variables, gates_in=gates_in)
    return {
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
        },
        "workspace": {"name": plan.ws.name, "uuid": plan.ws.uuid},
        "variables": variables,
        "secret_names": sorted(spec.secrets),
        "phases": phases,
        "main": {"script": f"{layout.code}/{spec.script}" if spec.script else None, "arguments": arguments},
        "inputs": {i.name: i.port() for i in plan.inputs},
        "outputs": {o.name: {"mode": o.mode, "value": o.value} for o in plan.outputs},
        "datasets": {i.version.id: i.dataset() for i in plan.inputs},
        "gates": gates,
        "lease_seconds": 24 * 3600,
        "last_lines": 20,
    }


def environment_of(spec: StepSpec, log: Callable[[str], None]) -> dict[str, Any]:
    """Return the normal form of the step's environment; now its files are read.

    :raises EnvironmentException: a file that is missing or malformed.
    """
    from stepwell.environment import Environment
    from stepwell.environment.specification import specification

    declared: object = spec.environment
    if isinstance(declared, dict) and "dependencies" in declared:
        declared = Environment.deserialize(declared)
    return specification(declared, log=log)


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
    gates = []
    for output in plan.outputs:
        if output.item["gate"]:
            read = dict(output.item["read"] or {"format": "auto", "options": {}})
            gates.append(
                _gate(
                    output.name, output.item["gate"], engine, location=output.value, read=read, plan=output.item["plan"]
                )
            )
    for resolved in plan.inputs:
        if resolved.name in plan.spec.validations:
            definition = resolved.version.definition
            gates.append(
                _gate(
                    resolved.name,
                    plan.spec.validations[resolved.name],
                    engine,
                    location=None,
                    files=list(resolved.files),
                    read={"format": definition["format"] or "auto", "options": definition["options"]},
                    plan=definition["plan"],
                )
            )
    return gates


def _gate(
    name: str, gate: Mapping[str, Any], engine: str, *, files: list[str] | None = None, **where: Any
) -> dict[str, Any]:
    suite = suite_of(gate["suite"])
    return {
        "name": name,
        "files": files,
        **where,
        "suite": suite,
        "suite_name": gate.get("suite_name") or suite.get("name") or name,
        "samples": gate["samples"],
        "engine": engine,
    }


def suite_of(suite: Any) -> dict[str, Any]:
    """Return the suite that *suite* is, or whose path it is.

    :raises UserErrorException: no such file, no JSON, no suite.
    """
    where = "The suite"
    if isinstance(suite, str):
        where = f"The suite {suite}"
        try:
            suite = json.loads(Path(suite).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserErrorException(f"{where} does not exist", hint=f"It is looked for from {Path.cwd()}") from error
        except (OSError, ValueError) as error:
            raise UserErrorException(f"{where} cannot be read: {error}") from error
    if not isinstance(suite, dict) or not isinstance(suite.get("expectations"), list) or not suite["expectations"]:
        raise UserErrorException(
            f"{where} holds no list 'expectations'", hint="Give a Great Expectations suite as JSON"
        )
    return suite


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


def verdict_of(directory: Path, name: str) -> dict[str, Any]:
    """Return the result of the gate *name* from a collected job.

    :raises GateFailedException: there is none, or it is damaged: silence is failure.
    """
    try:
        result = json.loads((directory / "gates" / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GateFailedException(f"The gate of {name!r} has left no verdict: {error}") from error
    if not isinstance(result, dict) or result.get("verdict") not in ("passed", "warned", "failed", "errored"):
        raise GateFailedException(f"The gate of {name!r} has left no verdict")
    return result


def brief(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the run's record keeps of a gate's result."""
    return {k: verdict.get(k) for k in ("verdict", "suite", "rows", "statistics", "seconds", "engine")}


def sentence(verdict: Mapping[str, Any]) -> str:
    """Return a gate's result in words."""
    counts = verdict.get("statistics") or {}
    words = f"{verdict['verdict']}, {counts.get('passed', 0)} of {counts.get('evaluated', 0)} expectations passed"
    bad = [e for e in verdict.get("expectations") or [] if e.get("outcome") not in ("passed", None)]
    named = [f"{e['type']}({e.get('kwargs', {}).get('column', '')}) {e['outcome']}" for e in bad[:5]]
    return words + (": " + ", ".join(named) if named else "")
