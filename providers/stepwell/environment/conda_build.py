"""Building with conda, mamba or micromamba, where a package is wanted that only conda has."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from stepwell.environment import conda_names
from stepwell.environment.build_log import BuildLog
from stepwell.environment.leftovers import note
from stepwell.environment.plan import Plan
from stepwell.environment.running import passed_variables, run, stops
from stepwell.errors import EnvironmentException

PROGRAMS = ("micromamba", "mamba", "conda")
#: Where packages come from when the specification names no channel.
DEFAULT_CHANNEL = "conda-forge"


def find_conda() -> str | None:
    """Return the path of the first of :data:`PROGRAMS` that is on ``PATH``, or what ``STEPWELL_CONDA_EXE`` says.

    :raises EnvironmentException: that is no program.
    """
    configured = os.environ.get("STEPWELL_CONDA_EXE")
    for name in [configured] if configured else PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return os.path.abspath(found)
    if configured:
        raise EnvironmentException(
            f"STEPWELL_CONDA_EXE is {configured!r}, which is no program",
            hint="Point it at micromamba, mamba or conda, or unset it",
        )
    return None


def create(plan: Plan, prefix: Path, running: Path, log: BuildLog) -> str:
    """Create *prefix* with the conda packages of *plan*, and return what was installed, a line per package.

    :param prefix: where the environment stays: it holds its own path, so it cannot be moved.
    :param running: notes the program while it works, see :mod:`stepwell.environment.leftovers`.
    :raises EnvironmentException: conda's own words why it failed.
    """
    program = str(plan.program)
    channels = [c for c in plan.spec["channels"] if c != "nodefaults"] or [DEFAULT_CHANNEL]
    hidden = [channel for channel in channels if "***" in channel]
    if hidden:
        raise EnvironmentException(
            f"The address of the conda channel {hidden[0]} carries credentials, which are not stored",
            hint="Leave them out of the address, and put them into conda's own settings (.condarc)",
        )
    wish = [f"python {plan.python}" if plan.python[0] in "<>=!~" else f"python={plan.python}"]
    wish += [_in_condas_words(item) for item in plan.spec["conda"]]
    argv = [program, "create", "--yes", "--quiet", "--prefix", str(prefix), "--override-channels"]
    argv += [part for channel in channels for part in ("--channel", channel)]
    log.doing = f"{os.path.basename(program)} installs"
    log(f"Environment {plan.key[:12]}: {program} installs {', '.join(wish)} from {', '.join(channels)}")
    variables = passed_variables(plan.named)
    variables.setdefault("CONDA_PKGS_DIRS", str(prefix.parent / ".conda" / "pkgs"))
    if os.path.basename(program).startswith("micromamba"):
        variables.setdefault("MAMBA_ROOT_PREFIX", str(prefix.parent / ".conda"))
    before = stops()
    code, lines = run([*argv, *wish], variables, log=log, tick=log.tick, started=lambda pid: note(running, pid))
    if stops() != before:
        raise EnvironmentException("The build of the environment was cancelled")
    if code == 0 and not (prefix / "bin" / "python").exists():
        code, lines = 1, [*lines, f"{program} ended well, and there is no {prefix / 'bin' / 'python'}"]
    if code != 0:
        text = "\n".join(lines[-40:]) or f"{program} ended with exit code {code} and no message"
        raise EnvironmentException(
            f"The environment cannot be built by {program} (conda: {', '.join(plan.spec['conda'])}; "
            f"channels: {', '.join(channels)}): {text}"
        )
    return installed(prefix)


def installed(prefix: Path) -> str:
    """Return conda's packages in *prefix*, ``name=version=build`` per line, as conda's own records say."""
    found = []
    for record in (prefix / "conda-meta").glob("*.json"):
        try:
            package = json.loads(record.read_text(encoding="utf-8"))
            found.append(f"{package['name']}={package['version']}={package.get('build', package.get('build_string'))}")
        except (ValueError, KeyError, OSError):
            found.append(record.stem)
    return "\n".join(sorted(found))


def _in_condas_words(item: str) -> str:
    """Return the package as conda takes it: in conda "==1.19.*" would be 1.19 alone."""
    parsed = conda_names.parse(item, "Environment specification")
    version = re.sub(r"(^|,)==(?=[^,]*\*)", r"\1", parsed.version)
    return (f"{parsed.channel}::" if parsed.channel else "") + f"{parsed.name} {version}".strip()
