"""Runs that several files of tests report."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.folders import evaluated


@pytest.fixture(scope="package")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of the same examples, with sums to be read again."""
    folder = tmp_path_factory.mktemp("reported")
    return [evaluated(folder / "before", 2.0), evaluated(folder / "after", 0.2)]
