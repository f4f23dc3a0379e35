"""The cache of passes over files: what others may have written is not believed."""

import os
import stat

import numpy as np

from harness.data.pass_cache import SMALL, Entry


def test_what_was_counted_is_not_believed_where_others_may_write(tmp_path, monkeypatch):
    """The cache of indices says which records there are: a planted one would drop examples."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.write_bytes(b"x" * SMALL)
    os.utime(data, (1, 1))
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    right, planted = np.array([0, 1, 2]), np.array([0])

    def kept_or_right():
        entry = Entry.of(str(data), "k")
        if (kept := entry.load()) is None:
            entry.store(right)
        return (right if kept is None else kept).tolist()

    before = os.umask(0)
    try:
        assert kept_or_right() == [0, 1, 2]
    finally:
        os.umask(before)
    (index,) = cache.iterdir()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700 and stat.S_IMODE(index.stat().st_mode) == 0o600
    Entry(index).store(planted)
    assert kept_or_right() == [0]  # it is read at all
    for path, mode in ((cache, 0o770), (cache, 0o777), (index, 0o666)):
        path.chmod(mode)
        assert kept_or_right() == [0, 1, 2]
        path.chmod(0o700)
    monkeypatch.delenv("HARNESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "harness").mkdir(parents=True)
    (tmp_path / "home" / "harness").chmod(0o775)  # as an earlier version may have made it
    kept_or_right()
    assert stat.S_IMODE((tmp_path / "home" / "harness").stat().st_mode) == 0o700


def test_what_is_damaged_is_not_believed(tmp_path, monkeypatch):
    data, cache, numbers = tmp_path / "data", tmp_path / "cache", np.arange(9) * 5
    data.write_bytes(b"x" * SMALL)
    os.utime(data, (1, 1))
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    entry = Entry.of(str(data), "k")
    entry.store(numbers)
    whole = entry.place.read_bytes()
    assert entry.load().tolist() == numbers.tolist()
    flipped = [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))]
    for content in [
        b"",
        bytes(4),
        bytes(76),
        b"PK\3\4xxxx",
        *(whole[:size] for size in range(len(whole))),
        whole + b"\0",
        *flipped,
    ]:
        entry.place.write_bytes(content)
        assert entry.load() is None


def test_a_cache_that_is_a_file_costs_time_and_nothing_else(tmp_path, monkeypatch):
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.write_bytes(b"x" * SMALL)
    os.utime(data, (1, 1))
    cache.touch()
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    entry = Entry.of(str(data), "k")
    entry.store(np.arange(3))
    assert entry.load() is None and cache.read_bytes() == b""
