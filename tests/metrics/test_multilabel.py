"""Multilabel metrics against scikit-learn, on real data and on hostile data."""

import functools

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

from tests.metrics.batches import reason_of, result_of, value_of

CLOSE = {"rel": 1e-12, "abs": 0}


def traits(digit: np.ndarray) -> np.ndarray:
    """Return what is true of a digit: even, prime, a square, below 5, has a loop."""
    sets = ({0, 2, 4, 6, 8}, {2, 3, 5, 7}, {0, 1, 4, 9}, {0, 1, 2, 3, 4}, {0, 6, 8, 9})
    return np.array([[int(d) in members for members in sets] for d in digit]).astype(int)


@functools.cache
def classified() -> tuple[np.ndarray, np.ndarray]:
    """Traits of digits, and one classifier's score for each."""
    digits = load_digits()
    labels, half = traits(digits.target), len(digits.target) // 2
    scores = [GaussianNB().fit(digits.data[:half], column[:half]).predict_proba(digits.data[half:])[:, 1] for column in labels.T]
    return labels[half:], np.stack(scores, axis=1)


def tied(count: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random labels, some of all 0 and all 1, with scores that are often equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (count, width))
    labels[0], labels[1] = 0, 1
    return labels, rng.integers(0, 4, (count, width)) / 4


ORACLES = {"precision": sk.precision_score, "recall": sk.recall_score, "jaccard": sk.jaccard_score}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "samples", None])
@pytest.mark.parametrize("metric", ORACLES)
def test_averages_against_scikit_learn(metric, average, weighted):
    for labels, scores in (classified(), tied(61, 7, 2)):
        weights = np.random.default_rng(4).random(len(labels)) if weighted else None
        for zero in (0, 1):
            options = {"average": average, "zero_division": zero}
            expected = ORACLES[metric](labels, scores > 0.5, sample_weight=weights, **options)
            found = value_of(f"multilabel_{metric}", labels, scores, weights, **options)
            assert (list(found.values()) if average is None else found) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "samples"])
def test_f_beta(average):
    labels, scores = classified()
    for beta in (0.3, 1.0, 2.0):
        expected = sk.fbeta_score(labels, scores > 0.2, beta=beta, average=average, zero_division=0)
        found = value_of("multilabel_f_beta", labels, scores, beta=beta, average=average, zero_division=0, threshold=0.2)
        assert found == pytest.approx(expected, **CLOSE)


def test_specificity_and_accuracy_by_hand():
    labels, scores = classified()
    found = scores > 0.5
    rest = [sk.recall_score(1 - y, ~p) for y, p in zip(labels.T, found.T, strict=True)]
    assert value_of("multilabel_specificity", labels, scores) == pytest.approx(np.mean(rest), **CLOSE)
    assert list(value_of("multilabel_accuracy", labels, scores, average=None).values()) == pytest.approx(
        (labels == found).mean(axis=0), **CLOSE
    )
    everything = (labels == found).mean()
    for average in ("macro", "micro", "samples"):
        assert value_of("multilabel_accuracy", labels, scores, average=average) == pytest.approx(everything, **CLOSE)


@pytest.mark.parametrize("weighted", [False, True])
def test_whole_examples(weighted):
    oracles = {
        "hamming_loss": (sk.hamming_loss, True),
        "exact_match": (sk.accuracy_score, True),
        "ranking_loss": (sk.label_ranking_loss, False),
        "coverage_error": (sk.coverage_error, False),
        "label_ranking_average_precision": (sk.label_ranking_average_precision_score, False),
    }
    sets = [classified(), tied(40, 2, 3), tied(200, 9, 4), tied(2, 5, 5)]
    for labels, scores in [*sets, (sets[2][0], sets[2][1] * 1e300), (sets[2][0], sets[2][1] * 1e-300)]:
        weights = np.random.default_rng(6).random(len(labels)) * 1e6 if weighted else None
        for metric, (oracle, decided) in oracles.items():
            expected = oracle(labels, scores > 0.5 if decided else scores, sample_weight=weights)
            options = {"raw_scores": True} if decided else {}  # scores of 1e300 are no probabilities, and meant so
            assert value_of(metric, labels, scores, weights, **options) == pytest.approx(expected, rel=1e-12, abs=1e-15), metric


def test_ties_by_hand():
    # Scores 2 1 1 0; the label 1 shares its score with a 0, and ranks last of the two.
    labels, scores = [[0, 1, 0, 0]], [[2.0, 1.0, 1.0, 0.0]]
    assert value_of("coverage_error", labels, scores) == 3
    assert value_of("ranking_loss", labels, scores) == pytest.approx(2 / 3, **CLOSE)
    assert value_of("label_ranking_average_precision", labels, scores) == pytest.approx(1 / 3, **CLOSE)


def test_no_positive_or_all_positive():
    for labels, coverage in (([[0, 0]], 0.0), ([[1, 1]], 2.0)):
        assert value_of("ranking_loss", labels, [[0.1, 0.2]]) == 0.0
        assert value_of("label_ranking_average_precision", labels, [[0.1, 0.2]]) == 1.0
        assert value_of("coverage_error", labels, [[0.1, 0.2]]) == coverage


def test_reasons():
    labels, scores = [[0, 1], [0, 0]], [[0.1, 0.9], [0.2, 0.3]]
    assert "class 0 is 0/0: not among the labels" in reason_of("multilabel_recall", labels, scores)
    assert "some examples are 0/0" in reason_of("multilabel_recall", labels, scores, average="samples")
    assert value_of("multilabel_recall", labels, scores, average=None, names=("cat", "dog")) == {"cat": None, "dog": 1.0}
    assert value_of("multilabel_recall", labels, scores, average="samples", zero_division=1) == 1.0
    assert reason_of("hamming_loss", labels, scores, [0.0, 0.0]) == "the total weight is zero"
    assert reason_of("exact_match", [[0, 2]], [[0.1, 0.9]]) == "1 labels are NaN or out of range"
    assert "1 predictions are NaN" in reason_of("ranking_loss", labels, [[0.1, np.nan], [0.2, 0.3]])


def test_threshold_is_compared_in_the_precision_of_the_output():
    scores = np.array([[0.3, 0.9]], np.float32)
    assert value_of("exact_match", [[0, 1]], scores, threshold=0.3) == 1.0
    assert value_of("hamming_loss", [[1, 1]], np.array([[-1.0, 3.0]]), threshold=0) == 0.5


def test_standard_errors():
    labels, scores = classified()
    wrong = (labels != (scores > 0.5)).mean(axis=1)
    assert result_of("hamming_loss", labels, scores).standard_error == pytest.approx(
        wrong.std(ddof=1) / len(wrong) ** 0.5, **CLOSE
    )
    loss = [sk.label_ranking_loss(y[None], s[None]) for y, s in zip(labels, scores, strict=True)]
    assert result_of("ranking_loss", labels, scores).standard_error == pytest.approx(
        np.std(loss, ddof=1) / len(loss) ** 0.5, **CLOSE
    )


@pytest.mark.parametrize("metric", ["multilabel_f_beta", "hamming_loss", "label_ranking_average_precision", "exact_match"])
def test_integer_weights_are_repeats(metric):
    labels, scores = tied(50, 6, 8)
    times = np.random.default_rng(1).integers(0, 4, len(labels))
    repeated = value_of(metric, np.repeat(labels, times, axis=0), np.repeat(scores, times, axis=0), batch=16)
    assert value_of(metric, labels, scores, times) == repeated
