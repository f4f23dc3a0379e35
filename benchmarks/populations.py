"""Populations whose truth is known: a sample of one gives a metric's value, its replicates, and what else its interval needs.

Multiplicities are those of a run (`harness.exact.limbs.draws`), values those of the metrics. Rankings go the whole way, through the
reduction of rows; elsewhere only the sums over examples are taken here, for all replicates at once, in NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from harness.exact.draws import multiplicities
from harness.job.specs import MetricSpec
from harness.metrics import make
from harness.metrics.contract import CountTotals, Metric, RowMetric, Totals, Undefined, row_sums
from harness.ranks.comm import SingleComm
from harness.results.gap_interval import GapReplicates
from harness.results.interval_choice import Evidence
from harness.sums.row_reduction import reduce_rows
from harness.sums.rows import RowTable

__all__ = [
    "ACCURACY", "CASES", "DOCUMENTS", "NOISE", "POSITIVES", "REPLICATES", "SEPARATION", "Case", "Sample", "auc_values", "confidences",
    "queries", "r2_values", "share_values",
]  # fmt: skip

REPLICATES = 200
ACCURACY = 0.85
SEPARATION = 1.0  # distance of the means of positives and negatives, in standard deviations
POSITIVES = 0.3
NOISE = 0.7  # of a label around its prediction, whose own standard deviation is 1
DOCUMENTS = 10  # of a query
CLUSTER = 20  # examples of a cluster
ALIKE = 0.2  # correlation of two examples of a cluster

Values = list[float | None]


@dataclass(frozen=True)
class Sample:
    """What one simulation gives."""

    value: float | None
    replicates: Values
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True)
class Case:
    """A metric on a population.

    Args:
      metric, data: for people.
      truth: what an interval should cover.
      simulate: returns a sample; called with the number of the simulation and a generator of its own.
      least, most: what coverage is expected at 95 %.
      every: how many simulations of others stand against one of this: some take long.
    """

    metric: str
    data: str
    truth: float
    simulate: Callable[[int, np.random.Generator], Sample]
    least: float = 0.93
    most: float = 1.0
    every: int = 1


def drawn(number: int, examples: int) -> np.ndarray:
    """Return ones and the multiplicities of all replicates, int64 [examples, 1 + R]."""
    times = multiplicities(np.arange(examples), number, REPLICATES)
    return np.concatenate([np.ones((examples, 1), np.int64), times], axis=1)


def share_values(random: np.random.Generator, times: np.ndarray, accuracy: float = ACCURACY) -> Values:
    """Simulate right and wrong answers; return the accuracy of the whole and of each replicate.

    Args:
      random: of this simulation.
      times: int64 [n, 1 + R], ones first.
      accuracy: of the population.
    """
    return [value for value, _ in _accuracies(random.random(len(times)) < accuracy, times)]


def auc_values(random: np.random.Generator, times: np.ndarray) -> Values:
    """Simulate scores of two normal classes; return the area under the ROC curve likewise."""
    positive = random.random(len(times)) < POSITIVES
    score = random.normal(size=len(times)) + SEPARATION * positive
    order = np.argsort(-score)  # no ties: the scores are continuous
    copies, is_positive = times[order], positive[order][:, None]
    p, n = np.where(is_positive, copies, 0), np.where(is_positive, 0, copies)
    above = np.cumsum(p, axis=0)
    # A pair counts twice where the positive scores higher; copies of one example are of one class.
    sums = {"area": 2 * (n * above).sum(axis=0), "positive": p.sum(axis=0), "negative": n.sum(axis=0)}
    return [value for value, _ in _values(_metric("roc_auc"), sums, times.sum(axis=0))]


def r2_values(random: np.random.Generator, times: np.ndarray) -> Values:
    """Simulate predictions, and labels around them; return R2 likewise."""
    predicted = random.normal(size=len(times))
    label = predicted + NOISE * random.normal(size=len(times))
    columns = {"residual": np.square(label - predicted), "label": label, "square": np.square(label)}
    sums = {name: column @ times for name, column in columns.items()}
    return [value for value, _ in _values(_metric("r2"), sums, times.sum(axis=0))]


def _accuracies(right: np.ndarray, times: np.ndarray) -> list[tuple[float | None, Totals]]:
    counts = np.stack([(~right).astype(np.int64) @ times, right.astype(np.int64) @ times])
    return _values(_metric("accuracy"), {"correct": counts}, times.sum(axis=0))


def _metric(name: str, **options: object) -> Metric:
    ((_, metric),) = make([MetricSpec(name=name, options=options)]).items()
    return metric


def _values(metric: Metric, sums: Mapping[str, np.ndarray], positions: np.ndarray) -> list[tuple[float | None, Totals]]:
    """Let a metric make its value of each column of sums; return the totals too."""
    values: list[tuple[float | None, Totals]] = []
    for column, count in enumerate(positions.tolist()):
        exact = {name: _exact(array[..., column]) for name, array in sums.items()}
        totals = Totals(exact, positions=count, weight=Fraction(count))
        try:
            values.append((metric.value(totals), totals))
        except Undefined:
            values.append((None, totals))
    return values


def _exact(sums: np.ndarray) -> np.ndarray:
    """Return sums as `Totals` has them: counts as they are, numbers as fractions."""
    if sums.dtype.kind == "i" and sums.ndim:
        return sums
    return np.array([None, *map(Fraction, sums.ravel().tolist())], object)[1:].reshape(sums.shape)


def _of_values(values: Callable[[np.random.Generator, np.ndarray], Values], examples: int) -> Callable[..., Sample]:
    def simulate(number: int, random: np.random.Generator) -> Sample:
        whole, *replicates = values(random, drawn(number, examples))
        return Sample(whole, replicates)

    return simulate


def _proportion(examples: int, accuracy: float) -> Callable[..., Sample]:
    def simulate(number: int, random: np.random.Generator) -> Sample:
        (whole, totals), *rest = _accuracies(random.random(examples) < accuracy, drawn(number, examples))
        share = totals.proportion(totals.exact("correct")[1])
        return Sample(whole, [value for value, _ in rest], Evidence(share, independent=True))

    return simulate


def _clustered(clusters: int, accuracy: float, *, together: bool) -> Callable[..., Sample]:
    """Simulate examples in clusters, each with an accuracy of its own; draw clusters together, or every example alone."""
    both = accuracy * (1 / ALIKE - 1), (1 - accuracy) * (1 / ALIKE - 1)

    def simulate(number: int, random: np.random.Generator) -> Sample:
        right = (random.random((clusters, CLUSTER)) < random.beta(*both, clusters)[:, None]).ravel()
        times = np.repeat(drawn(number, clusters), CLUSTER, axis=0) if together else drawn(number, clusters * CLUSTER)
        (whole, totals), *rest = _accuracies(right, times)
        share = totals.proportion(totals.exact("correct")[1])
        return Sample(whole, [value for value, _ in rest], Evidence(share, independent=not together))

    return simulate


def queries(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Simulate queries, some easier than others; return label and score of their documents, float64 [count, DOCUMENTS]."""
    label = (random.random((count, DOCUMENTS)) < random.beta(2, 4, (count, 1))).astype(np.float64)
    return label, random.normal(size=label.shape) + random.normal(1.0, 0.5, (count, 1)) * label


