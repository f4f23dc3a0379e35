"""Arrays that lie in files are cut where they lie: without a copy, in flat memory, and only where that can be."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from harness.data import ID, Feature, open_source

SHAPE = (40, 3)


def arrays(path, wanted):
    return open_source("npy", [str(path)]).select({name: Feature("float32", (3,)) for name in wanted}).arrays


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64"])
def test_an_array_is_cut_where_it_lies(tmp_path, dtype):
    expected = np.arange(120).reshape(SHAPE).astype(dtype)
    np.save(tmp_path / "x.npy", expected)
    found = arrays(tmp_path / "x.npy", ["x"])
    assert list(found) == ["x", ID] and found["x"].dtype == dtype
    np.testing.assert_array_equal(found["x"], expected)
    np.testing.assert_array_equal(found[ID], np.arange(40))


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.ones(SHAPE, np.float32)),
        np.ones(SHAPE, ">f4"),
        np.ones(SHAPE, "S3"),
        np.ones(SHAPE, np.longdouble),
        np.ones((0, 3), np.float32),
        np.ones((40, 0), np.float32),
    ],
    ids=["by columns", "of another byte order", "texts", "too wide", "no examples", "nothing in them"],
)
def test_what_no_tensor_can_be_made_of_is_read(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    assert arrays(tmp_path / "x.npy", ["x"]) is None


def test_several_folders_skipping_and_members_that_are_not_aligned_are_read(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "x.npy", np.ones(SHAPE, np.float32))
    several = open_source("npy", [str(tmp_path / "a/x.npy"), str(tmp_path / "b/x.npy")])
    assert several.arrays is None
    one = open_source("npy", [str(tmp_path / "a/x.npy")])
    assert one.arrays is not None and one.select(one.features(), skip=True).arrays is None
    with open(tmp_path / "a/x.npy", "rb+") as stream:  # the array begins at byte 127
        whole = stream.read()
        header = whole[10:128].rstrip(b"\n ") + b" "
        header = header.ljust(116) + b"\n"
        stream.seek(0)
        stream.truncate()
        stream.write(whole[:8] + len(header).to_bytes(2, "little") + header + whole[128:])
    shifted = open_source("npy", [str(tmp_path / "a/x.npy")])
    assert shifted.arrays is None
    (records,) = shifted.read(0, 40, 40)
    np.testing.assert_array_equal(records.raw["x"], np.ones(SHAPE, np.float32))


CUT = """
import sys
import numpy as np
import tensorflow as tf
from harness.data import Feature, open_source
from harness.plan.plan import Chunk
from harness.step.feed import make_feed

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024

wanted = {"x": Feature("float32", (1024,))}
feed = make_feed(open_source("npy", [sys.argv[1]]), wanted, 256, 1)
chunks = [Chunk(number, at, at + 1024) for number, at in enumerate(range(0, 65536, 1024))]

@tf.function
def total(lines):
    cut = tf.map_fn(lambda line: tf.reduce_sum(tf.cast(feed.batch(line)["features"]["x"], tf.float64)), lines, fn_output_signature=tf.float64)
    return tf.reduce_sum(cut)

before, most, sums = None, 0, 0.0
for _ in range(2):
    feed.start(chunks)
    while len(lines := feed.draw(4)[0]):
        sums += float(total(lines))
        before = before or resident()
        most = max(most, resident())
print(type(feed).__name__, most - before, sums)
"""


def test_memory_is_flat_and_a_second_pass_reads_the_same(tmp_path):
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (65536, 1024))  # 256 MiB
    mapped[:] = np.arange(65536, dtype=np.float32)[:, None]
    mapped.flush()
    done = subprocess.run([sys.executable, "-c", CUT, str(tmp_path / "x.npy")], capture_output=True, text=True, check=True)
    feed, grown, sums = done.stdout.split()
    assert feed == "ArrayFeed" and int(grown) < 64  # MiB; a call has 16
    assert float(sums) == 2 * 1024 * 65535 * 65536 / 2
