"""The laws of sums: a commutative monoid whose zero is neutral, and that comes back from its arrays as it was."""

from __future__ import annotations

import json
from dataclasses import replace
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
from harness.sums.selection import ExamplesLayout, Selection, reduce_selection
from harness.sums.sums import Layouts, Sums, renumbering
from tests.thread_comm import on_ranks

STATE = Layout((Summed(("loss", "total"), ()),), (Counted(("accuracy", "right"), 2),))
GRID = GridLayout(STATE.summed, (), STATE.counted, (), STATE)
DRAWS = 3
KEPT = ExamplesLayout(("worst", "random"), 2, sliced=True, columns=(("loss", "float64"),), scores=(1, "float32"))
LAYOUTS = Layouts(STATE, GRID, {"auc": RowLayout(False, False, (("positive", "int64"),))}, 1, DRAWS, KEPT)

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
    return Sums(lines.reshape(-1, 8), state, grid, rows, draw(selections(len(names) + 1)))


@st.composite
def selections(draw: st.DrawFn, slots: int = 3) -> Selection:
    """Some examples that are kept: many are equal in what they are sorted by; what is known of one follows from its id."""
    entry = st.tuples(
        st.integers(0, 1), st.integers(0, slots - 1), st.just(-1), st.sampled_from([-(2**63), -1, 0, 5]), st.integers(0, 6)
    )
    entries = np.array(draw(st.lists(entry, max_size=9)), np.int64).reshape(-1, 5)
    return Selection.of(np.concatenate([entries, entries[:, 4:], -entries[:, 4:]], axis=1), KEPT.most)


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
        "examples": total.selection.renumbered(numbers).table.tolist(),
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
    assert LAYOUTS.digest != replace(LAYOUTS, rows={}).digest
    assert LAYOUTS.digest != replace(LAYOUTS, examples=replace(KEPT, most=3)).digest
    assert LAYOUTS.size_bytes(2) == 8 * STATE.size + GRID.size_bytes(2, DRAWS)


@settings(max_examples=30, deadline=None)
@given(sums())
def test_sums_have_the_layouts_that_they_were_made_for_and_no_others(a):
    a.check(LAYOUTS)
    wide = Layout((*STATE.summed, Summed(("mae", "total"), ())), STATE.counted)
    plain = GridLayout((), (), (), (), STATE)
    other = [replace(LAYOUTS, state=wide), replace(LAYOUTS, grid=plain), replace(LAYOUTS, draws=DRAWS + 1)]
    other += [
        replace(LAYOUTS, examples=layout) for layout in (ExamplesLayout(), replace(KEPT, most=1), replace(KEPT, columns=()))
    ]
    if a.rows:
        other += [replace(LAYOUTS, rows=rows) for rows in ({}, {"auc": RowLayout(True, False, (("positive", "int64"),))})]
        other.append(replace(LAYOUTS, specs=2))
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
    kept = replace(layouts, examples=KEPT)
    assert from_json(json.loads(json.dumps(to_json(kept)))) == kept and "examples" not in to_json(layouts)
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


@settings(max_examples=80, deadline=None)
@given(st.lists(selections(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_what_is_kept_of_all_is_kept_of_its_parts_however_they_were_shared_out(parts, random):
    """A plain sort of all entries, against selections of parts, added up by ranks that are shown only what was kept."""
    entries = [tuple(entry) for part in parts for entry in part.table.tolist()]
    groups: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for entry in sorted(entries):
        groups.setdefault(entry[:3], []).append(entry)
    wanted = [list(entry) for group in sorted(groups) for entry in groups[group][: KEPT.most]]
    random.shuffle(parts)
    numbers = np.arange(3)
    found = on_ranks(len(parts), lambda comm: reduce_selection(comm, parts[comm.rank], numbers).table.tolist())
    assert found == [wanted] * len(parts)


def test_entries_that_a_run_does_not_write_are_refused():
    good = Selection.of(np.array([[0, 1, -1, 4, 7, 7, -7], [0, 1, -1, 4, 9, 9, -9]], np.int64), 2)
    good.check(KEPT, 2)
    for table in (
        good.table[::-1],
        good.table[[0, 0, 1]],
        np.add(good.table, [2, 0, 0, 0, 0, 0, 0]),
        np.add(good.table, [0, 0, 1, 0, 0, 0, 0]),
    ):
        with pytest.raises(ValueError, match="examples: "):
            Selection(table, 2).check(KEPT, 2)
    with pytest.raises(ValueError, match="examples: expected int64"):
        Selection.unpack({"examples": good.table[0], "examples.most": np.array([2])})