def _ranking(count: int, name: str, **options: object) -> Callable[..., Sample]:
    metric = _metric(name, query="query", **options)
    assert isinstance(metric, RowMetric)

    def simulate(number: int, random: np.random.Generator) -> Sample:
        label, score = (column.ravel() for column in queries(random, count))
        ids = np.arange(len(label))
        table = RowTable(-score, {"label": label}, ids, np.zeros((len(ids), 0), np.int64), ids // DOCUMENTS)
        folded = reduce_rows(metric, table, SingleComm(), multiplicities=lambda keys: multiplicities(keys, number, REPLICATES))
        totals = []
        for replicate in range(1 + REPLICATES):
            sums = folded[0, replicate]
            assert not isinstance(sums, str)
            totals.append(Totals(row_sums(sums), positions=len(ids), weight=Fraction(len(ids))))
        share = metric.proportion(totals[0])
        assert not isinstance(share, Mapping)
        whole, *replicates = (metric.value(each) for each in totals)
        return Sample(whole, replicates, Evidence(share, independent=True))

    return simulate


def confidences(random: np.random.Generator, count: int, excess: float) -> tuple[np.ndarray, np.ndarray]:
    """Simulate confidences from 0.3 to 1 that exceed the probability of a hit by up to `excess`, and hits; [count] each."""
    confidence = 0.3 + 0.7 * random.beta(3, 1.2, count)
    return confidence, random.random(count) < confidence - excess * (confidence - 0.3) / 0.7


def _calibration(examples: int, excess: float) -> Callable[..., Sample]:
    metric = _metric("expected_calibration_error", bins=15)

    def simulate(number: int, random: np.random.Generator) -> Sample:
        confidence, hit = confidences(random, examples, excess)
        times = drawn(number, examples)
        own = (np.digitize(confidence, np.linspace(0, 1, 16)[1:-1], right=True)[:, None] == np.arange(15)).astype(np.int64)
        hits, misses = (own * hit[:, None]).T @ times, (own * ~hit[:, None]).T @ times
        sums = {
            "bins": np.stack([misses, hits], axis=1).reshape(30, -1),
            "confidence": (own * confidence[:, None]).T @ times,
        }  # fmt: skip
        (whole, totals), *rest = _values(metric, sums, times.sum(axis=0))
        gaps = metric.gaps(totals)
        each = [metric.gaps(replicate) for _, replicate in rest]
        assert gaps is not None
        table = np.stack([replicate.values for replicate in each if replicate is not None])
        return Sample(whole, [value for value, _ in rest], Evidence(gaps=GapReplicates(gaps.values, table)))

    return simulate


def _normal_auc() -> float:
    """Return P(p > n) of two normal scores."""
    return 0.5 * (1 + math.erf(SEPARATION / 2))


R2 = 1 - NOISE**2 / (1 + NOISE**2)
# Means over ten million queries, with a standard deviation of 0.0001 at most.
NDCG, RECALL_AT_3, HIT_AT_3 = 0.81795, 0.52314, 0.89525
OVERCONFIDENT = 0.1 * 3 / 4.2  # every bin is overconfident: the mean excess, of a beta distribution of mean 3 / (3 + 1.2)

# How often a label (line) is predicted as a class (column). Classes of 70, 22 and 8 %; three that are nearly always right; 8 % positive.
RARE = np.array([[0.62, 0.06, 0.02], [0.07, 0.13, 0.02], [0.02, 0.02, 0.04]])
RIGHT = np.array([[0.32, 0.01, 0.005], [0.01, 0.31, 0.01], [0.005, 0.01, 0.32]])
FEW = np.array([[0.88, 0.04], [0.03, 0.05]])


def _confused(shares: np.ndarray, examples: int, metric: str, **options: object) -> Callable[[int, np.random.Generator], Sample]:
    """Return a simulation of labels and predictions that are drawn from a confusion matrix, [labels, predictions]."""
    (made,) = make([MetricSpec(name=metric, options=options)]).values()
    classes = len(shares)

    def simulate(number: int, random: np.random.Generator) -> Sample:
        label, predicted = np.divmod(random.choice(classes**2, examples, p=(shares / shares.sum()).ravel()), classes)
        times, one_hot = drawn(number, examples), np.eye(classes, dtype=np.int64)
        counts = {
            "labelled": times.T @ one_hot[label],
            "predicted": times.T @ one_hot[predicted],
            "hits": times.T @ (one_hot[label] * (label == predicted)[:, None]),
            "distance": times.T @ one_hot[np.abs(label - predicted)],
        }
        values = made.values(CountTotals(counts, times.sum(axis=0)))
        assert values is not None
        return Sample(values[0], list(values[1:]))

    return simulate


def _macro_f1(shares: np.ndarray) -> float:
    return float(np.mean(2 * np.diagonal(shares) / (shares.sum(axis=0) + shares.sum(axis=1))))


def _quadratic_kappa(shares: np.ndarray) -> float:
    shares = shares / shares.sum()
    distance = np.subtract.outer(np.arange(len(shares)), np.arange(len(shares))) ** 2
    return float(1 - (distance * shares).sum() / (distance * np.outer(shares.sum(axis=1), shares.sum(axis=0))).sum())


def _matthews(shares: np.ndarray) -> float:
    labels, predictions = shares.sum(axis=1), shares.sum(axis=0)
    covariance = np.trace(shares) - labels @ predictions
    return float(covariance / math.sqrt((1 - labels @ labels) * (1 - predictions @ predictions)))


CASES = (
    Case("accuracy", "1,000 examples", ACCURACY, _proportion(1000, ACCURACY), most=0.97),
    Case("roc_auc", "1,000 examples", _normal_auc(), _of_values(auc_values, 1000), most=0.97),
    Case("r2", "1,000 examples", R2, _of_values(r2_values, 1000), most=0.97),
    Case("accuracy", "20 examples", 0.95, _proportion(20, 0.95)),
    Case("accuracy", "50 examples", 0.98, _proportion(50, 0.98)),
    Case("accuracy", "50 examples", 0.7, _proportion(50, 0.7)),
    Case("accuracy", "1,000 examples", 0.999, _proportion(1000, 0.999)),
    Case("roc_auc", "50 examples", _normal_auc(), _of_values(auc_values, 50), least=0.90),
    Case("r2", "50 examples", R2, _of_values(r2_values, 50), least=0.88),
    Case("accuracy", "50 clusters of 20, `cluster:`", 0.8, _clustered(50, 0.8, together=True), least=0.90, every=2),
    Case("accuracy", "50 clusters of 20, without", 0.8, _clustered(50, 0.8, together=False), least=0.0, every=2),
    Case("ndcg", "30 queries", NDCG, _ranking(30, "ndcg", gain="linear"), least=0.90, every=4),
    Case("recall_at_k", "30 queries, k=3", RECALL_AT_3, _ranking(30, "recall_at_k", k=3), least=0.90, every=4),
    Case("recall_at_k", "200 queries, k=3", RECALL_AT_3, _ranking(200, "recall_at_k", k=3), every=4),
    Case("hit_rate", "30 queries, k=3", HIT_AT_3, _ranking(30, "hit_rate", k=3, without_relevant="skip"), every=4),
    Case("expected_calibration_error", "1,000 examples, calibrated", 0.0, _calibration(1000, 0.0), every=4),
    Case("expected_calibration_error", "1,000 examples, overconfident", OVERCONFIDENT, _calibration(1000, 0.1), least=0.90, every=4),
    Case("expected_calibration_error", "200 examples, overconfident", OVERCONFIDENT, _calibration(200, 0.1), least=0.90, every=4),
    Case("f1", "50 examples, classes of 70, 22, 8 %", _macro_f1(RARE), _confused(RARE, 50, "f1"), least=0.85),
    Case("f1", "200 examples, classes of 70, 22, 8 %", _macro_f1(RARE), _confused(RARE, 200, "f1"), least=0.90),
    Case(
        "cohen_kappa, quadratic", "50 examples, nearly all right", _quadratic_kappa(RIGHT),
        _confused(RIGHT, 50, "cohen_kappa", weights="quadratic"), least=0.83,
    ),
    Case(
        "cohen_kappa, quadratic", "200 examples, nearly all right", _quadratic_kappa(RIGHT),
        _confused(RIGHT, 200, "cohen_kappa", weights="quadratic"), least=0.88,
    ),
    Case("mcc", "50 examples, 8 % positive", _matthews(FEW), _confused(FEW, 50, "mcc"), least=0.86),
    Case("mcc", "200 examples, 8 % positive", _matthews(FEW), _confused(FEW, 200, "mcc")),
    Case("accuracy", "50 clusters of 20, `cluster:`", 0.98, _clustered(50, 0.98, together=True), least=0.0, every=2),
)  # fmt: skip
