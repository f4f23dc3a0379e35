"""Data health, language and embedding metrics against NumPy, SciPy and Keras."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.datasets import load_digits

from harness.errors import JobError, ShapeError
from tests.metrics.scored import result, value


def test_counts_of_what_is_wrong():
    x = np.array([[math.nan, 0.0, 1.0], [math.inf, -math.inf, -0.0], [math.nan, math.nan, 2.0]] * 20, np.float32)
    assert value("nan_count", None, x) == 60
    assert value("infinity_count", None, x) == 40
    assert value("zero_count", None, x) == 40
    assert value("zero_count", None, np.array([0, 1, 0, 5])) == 2
    assert value("nan_count", None, np.array([0, 1])) == 0
    assert value("zero_count", None, np.array([True, False])) == 1
    # an example is counted once, whatever it weighs
    assert value("nan_count", None, x, weights=np.full(60, 0.5)) == 60
    with pytest.raises(ShapeError, match="found string"):
        result("nan_count", None, np.array([b"a", b"b"]))


def test_spread_agrees_with_numpy():
    x = np.random.default_rng(1).normal(3, 2, (77, 5))
    w = np.random.default_rng(2).integers(0, 4, 77)
    assert value("variance", None, x) == pytest.approx(x.var(), rel=1e-12)
    assert value("standard_deviation", None, x, ddof=1) == pytest.approx(x.std(ddof=1), rel=1e-12)
    assert value("variance", None, x[:, 0], weights=w.astype(float), ddof=1) == pytest.approx(
        float(np.cov(x[:, 0], fweights=w)), rel=1e-12
    )
    assert result("variance", None, [math.nan, 1.0]).reason == "1 predictions are NaN, infinite or out of range"
    assert result("variance", None, [1.0, 2.0], weights=[0.0, 0.0]).reason == "the total weight is zero"


def test_histogram_agrees_with_numpy():
    x = np.concatenate([np.random.default_rng(1).normal(0, 1, 500), [-2.0, 2.0, 1.2, math.nextafter(2.0, 3.0), -7.0, 0.8]])
    table = value("histogram", None, x, bins=10, low=-2, high=2)
    counts, edges = np.histogram(x, bins=10, range=(-2, 2))
    assert table.columns == ("low", "high", "weight")
    assert [row[2] for row in table.rows] == [int((x < -2).sum()), *counts.tolist(), int((x > 2).sum())]
    assert [row[0] for row in table.rows] == [None, *edges.tolist()]
    assert [row[1] for row in table.rows] == [*edges.tolist(), None]


def test_histogram_needs_a_range():
    with pytest.raises(JobError, match="expected low < high"):
        result("histogram", None, [1.0], low=1, high=1)
    with pytest.raises(JobError, match="room for 10 bins"):
        result("histogram", None, [1.0], low=1, high=math.nextafter(1.0, 2.0))


@pytest.fixture(scope="module")
def tokens() -> tuple[np.ndarray, np.ndarray]:
    """Labels [60, 7], -1 where there is none, and logits [60, 7, 11]."""
    rng = np.random.default_rng(9)
    labels = rng.integers(0, 11, (60, 7))
    labels[rng.random((60, 7)) < 0.3] = -1
    return labels, rng.normal(0, 3, (60, 7, 11))


def _loss(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Loss of each token, 0 where there is none."""
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    own = np.take_along_axis(logs, np.maximum(labels, 0)[..., None], axis=-1)[..., 0]
    return np.where(labels >= 0, -own, 0)


def test_perplexity(tokens):
    labels, logits = tokens
    oracle = math.exp(_loss(labels, logits).sum() / (labels >= 0).sum())
    assert value("perplexity", labels, logits, from_logits=True, ignore_label=-1) == pytest.approx(oracle, rel=1e-12)
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    assert value("perplexity", labels, shares, ignore_label=-1) == pytest.approx(oracle, rel=1e-12)
    assert value("perplexity", [0, 3], np.full((2, 8), 0.125)) == pytest.approx(8.0, rel=1e-15)
    assert result("perplexity", [0], [[0.0, 1000.0]], from_logits=True).reason == "exp(1000) is beyond the largest float64"


@pytest.mark.parametrize("per_token", [False, True])
def test_bits_per_byte(tokens, per_token):
    labels, logits = tokens
    rng = np.random.default_rng(10)
    size = rng.integers(1, 9, (60, 7) if per_token else 60)
    counted = size[labels >= 0] if per_token else size
    oracle = _loss(labels, logits).sum() / math.log(2) / counted.sum()
    more = {"features": {"length": size}, "bytes": "length", "ignore_label": -1}
    assert value("bits_per_byte", labels, logits, from_logits=True, **more) == pytest.approx(oracle, rel=1e-12)
    w = rng.uniform(0, 2, 60)
    rows = (size * (labels >= 0)).sum(axis=1) if per_token else size
    weighted = (w * _loss(labels, logits).sum(axis=1)).sum() / math.log(2) / (w * rows).sum()
    assert value("bits_per_byte", labels, logits, from_logits=True, weights=w, **more) == pytest.approx(weighted, rel=1e-12)


