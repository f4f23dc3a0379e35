"""Multiclass metrics against scikit-learn, on real data and on hostile data."""

import functools

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from harness.errors import JobError, ShapeError
from tests.metrics.batches import reason_of, result_of, value_of

CLOSE = {"rel": 1e-12, "abs": 0}


@functools.cache
def classified(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of a classifier trained on the first half of a data set."""
    data = {"digits": load_digits, "wine": load_wine, "iris": load_iris}[name]()
    order = np.random.default_rng(5).permutation(len(data.target))
    train, test = np.array_split(order, 2)
    model = GaussianNB() if name == "digits" else LogisticRegression(C=0.002, max_iter=1000)
    return data.target[test], model.fit(data.data[train], data.target[train]).predict_proba(data.data[test])


def weights_for(labels: np.ndarray) -> np.ndarray:
    """Real weights, some of them 0, some huge and some tiny."""
    rng = np.random.default_rng(7)
    return rng.choice([0.0, 1e-12, 1.0, 1e12], len(labels), p=[0.2, 0.2, 0.5, 0.1]) * rng.random(len(labels))


ORACLES = {
    "accuracy": (sk.accuracy_score, {}),
    "balanced_accuracy": (sk.balanced_accuracy_score, {"adjusted": [False, True]}),
    "cohen_kappa": (sk.cohen_kappa_score, {"weights": [None, "linear", "quadratic"]}),
    "matthews_correlation": (sk.matthews_corrcoef, {}),
    "jaccard": (sk.jaccard_score, {"average": ["micro", "macro", "weighted"]}),
    "precision": (sk.precision_score, {"average": ["micro", "macro", "weighted"]}),
    "recall": (sk.recall_score, {"average": ["micro", "macro", "weighted"]}),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("data", ["digits", "wine", "iris"])
@pytest.mark.parametrize("metric", ORACLES)
def test_against_scikit_learn(metric, data, weighted):
    labels, scores = classified(data)
    oracle, options = ORACLES[metric]
    weights = weights_for(labels) if weighted else None
    found = scores.argmax(axis=1)
    for option, choices in options.items() or [("name", [None])]:
        for choice in choices:
            given = {} if option == "name" else {option: choice}
            more = {"zero_division": 0} if option == "average" else {}
            expected = oracle(labels, found, sample_weight=weights, **given, **more)
            assert value_of(metric, labels, scores, weights, **given, **more) == pytest.approx(expected, **CLOSE), given
            # The same from the predicted classes themselves.
            classes = value_of(metric, labels, found, weights, classes=scores.shape[1], **given, **more)
            assert classes == value_of(metric, labels, scores, weights, **given, **more)


def test_per_class_and_binary():
    labels, scores = classified("wine")
    found = scores.argmax(axis=1)
    expected = sk.jaccard_score(labels, found, average=None)
    assert value_of("jaccard", labels, scores, average=None, names=("a", "b", "c")) == pytest.approx(
        dict(zip("abc", expected, strict=True)), **CLOSE
    )
    first = sk.jaccard_score(labels == 0, found == 0)
    assert value_of("jaccard", labels, scores, average="binary", positive=0) == pytest.approx(first, **CLOSE)


def test_specificity_is_recall_of_the_rest():
    labels, scores = classified("digits")
    found = scores.argmax(axis=1)
    weights = np.random.default_rng(3).random(len(labels))
    each = [sk.recall_score(labels != c, found != c, sample_weight=weights) for c in range(10)]
    per_class = value_of("specificity", labels, scores, weights, average="per_class")
    assert list(per_class.values()) == pytest.approx(each, **CLOSE)
    assert value_of("specificity", labels, scores, weights) == pytest.approx(np.mean(each), **CLOSE)
    support = [weights[labels == c].sum() for c in range(10)]
    by_support = np.average(each, weights=support)
    assert value_of("specificity", labels, scores, weights, average="weighted") == pytest.approx(by_support, **CLOSE)
    one_hot = np.eye(10, dtype=int)
    everything = sk.recall_score(1 - one_hot[labels], 1 - one_hot[found], average="micro")
    assert value_of("specificity", labels, scores, average="micro") == pytest.approx(everything, **CLOSE)


def test_threshold_is_exceeded_not_reached():
    labels = np.array([0, 1, 1, 0])
    score = np.array([0.3, 0.3, 0.7, 0.1], np.float32)
    assert value_of("recall", labels, score, average="binary", threshold=0.3) == 0.5
    assert value_of("specificity", labels, score, average="binary", threshold=0.05) == 0.0
    with pytest.raises(JobError, match="classes: the output is the predicted class"):
        value_of("accuracy", labels, labels, classes=2, threshold=0.5)


@pytest.mark.parametrize("normalize", ["true", "pred", "all", None])
def test_confusion_matrix(normalize):
    labels, scores = classified("digits")
    weights = np.random.default_rng(3).random(len(labels))
    for each in (None, weights):
        table = value_of("confusion_matrix", labels, scores, each, normalize=normalize)
        expected = sk.confusion_matrix(labels, scores.argmax(axis=1), sample_weight=each, normalize=normalize)
        assert table.columns == ("label", *"0123456789")
        assert np.array([row[1:] for row in table.rows]) == pytest.approx(expected, **CLOSE)


def test_confusion_matrix_without_a_label_has_no_share():
    table = value_of("confusion_matrix", [0, 0, 0], np.eye(2)[[0, 0, 1]], normalize=True)  # YAML's true
    assert table.rows == (("0", 2 / 3, 1 / 3), ("1", None, None))


@pytest.mark.parametrize("weights", ["linear", "quadratic", None])
def test_kappa_counts_a_missing_class_in_distances(weights):
    labels, found = [0, 0, 2, 3, 3, 0], [0, 2, 2, 3, 0, 0]  # class 1 is nowhere
    expected = sk.cohen_kappa_score(labels, found, labels=range(4), weights=weights)
    assert value_of("cohen_kappa", labels, found, classes=4, weights=weights) == pytest.approx(expected, **CLOSE)


def test_near_chance_nothing_cancels():
    # 2 x 2 table of n^2, n^2, n^2, n^2 + 1: the determinant is n^2, beside products of n^4.
    n = 10**6
    labels, found = [0, 0, 1, 1], [0, 1, 0, 1]
    weights = [n * n, n * n, n * n, n * n + 1]
    phi = 1 / (2 * (2 * n * n + 1))  # n^2 / sqrt(row0 row1 column0 column1) = n^2 / (2 n^2 (2 n^2 + 1))
    assert value_of("matthews_correlation", labels, found, weights, classes=2) == pytest.approx(phi, **CLOSE)
    kappa = 2 * n * n / (2 * 2 * n * n * (2 * n * n + 1))  # 2 det / (row0 column1 + row1 column0)
    assert value_of("cohen_kappa", labels, found, weights, classes=2) == pytest.approx(kappa, **CLOSE)
    adjusted = 1 / (2 * (2 * n * n + 1))  # 1/2 + (n^2 + 1) / (2 n^2 + 1) - 1
    found = value_of("balanced_accuracy", labels, found, weights, classes=2, adjusted=True)
    assert found == pytest.approx(adjusted, **CLOSE)


def test_reasons():
    one = ([1, 1, 1], [1, 1, 1])
    assert "chance is perfect" in reason_of("cohen_kappa", *one, classes=2)
    assert "chance is perfect" in reason_of("balanced_accuracy", *one, classes=2, adjusted=True)
    assert reason_of("matthews_correlation", *one, classes=3) == "all labels are one class"
    assert reason_of("matthews_correlation", [0, 1], [1, 1], classes=3) == "all predictions are one class"
    assert "the label of every position" in reason_of("specificity", *one, classes=3)
    assert reason_of("balanced_accuracy", [0, 1], [1, 1], [0.0, 0.0], classes=2) == "the total weight is zero"
    assert "class 1 is 0/0: never predicted" in reason_of("precision", [0, 1], [0, 0], classes=3)
    assert value_of("precision", [0, 1], [0, 0], classes=3, zero_division=1) == 0.75
    assert value_of("precision", [0, 1], [0, 0], classes=3, average=None) == {"0": 0.5, "1": None, "2": None}
    assert value_of("balanced_accuracy", [1], [1], classes=2) == 1.0


@pytest.mark.parametrize("metric", [*ORACLES, "specificity", "confusion_matrix"])
def test_integer_weights_are_repeats_and_order_does_not_matter(metric):
    labels, scores = classified("iris")
    times = np.random.default_rng(1).integers(0, 4, len(labels))
    repeated = value_of(metric, np.repeat(labels, times), np.repeat(scores, times, axis=0), batch=7)
    assert value_of(metric, labels, scores, times) == repeated
    back = value_of(metric, labels[::-1], scores[::-1], times[::-1], batch=16)
    assert back == repeated


def test_predicted_classes_are_checked():
    assert reason_of("accuracy", [0, 1, 2], [0, 3, -1], classes=3) == "2 predictions are NaN, infinite or out of range"
    assert reason_of("accuracy", [0, 4, 2], [0, 1, 1], classes=3) == "1 labels are NaN or out of range"
    assert value_of("accuracy", [0, 9, 2], [0, 1, 1], classes=3, ignore_label=9) == 0.5
    with pytest.raises(ShapeError, match="integer output of predicted classes"):
        result_of("accuracy", [0, 1], np.array([0.0, 1.0]), classes=2)
    with pytest.raises(ShapeError, match="say how many there are with classes"):
        result_of("accuracy", np.zeros([2, 4, 4], int), np.zeros([2, 4, 4], int))
