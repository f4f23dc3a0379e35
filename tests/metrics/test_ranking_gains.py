"""Cumulative gains and lift of a ranking: by hand, against a sort of each group in NumPy, exact for any number of parts."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest

from harness.metrics.contract import Table, Undefined
from harness.metrics.ranking import RecallAtK
from harness.metrics.ranking_gains import RankingGains
from tests.metrics.sums import folded
from tests.metrics.test_ranking import GROUP, LABEL, SCORE, by_group, drawn


def totals(metric, group, score, label, **how):
    return folded(metric, group, -np.asarray(score, float), {"label": np.asarray(label, float)}, **how)


def value(metric, group, score, label, **how) -> Table:
    return metric.value(totals(metric, group, score, label, **how))


def sorted_shares(group, score, label, depth, gain=lambda y: y):
    """Return the columns of the table by a plain sort of each group, float64 [depth] each."""
    ranking, ideal, random = [], [], []
    for s, y in by_group(group, score, gain(np.asarray(label, float))):
        if y.sum() > 0:
            reach = np.minimum(np.arange(1, depth + 1), len(y))
            ranking.append(np.cumsum(y[np.argsort(-s, kind="stable")])[reach - 1] / y.sum())
            ideal.append(np.cumsum(np.sort(y)[::-1])[reach - 1] / y.sum())
            random.append(reach / len(y))
    found = [np.mean(column, axis=0) for column in (ranking, ideal, random)]
    return [*found, found[0] / found[2], found[1] / found[2]]


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_by_hand(parts):
    # Group 1 has its two relevant ones at ranks 2 and 4 of 4, group 2 its one at rank 1 of 2, group 3 none: it is left out.
    assert value(RankingGains(query="q", depth=4), GROUP, SCORE, LABEL, parts=parts) == Table(
        ("k", "ranking", "ideal", "random", "lift", "ideal_lift"),
        (
            (1, 0.5, 0.75, 0.375, float(Fraction(4, 3)), 2.0),
            (2, 0.75, 1.0, 0.75, 1.0, float(Fraction(4, 3))),
            (3, 0.75, 1.0, 0.875, float(Fraction(6, 7)), float(Fraction(8, 7))),
            (4, 1.0, 1.0, 1.0, 1.0, 1.0),
        ),
    )
    # Of graded labels 3, 1 and 2 of 6 lie in this order.
    rows = value(RankingGains(query="q", depth=2), [7, 7, 7], [0.9, 0.8, 0.7], [3, 1, 2]).rows
    expected = [1, 0.5, 0.5, 1 / 3, 1.5, 1.5, 2, 2 / 3, 5 / 6, 2 / 3, 1.0, 1.25]
    assert [number for row in rows for number in row] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(("gain", "formula"), [("linear", lambda y: y), ("exponential", lambda y: 2**y - 1)])
@pytest.mark.parametrize("scores", [0, 5])
def test_shares_are_those_of_a_sort_of_each_group(gain, formula, scores):
    group, score, label = drawn(1, scores=scores)
    table = value(RankingGains(query="q", depth=40, gain=gain), group, score, label, parts=3)
    columns = np.array(table.rows, float).T
    assert columns[0].tolist() == list(range(1, 41))
    np.testing.assert_allclose(columns[1:], sorted_shares(group, score, label, 40, formula), rtol=1e-13)


def test_of_binary_labels_the_share_is_recall():
    group, score, label = drawn(2)
    label = (label > 0).astype(float)
    rows = value(RankingGains(query="q", depth=12), group, score, label).rows
    for k in (1, 3, 12):
        recall = RecallAtK(query="q", k=k, without_relevant="skip")
        assert rows[k - 1][1] == pytest.approx(recall.value(totals(recall, group, score, label)), rel=1e-13)


def test_ties_may_count_as_the_average_of_all_orders():
    metric = RankingGains(query="q", depth=3, ties="average")
    orders = [[1 / 4, 1 / 4, *np.array(order) / 4] for order in permutations([2.0, 0.0])]
    expected = np.mean([np.cumsum([order[0], *order[2:]]) for order in orders], axis=0)
    rows = value(metric, [1, 1, 1], [0.9, 0.5, 0.5], [1, 2, 0]).rows
    assert [row[1] for row in rows] == pytest.approx((expected * 4 / 3).tolist(), rel=1e-15)


def test_all_of_a_group_is_all_of_its_gain():
    group, label = [1] * 3, [0.1, 0.2, 0.3]  # 0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1
    for score in permutations([1.0, 2.0, 3.0]):
        rows = value(RankingGains(query="q", depth=5), group, score, label).rows
        assert [row[1:] for row in rows[2:]] == [(1.0,) * 5] * 3


@pytest.mark.parametrize(
    "metric", [RankingGains(query="q"), RankingGains(query="q", depth=3, ties="average", gain="exponential")]
)
def test_sums_are_the_same_for_any_parts_and_any_order_and_weights_are_copies(metric):
    group, score, label = drawn(4, scores=0)
    shuffled = np.random.default_rng(5).permutation(len(group))

    def sums(order, parts):
        found = totals(metric, group[order], score[order], label[order], parts=parts)
        return {name: np.asarray(found.exact(name), object).tolist() for name in found}

    once = sums(slice(None), 1)
    for parts in (2, 3, 1000):  # with more parts than groups some are empty
        assert sums(slice(None), parts) == once
    assert sums(shuffled, 3) == once
    names, at = np.unique(group, return_inverse=True)
    times = np.random.default_rng(10).integers(1, 4, len(names))[at]
    copies = [(group[times > copy] + 10**7 * copy, score[times > copy], label[times > copy]) for copy in range(3)]
    repeated = value(metric, *(np.concatenate(columns) for columns in zip(*copies, strict=True)))
    assert value(metric, group, score, label, weight=times, parts=2) == repeated


def test_what_has_no_share_says_why():
    metric = RankingGains(query="q")
    with pytest.raises(Undefined, match="no group has a gain"):
        value(metric, [1, 2, 2], [0.5, 0.5, 0.1], [0, 0, 0])
    with pytest.raises(Undefined, match="no group has a gain"):
        value(metric, [], [], [])
    with pytest.raises(Undefined, match="1 labels are negative"):
        value(metric, [1, 1], [0.5, 0.4], [-1, 2])
    with pytest.raises(Undefined, match="1 groups have examples of different weights"):
        value(metric, GROUP, SCORE, LABEL, weight=[1, 2, 1, 3, 1, 2, 5], parts=2)


def test_plots_are_the_columns_of_the_table():
    metric = RankingGains(query="q", depth=2)
    gains, lift = metric.plots(totals(metric, GROUP, SCORE, LABEL))
    assert gains.lines == (
        ("ranking", ((1, 0.5), (2, 0.75))), ("best order", ((1, 0.75), (2, 1.0))), ("random order", ((1, 0.375), (2, 0.75))),
    )  # fmt: skip
    assert lift.level == 1.0 and lift.lines[0] == ("ranking", ((1, float(Fraction(4, 3))), (2, 1.0)))
