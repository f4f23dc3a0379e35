"""The index of a job in one file: what is not what rank 0 has is not believed, what may be mapped is not replaced."""

from __future__ import annotations

import numpy as np
import pytest

from harness.data.record_index import RecordIndex
from harness.data.shared_index import SharedIndex, blocks, describe, restore
from harness.errors import DataError

NUMBERS = np.arange(9) * 5


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The cache; the temporary folder is a file."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.data.private_folder.of_node", lambda: tmp_path / "file")
    return tmp_path / "cache"


def test_what_is_damaged_or_others_may_write_is_not_believed(folder):
    index = SharedIndex.of([NUMBERS[:4], NUMBERS[4:]])
    assert index.load() is None
    index.store(blocks([NUMBERS]), [folder])
    (place,) = folder.iterdir()
    assert index.load().tolist() == NUMBERS.tolist() and place.stat().st_mode & 0o777 == 0o600
    whole = place.read_bytes()
    for content in (b"", whole[:-1], whole[:-8], whole + bytes(8), bytes([whole[0] ^ 1]) + whole[1:]):
        place.write_bytes(content)
        assert index.load() is None
    index.store(blocks([NUMBERS]), [folder])  # another takes its place
    assert index.load().tolist() == NUMBERS.tolist()
    place.chmod(0o622)
    assert index.load() is None


def test_a_whole_file_is_not_replaced(folder):
    index = SharedIndex.of([NUMBERS])
    index.store(blocks([NUMBERS]), [folder])
    (place,) = folder.iterdir()
    before = place.stat().st_ino
    index.store(blocks([NUMBERS]), [folder])
    assert place.stat().st_ino == before and list(folder.iterdir()) == [place]


def test_a_disk_that_is_full_costs_no_more_than_the_file(folder, tmp_path, monkeypatch):
    index, other = SharedIndex.of([NUMBERS]), tmp_path / "other"
    full = []

    def reserve(number, start, size):
        full.append(size)
        if len(full) == 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", reserve)
    index.store(blocks([NUMBERS]), [folder, other])
    assert full == [72, 72] and not list(folder.iterdir()) and len(list(other.iterdir())) == 1


def test_an_object_is_described_without_its_indices():
    few, many = (RecordIndex.of([np.arange(count) * 20]) for count in (2000, 2_000_000))
    (small, arrays), (large, more) = (describe({"a": few, "b": [index, "text"]}) for index in (few, many))
    assert len(large) - len(small) < 20
    numbers = np.frombuffer(b"".join(blocks(more)), "<i8")
    restored = restore(large, numbers)
    assert restored["b"][1] == "text" and len(numbers) == sum(map(len, more)) > len(arrays)
    assert np.array_equal(restored["a"].pack(), few.pack()) and np.array_equal(restored["b"][0].pack(), many.pack())
    with pytest.raises(DataError, match="expected the numbers of an index at 6 to 4160, found 4159 of all"):
        restore(large, numbers[:-1])
