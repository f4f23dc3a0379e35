"""Rows over ranks: sorting, slices, replicates, weights, and what travels."""

from __future__ import annotations

import io
import itertools
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from harness.exact import wide_integers as wide
from harness.metrics.binary_exact import AveragePrecision, RocAuc
from harness.metrics.contract import RowMetric, Undefined
from harness.metrics.quantiles import Quantile
from harness.ranks.comm import Comm, SingleComm
from harness.ranks.exchange import Route
from harness.sums.row_reduction import reduce_rows
from harness.sums.rows import RowTable
from tests.row_case import RANKS, binary, fold_on_ranks, rows, value_from, value_of
from tests.thread_comm import on_ranks

RNG = np.random.default_rng(11)


class Places(RowMetric):
    """Sees the order of every row within its group: the sum of place times value."""

    summary: ClassVar[str] = "for tests"

    def fold(self, part: Any) -> dict[str, Any]:
        starts = np.repeat(part.groups, np.diff(part.groups, append=len(part)))
        place = np.arange(1, len(part) + 1) - starts
        return {"sum": wide.dot(place * part.multiplicity, part.values["value"]), "groups": len(part.groups)}


def test_groups_stay_together_and_their_order_does_not_depend_on_ranks() -> None:
    n = 500
    group, value = RNG.integers(-20, 20, n), RNG.integers(0, 1000, n)
    key, ids = RNG.integers(0, 3, n).astype(float), RNG.integers(0, 50, n)  # ties, and ids that several rows share
    folded = fold_on_ranks(Places(), rows(key, {"value": value}, group=group, ids=ids))[0, 0]
    ordered = sorted(zip(group.tolist(), key.tolist(), ids.tolist(), value.tolist(), strict=True))
    expected, place, last = 0, 0, None
    for number, _, _, amount in ordered:
        place = place + 1 if number == last else 1
        expected, last = expected + place * amount, number
    assert folded == {"sum": expected, "groups": 40}


def test_slices_and_replicates_are_the_metric_of_their_rows() -> None:
    n, replicates = 600, 4
    labels, scores = RNG.integers(0, 2, n), np.round(RNG.random(n), 2)
    weights = RNG.random(n)
    slices = np.stack([RNG.integers(1, 5, n), np.where(RNG.random(n) < 0.3, 5, -1)], axis=1)
    clusters = RNG.integers(0, 80, n)
    draws = RNG.poisson(1.0, (80, replicates))
    for weigh in (None, weights):
        table = binary(scores, labels, weights=weigh, slices=slices, ids=clusters)
        for multiplicities in (None, lambda ids: draws[ids]):
            for metric, oracle in ((RocAuc(), roc_auc_score), (AveragePrecision(), average_precision_score)):
                found = fold_on_ranks(metric, table, slices=6, multiplicities=multiplicities)
                count = 1 if multiplicities is None else replicates + 1
                assert set(found) == {(s, r) for s in range(6) for r in range(count)}
                for (number, replicate), folded in found.items():
                    times = np.ones(n) if replicate == 0 else draws[clusters, replicate - 1].astype(float)
                    times = times * (1 if number == 0 else (slices == number).any(axis=1)) * (1 if weigh is None else weigh)
                    expected = oracle(labels, scores, sample_weight=times)
                    assert value_from(metric, folded) == pytest.approx(expected, rel=1e-12), (number, replicate)


def test_a_slice_without_rows_is_there() -> None:
    found = fold_on_ranks(RocAuc(), binary([0.1, 0.2], [0, 1], slices=[1, 1]), slices=3)
    assert value_from(RocAuc(), found[1, 0]) == 1.0
    with pytest.raises(Undefined, match="no example is positive"):
        value_from(RocAuc(), found[2, 0])
    with pytest.raises(Undefined, match="no example is positive"):
        value_from(RocAuc(), fold_on_ranks(RocAuc(), binary([], []), slices=2)[1, 0])


def test_the_area_is_exact_where_it_passes_64_bits() -> None:
    n = 300
    scores, labels, weights = np.round(RNG.random(n), 1), RNG.integers(0, 2, n), RNG.random(n)
    weights[0] = 1.0  # the grid then is 2^-52, and all weights that NumPy draws below 1 are multiples of 2^-53
    weights = np.rint(weights * 2.0**52) / 2.0**52
    folded = fold_on_ranks(RocAuc(), binary(scores, labels, weights=weights))[0, 0]
    exact = [(s, y, Fraction(w)) for s, y, w in zip(scores.tolist(), labels.tolist(), weights.tolist(), strict=True)]
    pairs = sum(a * b * (2 if s > t else 1) for s, y, a in exact if y for t, z, b in exact if not z and s >= t)
    positive, negative = (sum(w for _, y, w in exact if y == side) for side in (1, 0))
    assert folded["area"] > 2**100
    assert Fraction(folded["area"]) / (2 * folded["positive"] * folded["negative"]) == pairs / (2 * positive * negative)


