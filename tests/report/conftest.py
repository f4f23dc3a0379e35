"""Runs that several files of tests report."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.folders import evaluated


@pytest.fixture(scope="package")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with sums to be read again."""
    return evaluated(tmp_path_factory.mktemp("reported") / "before", 2.0)


@pytest.fixture(scope="package")
def runs(run: Path) -> list[Path]:
    """That run, and another of the same examples."""
    return [run, evaluated(run.parent / "after", 0.2)]
