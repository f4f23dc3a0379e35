"""Limbs are carried before they can overflow: sums at the limit, in the graph, as Python's integers make them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from harness.errors import ShapeError
from harness.exact import limbs as exact
from harness.job.specs import BootstrapSpec, MetricSpec
from harness.metrics import make
from harness.sums.layout import Crossed, Layout, Summed

LARGEST = np.nextafter(2.0**32, 0)  # a full limb, and most of another


def terms_of(batch: int, weights: Any = None, name: str = "mean_absolute_error") -> Any:
    """Terms of a batch whose every number is the largest that fills a limb."""
    import tensorflow as tf

    from harness.step.terms import Terms

    metrics = make([MetricSpec(name=name, options={"name": "it"})])
    bindings = {key: it.binding("output", "label", None if weights is None else "weight") for key, it in metrics.items()}
    features = {"label": tf.zeros([batch], tf.float64)}
    if weights is not None:
        features["weight"] = tf.constant(np.full(batch, weights))
    ones = tf.fill([batch], tf.constant(LARGEST, tf.float64))
    return Terms(metrics, bindings)(features, {"output": ones}, tf.ones([batch], tf.bool))


def test_a_state_is_carried_before_it_overflows():
    import tensorflow as tf

    from harness.step.carrying import add_in_time

    numbers = exact.HEADROOM // 4
    every = exact.additions(numbers)
    assert every == 4
    layout = Layout((Summed(("it", "x"), ()),), (), (), (Crossed(("it", "g"), 1),))
    values = np.array([LARGEST, -LARGEST * 2.0**-64])
    cells = exact.to_cells(values).sum(axis=0) * numbers  # what so many numbers add, limbs of 2^60
    low = (2**32 - 1) * numbers
    gram = np.array([low, -low, 7, 1, 2, 3, 5])
    sums = tf.constant(np.concatenate([cells, gram]))
    groups = 300

    @tf.function
    def run() -> Any:
        def body(number: Any, state: Any) -> Any:
            return number + 1, add_in_time(layout, state, sums, number, every)

        return tf.while_loop(lambda number, _: number < groups, body, (tf.constant(0), tf.zeros([layout.size], tf.int64)))[1]

    state = run().numpy()
    wanted = groups * numbers * (Fraction(LARGEST) - Fraction(LARGEST) / 2**64)
    assert exact.to_fraction(state[: exact.CELL]) == wanted
    lows, highs = state[exact.CELL : -1].reshape(2, -1).astype(object)
    assert (lows + highs * 2**32).tolist() == [groups * (low + 2**32), groups * (-low + 2 * 2**32), groups * (7 + 3 * 2**32)]
    assert state[-1] == 5 * groups
    # Without, it overflows: the sum of all groups is beyond int64.
    assert exact.to_fraction(cells * groups) != wanted and int(cells.max()) * groups >= 2**63


def test_carrying_in_the_graph_is_carrying_in_numpy():
    import tensorflow as tf

    from harness.exact import tf_limbs as tf_exact

    rng = np.random.default_rng(2)
    cells = rng.integers(-(2**62), 2**62, (500, exact.CELL))
    for run in (tf_exact.carry, tf.function(tf_exact.carry), tf.function(tf_exact.carry, jit_compile=True)):
        assert np.array_equal(run(tf.constant(cells)).numpy(), exact.carry(cells))


def test_a_group_says_how_many_numbers_it_adds_to_one_sum():
    assert terms_of(32).additions == 32
    assert terms_of(32, 0.7).additions == 64  # a product is an error-free pair
    assert terms_of(32, 0.7, "r2").additions == 128


@pytest.mark.parametrize("weighted", [False, True])
def test_a_grid_is_carried_before_it_overflows(weighted):
    import tensorflow as tf

    from harness.metrics.question import Question
    from harness.step.grid import TFGrid

    batch = 16
    terms = terms_of(batch, 0.75 if weighted else None)
    grid = TFGrid(Question({}, {}, bootstrap=BootstrapSpec(replicates=3)))
    grid.plan(terms)
    grid.allocate()
    ids = tf.range(batch, dtype=tf.int64)

    @tf.function
    def add() -> Any:
        return grid.add(terms_of(batch, 0.75 if weighted else None), {}, ids, tf.ones([batch], tf.bool))

    add()
    before, group = grid.fetch(), grid.variables.dense.numpy()
    assert int(grid.variables.additions.numpy()) == 1
    many = grid._carry_every - 1
    rounds = 64
    for _ in range(rounds):  # as if so many groups had come: at the limit each time
        grid.variables.dense.assign_add(many * group)
        grid.variables.additions.assign_add(many)
        assert int(grid.variables.additions.numpy()) <= grid._carry_every
        add()
    after = grid.fetch()
    numbers = sum(column.size for column in grid.layout.numbers)
    for draw in range(4):
        cells = zip(*(state.dense[0, draw, :numbers].reshape(-1, exact.CELL) for state in (before, after)), strict=True)
        for once, whole in cells:
            assert exact.to_fraction(whole) == (1 + rounds * (many + 1)) * exact.to_fraction(once)
    assert int(group.max()) * (1 + rounds * (many + 1)) >= 2**63  # without a carry


def test_a_run_that_carries_often_has_the_same_bytes(monkeypatch):
    import harness

    rng = np.random.default_rng(1)
    columns = {
        "s": rng.random((3000, 3)).astype(np.float32),
        "label": rng.integers(0, 3, 3000),
        "w": rng.random(3000),
        "c": rng.integers(0, 3, 3000),
    }

    def document() -> dict[str, Any]:
        return dict(
            harness.evaluate(
                lambda s: s, columns, ["accuracy", "cross_entropy"], label="label", weight="w", slices=[["c"]],
                bootstrap={"replicates": 10}, batch_size=16, chunk_size=3000,
            ).document
        )  # fmt: skip

    wanted = document()
    monkeypatch.setattr(exact, "HEADROOM", 1 << 14)  # every group
    assert document() == wanted


def test_a_batch_that_could_overflow_at_once_is_refused(monkeypatch):
    import harness

    monkeypatch.setattr(exact, "HEADROOM", 1 << 8)
    columns = {"s": np.zeros(512), "label": np.zeros(512, np.int64)}
    with pytest.raises(ShapeError, match="a batch adds up to .* numbers to one sum, expected at most .*: lower batch_size"):
        harness.evaluate(lambda s: s, columns, ["mean_absolute_error"], label="label", batch_size=512)


def test_what_a_rank_holds_is_carried_whenever_a_call_adds_to_it():
    from harness.sums.accumulator import Accumulator
    from harness.sums.grid import GridLayout
    from harness.sums.sums import Layouts, Sums

    state = Layout((Summed(("it", "x"), ()),), ())
    layouts = Layouts(state, GridLayout((), (), (), (), state))
    accumulator = Accumulator(layouts)
    call = exact.to_cells(np.array(LARGEST)) * exact.HEADROOM  # what one call may leave
    for chunk in range(64):
        accumulator.add(Sums(np.array([[chunk, 1, 0, 1, 0, 0, 0, 0]]), call, Sums.zero(layouts).grid), 1)
    total = accumulator.total().state
    assert exact.to_fraction(total) == 64 * exact.HEADROOM * Fraction(LARGEST)
    assert total[: exact.LIMBS - 1].max() < 2**32