def test_bits_per_byte_has_reasons():
    scores, features = np.full((2, 3, 4), 0.25), {"n": np.array([0, 0])}
    labels = np.zeros((2, 3), np.int64)
    assert result("bits_per_byte", labels, scores, features=features, bytes="n").reason.startswith("there are no bytes")
    for lengths in ([5, -1], [-5, 9]):
        found = result("bits_per_byte", labels, scores, features={"n": np.array(lengths)}, bytes="n")
        assert found.value is None and found.reason == "'n' is negative in some examples: expected how many bytes there are"
    by_token = {"n": np.array([[5, 5, -1], [1, 1, 1]])}
    assert "is negative" in result("bits_per_byte", labels, scores, features=by_token, bytes="n").reason
    labels[0, 2] = -1  # is left out, and its bytes with it
    assert result("bits_per_byte", labels, scores, features=by_token, bytes="n", ignore_label=-1).reason is None
    labels[0] = [4, 0, 0]
    assert result("bits_per_byte", labels, scores, features=features, bytes="n").reason.startswith("1 terms are NaN")
    with pytest.raises(ShapeError, match="expected integer labels"):
        result("bits_per_byte", labels[:, :2], scores, features=features, bytes="n")
    with pytest.raises(JobError, match="bytes: Field required"):
        result("bits_per_byte", labels, scores)


def test_cosine_similarity():
    rng = np.random.default_rng(12)
    y, p = rng.normal(0, 1, (2, 70, 16))
    w = rng.uniform(0, 2, 70)
    cosine = (y * p).sum(axis=1) / np.linalg.norm(y, axis=1) / np.linalg.norm(p, axis=1)
    assert value("cosine_similarity", y, p) == pytest.approx(cosine.mean(), rel=1e-12)
    assert value("cosine_similarity", y, p, weights=w) == pytest.approx(np.average(cosine, weights=w), rel=1e-12)
    oracle = keras.metrics.CosineSimilarity(axis=-1)
    oracle.update_state(y, p)
    assert value("cosine_similarity", y, p) == pytest.approx(float(oracle.result()), rel=1e-5)
    assert value("cosine_similarity", y.reshape(10, 7, 16), p.reshape(10, 7, 16)) == pytest.approx(cosine.mean(), rel=1e-12)


def test_cosine_similarity_at_the_ends():
    assert value("cosine_similarity", [[1e300, 1e300]], [[1e-300, 1e-300]]) == pytest.approx(1.0, rel=1e-15)
    assert value("cosine_similarity", [[3.0, 4.0]], [[-3.0, -4.0]]) == -1.0
    assert result("cosine_similarity", [[0.0, 0.0], [1.0, 0.0]], [[1.0, 0.0]] * 2).reason.startswith("1 terms are NaN")
    with pytest.raises(ShapeError, match="one shape"):
        result("cosine_similarity", [1.0], [[1.0]])


def _frechet(a: np.ndarray, b: np.ndarray) -> float:
    """As pytorch-fid computes it."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(first @ second))
    return float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(first + second - 2 * root))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 1e6])
def test_frechet_distance(tmp_path, dtype, offset):
    x = load_digits().data @ np.random.default_rng(8).integers(-2, 3, (64, 12))
    found, reference = x[:800] + 0.5, x[800:1600]
    oracle = _frechet(found, reference)
    shifted, other = (found + offset).astype(dtype), (reference + offset).astype(dtype)
    # 1e-9: the oracle takes the square root of a product that is not symmetric
    assert value("fid", other, shifted) == pytest.approx(oracle, rel=1e-9)
    np.savez(tmp_path / "reference.npz", mu=other.astype(np.float64).mean(axis=0), sigma=np.cov(reference, rowvar=False))
    assert value("fid", None, shifted, reference=str(tmp_path / "reference.npz")) == pytest.approx(oracle, rel=1e-9)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """By the singular values of the centred features: exact where there are fewer examples than features."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    first, second = ((x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (a, b))
    cross = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + (first**2).sum() + (second**2).sum() - 2 * cross)


