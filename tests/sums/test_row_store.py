"""Rows in store: narrow, in blocks, given back."""

from __future__ import annotations

import numpy as np

from harness.sums import row_store
from harness.sums.row_store import RowStore
from harness.sums.rows import RowTable


def table(keys: np.ndarray, labels: np.ndarray, *, first: int = 0) -> RowTable:
    n = len(keys)
    ids = np.arange(first, first + n, dtype=np.int64)
    return RowTable(keys, {"positive": labels, "score": keys}, ids, np.full((n, 2), -1, np.int64), group=ids % 3)


def bytes_of(found: RowTable) -> dict[str, int]:
    return {name: column.dtype.itemsize for name, column in found.to_arrays().items()}


def test_columns_are_narrow_while_they_are_kept_and_nothing_is_lost() -> None:
    keys = np.array([0.5, -0.0, np.inf, np.nan, 2.0**-149])  # all of them are float32 as well
    store = RowStore()
    store.append(table(keys, np.array([0, 1, 127, -128, 0])))
    assert bytes_of(store.table()) == {"key": 4, "ids": 1, "slices": 1, "group": 1, "value.positive": 1, "value.score": 4}
    wide = np.array([0.1, 1e300, 2.0**-150])  # none of them is
    store.append(table(wide, np.array([128, 2**40, -(2**63)]), first=2**31))
    assert len(store) == 8
    found = store.take()
    assert found.key.tobytes() == np.concatenate([keys, wide]).tobytes()
    assert found.values["positive"].tolist() == [0, 1, 127, -128, 0, 128, 2**40, -(2**63)]
    assert found.ids is not None
    assert found.ids.tolist() == [0, 1, 2, 3, 4, 2**31, 2**31 + 1, 2**31 + 2]
    assert bytes_of(found) == {"key": 8, "ids": 8, "slices": 1, "group": 8, "value.positive": 8, "value.score": 8}
    assert len(store) == 0


def test_a_store_without_ids() -> None:
    store = RowStore(anonymous=True)
    store.append(table(np.array([0.5]), np.array([1])))
    assert store.take().ids is None


def test_rows_cross_blocks_and_are_copied_moved_and_numbered_anew() -> None:
    n = 3 * row_store.FIRST_ROWS + 17
    keys = np.random.default_rng(3).standard_normal(n)
    store, at = RowStore(), 0
    for size in (1, 5000, 0, 30000, n):  # shorter and longer than a block
        part = keys[at : at + size]
        store.append(table(part, np.ones(len(part), np.int64), first=at))
        at += len(part)
    assert len(store) == n
    copied = store.table()
    assert copied.key.tobytes() == keys.tobytes()
    assert copied.ids is not None
    assert copied.ids.tolist() == list(range(n))
    few = RowStore.of(table(keys[:3], np.ones(3, np.int64), first=n))
    few.renumber(np.array([0, -1], np.int32))  # -1, which is the last, stays
    store.absorb(few)  # few rows are copied
    other = store.copy()
    store.absorb(other)  # many are moved
    assert (len(few), len(other), len(store)) == (0, 0, 2 * (n + 3))
    assert store.take().key.tobytes() == 2 * (keys.tobytes() + keys[:3].tobytes())
