"""The content hash against one in plain Python integers, and against what may happen to data that keep their size."""

from __future__ import annotations

import hashlib
import struct
from itertools import pairwise

import numpy as np
import pytest

from harness.data import BAD, Feature, Records, open_source
from harness.data.content import ContentHash, signed
from tests import made

MASK = 2**64 - 1
RNG = np.random.default_rng(4)
X = RNG.normal(size=(37, 5)).astype(np.float32)
LABEL = RNG.integers(0, 9, 37)
WORDS = np.array([b"", b"a", b"ab\0", "ä".encode()] * 9 + [b"end"], object)


def split_mix(number: int) -> int:
    z = (number + 1) * 0x9E3779B97F4A7C15 & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def crc32c(data: bytes) -> int:
    """RFC 3720, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def by_hand(name: str, kind: str, words: list[int]) -> int:
    seed = int.from_bytes(hashlib.sha256(f"{name}\0{kind}".encode()).digest()[:8], "little")
    return sum(word * (split_mix((seed + at) & MASK) | 1) for at, word in enumerate(words)) & MASK


def total(ids: np.ndarray, words: list[int]) -> int:
    return sum(split_mix(split_mix(i) ^ word) for i, word in zip(ids.tolist(), words, strict=True)) & MASK


def records(ids: np.ndarray | None = None, **raw: np.ndarray) -> Records:
    count = len(next(iter(raw.values())))
    return Records(np.arange(count) if ids is None else ids, raw)


def content(found: Records) -> int:
    return ContentHash().of(found) & MASK


def test_numbers_and_strings_by_hand():
    ids = np.arange(100, 137)
    words = [
        by_hand("x", "<f4", list(struct.unpack("<5I", X[i].tobytes())))
        + by_hand("label", "<i8", list(struct.unpack("<2I", LABEL[i].tobytes())))
        + by_hand("word", "string", [crc32c(WORDS[i])])
        & MASK
        for i in range(37)
    ]
    assert content(records(ids, x=X, label=LABEL, word=WORDS)) == total(ids, words)


def test_rows_of_odd_sizes_are_filled_up():
    pixels = RNG.integers(0, 256, (3, 7), dtype=np.uint8)
    words = [by_hand("p", "|u1", list(struct.unpack("<2I", row.tobytes() + b"\0"))) for row in pixels]
    assert content(records(p=pixels)) == total(np.arange(3), words)


@pytest.mark.parametrize("strings", [WORDS.astype("S"), np.array([w.decode() for w in WORDS]), WORDS.astype("S40")])
def test_the_width_and_kind_of_strings_play_no_part(strings):
    plain = np.array([word.rstrip(b"\0") for word in WORDS], object)
    assert content(records(word=strings)) == content(records(word=plain))


def test_any_cut_gives_the_same_sum():
    whole = records(x=X, label=LABEL, word=WORDS)
    for _ in range(20):
        cuts = [0, *sorted(RNG.integers(0, 38, 5).tolist()), 37]
        parts = [whole.cut(a, b) for a, b in pairwise(cuts)]
        assert sum(ContentHash().of(part) for part in parts) & MASK == content(whole)


def changes() -> dict[str, Records]:
    flipped = X.copy()
    flipped.view(np.uint32)[20, 3] ^= 1 << 31
    swapped = X.copy()
    swapped[[3, 4]] = X[[4, 3]]
    columns = X[:, [1, 0, 2, 3, 4]]
    wide = np.concatenate([X, X[:, :1]], axis=1)
    one = WORDS.copy()
    one[0] = b"\0"
    return {
        "one bit": records(x=flipped, label=LABEL), "all signs": records(x=-X, label=LABEL),
        "two examples change places": records(x=swapped, label=LABEL), "two columns": records(x=columns, label=LABEL),
        "labels": records(x=X, label=(LABEL + 1) % 9), "labels turned round": records(x=X, label=LABEL[::-1]),
        "names": records(y=X, label=LABEL), "dtype": records(x=X.view(np.int32), label=LABEL),
        "wider": records(x=wide, label=LABEL), "marked as bad": records(x=X, label=LABEL, **{BAD: np.arange(37) == 5}),
        "not one is bad": records(x=X, label=LABEL, **{BAD: np.zeros(37, bool)}), "ids": records(np.arange(1, 38), x=X, label=LABEL),
        "all the same": records(x=X * 0, label=LABEL), "doubled": records(x=X * 2, label=LABEL),
    }  # fmt: skip


def test_whatever_changes_is_seen():
    hashes = {name: content(found) for name, found in changes().items() if name != "not one is bad"}
    hashes["nothing"] = content(records(x=X, label=LABEL))
    assert len(set(hashes.values())) == len(hashes)
    assert content(changes()["not one is bad"]) == hashes["nothing"]  # what skips and finds nothing to skip


def test_every_bit_counts():
    plain = content(records(x=X[:1]))
    for byte in range(20):
        for bit in range(8):
            other = np.frombuffer(X[:1].tobytes(), np.uint8).copy()
            other[byte] ^= 1 << bit
            assert content(records(x=other.view(np.float32).reshape(1, 5))) != plain


def test_only_the_wanted_columns_count():
    assert ContentHash(["x"]).of(records(x=X, label=LABEL)) == ContentHash().of(records(x=X))


def test_sums_are_signed():
    assert [signed(n) for n in (0, 2**63 - 1, 2**63, 2**64 - 1, 2**70 + 3)] == [0, 2**63 - 1, -(2**63), -1, 3]


@pytest.mark.parametrize("packed", [False, True])
def test_a_record_is_hashed_by_its_own_crc(tmp_path, packed):
    data = made.records(made.examples().columns(), 0, 30)
    path = made.write_tfrecord(tmp_path / "a.tfrecord", data)
    if packed:
        import gzip

        (tmp_path / "b.tfrecord").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / "b.tfrecord"
    source = open_source("tfrecord", [str(path)])
    wanted = total(np.arange(30), [crc32c(record) for record in data])
    for size in (1, 7, 30):
        assert sum(ContentHash().of(found) for found in source.read(0, 30, size)) & MASK == wanted
    skipping = source.select({"label": Feature("int64", (1,))}, skip=True)
    assert sum(ContentHash().of(found) for found in skipping.read(0, 30, 8)) & MASK == wanted


def test_a_corrupt_record_that_is_skipped_changes_the_hash(tmp_path):
    data = made.records(made.examples().columns(), 0, 30)
    path = made.write_tfrecord(tmp_path / "a.tfrecord", data)
    made.flip(path, made.record_offsets(path)[7] + 20)
    source = open_source("tfrecord", [str(path)]).select({"label": Feature("int64", (1,))}, skip=True)
    words = [2**32 if at == 7 else crc32c(record) for at, record in enumerate(data)]
    assert sum(ContentHash().of(found) for found in source.read(0, 30, 8)) & MASK == total(np.arange(30), words)
