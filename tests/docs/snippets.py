"""The snippets of the README and of ``docs/``, as tests see them.

A block of code may have a mark right above it: ``<!-- snippet: … -->`` with words, separated by commas:

``continues``       it goes on where the block before it in the same page ended
``file PATH``       it is the content of a file, which later blocks of the page use (any language)
``raises NAME``     it raises an error of that class
``run``             a DAG that is also run, with ``dag.test()``
``run slow``        the same, among the slow tests: it needs Spark
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"(?:^<!-- snippet: (?P<marks>[^\n]*?) -->\n+)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
_KNOWN = re.compile(r"continues|file \S+|raises \w+|run|run slow")


@dataclass(frozen=True)
class Snippet:
    """One block of a page.

    :param line: of its first line in the page.
    """

    page: Path
    line: int
    language: str
    text: str
    marks: tuple[str, ...] = ()

    def value(self, mark: str) -> str | None:
        """Return what follows *mark*, or ``None`` if the block does not have it."""
        for given in self.marks:
            if given == mark or given.startswith(mark + " "):
                return given[len(mark) :].strip()
        return None

    @property
    def is_dag(self) -> bool:
        """Whether it is a DAG file."""
        return "@dag" in self.text


@dataclass
class Page:
    """The snippets of one page, in order."""

    path: Path
    snippets: list[Snippet] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The page's path in the project."""
        return self.path.relative_to(PROJECT).as_posix()


def pages() -> list[Page]:
    """Return the pages that have snippets."""
    paths = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
    return [page for page in map(read, paths) if page.snippets]


def read(path: Path) -> Page:
    """Return the snippets of *path* that are Python, or that are files which others need."""
    text = path.read_text(encoding="utf-8")
    page = Page(path)
    for match in _BLOCK.finditer(text):
        marks = tuple(m.strip() for m in (match["marks"] or "").split(",") if m.strip())
        unknown = [m for m in marks if not _KNOWN.fullmatch(m)]
        if unknown:
            raise ValueError(f"{path}: unknown mark {unknown[0]!r}")
        snippet = Snippet(path, text.count("\n", 0, match.start("text")) + 1, match["language"], match["text"], marks)
        if snippet.language == "python" or snippet.value("file"):
            page.snippets.append(snippet)
    return page
