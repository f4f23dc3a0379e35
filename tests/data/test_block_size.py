"""What is read at a time is bounded by its bytes, whatever the size of the files says of them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from harness.data import Feature, open_source
from harness.data.block_size import BLOCK_BYTES, BlockSize
from harness.plan.plan import Chunk
from harness.ranks.share import FixedShare
from harness.step.build import make_feed
from harness.step.pipeline_feed import PipelineFeed

MIB = 1 << 20
BATCH = 4


def blocks(source, wanted, chunks, batch=BATCH):
    """Go through the feed; return the ids that came, and the examples and bytes of every block that was read."""
    feed = make_feed(source, wanted, batch, 1)
    assert isinstance(feed, PipelineFeed)
    read, ids = [], []
    cut = feed._block

    def spied(records, chunk, *, final):
        strings = [array for array in records.raw.values() if array.dtype.kind == "O"]
        bytes_ = sum(array.nbytes for array in records.raw.values()) + sum(
            len(text) for array in strings for text in array.tolist()
        )
        read.append((len(records.ids), bytes_))
        return cut(records, chunk, final=final)

    feed._block = spied
    feed.open(FixedShare(chunks))
    for batch_ in feed.dataset:
        ids += batch_["ids"].numpy()[: int(batch_["count"])].tolist()
    return ids, read


def chunks_of(examples, size):
    return [Chunk(number, at, min(at + size, examples)) for number, at in enumerate(range(0, examples, size))]


READER = """
import numpy as np
SIZES, ASKED, YIELDED = [], [], [0]

class Reader:
    def __len__(self):
        return 400
    def read(self, start, stop):
        ASKED.append(stop - start)
        for at in range(start, stop):
            YIELDED[0] += 1
            yield {"x": np.full((1, 1 << 18), at, np.float32)}  # a mebibyte each

def make():
    return Reader()
"""


def test_a_reader_of_the_users_own_is_asked_for_few_large_examples(tmp_path, monkeypatch):
    (tmp_path / "own_reader_of_large.py").write_text(READER)
    source = open_source("python", [], target="own_reader_of_large:make", folder=tmp_path)
    ids, read = blocks(source, {"x": Feature("float32", (1 << 18,))}, chunks_of(400, 200))
    assert ids == list(range(400))
    assert max(bytes_ for _, bytes_ in read) <= 2 * BLOCK_BYTES
    module = sys.modules["own_reader_of_large"]
    assert max(module.ASKED) <= 64
    assert module.YIELDED[0] < 600  # it is not asked twice for what it gave


def test_a_dataset_is_read_in_blocks_of_bounded_bytes_and_once(tmp_path):
    import tensorflow as tf

    from harness.data.memory import DatasetSource

    made = []

    def large(at):
        made.append(int(at))
        return np.full(1 << 18, at, np.float32)

    dataset = tf.data.Dataset.range(300).map(
        lambda at: {"x": tf.ensure_shape(tf.numpy_function(large, [at], tf.float32), [1 << 18])}
    )
    source, _ = DatasetSource.open(dataset, False)
    made.clear()
    ids, read = blocks(source, source.features(), chunks_of(300, 150))
    assert ids == list(range(300))
    assert max(bytes_ for _, bytes_ in read) <= 2 * BLOCK_BYTES
    assert len(made) <= 303  # and the first once more, to learn its shape


def test_images_of_a_list_are_read_in_blocks_of_bounded_bytes(tmp_path):
    from harness.data import Kind

    for number in range(60):
        (tmp_path / f"{number}.jpg").write_bytes(bytes(MIB))  # is read, not decoded
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{number % 60}.jpg,{number}\n" for number in range(240)))
    source = open_source("images", [str(tmp_path / "list.csv")])
    wanted = {"image": Feature("string", (), Kind.FIXED)}
    ids, read = blocks(source, wanted, chunks_of(240, 240))
    assert ids == list(range(240))
    assert max(bytes_ for _, bytes_ in read) <= 2 * BLOCK_BYTES


def test_long_lines_of_a_file_are_read_in_blocks_of_bounded_bytes(tmp_path, monkeypatch):
    from harness.data.range_file import RangeFile

    (tmp_path / "x.csv").write_text("x,y\n" + "".join(f"{number},{'t' * 40_000}\n" for number in range(3000)))
    source = open_source("csv", [str(tmp_path / "x.csv")])
    read = []
    plain = RangeFile.read
    monkeypatch.setattr(RangeFile, "read", lambda self, a, b: read.append(b - a) or plain(self, a, b))
    found = [records.ids.tolist() for records in source.select({"x": Feature("int64", ())}).read(0, 3000, 4)]
    assert [i for ids in found for i in ids] == list(range(3000))
    assert max(read) <= 2 * BLOCK_BYTES


@pytest.mark.parametrize("large", [0, 50, 100])
def test_examples_that_become_large_or_small(large):
    """A text of a mebibyte among those of ten bytes: the block that meets the first one is bounded by what came before."""
    from harness.data.npz import NpzSource
    from harness.plan.plan import File

    class Plain(NpzSource):
        arrays = None

    count = 400
    texts = np.empty(count, object)
    texts[:] = [b"t" * (MIB if abs(at - large - 50) < 50 else 10) for at in range(count)]
    source = Plain((File("x", 1, count),), {"x": texts})
    ids, read = blocks(source, {"x": Feature("string", ())}, chunks_of(count, 150))
    assert ids == list(range(count))
    assert max(bytes_ for _, bytes_ in read) <= 17 * 4 * MIB  # four times a block that had become so large before
    assert read[-1][0] > BATCH  # and grows again


def test_small_examples_are_read_many_at_a_time():
    from harness.data.npz import NpzSource
    from harness.plan.plan import File

    class Plain(NpzSource):
        arrays = None

    source = Plain((File("x", 1, 5000),), {"x": np.arange(5000)})
    ids, read = blocks(source, {"x": Feature("int64", ())}, chunks_of(5000, 2000))
    assert ids == list(range(5000))
    assert [examples for examples, _ in read[:5]] == [4, 16, 64, 256, 256]


def test_it_does_not_swing():
    size = BlockSize(8, 64)
    size.begin()
    for bytes_ in (8, 32, BLOCK_BYTES * 32, 8, 8, 8):
        size.learn(size.examples, bytes_)
    assert size.examples == 8  # small ones again: not before the next chunk
    size.begin()
    size.learn(8, 8)
    assert size.examples == 32
