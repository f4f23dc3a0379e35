"""Order statistics against NumPy, SciPy and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import median_absolute_error

from harness.errors import JobError
from harness.metrics.contract import Inputs, Undefined
from harness.metrics.extremes import Maximum, Minimum
from harness.metrics.quantiles import MedianAbsoluteError, Quantile, Spearman
from harness.sums.rows import thin
from tests.row_case import fold_on_ranks, rows, value_from, value_of

METHODS = [
    "linear", "lower", "higher", "nearest", "midpoint", "inverted_cdf", "averaged_inverted_cdf", "hazen", "weibull",
    "median_unbiased", "normal_unbiased",
]  # fmt: skip


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    data = load_diabetes()
    return data.target, LinearRegression().fit(data.data, data.target).predict(data.data)


RNG = np.random.default_rng(5)
LABELS, PREDICTIONS = diabetes()
NUMBERS = {
    "diabetes": LABELS - PREDICTIONS,
    "ties": np.round(LABELS - PREDICTIONS, -1),
    "all tied": np.full(50, 3.25),
    "one": np.array([-7.5]),
    "two": np.array([1.0, 2.0]),
    "three": np.array([5.0, -1.0, 2.0]),
    "eleven": RNG.permutation(11).astype(float),
    "huge and tiny": RNG.standard_normal(100) * 10.0 ** RNG.integers(-300, 300, 100),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
def test_quantile_is_numpys(numbers: np.ndarray, method: Any) -> None:
    # Not 2 / 3: NumPy rounds 441 * 0.6666666666666666 up to 294, here the place is below it.
    for q in (0.0, 0.001, 0.25, 0.3, 0.5, 0.667, 0.9, 0.95, 1.0):
        expected = np.quantile(numbers, q, method=method)
        found = value_of(Quantile(q=q, method=method), rows(numbers)) if q in (0.3, 0.95) else _alone(q, method, numbers)
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12 * np.abs(numbers).min()), q


def _alone(q: float, method: Any, numbers: np.ndarray) -> float:
    """On one rank: the other ranks are tried at two quantiles only."""
    from harness.ranks.comm import SingleComm
    from harness.sums.row_reduction import reduce_rows

    metric = Quantile(q=q, method=method)
    found: float = value_from(metric, reduce_rows(metric, rows(numbers), SingleComm())[0, 0])
    return found


def test_a_place_is_exact() -> None:
    """0.3 of ten steps is the third, though 0.1 + 0.2 is not 0.3; 1/10 of 11 numbers is the second of them."""
    numbers = np.arange(11.0)
    assert value_of(Quantile(q=0.3, method="higher"), rows(numbers)) == 3.0
    assert value_of(Quantile(q=0.1, method="inverted_cdf"), rows(np.arange(10.0))) == 0.0


@pytest.mark.parametrize("q", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_weighted_quantile_is_numpys(q: float) -> None:
    numbers, weights = NUMBERS["ties"], RNG.integers(0, 5, len(NUMBERS["ties"])).astype(float)
    metric = Quantile(q=q, method="inverted_cdf")
    # NumPy counts numbers of zero weight at q = 0
    expected = np.quantile(numbers[weights > 0], q, method="inverted_cdf", weights=weights[weights > 0])
    assert value_of(metric, rows(numbers, weights=weights)) == expected
    assert value_of(metric, rows(numbers, weights=weights / 4)) == expected
    metric = Quantile(q=q, method="averaged_inverted_cdf")
    assert value_of(metric, rows(numbers, weights=weights)) == np.quantile(
        np.repeat(numbers, weights.astype(int)), q, method="averaged_inverted_cdf"
    )


def test_weights_are_refused_where_a_method_cannot_weigh() -> None:
    with pytest.raises(JobError, match="method 'linear' takes no weights, found weight 'w'"):
        Quantile().binding("output", "label", "w")
    assert Quantile(method="inverted_cdf").binding("output", "label", "w").weight == "w"
    assert Quantile(of="output").binding("output", "label", None).inputs is Inputs.OUTPUT


@pytest.mark.parametrize("size", [1, 2, 441, 442])
def test_median_absolute_error_is_sklearns(size: int) -> None:
    errors = np.abs(LABELS - PREDICTIONS)[:size]
    found = value_of(MedianAbsoluteError(), rows(errors))
    assert found == pytest.approx(median_absolute_error(LABELS[:size], PREDICTIONS[:size]), rel=1e-12)
    weights = RNG.random(size)
    expected = median_absolute_error(LABELS[:size], PREDICTIONS[:size], sample_weight=weights)
    assert value_of(MedianAbsoluteError(), rows(errors, weights=weights)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [
        (LABELS, PREDICTIONS),
        (LABELS, -PREDICTIONS),
        (np.round(LABELS, -2), np.round(PREDICTIONS, -2)),
        (np.array([1.0, 2.0]), np.array([5.0, 4.0])),
        (np.array([0.0, -0.0, 1.0]), np.array([-0.0, 1.0, 0.0])),
        (RNG.standard_normal(200) * 10.0 ** RNG.integers(-300, 300, 200), RNG.standard_normal(200)),
    ],
    ids=["diabetes", "reversed", "ties", "two", "zeros of both signs", "huge and tiny"],
)
def test_spearman_is_scipys(labels: np.ndarray, predictions: np.ndarray) -> None:
    found = value_of(Spearman(), rows(predictions, {"label": labels}))
    assert found == pytest.approx(spearmanr(labels, predictions).statistic, rel=1e-12)


def test_spearman_of_equal_numbers_is_undefined() -> None:
    for labels, predictions, reason in [
        ([1.0, 1.0], [1.0, 2.0], "all labels are equal"),
        ([1.0, 2.0], [1.0, 1.0], "all predictions are equal"),
        ([1.0], [1.0], "all labels are equal"),
        ([], [], "all labels are equal"),
    ]:
        with pytest.raises(Undefined, match=reason):
            value_of(Spearman(), rows(predictions, {"label": np.array(labels, np.float64)}))


def test_spearman_by_slice_and_replicate_is_scipys() -> None:
    slices = RNG.integers(1, 4, (len(LABELS), 1))
    slices[:40] = -1
    slices = np.concatenate([slices, 4 + RNG.integers(0, 2, (len(LABELS), 1))], axis=1)
    draws = RNG.poisson(1.0, (len(LABELS), 3))
    labels, predictions = np.round(LABELS, -1), np.round(PREDICTIONS, -1)
    table = rows(predictions, {"label": labels}, slices=slices)
    found = fold_on_ranks(Spearman(), table, slices=6, multiplicities=lambda ids: draws[ids])
    assert set(found) == {(s, r) for s in range(6) for r in range(4)}
    for (number, replicate), folded in found.items():
        times = np.ones(len(labels), int) if replicate == 0 else draws[:, replicate - 1]
        times = times * (1 if number == 0 else (slices == number).any(axis=1))
        expected = spearmanr(np.repeat(labels, times), np.repeat(predictions, times)).statistic
        assert value_from(Spearman(), folded) == pytest.approx(expected, rel=1e-12)


def test_extremes() -> None:
    numbers = RNG.standard_normal(1000)
    table = rows(numbers, slices=RNG.integers(1, 3, 1000))
    for metric, expected in ((Maximum(), numbers.max()), (Minimum(), numbers.min())):
        whole, thinned = fold_on_ranks(metric, table, slices=3), fold_on_ranks(metric, thin(table, metric.keep), slices=3)
        assert whole == thinned
        assert value_from(metric, whole[0, 0]) == expected
        assert len(thin(table, metric.keep)) == 2
    one = table.slices[:, 0] == 1
    assert value_from(Maximum(), fold_on_ranks(Maximum(), table, slices=3)[1, 0]) == numbers[one].max()
    assert value_from(Minimum(), fold_on_ranks(Minimum(), table, slices=3)[1, 0]) == numbers[one].min()


def test_extremes_leave_out_what_has_no_weight() -> None:
    table = rows([1.0, 2.0, 3.0], weights=[0.0, 0.5, 0.0])
    assert value_of(Maximum(), table) == value_of(Minimum(), table) == 2.0
    assert thin(table, "largest").key.tolist() == [2.0]
    with pytest.raises(Undefined, match="the total weight is zero"):
        value_of(Maximum(), rows([1.0], weights=[0.0]))


@pytest.mark.parametrize("metric", [MedianAbsoluteError(), Quantile(), Maximum(), Minimum()], ids=lambda m: type(m).__name__)
def test_nothing_is_undefined(metric: Any) -> None:
    with pytest.raises(Undefined, match="the total weight is zero"):
        value_of(metric, rows([]))


@pytest.mark.parametrize(
    ("q", "examples", "held"),
    [
        (0.0, 40, False),
        (1.0, 40, False),
        (0.99, 99, False),
        (0.99, 100, True),
        (0.02, 49, False),
        (0.02, 50, True),
        (0.5, 40, True),
    ],
)
def test_a_quantile_next_to_an_extreme_has_no_interval(q, examples, held):
    import harness

    x = np.random.default_rng(5).random(examples)
    found = harness.evaluate(
        lambda x: x,
        {"x": x, "part": np.arange(examples) < examples // 2},
        [{"quantile": {"q": q, "of": "output"}}],
        inputs=["x"],
        slices=["part"],
        bootstrap={"replicates": 60, "seed": 1},
    )
    entry = found.document["intervals"]["quantile"]
    assert (entry["low"] is not None) == held, entry
    if not held:
        assert "expected beyond the quantile" in entry["reason"]
    within = [part["intervals"]["quantile"]["low"] is not None for part in found.document["slices"]]
    assert within == [held and q == 0.5] * 2


def test_a_quantile_of_weights_counts_the_examples_that_matter():
    import harness

    random = np.random.default_rng(6)
    weight = np.where(np.arange(200) < 50, 1.0, 1e-6)
    found = harness.evaluate(
        lambda x: x,
        {"x": random.random(200), "w": weight},
        [{"quantile": {"q": 0.01, "of": "output", "method": "inverted_cdf"}}],
        inputs=["x"],
        weight="w",
        bootstrap={"replicates": 60, "seed": 1},
    )
    assert found.document["intervals"]["quantile"]["reason"].startswith("of 50")
