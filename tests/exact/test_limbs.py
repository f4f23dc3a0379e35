"""exact.py against fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.exact import limbs as exact

GRID = Fraction(1, 1 << 128)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-(2.0**127), max_value=2.0**127)


def on_grid(x: float) -> Fraction:
    """Round to a multiple of 2^-128, ties to even: Python rounds fractions so."""
    return round(Fraction(x) / GRID) * GRID


EDGES = [
    0.0, -0.0, 1.0, -1.0, 0.1, -0.1, 1e300 * 1e-300,
    2.0**128 * (1 - 2.0**-53), -(2.0**128) * (1 - 2.0**-53),  # the largest that is taken
    2.0**-128, -(2.0**-128), 2.0**-129, -(2.0**-129),  # the grid; half of it: ties to even, to 0
    1.5 * 2.0**-128, 2.5 * 2.0**-128, -1.5 * 2.0**-128,  # ties to even, to 2
    1.5 * 2.0**-129, 5e-324, -5e-324, 2.2250738585072014e-308,  # to 1; subnormal and smallest normal: to 0
    2.0**32, 2.0**32 - 1, 2.0**31 + 0.5, -(2.0**32), 2.0**53 + 2, 2.0**-32 * 3,  # around the limbs
    1 + 2.0**-52, 2.0**64 + 2.0**12,
]  # fmt: skip


@pytest.mark.parametrize("x", EDGES)
def test_a_number_is_rounded_once_to_the_grid(x):
    assert exact.to_fraction(exact.to_cells(np.array(x))) == on_grid(x)


@given(st.lists(NUMBERS, min_size=1, max_size=30))
def test_sum_of_any_numbers_is_the_sum_of_fractions(numbers):
    cell = exact.to_cells(np.array(numbers)).sum(axis=0)
    wanted = sum((on_grid(x) for x in numbers), Fraction(0))
    assert exact.to_fraction(cell) == wanted
    assert exact.to_fraction(exact.carry(cell)) == wanted


@given(st.lists(NUMBERS, min_size=2, max_size=30), st.randoms())
def test_order_and_grouping_do_not_matter(numbers, random):
    cells = exact.to_cells(np.array(numbers))
    order = list(range(len(numbers)))
    random.shuffle(order)
    at = random.randrange(len(numbers))
    halves = exact.carry(cells[order[:at]].sum(axis=0)) + exact.carry(cells[order[at:]].sum(axis=0))
    assert exact.carry(halves).tolist() == exact.carry(cells.sum(axis=0)).tolist()


@pytest.mark.parametrize("x", [np.nan, np.inf, -np.inf, 2.0**128, -(2.0**128), 1.7e308])
def test_what_cannot_be_summed_is_counted_apart(x):
    cells = exact.to_cells(np.array([x, 3.0])).sum(axis=0)
    assert exact.refused(cells).tolist() == 1
    assert exact.to_fraction(cells) == 3


@pytest.mark.parametrize("x", [2.0**128 * (1 - 2.0**-53), -(2.0**128) * (1 - 2.0**-53), 2.0**32 - 2.0**-21, -(2.0**-97)])
def test_headroom_holds_at_its_limit(x):
    cell = exact.to_cells(np.array(x)) * exact.HEADROOM  # as many as may be added before a carry
    assert exact.to_fraction(cell) == on_grid(x) * exact.HEADROOM
    # a carried cell has room for as many again
    twice = exact.carry(cell) + exact.to_cells(np.array(x)) * exact.HEADROOM
    assert exact.to_fraction(exact.carry(twice)) == 2 * exact.HEADROOM * on_grid(x)


def test_sum_of_many_of_the_largest_stays_exact_over_2_to_the_62_numbers():
    x = 2.0**128 * (1 - 2.0**-53)
    cell = exact.carry(exact.to_cells(np.array(x)) * exact.HEADROOM)
    for _ in range(32):  # doubled, carried at fixed points: 2^62 numbers
        cell = exact.carry(cell + cell)
    assert exact.to_fraction(cell) == on_grid(x) * 2**62


def test_carry_brings_limbs_into_their_range():
    rng = np.random.default_rng(0)
    cells = np.concatenate([rng.integers(-(2**62), 2**62, [50, 9]), np.zeros([50, 1], np.int64)], axis=1)
    cells[:, 8] >>= 33  # the last limb takes what is carried out of the others
    carried = exact.carry(cells)
    assert ((carried[:, :8] >= 0) & (carried[:, :8] < 2**32)).all()
    assert [exact.to_fraction(c) for c in carried] == [exact.to_fraction(c) for c in cells]


@pytest.mark.parametrize(
    "numbers, wanted",
    [
        ([1e16, 1.0, -1e16], 1.0),
        ([1.0, 2.0**-53], 1.0),  # a tie of float64: to even
        ([1.0, 2.0**-53, 2.0**-128], 1.0000000000000002),  # just above the tie
        ([2.0**-128] * 3, 3 * 2.0**-128),
    ],
)
def test_a_quotient_is_the_nearest_float(numbers, wanted):
    sums = exact.to_cells(np.array(numbers)).sum(axis=0)
    assert exact.divide(sums[None], np.array([1])).tolist() == [wanted]


def test_input_is_left_as_it_was():
    values = np.array([1.0, np.nan])
    exact.to_cells(values)
    cells = exact.to_cells(np.array([-1.0]))
    before = cells.copy()
    exact.carry(cells)
    assert values[0] == 1.0 and np.isnan(values[1]) and (cells == before).all()


@given(
    st.lists(st.tuples(st.lists(NUMBERS, min_size=1, max_size=4), st.integers(1, 2**31 - 1)), min_size=1, max_size=8),
    st.integers(1, 2**28),
)
def test_quotients_are_those_of_fractions(rows: list[tuple[list[float], int]], times: int) -> None:
    cells = np.stack([times * exact.to_cells(np.array(values)).sum(axis=0) for values, _ in rows])
    divisors = np.array([divisor for _, divisor in rows])
    expected = [float(exact.to_fraction(cell) / divisor) for cell, (_, divisor) in zip(cells, rows, strict=True)]
    assert exact.divide(cells, divisors).tolist() == expected


def test_quotients_that_lie_between_two_floats_go_to_the_even_one() -> None:
    halfway = exact.to_cells(np.array([2.0**53, 2.0**53 + 2])) + exact.to_cells(np.array([1.0, 1.0]))  # 2^53 + 1 and 2^53 + 3
    assert exact.divide(halfway, np.array([1, 1])).tolist() == [2.0**53, 2.0**53 + 4]
    above = halfway + exact.to_cells(np.array([2.0**-128]))
    assert exact.divide(above, np.array([1, 1])).tolist() == [2.0**53 + 2, 2.0**53 + 4]
    least = exact.to_cells(np.array([2.0**-128, 0.0]))
    assert exact.divide(least, np.array([2**31 - 1, 5])).tolist() == [float(Fraction(1, (2**31 - 1) * 2**128)), 0.0]
