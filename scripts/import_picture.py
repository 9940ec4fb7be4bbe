"""Draw which part of Stepwell imports which into ``docs/architecture.md``: ``make picture``.

Reads the source with ``ast`` and imports nothing of it. What is drawn is what the layer test checks
(``tests/unit/test_layers.py``): both use :func:`imports`. The picture is text (Mermaid), and the same source always
gives the same text. ``--check`` writes nothing and exits with 1 when the picture is out of date.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "providers" / "stepwell"
PAGE = PROJECT / "docs" / "architecture.md"
BEGIN, END = "<!-- picture of the imports: begin (made by `make picture`) -->", "<!-- picture of the imports: end -->"

# The layer of each part of the package (its first name below ``stepwell``). What is not named here is core.
LAYER_OF = {
    "runtime": "runtime",
    "payload": "payload",
    **dict.fromkeys(("assets", "cli", "fs", "hooks", "links", "operators", "provider_info"), "airflow"),
    **dict.fromkeys(("sensors", "triggers"), "airflow"),
    "ui": "ui",
}
# What each layer may import of the others. Core reaches payload only inside functions: see the layer test.
MAY_IMPORT = {
    "runtime": set(),
    "payload": {"runtime"},
    "core": {"runtime", "payload"},
    "airflow": {"runtime", "core"},
    "ui": {"runtime", "core", "airflow"},
}
SAID = {
    "runtime": "runtime: standard library only",
    "payload": "payload: runs on the target",
    "core": "core: knows no Airflow",
    "airflow": "airflow: operators, hooks, command line",
    "ui": "ui: pages served by the plugin",
}


@dataclass(frozen=True)
class Import:
    """One name imported by one module."""

    module: str  # dotted, of the importing module
    path: Path
    line: int
    name: str  # dotted, what is imported
    lazy: bool  # inside a function, or only for the type checker


def layer(module: str) -> str:
    """The layer of a module of Stepwell."""
    return LAYER_OF.get(part(module), "core")


def part(module: str) -> str:
    """The first name below ``stepwell``; for the package itself, ``stepwell``."""
    names = module.split(".")
    return names[1] if len(names) > 1 else names[0]


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Every module of the package: dotted name and file, sorted."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        names = [package.name, *path.relative_to(package).with_suffix("").parts]
        found[".".join(names[:-1] if names[-1] == "__init__" else names)] = path
    return found


def imports(package: Path = PACKAGE) -> list[Import]:
    """Every import of every module of the package, in order."""
    known = modules(package)
    return [found for module, path in known.items() for found in imports_of(module, path, known)]


def imports_of(module: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    """The imports of one module. ``from a import b`` is ``a.b`` where that is a module, else ``a``."""
    tree = ast.parse(path.read_text("utf-8"), filename=str(path))
    for node, lazy in walk(tree, lazy=False):
        for name in names_in(node, module, is_package=path.name == "__init__.py", known=known):
            yield Import(module, path, node.lineno, name, lazy)


def walk(node: ast.AST, *, lazy: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The import statements below a node, and whether importing the module leaves them alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, lazy
            continue
        is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from walk(child, lazy=lazy or is_function or is_type_checking(child))


def is_type_checking(node: ast.AST) -> bool:
    """Whether this is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def names_in(
    node: ast.Import | ast.ImportFrom, module: str, *, is_package: bool, known: dict[str, Path]
) -> Iterator[str]:
    """The dotted names that one statement imports, relative ones made absolute."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parents = module.split(".")
        parents = parents[: len(parents) - node.level + is_package]
        base = ".".join([*parents, base] if base else parents)
    yield from sorted({f"{base}.{a.name}" if f"{base}.{a.name}" in known else base for a in node.names})


def edges(found: list[Import]) -> Counter[tuple[str, str]]:
    """How many imports go from one part of Stepwell to another."""
    inside = (entry for entry in found if entry.name.split(".")[0] == PACKAGE.name)
    return Counter((part(e.module), part(e.name)) for e in inside if part(e.module) != part(e.name))


def picture(found: list[Import], all_modules: dict[str, Path]) -> str:
    """The graph of the layers, and below it that of the parts, as Mermaid."""
    between = edges(found)
    parts = sorted({part(module) for module in all_modules} | {name for edge in between for name in edge})
    layers: Counter[tuple[str, str]] = Counter()
    for (source, target), count in between.items():
        ends = LAYER_OF.get(source, "core"), LAYER_OF.get(target, "core")
        if ends[0] != ends[1]:
            layers[ends] += count
    lines = ["```mermaid", "flowchart BT"]
    lines += [f'  {name}["{SAID[name]}"]' for name in SAID]
    lines += [f"  {source} -->|{count}| {target}" for (source, target), count in sorted(layers.items())]
    lines += [
        "```",
        "",
        "The same by part (an arrow goes from the one that imports):",
        "",
        "```mermaid",
        "flowchart BT",
    ]
    for name in SAID:
        members = [member for member in parts if LAYER_OF.get(member, "core") == name]
        lines += [f"  subgraph layer_{name} [{name}]", *(f"    {m}_[{m}]" for m in members), "  end"] if members else []
    lines += [f"  {source}_ --> {target}_" for source, target in sorted(between)]
    return "\n".join([*lines, "```"])


def updated(page: str, drawing: str) -> str:
    """The page with the drawing between its marks; a page without them gets them at its end."""
    block = f"{BEGIN}\n{drawing}\n{END}"
    if BEGIN in page and END in page:
        return page[: page.index(BEGIN)] + block + page[page.index(END) + len(END) :]
    return f"{page.rstrip()}\n\n## Who imports whom\n\n{block}\n"


def main(arguments: list[str]) -> int:
    """Write the picture, or with ``--check`` say whether it is up to date."""
    page = PAGE.read_text("utf-8") if PAGE.exists() else "# Architecture\n"
    new = updated(page, picture(imports(), modules()))
    if "--check" in arguments:
        if page != new:
            print(f"{PAGE.relative_to(PROJECT)}: the picture of the imports is out of date: type `make picture`")
        return int(page != new)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(new, "utf-8")
    print(f"drawn into {PAGE.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
