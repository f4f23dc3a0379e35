"""What every Comm has to do; one body, run over the single process and over real Horovod."""

from __future__ import annotations

import numpy as np

from harness.ranks.comm import Comm


def check(comm: Comm) -> None:
    """Call every method but `abort` and `close`; all ranks do the same."""
    rank, size = comm.rank, comm.size
    assert 0 <= rank < size and 0 <= comm.local_rank < comm.local_size <= size
    assert comm.host

    # Sums of int64 are exact, at the limits and past them (mod 2^64).
    given = np.array([1, rank, -(2**62), 2**63 - 1, 2**53 + 1], np.int64)
    kept = given.copy()
    wanted = [size, size * (size - 1) // 2, -(2**62) * size, (2**63 - 1) * size, (2**53 + 1) * size]
    total = comm.sum(given)
    assert total.dtype == np.int64
    assert total.tolist() == [(x + 2**63) % 2**64 - 2**63 for x in wanted]
    assert given.tolist() == kept.tolist()
    assert comm.sum(np.zeros(0, np.int64)).tolist() == []
    assert comm.sum(np.full(100_000, rank + 1)).tolist() == [size * (size + 1) // 2] * 100_000
    assert comm.sum(np.arange(6, dtype=np.int64)[::2]).tolist() == [0, 2 * size, 4 * size]  # not contiguous

    # Bytes of any length, empty ones too; in the order of the ranks.
    assert comm.gather(b"x" * rank) == [b"x" * other for other in range(size)]
    assert comm.gather(b"") == [b""] * size
    assert comm.gather(bytes(range(256))) == [bytes(range(256))] * size
    assert comm.gather(b"only rank 0" if rank == 0 else b"") == [b"only rank 0", *[b""] * (size - 1)]
    assert comm.broadcast(b"of 0" if rank == 0 else b"of another") == b"of 0"
    assert comm.broadcast(b"") == b""
    # More than goes in one message: in pieces, of lengths that differ, in their order.
    large = np.random.default_rng(rank).integers(0, 256, 20_000_011 * (rank + 1) // size, np.uint8).tobytes()
    sent = comm.gather(large)
    assert [len(part) for part in sent] == [20_000_011 * (other + 1) // size for other in range(size)]
    assert sent[rank] == large
    assert sent[0] == np.random.default_rng(0).integers(0, 256, 20_000_011 // size, np.uint8).tobytes()
    assert comm.broadcast(large if rank == 0 else b"x") == sent[0]
    assert comm.broadcast(sent[0] * 3 if rank == 0 else b"") == sent[0] * 3
    comm.barrier()