@pytest.mark.parametrize("examples, features", [(300, 512), (700, 300)])  # fewer examples than features, and more
def test_frechet_distance_of_many_features(examples, features):
    random = np.random.default_rng(9)
    mixed = random.normal(size=(40, features)) / 6
    found, reference = (
        np.maximum(random.normal(size=(examples, 40)) @ mixed + shift, 0).astype(np.float32) for shift in (0.4, 0.5)
    )
    oracle = _distance(found, reference)
    bound = 2 * np.sqrt(features * examples / (examples - 1)) * 64 * 2.0**-23  # both sets are rounded
    got = value("fid", reference, found)
    assert got**0.5 == pytest.approx(oracle**0.5, abs=bound)
    assert got == pytest.approx(oracle, rel=1e-6)
    on_grid = (np.round(x * 2.0**16) / 2.0**16 for x in (found.astype(np.float64), reference.astype(np.float64)))
    assert got == pytest.approx(_distance(*on_grid), rel=1e-10)  # from there on nothing is lost


def test_the_products_of_inceptions_features_are_exact():
    """2,048 features through the real terms and sums; the state has one matrix, not eleven int64 a product."""
    import tensorflow as tf

    from harness.job.specs import MetricSpec
    from harness.metrics import make
    from harness.metrics.contract import GramSums
    from harness.step.terms import Terms

    metrics = make([MetricSpec(name="fid")])
    terms = Terms(metrics, {"fid": metrics["fid"].binding("output", "label", None)})
    random = np.random.default_rng(11)
    found, reference = random.exponential(size=(2, 640, 2048)).astype(np.float32)  # more rows than one exact product
    given = terms({"label": tf.constant(reference)}, {"output": tf.constant(found)}, tf.range(640) < 600)
    state = given.sums().numpy()
    assert given.layout.size == len(state) < 2 * 2049 * 2050 + 20
    sums = GramSums.of(given.layout.carry(state)[-2049 * 2050 - 1 :])
    assert (sums.examples, sums.features, sums.refused) == (600, 2048, 0)
    whole = np.rint(reference[:600].astype(np.float64) * 2**16).astype(np.int64)
    for number in (0, 1, 1024, 2047):
        expected = [*(whole[:, number] @ whole[:, number:]).tolist(), int(whole[:, number].sum())]
        assert sums.row(number).tolist() == expected


def test_the_matrix_of_products_is_exact():
    """In integers, over many batches and carries: mean and covariance of what was rounded."""
    from harness.metrics.contract import GramSums
    from harness.sums.layout import Crossed, Layout

    random = np.random.default_rng(10)
    x = random.integers(-(2**22) + 1, 2**22, (5000, 4))
    whole = np.concatenate([x, np.ones((5000, 1), np.int64)], axis=1).astype(object)
    rows, columns = np.triu_indices(5)
    products = whole.T @ whole
    layout = Layout((), (), (), (Crossed(("it", "found"), 4),))
    state = np.zeros(layout.size, np.int64)
    for _ in range(3):
        state[:-1] += (
            np.array([[p & 0xFFFFFFFF for p in products[rows, columns]], [p >> 32 for p in products[rows, columns]]])
            .astype(np.int64)
            .ravel()
        )
        state[0] += 1 << 60  # as of 2^28 blocks
        state[15] -= 1 << 28
        state = layout.carry(state)
    assert ((state[:15] >= 0) & (state[:15] < 1 << 32)).all()
    sums = GramSums.of(state)
    assert (sums.examples, sums.features, sums.refused) == (15000, 4, 0)
    for number in range(4):
        assert sums.row(number).tolist() == (3 * products[number, number:]).tolist()


def test_frechet_distance_counts_what_it_cannot_round():
    features = np.ones((300, 260), np.float32)
    features[7, 3], features[9, 0], features[299, 259] = np.nan, 64.0, -np.inf
    reason = "3 examples of found have a feature that is NaN, infinite or not below 64; set largest"
    assert result("fid", np.random.default_rng(0).random((300, 260), np.float32), features).reason == reason
    fits = np.random.default_rng(0).random((300, 3)) * 100
    assert value("fid", fits + 1, fits, largest=128) == pytest.approx(3, rel=1e-6)


def test_frechet_distance_refuses(tmp_path):
    assert value("fid", np.eye(3), np.eye(3)) == pytest.approx(0, abs=1e-12)
    assert result("fid", np.ones((1, 2)), np.ones((1, 2))).reason == "a covariance needs at least two examples"
    with pytest.raises(JobError, match="largest: expected a power of two"):
        result("fid", np.eye(3), np.eye(3), largest=10)
    with pytest.raises(ShapeError, match="reference features as the label"):
        result("fid", None, np.zeros((2, 4)))
    with pytest.raises(JobError, match=r"expected an \.npz file with mu and sigma"):
        result("fid", None, np.zeros((2, 4)), reference=str(tmp_path / "nothing.npz"))
    np.savez(tmp_path / "small.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(JobError, match=r"expected mu \[4\]"):
        result("fid", None, np.zeros((2, 4)), reference=str(tmp_path / "small.npz"))