def test_weights_that_cannot_be_used_are_refused_with_a_reason() -> None:
    def reduce(weights: list[float]) -> Any:
        return value_of(RocAuc(), binary([0.1, 0.2, 0.3], [0, 1, 0], weights=weights))

    with pytest.raises(Undefined, match=r"a weight is -1\.0"):
        reduce([1.0, -1.0, 1.0])
    with pytest.raises(Undefined, match=r"weights reach from 1e-17 to 1\.0"):
        reduce([1.0, 1e-17, 1.0])
    with pytest.raises(Undefined, match="the smallest would be rounded by more than"):
        reduce([1e-12, 1000.0, 1.6e-12])
    with pytest.raises(Undefined, match="weights reach from 5e-324 to"):
        reduce([1.0, 5e-324, 1e300])
    assert reduce([2.0**-50, 1.0, 3 * 2.0**-50]) == 0.25  # what is a whole number of steps is not rounded
    assert reduce([0.1e-7, 1.0, 0.3e-7]) == pytest.approx(0.25, rel=2.0**-26)
    assert reduce([1e300, 1e300, 0.0]) == 1.0
    assert reduce([5e-324, 5e-324, 5e-324]) == 0.5
    assert reduce([1.7e308, 1.7e308, 1.7e308]) == 0.5
    with pytest.raises(Undefined, match="1 rows have NaN for a key"):
        value_of(RocAuc(), binary([0.1, np.nan], [0, 1]))


class CountingComm(SingleComm):
    """Passes on to another Comm, and remembers the rows that this rank sent and got."""

    def __init__(self, comm: Comm) -> None:
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self.sent = self.got = 0

    def gather(self, data: bytes) -> list[bytes]:
        return self.comm.gather(data)

    def alltoall(self, parts: list[np.ndarray]) -> list[np.ndarray]:
        found = self.comm.alltoall(parts)
        self.sent, self.got = sum(map(len, parts)), sum(map(len, found))
        return found


@pytest.mark.parametrize("metric", [RocAuc(), AveragePrecision()], ids=["auc", "ap"])
def test_equal_scores_travel_as_one(metric: RowMetric) -> None:
    def work(comm: Comm) -> tuple[int, int]:
        counting = CountingComm(comm)
        reduce_rows(metric, binary(np.full(10_000, 0.5), np.arange(10_000) % 2), counting)
        return counting.sent, counting.got

    sent, got = zip(*on_ranks(3, work), strict=True)
    assert sent == (1, 1, 1)
    assert sorted(got) == [0, 0, 3]


def test_shares_are_even() -> None:
    """Also where ranks hold different numbers of rows, and of different sizes."""

    def work(comm: Comm) -> int:
        rng = np.random.default_rng(comm.rank)
        counting = CountingComm(comm)
        Route(counting, comm.rank + rng.standard_normal(1000 * (4 - comm.rank) ** 2), None)
        return counting.got

    got = on_ranks(5, work)
    assert sum(got) == 1000 * (16 + 9 + 4 + 1 + 0)
    assert max(got) < 1.05 * sum(got) / 5


@pytest.mark.parametrize("size", RANKS)
def test_a_route_sorts_and_takes_columns_along(size: int) -> None:
    key = np.round(RNG.standard_normal(1000), 1)
    number = np.arange(1000)

    def work(comm: Comm) -> tuple[np.ndarray, np.ndarray]:
        own = slice(comm.rank, None, size)
        route = Route(comm, key[own], None)
        return route.move(key[own]), route.move(np.stack([number[own]] * 2, axis=1))

    found = on_ranks(size, work)
    moved = np.concatenate([each[0] for each in found])
    carried = np.concatenate([each[1] for each in found])
    assert (moved == np.sort(key)).all()
    assert (key[carried[:, 0]] == moved).all()
    assert sorted(carried[:, 1]) == list(range(1000))
    ends = [(each[0][0], each[0][-1]) for each in found if len(each[0])]
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ends)), "a key was cut"


def test_a_table_survives_storage() -> None:
    table = rows([1.0, 2.0], {"label": [0.5, 1.5]}, weights=[1.0, 2.0], group=[3, 4], slices=[[1, -1], [2, 3]])
    file = io.BytesIO()
    np.savez(file, **table.to_arrays())
    file.seek(0)
    with np.load(file) as arrays:
        back = RowTable.from_arrays(arrays)
    assert back.to_arrays().keys() == table.to_arrays().keys()
    assert all((column == table.to_arrays()[name]).all() for name, column in back.to_arrays().items())


def test_columns_of_unlike_length_are_refused() -> None:
    with pytest.raises(ValueError, match="expected columns of one length"):
        rows([1.0, 2.0], {"label": [1]})


def test_quantile_under_replicates() -> None:
    numbers, draws = RNG.standard_normal(200), RNG.poisson(1.0, (200, 5))
    metric = Quantile(q=0.9)
    found = fold_on_ranks(metric, rows(numbers), multiplicities=lambda ids: draws[ids])
    for replicate in range(1, 6):
        expected = np.quantile(np.repeat(numbers, draws[:, replicate - 1]), 0.9)
        assert value_from(metric, found[0, replicate]) == pytest.approx(expected, rel=1e-12)


def test_thinning_keeps_what_tells_whether_weights_can_be_used():
    from harness.sums.rows import RowTable, thin

    table = RowTable(np.array([5.0, 1.0, 9.0]), {}, np.arange(3), np.zeros((3, 0), np.int64), None, np.array([-1.0, 1.0, 2.0]))
    assert sorted(thin(table, "largest").weights.tolist()) == [-1.0, 2.0]
