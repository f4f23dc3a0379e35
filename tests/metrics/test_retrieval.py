"""Retrieval by embeddings: by hand, and against scikit-learn's neighbours."""

from fractions import Fraction
from operator import mul

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from harness.errors import ShapeError
from harness.metrics.contract import Undefined
from harness.metrics.retrieval import RetrievalRecall
from tests.metrics.sums import folded


def value(metric, group, vectors, label, **how):
    columns = {f"e{number:05}": column for number, column in enumerate(np.asarray(vectors, float).T)}
    return metric.value(folded(metric, group, np.zeros(len(group)), {**columns, "label": np.asarray(label)}, **how))


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 3])
def test_against_sklearns_neighbours(similarity, k):
    digits = load_digits()
    vectors, label = digits.data[:600] + np.random.default_rng(1).normal(0, 4, (600, 64)), digits.target[:600]
    group = np.arange(600) % 3
    hits = []
    for number in range(3):
        v, y = vectors[group == number], label[group == number]
        near = NearestNeighbors(n_neighbors=k + 1, metric=similarity, algorithm="brute").fit(v).kneighbors(v)[1]
        hits += [(y[[j for j in line if j != i][:k]] == y[i]).any() for i, line in enumerate(near)]
    assert value(RetrievalRecall(query="q", k=k, similarity=similarity), group, vectors, label, parts=2) == np.mean(hits)
    assert 0.5 < np.mean(hits) < 1


def test_by_hand():
    vectors = [[1, 0], [0, 1], [1, 0.1], [5, 6], [0, 0], [1, 0]]
    label = [1, 2, 1, 2, 3, 2]
    group = [0, 0, 0, 0, 0, 7]
    # By angle the first and the third find each other, the second and the fourth too; the fifth has no other of its
    # label, the sixth is alone in its group.
    metric = RetrievalRecall(query="q", counts=True)
    assert value(metric, group, vectors, label) == {"recall": 1.0, "examples": 4, "left_out": 2}
    assert value(metric, group, vectors, label, parts=2) == {"recall": 1.0, "examples": 4, "left_out": 2}
    # By dot product all others are nearest to the long one, which is of the second's label.
    assert value(RetrievalRecall(similarity="dot"), group, vectors, label) == 2 / 4
    assert value(RetrievalRecall(similarity="dot", k=2), group, vectors, label) == 1.0


def test_equally_near_ones_rank_by_example_id():
    assert value(RetrievalRecall(), [0, 0, 0], [[1, 0]] * 3, [1, 1, 2]) == 1.0
    assert value(RetrievalRecall(), [0, 0, 0], [[1, 0]] * 3, [1, 2, 1]) == 0.5  # the first finds the second; the third the first


def sorted_hits(metric, looking, others, label):
    """All others of each example in the order of their exact nearness, by a stable sort."""
    near = metric._near(looking, others)
    np.fill_diagonal(near, -np.inf)
    first = np.argsort(-near, axis=1, kind="stable")[:, : min(metric.k, len(label) - 1)]
    return (label[first] == label[:, None]).any(axis=1)


random = np.random.default_rng(5)
CLOSE = {
    "far apart": random.normal(size=(60, 24)),
    "whole numbers, many ties": np.round(random.normal(size=(60, 3))),
    "one vector, and an ulp or two": np.ones((60, 24)) * (1 + random.integers(-2, 3, (60, 1)) * 2.0**-52),
    "three points, and rounding": np.repeat(random.normal(size=(3, 24)), 20, axis=0) + random.normal(size=(60, 24)) * 1e-15,
    "squares that underflow": random.normal(size=(60, 24)) * 1e-163,
    "squares that overflow": random.normal(size=(60, 24)) * 1e160 * random.integers(0, 2, (60, 1)),
    "products that overflow": random.choice([-1e308, 0, 1e308], (60, 24)),
    "one alone": np.ones((1, 2)),
}


