"""Run by each rank: the alltoall contract, and rows reduced over ranks against the same rows on one."""

from __future__ import annotations

import sys

import numpy as np

from harness.metrics.binary_exact import AveragePrecision, RocAuc
from harness.metrics.contract import RowMetric
from harness.metrics.quantiles import Quantile, Spearman
from harness.ranks import horovod_comm as hvd_comm
from harness.ranks.comm import Comm, SingleComm
from harness.ranks.horovod_comm import HorovodComm
from harness.step import tensorflow as tf_setup
from harness.sums.row_reduction import reduce_rows
from harness.sums.rows import RowTable
from tests.row_case import binary, rows
from tests.sums.test_row_reduction import Places

DTYPES = ("uint8", "int8", "uint16", "uint32", "int32", "uint64", "int64", "float32", "float64")


def alltoall(comm: Comm) -> None:
    """Every dtype keeps its bits; parts may be empty, and may be matrices."""
    for dtype in DTYPES:
        # Rank r sends r + s numbers to rank s, but none to itself.
        parts = [
            np.arange(0 if r == comm.rank else comm.rank + r).astype(dtype) + np.dtype(dtype).type(7) for r in range(comm.size)
        ]
        found = comm.alltoall(parts)
        assert [len(part) for part in found] == [0 if r == comm.rank else comm.rank + r for r in range(comm.size)]
        assert all(part.dtype == dtype and (part == np.arange(len(part)) + 7).all() for part in found)
    extreme = np.array([2**63 + 1, 2**64 - 1], np.uint64)
    assert all(part.tolist() == extreme.tolist() for part in comm.alltoall([extreme] * comm.size))
    odd = np.array([-0.0, np.inf, 5e-324, np.nan])
    assert all(part.tobytes() == odd.tobytes() for part in comm.alltoall([odd] * comm.size))
    matrix = np.split(np.arange(6 * comm.size).reshape(-1, 2) + 100 * comm.rank, comm.size)
    for r, part in enumerate(comm.alltoall(matrix)):
        assert part.tolist() == (np.arange(6).reshape(3, 2) + 6 * comm.rank + 100 * r).tolist()
    assert [part.shape for part in comm.alltoall([np.zeros((0, 3))] * comm.size)] == [(0, 3)] * comm.size


def reduces(comm: Comm) -> None:
    """The last rank has no rows at all."""
    rng = np.random.default_rng(1)
    n = 2000
    labels, scores, weights = rng.integers(0, 2, n), np.round(rng.standard_normal(n), 2), rng.random(n)
    slices, ids = rng.integers(1, 4, (n, 1)), rng.integers(0, 300, n)
    draws = rng.poisson(1.0, (300, 3))
    owner = rng.integers(0, comm.size - 1, n)
    cases: list[tuple[RowMetric, RowTable]] = [
        (RocAuc(), binary(scores, labels)),
        (AveragePrecision(), binary(scores, labels, weights=weights, slices=slices)),
        (Quantile(q=0.9), rows(scores, slices=slices, ids=ids)),
        (Spearman(), rows(scores, {"label": labels.astype(float)}, slices=slices, ids=ids)),
        (Places(), rows(scores, {"value": ids}, group=ids)),
    ]
    for metric, table in cases:
        own = table.take(owner == comm.rank)
        count = 4 if table.slices.shape[1] else 1
        for draw in (None, lambda ids: draws[ids % 300]):
            expected = reduce_rows(metric, table, SingleComm(), slices=count, multiplicities=draw)
            found = reduce_rows(metric, own, comm, slices=count, multiplicities=draw)
            assert found == ({} if comm.rank else expected), metric


def main() -> None:
    """Check all; the first rank says so."""
    tf_setup.import_tensorflow()
    comm = HorovodComm()
    alltoall(comm)
    reduces(comm)
    hvd_comm.ROUND_BYTES = 64  # a few rows at once: many rounds, not as many for each rank
    alltoall(comm)
    reduces(comm)
    comm.barrier()
    if comm.rank == 0:
        print(f"all is well on {comm.size} ranks over {comm.name}", flush=True)
    comm.close()


if __name__ == "__main__":
    sys.exit(main())
