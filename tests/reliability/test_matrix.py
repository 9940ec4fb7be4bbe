"""A part of the kill matrix, as a test: one process kind, one SSH kind, one batch kind, and few faults."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reliability.faults import BY_NAME, FEW
from tests.reliability.matrix import Matrix

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
KINDS = ("local", "remote", "livy")


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    folder = Path(tempfile.mkdtemp(prefix="stepwell-matrix-"))
    made = Matrix(folder, [BY_NAME[name] for name in FEW], KINDS)
    with made.airflow():
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("fault", FEW)
def test_a_fault_starts_one_job_leaves_none_and_loses_no_line(matrix: Matrix, fault: str) -> None:
    cells = matrix.run(BY_NAME[fault], set(KINDS))
    assert [cell for cell in cells if not cell["ok"]] == []
    if matrix.missing:
        pytest.skip(f"not run: {matrix.missing}")
    assert {cell["kind"] for cell in cells} == set(KINDS)
