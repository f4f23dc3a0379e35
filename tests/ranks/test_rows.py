"""Rows over real ranks: one launch a message layer, many checks in each; see rows_worker.py."""

from __future__ import annotations

import sys

import pytest

from tests.conftest import ROOT, over_ranks, start


@pytest.mark.ranks
@pytest.mark.parametrize("over", ["mpi", "gloo"])
def test_rows_over_horovod(over: str) -> None:
    done = start(over_ranks(3, over, [sys.executable, "-m", "tests.ranks.rows_worker"]), ROOT)
    assert done.code == 0, done.text
    assert f"all is well on 3 ranks over {over}" in done.out
