"""The laws of sums: a commutative monoid whose zero is neutral, and that comes back from its arrays as it was."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.exact.limbs import CELL, to_cells
from harness.metrics.contract import Binding, Inputs
from harness.sums.grid import GridLayout, GridState
from harness.sums.layout import Counted, Crossed, Layout, RowLayout, Summed
from harness.sums.layout_json import from_json, to_json
from harness.sums.row_store import RowStore
from harness.sums.rows import RowTable
from harness.sums.sums import Layouts, Sums, renumbering

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
        [[c, draw(st.integers(1, 9)), draw(st.integers(-(2**63), 2**63 - 1)), 1, 0, 0, 5 * c, c] for c in sorted(chunks)],
        np.int64,
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
    return Sums(lines.reshape(-1, 8), state, grid, rows)


def canonical(total: Sums) -> dict[str, Any]:
    """What does not depend on the order of adding: slots by key, chunks ascending, rows sorted."""
    keys = sorted(total.grid.keys)
    numbers = renumbering(total.grid.keys, keys)
    rows = {}
    for key, store in total.rows.items():
        if len(store):
            arrays = store.table().to_arrays()
            arrays["slices"] = numbers[arrays["slices"]]
            columns = [arrays[name].reshape(len(arrays[name]), -1).tolist() for name in sorted(arrays)]
            rows[key] = sorted(zip(*columns, strict=True))
    grid = total.grid.placed(keys) if total.grid.slots else total.grid
    return {
        "lines": total.lines.tolist(), "state": total.state.tolist(), "keys": keys, "grid": grid.flat().tolist(), "rows": rows,
    }  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(sums(), sums(), sums())
def test_adding_is_commutative_and_associative(a, b, c):
    assert canonical(a + b) == canonical(b + a)
    assert canonical((a + b) + c) == canonical(a + (b + c))


@settings(max_examples=80, deadline=None)
@given(sums())
def test_zero_is_neutral_and_unpack_undoes_pack(a):
    zero = Sums.zero(LAYOUTS)
    assert canonical(a + zero) == canonical(zero + a) == canonical(a)
    assert canonical(Sums.unpack(*a.pack())) == canonical(a)


@settings(max_examples=80, deadline=None)
@given(sums(), sums())
def test_carrying_changes_no_value(a, b):
    carried = a.copy()
    carried.carry(LAYOUTS)
    total, other = a + b, carried + b
    total.carry(LAYOUTS)
    other.carry(LAYOUTS)
    assert canonical(total) == canonical(other)


@given(sums())
def test_adding_leaves_both_as_they_were(a):
    before = canonical(a)
    _ = a + a
    assert canonical(a) == before


def test_layouts_of_other_columns_have_another_digest():
    assert LAYOUTS.digest != Layouts(STATE, GRID, {}, 1, DRAWS).digest
    assert LAYOUTS.size_bytes(2) == 8 * STATE.size + GRID.size_bytes(2, DRAWS)


@settings(max_examples=30, deadline=None)
@given(sums())
def test_sums_have_the_layouts_that_they_were_made_for_and_no_others(a):
    a.check(LAYOUTS)
    wide = Layout((*STATE.summed, Summed(("mae", "total"), ())), STATE.counted)
    plain = GridLayout((), (), (), (), STATE)
    other = [Layouts(wide, GRID, LAYOUTS.rows, 1, DRAWS), Layouts(STATE, plain, LAYOUTS.rows, 1, DRAWS)]
    other.append(Layouts(STATE, GRID, LAYOUTS.rows, 1, DRAWS + 1))
    if a.rows:
        other += [
            Layouts(STATE, GRID, rows, 1, DRAWS) for rows in ({}, {"auc": RowLayout(True, False, (("positive", "int64"),))})
        ]
        other.append(Layouts(STATE, GRID, LAYOUTS.rows, 2, DRAWS))
    for layouts in other:
        with pytest.raises(ValueError, match="expected|keeps none"):
            a.check(layouts)


def test_layouts_come_back_from_json():
    binding = Binding(Inputs.NUMBERS, "p", "y", "w", also=(("query", "q"),))
    state = Layout(
        (Summed((binding, "weight"), ()), Summed(("r2", "yy"), (2, 3))), (Counted((binding, "status"), 5),), (("mse", "r2"),),
        (Crossed(("fid", "found"), 4),),
    )  # fmt: skip
    layouts = Layouts(
        state, GridLayout((), state.counted, (), (), state), {"auc": RowLayout(True, True, (("a", "int64"),), True)}, 2, 9
    )
    again = from_json(json.loads(json.dumps(to_json(layouts), allow_nan=False)))
    assert again == layouts and again.digest == layouts.digest
    for wrong in (
        None,
        {},
        {**to_json(layouts), "draws": -1},
        {**to_json(layouts), "shared": [["a"]]},
        {**to_json(layouts), "bindings": []},
    ):
        with pytest.raises(ValueError, match="not layouts as a run writes them"):
            from_json(wrong)
