"""Clusterings against labels: scikit-learn on real data, exact arithmetic near independence."""

import functools
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn import metrics as sk
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris, load_wine

from harness.errors import ShapeError
from harness.metrics.clustering import Contingency
from tests.metrics.batches import reason_of, result_of, value_of

CLOSE = {"rel": 1e-12, "abs": 0}
METRICS = {
    "adjusted_rand": sk.adjusted_rand_score,
    "normalized_mutual_info": sk.normalized_mutual_info_score,
    "homogeneity": sk.homogeneity_score,
    "completeness": sk.completeness_score,
    "v_measure": sk.v_measure_score,
}


@functools.cache
def clustered(name: str, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and how near each example is to each centre."""
    data = {"digits": load_digits, "wine": load_wine, "iris": load_iris}[name]()
    return data.target, -KMeans(clusters, n_init=1, random_state=0).fit(data.data).transform(data.data)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("data", "clusters"), [("digits", 14), ("wine", 2), ("iris", 3), ("iris", 2)])
def test_against_scikit_learn(metric, data, clusters):
    labels, scores = clustered(data, clusters)
    found, classes = scores.argmax(axis=1), int(labels.max()) + 1
    expected = METRICS[metric](labels, found)
    assert value_of(metric, labels, scores, classes=classes) == pytest.approx(expected, **CLOSE)
    assert value_of(metric, labels, found, classes=classes, clusters=clusters + 3) == pytest.approx(expected, **CLOSE)


def test_options():
    labels, scores = clustered("wine", 5)
    found = scores.argmax(axis=1)
    for method in ("arithmetic", "geometric", "min", "max"):
        expected = sk.normalized_mutual_info_score(labels, found, average_method=method)
        given = value_of("normalized_mutual_info", labels, scores, classes=3, average_method=method)
        assert given == pytest.approx(expected, **CLOSE)
    expected = sk.v_measure_score(labels, found, beta=0.25)
    assert value_of("v_measure", labels, scores, classes=3, beta=0.25) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("metric", METRICS)
def test_trivial_partitions_are_as_in_scikit_learn(metric):
    tables = [([0], [0]), ([0, 0, 0], [1, 1, 1]), ([0, 1, 2], [2, 0, 1]), ([0, 0, 1], [1, 1, 1]), ([1, 1, 1], [0, 1, 2]),
              ([0, 0, 1, 1], [0, 1, 0, 1])]  # fmt: skip
    for labels, found in tables:
        expected = METRICS[metric](labels, found)
        given = value_of(metric, labels, found, classes=3, clusters=3)
        assert given == pytest.approx(expected, rel=1e-12, abs=1e-15), (labels, found)


def test_information_near_independence_keeps_its_digits():
    # Counts n + e, n - e, n - e, n + e: I = ((1 + t) ln(1 + t) + (1 - t) ln(1 - t)) / 2, t = e / n = 1e-9.
    n, e = 10**12, 10**3
    table = Contingency(tuple((count, 2 * n, 2 * n) for count in (n + e, n - e, n - e, n + e)), (2 * n,) * 2, (2 * n,) * 2, 4 * n)
    t = Fraction(e, n)
    exact = sum(t ** (2 * k) / (2 * k * (2 * k - 1)) for k in range(1, 4))
    assert table.information() == pytest.approx(float(exact), rel=1e-14, abs=0)


def test_information_is_that_of_scipy():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, (8, 6))
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    cells = tuple((int(counts[i, j]), int(rows[i]), int(columns[j])) for i, j in np.argwhere(counts))
    table = Contingency(cells, tuple(rows.tolist()), tuple(columns.tolist()), int(counts.sum()))
    product = np.outer(rows, columns).ravel() / counts.sum() ** 2
    assert table.information() == pytest.approx(entropy(counts.ravel() / counts.sum(), product), rel=1e-12, abs=0)


def test_one_example_apart():
    # 10^6 examples in one class and cluster, one elsewhere in both: everything agrees.
    labels = np.zeros(10**6 + 1, int)
    labels[-1] = 1
    for metric in METRICS:
        assert value_of(metric, labels, labels, classes=2, clusters=2, batch=10**6 + 1) == pytest.approx(1.0, **CLOSE)


def test_reasons_and_shapes():
    assert reason_of("v_measure", [0, 5], [0, 1], classes=3, clusters=2) == (
        "1 labels or predictions are NaN, infinite or out of range"
    )
    assert "1 labels or predictions" in reason_of("adjusted_rand", [0, 1], [[0.5, np.inf], [0.0, 1.0]])
    with pytest.raises(ShapeError, match="an integer output"):
        result_of("adjusted_rand", [0, 1], [0, 1])
    with pytest.raises(ShapeError, match="of two clusters or more"):
        result_of("adjusted_rand", [0, 1], [[0.2], [0.7]])  # the score of class 1, most likely: names no cluster
    with pytest.raises(ShapeError, match="one integer label"):
        result_of("adjusted_rand", [0.5, 1.0], [[0.5, 0.1], [0.0, 1.0]])
