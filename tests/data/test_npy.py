"""Arrays that lie in files are cut where they lie: without a copy, in flat memory, and only where that can be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from harness.data import ID, Feature, open_source
from harness.errors import DataError

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
        np.ones((0, 3), np.float32),
        np.ones((40, 0), np.float32),
    ],
    ids=["by columns", "of another byte order", "texts", "no examples", "nothing in them"],
)
def test_what_no_tensor_can_be_made_of_is_read(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    assert arrays(tmp_path / "x.npy", ["x"]) is None


def test_several_folders_skipping_and_arrays_that_are_not_aligned_are_read(tmp_path):
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
    np.testing.assert_array_equal(shifted.arrays["x"], np.ones(SHAPE, np.float32))
    assert one.leads == {} and len(shifted.leads["x"]) == 127 - 64 + np.ones(SHAPE, np.float32).nbytes
    (records,) = shifted.read(0, 40, 40)
    np.testing.assert_array_equal(records.raw["x"], np.ones(SHAPE, np.float32))


CUT = """
import sys
import numpy as np
import tensorflow as tf
from harness.data import Feature, open_source
from harness.plan.plan import Chunk
from harness.ranks.share import FixedShare
from harness.step.build import make_feed

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024

wanted = {"x": Feature("float32", (1024,))}
feed = make_feed(open_source("npy", [sys.argv[1]]), wanted, 256, 1)
share = FixedShare([Chunk(number, at, at + 1024) for number, at in enumerate(range(0, 65536, 1024))])

@tf.function
def total(lines):
    cut = tf.map_fn(lambda line: tf.reduce_sum(tf.cast(feed.stream.cut(line).features["x"], tf.float64)), lines, fn_output_signature=tf.float64)
    return tf.reduce_sum(cut)

before, most, sums = None, 0, 0.0
for _ in range(2):
    feed.open(share)
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


SHRINK = """
import os
import sys
import numpy as np
import tensorflow as tf
import harness
from harness.errors import HarnessError

folder, left, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
path = os.path.join(folder, "x.npy")
size, calls = os.path.getsize(path), 0

def shrink(x):
    global calls
    calls += 1
    if calls == runs:
        os.truncate(path, size - left)
    return x

def model(x):
    return tf.ensure_shape(tf.numpy_function(shrink, [x], tf.float32), x.shape)

try:
    found = harness.evaluate(model, [path, os.path.join(folder, "label.npy")], ["accuracy"], label="label", inputs={"x": "x"}, batch_size=64, chunk_size=256)
except HarnessError as exc:
    print(type(exc).__name__, exc)
else:
    print(found["accuracy"])
"""


@pytest.mark.parametrize(
    ("left", "runs"), [(3 << 20, 20), (40, 20), (1 << 20, 10**9)], ids=["before what comes", "within the last page", "never"]
)
def test_a_file_that_is_cut_off_while_it_is_evaluated_is_named(tmp_path, left, runs):
    np.save(tmp_path / "x.npy", np.ones((16384, 64), np.float32))  # 4 MiB
    np.save(tmp_path / "label.npy", np.zeros(16384, np.int64))
    size = (tmp_path / "x.npy").stat().st_size
    argv = [sys.executable, "-c", SHRINK, str(tmp_path), str(left), str(runs)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    if runs == 10**9:
        assert done.stdout == "1.0\n"
        return
    assert done.stdout == (
        f"DataError {tmp_path}/x.npy: the file was cut off while it was read: expected {size} bytes, found {size - left}; "
        "copy or write it again\n"
    )


ELSEWHERE = """
import mmap
import os
import sys
from harness.data.mapping import FileMapping

watched = FileMapping(sys.argv[1])
with open(sys.argv[2], "r+b") as stream:
    other = mmap.mmap(stream.fileno(), 0)
    os.truncate(sys.argv[2], 0)
    other[0]
"""


def test_what_others_map_ends_the_process_as_before(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(bytes(8192))
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, str(tmp_path / "a"), str(tmp_path / "b")], check=False)
    assert done.returncode == -signal.SIGBUS


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("inner", [(), (3,), (2, 3), (0,)])
def test_examples_are_read_from_anywhere_and_a_file_that_was_cut_off_is_named(tmp_path, order, inner):
    expected = np.random.default_rng(0).normal(size=(50, *inner)).astype(">f4")
    np.save(tmp_path / "x.npy", np.asarray(expected, order=order))
    source = open_source("npy", [str(tmp_path / "x.npy")])
    for start, stop in ((0, 50), (7, 31), (49, 50), (50, 50)):
        found = [records.raw["x"] for records in source.read(start, stop, 8)]
        assert sum(map(len, found)) == stop - start
        if found:
            np.testing.assert_array_equal(np.concatenate(found), expected[start:stop])
    if expected.size:
        os.truncate(tmp_path / "x.npy", (tmp_path / "x.npy").stat().st_size - 4)
        with pytest.raises(DataError, match=r"x.npy: the file was cut off since it was opened: expected \d+ bytes from byte \d+"):
            list(source.read(40, 50, 8))


def test_a_parquet_file_that_is_cut_off_is_no_signal(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": np.random.default_rng(0).normal(size=200_000)}), path, row_group_size=50_000)
    source = open_source("parquet", [str(path)])
    next(iter(source.read(0, 10, 10)))
    os.truncate(path, 4096)
    with pytest.raises(DataError, match="x.parquet"):
        list(source.read(150_000, 150_010, 10))
