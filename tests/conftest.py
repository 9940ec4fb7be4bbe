"""For every test: an Airflow home of its own, set before anything imports Airflow, and CI's rule about skips.

Loaded in two environments, one of which (``.venv-payload``) has no Airflow: nothing is imported from it here.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent

# At import, not in a fixture: collecting a test module already imports Airflow, which reads these once.
_HOME = Path(tempfile.mkdtemp(prefix="stepwell-tests-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "STEPWELL_ROOT", "STEPWELL_JOB", "AZUREML"))]:
    del os.environ[_name]  # the developer's own Airflow and workspace are none of the tests' business
os.environ.update(
    AIRFLOW_HOME=str(_HOME / "airflow"),
    AIRFLOW__CORE__DAGS_FOLDER=str(PROJECT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(PROJECT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__PARALLELISM="4",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME / 'airflow' / 'airflow.db'}",
    AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL="1",
    STEPWELL_ROOT=str(_HOME / "workspace"),
)


def pytest_configure() -> None:
    """Let SIGTERM end the tests as Ctrl-C does: daemons that they have started are stopped then."""
    tests = os.getpid()

    def end(number: int, _frame: object) -> None:
        if os.getpid() == tests:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)  # a process that a test has forked
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skip",
        action="store_true",
        default=os.environ.get("CI", "").lower() in {"1", "true"},
        help="a test marked integration that is skipped is a failure (the default where CI=true)",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where nothing may be missing, a skipped integration test is a failure that says why it was skipped."""
    report = yield
    is_skip = report.skipped and not hasattr(report, "wasxfail")
    if is_skip and item.config.getoption("--no-skip") and item.get_closest_marker("integration"):
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself as a whole (``importorskip``): its markers are not known."""
    report = yield
    if report.skipped and collector.config.getoption("--no-skip"):
        refuse_skip(report)
    return report


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a report of a skip that of a failure."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} was skipped, and with --no-skip (CI=true) it may not be: {reason}"


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's folder."""
    return PROJECT


@pytest.fixture(scope="session")
def payload_python() -> Path:
    """The interpreter that has Spark and Great Expectations; the test is skipped where there is none."""
    python = Path(os.environ.get("STEPWELL_PAYLOAD_PYTHON", PROJECT / ".venv-payload" / "bin" / "python"))
    if not python.exists():
        pytest.skip(f"there is no {python}: `make environment` makes it")
    return python
