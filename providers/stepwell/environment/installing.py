"""Installing requirements with uv into an environment that is there, and what exactly came of it: the lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stepwell.environment.build_log import BuildLog
from stepwell.environment.leftovers import note
from stepwell.environment.plan import Plan
from stepwell.environment.running import stops
from stepwell.environment.uv import run_uv
from stepwell.errors import EnvironmentException


class Installer:
    """uv at work for one build.

    :param aside: a folder for its files, removed by the caller.
    :param running: notes the program while it works.
    """

    def __init__(self, plan: Plan, cache: Path, aside: Path, running: Path, log: BuildLog) -> None:
        self.plan = plan
        self._cache = cache
        self._aside = aside
        self._running = running
        self._log = log

    def venv(self, python: str, folder: Path) -> None:
        """Make an empty environment that can be renamed."""
        self._run(["venv", "--quiet", "--relocatable", "--no-project", "--python", python, str(folder)])

    def install(self, folder: Path) -> str:
        """Install the requirements into the environment *folder*; return the lock, with hashes where uv can tell them.

        :raises EnvironmentException: they do not go together, or cannot be had.
        """
        plan = self.plan
        if not plan.requirements:
            return ""
        python = str(folder / "bin" / "python")
        wish = self._aside / "requirements.in"
        options = plan.spec["pip_options"]
        extra = [part for option in options if option.startswith("--prerelease") for part in option.split()]
        in_file = [option for option in options if not option.startswith("--prerelease")]
        _write(wish, [*in_file, *plan.requirements])
        if plan.spec["constraints"]:
            _write(self._aside / "constraints.txt", plan.spec["constraints"])
            extra += ["--constraints", str(self._aside / "constraints.txt")]
        hashed = sum("--hash=" in line for line in plan.requirements)
        if 0 < hashed < len(plan.requirements):
            self._log(f"{hashed} of {len(plan.requirements)} requirements carry hashes; only those are verified")
        strict = ["--require-hashes"] if hashed == len(plan.requirements) else []
        self._log.doing = "installing"
        self._run(
            ["pip", "install", "--python", python, "--compile-bytecode", *extra, *strict, "--requirements", str(wish)]
        )
        self._log.doing = "writing the lock"
        if hashed or plan.program is not None:  # the author's hashes are in the specification; conda's have none
            return self._run(["pip", "freeze", "--quiet", "--python", python], show=False)
        return self._lock(python, folder, in_file)

    def _lock(self, python: str, folder: Path, options: list[str]) -> str:
        """Return what is installed, with the hashes that the index gave while uv resolved: nothing is asked again."""
        pinned = (
            _installed(folder) or self._run(["pip", "freeze", "--quiet", "--python", python], show=False).splitlines()
        )
        pins, lock = self._aside / "installed.in", self._aside / "installed.txt"
        _write(pins, [*options, *pinned])
        form = ["--generate-hashes", "--no-header", "--no-annotate", "--output-file", str(lock), str(pins)]
        code, _ = self._uv(["pip", "compile", "--quiet", "--offline", "--no-deps", "--python", python, *form], None)
        return lock.read_text(encoding="utf-8") if code == 0 else "\n".join(pinned) + "\n"

    def _uv(self, arguments: Sequence[str], log: Callable[[str], None] | None) -> tuple[int, list[str]]:
        before = stops()
        done = run_uv(
            arguments,
            cache=self._cache,
            log=log,
            tick=self._log.tick,
            started=lambda pid: note(self._running, pid),
            named=self.plan.named,
        )
        if stops() != before:
            raise EnvironmentException("The build of the environment was cancelled")
        return done

    def _run(self, arguments: Sequence[str], *, show: bool = True) -> str:
        code, lines = self._uv(arguments, self._log if show else None)
        if code == 0:
            return "\n".join(lines)
        text = "\n".join(lines[-40:]) or f"uv ended with exit code {code} and no message"
        what, hint = "cannot be built", None
        if "No solution found" in text:
            what, hint = "cannot be resolved", "Change the requirements so that they go together"
        elif "No space left" in text:
            hint = f"The disk of {self._cache.parent} is full: make room there, then run again"
        spec = self.plan.spec
        wish = f"conda: {', '.join(spec['conda']) or 'nothing'}; pip: {', '.join(spec['pip']) or 'nothing'}"
        raise EnvironmentException(f"The environment {what} ({wish}): {text}", hint=hint)


def _installed(folder: Path) -> list[str] | None:
    """Return ``name==version`` of each package in the environment *folder*; None if one is from an address."""
    from importlib.metadata import distributions

    found = []
    for package in distributions(path=[str(path) for path in folder.glob("lib/python*/site-packages")]):
        if package.read_text("direct_url.json") is not None:
            return None
        found.append(f"{package.metadata['Name'].lower()}=={package.version}")
    return sorted(found)


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
