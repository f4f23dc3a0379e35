"""No message is larger than its bound, however much is sent: message layers count what they send in 32 bits."""

from __future__ import annotations

import numpy as np
import pytest

from harness.ranks import horovod_comm as hvd_comm
from harness.ranks.horovod_comm import HorovodComm


class Tensor:
    """What Horovod returns, as far as it is looked at."""

    def __init__(self, array):
        self.array = np.array(array)

    def numpy(self):
        return self.array

    def __array__(self, *args, **kwargs):
        return self.array


class Alone:
    """Horovod in a world whose other ranks pass nothing."""

    Sum = "sum"

    def __init__(self):
        self.bytes = []

    def _sent(self, array):
        self.bytes.append(np.asarray(array).nbytes)
        return Tensor(array)

    def allreduce(self, array, op, name):
        return self._sent(array)

    def broadcast(self, array, root_rank, name):
        return self._sent(array)

    def allgather(self, array, name):
        sizes = [0] * 3
        return self._sent(np.concatenate([array, sizes]) if name.endswith("sizes") else array)


@pytest.fixture
def comm(monkeypatch):
    monkeypatch.setattr(hvd_comm, "ROUND_BYTES", 4000)
    monkeypatch.setattr(hvd_comm, "SUM_BYTES", 4000)
    found = HorovodComm.__new__(HorovodComm)
    found._hvd = Alone()
    found.rank, found.size = 0, 4
    return found


@pytest.mark.parametrize("size", [0, 1, 999, 4000, 4001, 100_003])
def test_what_is_sent_comes_whole_in_small_messages(comm, size):
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    assert comm.broadcast(data) == data
    assert comm.gather(data) == [data, b"", b"", b""]
    assert max(comm._hvd.bytes) <= 4000
    assert len(comm._hvd.bytes) >= 2 + 5 * (size // 4000)


@pytest.mark.parametrize("size", [501, 500_000])
def test_a_large_sum_is_one_of_pieces(comm, size):
    vector = np.arange(size, dtype=np.int64)
    np.testing.assert_array_equal(comm.sum(vector), vector)
    assert max(comm._hvd.bytes) <= 4000 and len(comm._hvd.bytes) == -(-size // 500)