@pytest.mark.parametrize("similarity", ["dot", "euclidean", "cosine"])
@pytest.mark.parametrize("vectors", CLOSE.values(), ids=CLOSE.keys())
def test_a_matrix_product_does_not_decide_who_is_nearest(vectors, similarity):
    label = np.random.default_rng(6).integers(0, 9, len(vectors))
    for k in (1, 4, 70):
        metric = RetrievalRecall(k=k, similarity=similarity)
        looking, others = metric._comparable(vectors)
        hits = metric._hits(looking, others, label, np.arange(len(label)))
        assert np.array_equal(hits, sorted_hits(metric, looking, others, label))


@pytest.mark.parametrize("similarity", ["dot", "euclidean", "cosine"])
@pytest.mark.parametrize("exponent", [-700, -540, 530, 700])
def test_the_size_of_all_embeddings_changes_nothing(similarity, exponent):
    vectors, label = np.random.default_rng(8).normal(size=(40, 4)), np.arange(40) % 5
    metric = RetrievalRecall(k=3, similarity=similarity)
    assert value(metric, [0] * 40, np.ldexp(vectors, exponent), label) == value(metric, [0] * 40, vectors, label)


def test_small_ones_beside_large_ones_are_compared_exactly_or_not_at_all():
    draws = np.random.default_rng(7)
    vectors = draws.normal(size=(3, 129))[draws.integers(0, 3, 60)]
    vectors[draws.random(60) < 0.5] *= 1e-165
    label, hits = draws.integers(0, 30, 60), 0
    exact = [[Fraction(entry) for entry in vector] for vector in vectors.tolist()]
    able = [number for number in range(60) if (label == label[number]).sum() > 1]
    for number in able:
        products = [sum(map(mul, exact[number], other)) for other in exact]
        first = max((other for other in range(60) if other != number), key=lambda other: (products[other], -other))
        hits += int(label[first] == label[number])
    assert value(RetrievalRecall(similarity="dot"), [0] * 60, vectors, label) == hits / len(able)
    with pytest.raises(Undefined, match="more than 2.400 times as large"):
        value(RetrievalRecall(similarity="euclidean"), [0] * 60, vectors, label)


def test_few_are_compared_one_by_one(monkeypatch):
    compared = []
    near = RetrievalRecall._near

    def counted(metric, some, others):
        compared.append(len(some) * len(others))
        return near(metric, some, others)

    monkeypatch.setattr(RetrievalRecall, "_near", counted)
    vectors, label = np.random.default_rng(7).normal(size=(300, 16)), np.arange(300) % 20
    vectors[1] = vectors[0]
    assert 0 < value(RetrievalRecall(k=2), [0] * 300, vectors, label) < 1
    assert sum(compared) < 900  # of 90,000 pairs


def test_multiplicities_count_those_that_look():
    vectors, label = [[1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 0.05]], [1, 1, 2, 2, 2]
    # the last one does not find its own; looking twice it counts twice, and never finds its copy
    assert value(RetrievalRecall(), [0] * 5, vectors, label, times=[1, 1, 1, 1, 1]) == 2 / 5
    assert value(RetrievalRecall(), [0] * 5, vectors, label, times=[1, 1, 1, 1, 2]) == 2 / 6


def test_no_answer():
    with pytest.raises(Undefined, match="no example has another"):
        value(RetrievalRecall(), [0, 0], [[1, 0], [0, 1]], [1, 2])
    with pytest.raises(Undefined, match="1 embeddings are NaN"):
        value(RetrievalRecall(), [0, 0], [[1, np.nan], [0, 1]], [1, 1])


def test_terms():
    rows = RetrievalRecall(query="q").terms(
        tf.constant(["a", "b"]), tf.constant([[1.0, 2.0], [3.0, 4.0]]), query=tf.constant([7, 8])
    )["rows"]  # fmt: skip
    assert rows.group.numpy().tolist() == [7, 8] and sorted(rows.values) == ["e00000", "e00001", "label"]
    assert rows.values["e00001"].numpy().tolist() == [2.0, 4.0] and len(set(rows.values["label"].numpy())) == 2
    with pytest.raises(ShapeError, match=r"embeddings \[B, D\] of known size, found output float32 \(2,\)"):
        RetrievalRecall().terms(tf.constant([1, 2]), tf.constant([1.0, 2.0]))
    with pytest.raises(ShapeError, match="needs a label"):
        RetrievalRecall().terms(None, tf.constant([[1.0]]))
