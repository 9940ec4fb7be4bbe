"""Every Python snippet of the README and of ``docs/`` works.

A DAG is parsed by Airflow and, where its mark says so, run; anything else is executed. All of it in a project folder
with a workspace of its own.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.docs.snippets import PROJECT, Page, Snippet, pages

PAGES = {page.name: page for page in pages()}
#: One process of Stepwell's tells another: nobody sets these.
_HANDED_ON = {
    "STEPWELL_AUTOML_POOL",
    "STEPWELL_AUTOML_POOL_TOKEN",
    "STEPWELL_AUTOML_TOKEN",
    "STEPWELL_BUILD",
    "STEPWELL_JOB_DIR",
    "STEPWELL_SPARK_ARCHIVE",
    "STEPWELL_SPARK_SUBMIT",
}
TEXTS = ["README.md", *sorted(p.relative_to(PROJECT).as_posix() for p in (PROJECT / "docs").rglob("*.md"))]


@pytest.fixture
def project(airflow_database: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project folder, whose ``dags/`` is where Airflow finds DAGs: ``dag.test()`` looks the DAG up there."""
    bundle = {
        "name": f"snippets-{folder.name}",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder / "dags")},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_snippets(name: str, project: Path) -> None:
    play(PAGES[name], project, run="run")


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [n for n, p in PAGES.items() if any(s.value("run") == "slow" for s in p.snippets)])
def test_snippets_that_need_spark(name: str, project: Path) -> None:
    play(PAGES[name], project, run="run slow")


def play(page: Page, folder: Path, run: str) -> None:
    """Take the snippets of a page one after another; DAGs with the mark *run* are run."""
    from stepwell import Workspace

    Workspace().get_default_datastore().upload_files(["include/data/Titanic.csv"], show_progress=False)
    names: dict[str, Any] = {}
    for snippet in page.snippets:
        if path := snippet.value("file"):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(snippet.text, encoding="utf-8")
            if snippet.language == "python":
                code_of(snippet)
        elif snippet.is_dag:
            file = folder / "dags" / f"{page.path.stem.replace('-', '_')}_{snippet.line}.py"
            file.write_text(snippet.text, encoding="utf-8")
            play_dag(snippet, file, run in snippet.marks)
        elif run == "run":
            if snippet.value("continues") is None:
                names = {"__name__": "snippet"}
            execute(snippet, names)


def play_dag(snippet: Snippet, file: Path, run: bool) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(file))
    assert not bag.import_errors, f"{where(snippet)}: {bag.import_errors}"
    assert bag.dags, f"{where(snippet)} makes no DAG"
    if run:
        for dag in bag.dags.values():
            assert dag.test().state == "success", where(snippet)


def execute(snippet: Snippet, names: dict[str, Any]) -> None:
    wanted = snippet.value("raises")
    try:
        exec(code_of(snippet), names)
    except Exception as error:
        if type(error).__name__ != wanted:
            raise AssertionError(f"{where(snippet)}: {type(error).__name__}: {error}") from error
    else:
        assert wanted is None, f"{where(snippet)} did not raise {wanted}"


def code_of(snippet: Snippet) -> Any:
    # Lines before it, so that a traceback shows the page's own line numbers.
    return compile("\n" * (snippet.line - 1) + snippet.text, str(snippet.page), "exec")


def where(snippet: Snippet) -> str:
    return f"{snippet.page.relative_to(PROJECT)}, line {snippet.line}"


# -- the pages themselves -------------------------------------------------------------------------------------------


def test_readme_dag_has_at_most_40_lines() -> None:
    (dag,) = [s for s in PAGES["README.md"].snippets if s.is_dag]
    assert len(dag.text.splitlines()) <= 40


@pytest.mark.parametrize("path", TEXTS)
def test_links_lead_somewhere(path: str) -> None:
    page = PROJECT / path
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{path} links to {target}"


def test_every_example_has_a_line_in_the_readme() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert [p.name for p in (PROJECT / "dags").glob("*.py") if p.name not in readme] == []


def test_every_setting_has_a_line() -> None:
    source = "\n".join(p.read_text(encoding="utf-8") for p in (PROJECT / "providers" / "stepwell").rglob("*.py"))
    page = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    settings = set(re.findall(r"\b(STEPWELL_[A-Z_]+)", source)) - _HANDED_ON
    assert sorted(name for name in settings if name.rstrip("_") not in page) == []


@pytest.mark.parametrize(
    ("operator", "page"),
    [
        ("PythonScriptStepOperator", "python-script-step.md"),
        ("StepOperator", "python-script-step.md"),
        ("CommandStepOperator", "command-step.md"),
        ("SynapseSparkStepOperator", "synapse-spark-step.md"),
        ("ValidateDatasetOperator", "validate-dataset.md"),
        ("AutoMLStepOperator", "automl-step.md"),
    ],
)
def test_every_parameter_has_a_line(operator: str, page: str) -> None:
    from stepwell import operators

    text = (PROJECT / "docs" / "steps" / page).read_text(encoding="utf-8")
    signature = inspect.signature(getattr(operators, operator).__init__)
    parameters = [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    common = {"name", "task_id"}  # told once, on the page of the Python step
    assert [p for p in parameters if f"`{p}`" not in text and p not in common] == []


def test_every_parameter_of_a_search_has_a_line() -> None:
    from stepwell import AutoMLConfig, ForecastingParameters

    pages = [PROJECT / "docs" / f"automl-{name}.md" for name in ("configuration", "forecasting")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    taken = [*inspect.signature(AutoMLConfig).parameters, *inspect.signature(ForecastingParameters).parameters]
    inner = {"kwargs", "validate_parameters", "short_series_handling"}  # not meant for anybody, or an old name
    assert [name for name in taken if f"`{name}`" not in text and name not in inner] == []
