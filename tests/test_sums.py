"""The laws of sums: a commutative monoid whose zero is neutral, and that comes back from its arrays as it was."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.exact.limbs import CELL, to_cells
from harness.sums.grid import GridLayout, GridState
from harness.sums.layout import Counted, Layout, RowLayout, Summed
from harness.sums.row_store import RowStore
from harness.sums.rows import RowTable
from harness.sums.sums import Layouts, Sums

STATE = Layout((Summed(("loss", "total"), ()),), (Counted(("accuracy", "right"), 2),))
GRID = GridLayout(STATE.summed, (), STATE.counted, (), STATE)
DRAWS = 3
LAYOUTS = Layouts(STATE, GRID, {"auc": RowLayout(False, False, (("positive", "int64"),))}, 1, DRAWS)

integers = st.integers(-(2**40), 2**40)
keys = st.lists(st.sampled_from(["0\x1eia", "0\x1eib", "0\x1eic", "0\x1eid"]), unique=True, max_size=4)


@st.composite
def sums(draw: st.DrawFn) -> Sums:
    """Some sums; their slices in any order, some without any row, some without a grid."""
    chunks = draw(st.lists(st.integers(0, 9), unique=True, max_size=4))
    lines = np.array(
        [[c, draw(st.integers(1, 9)), draw(st.integers(-(2**63), 2**63 - 1)), 1, 0, 0, c] for c in sorted(chunks)], np.int64
    )
    names = tuple(draw(keys))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    grid = GridState.zero(GRID, DRAWS)
    if draw(st.booleans()):
        slots = len(names) + 1
        cells = to_cells(rng.standard_normal((slots, DRAWS)) * 2.0 ** rng.integers(-60, 60)).reshape(slots, DRAWS, CELL)
        grid = GridState(names, cells, rng.integers(0, 99, (slots, 2, DRAWS)), np.zeros((slots, 0, DRAWS, CELL), np.int64))
    else:
        names = ()
    rows = {}
    if count := draw(st.integers(0, 5)):
        slices = rng.integers(1, len(names) + 1, (count, 1)) if names else np.full((count, 1), -1)
        rows["auc"] = RowStore.of(
            RowTable(rng.standard_normal(count), {"positive": rng.integers(0, 2, count)}, rng.integers(0, 2**40, count), slices)
        )
    state = np.concatenate([to_cells(np.array(draw(st.floats(-1e30, 1e30)))).ravel(), rng.integers(0, 9, 2)])
    return Sums(lines.reshape(-1, 7), state, grid, rows)


@settings(max_examples=80, deadline=None)
@given(sums(), sums(), sums())
def test_adding_is_commutative_and_associative(a, b, c):
    assert (a + b).canonical() == (b + a).canonical()
    assert ((a + b) + c).canonical() == (a + (b + c)).canonical()


@settings(max_examples=80, deadline=None)
@given(sums())
def test_zero_is_neutral_and_unpack_undoes_pack(a):
    zero = Sums.zero(LAYOUTS)
    assert (a + zero).canonical() == (zero + a).canonical() == a.canonical()
    assert Sums.unpack(*a.pack()).canonical() == a.canonical()


@settings(max_examples=80, deadline=None)
@given(sums(), sums())
def test_carrying_changes_no_value(a, b):
    carried = a.copy()
    carried.carry(LAYOUTS)
    total, other = a + b, carried + b
    total.carry(LAYOUTS)
    other.carry(LAYOUTS)
    assert total.canonical() == other.canonical()


@given(sums())
def test_adding_leaves_both_as_they_were(a):
    before = a.canonical()
    _ = a + a
    assert a.canonical() == before


def test_layouts_of_other_columns_have_another_digest():
    assert LAYOUTS.digest != Layouts(STATE, GRID, {}, 1, DRAWS).digest
    assert LAYOUTS.size_bytes(2) == 8 * STATE.size + GRID.size_bytes(2, DRAWS)
