"""Ranking metrics: against scikit-learn group by group, or by hand; exact for any number of parts."""

from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from harness.errors import JobError, ShapeError
from harness.job.specs import MetricSpec
from harness.metrics import make
from harness.metrics.contract import Undefined
from harness.metrics.groups import group_key
from harness.metrics.ranking import (
    GroupedAuc,
    HitRate,
    MeanAveragePrecision,
    MeanReciprocalRank,
    Ndcg,
    PrecisionAtK,
    RecallAtK,
)
from tests.metrics.sums import folded


def value(metric, group, score, label, **how):
    return metric.value(folded(metric, group, -np.asarray(score, float), {"label": np.asarray(label, float)}, **how))


def drawn(seed, rows=4000, groups=300, levels=5, scores=50):
    """Groups of uneven size, spread over the data; a few levels of relevance; many equal scores where `scores` is small."""
    draw = np.random.default_rng(seed)
    group = np.minimum(draw.geometric(1 / 60, rows), groups) * 7919 - 10**6
    label = np.maximum(draw.integers(-levels, levels, rows), 0)
    score = draw.integers(0, scores, rows) / scores if scores else draw.normal(size=rows)
    return group, score, label


def by_group(group, score, label):
    for number in np.unique(group):
        yield score[group == number], label[group == number]


# Two groups by hand. Group 1, by score: relevant at ranks 2 and 4 of 4. Group 2: at rank 1 of 2. Group 3: none, of 1.
GROUP = [1, 2, 1, 3, 1, 2, 1]
SCORE = [0.9, 0.1, 0.8, 0.5, 0.3, 0.7, 0.2]
LABEL = [0, 0, 1, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (MeanReciprocalRank(query="q"), Fraction(3, 2) / 3),
        (MeanReciprocalRank(query="q", k=1), Fraction(1, 3)),
        (MeanReciprocalRank(query="q", without_relevant="skip"), Fraction(3, 4)),
        (MeanAveragePrecision(query="q"), Fraction(3, 4)),  # (1/2 + 2/4) / 2 and 1
        (MeanAveragePrecision(query="q", k=2), Fraction(5, 8)),  # 1/2 / 2 and 1
        (MeanAveragePrecision(query="q", k=1), Fraction(1, 2)),
        (MeanAveragePrecision(query="q", k=2, divisor="reachable"), Fraction(5, 8)),
        (MeanAveragePrecision(query="q", k=3, without_relevant=1), Fraction(9, 12)),
        (PrecisionAtK(query="q", k=2), Fraction(1, 3)),  # 1/2, 1/2, 0
        (PrecisionAtK(query="q", k=4), Fraction(1, 4)),  # 2/4, 1/4 although the group has two rows, 0
        (RecallAtK(query="q", k=2), Fraction(3, 4)),
        (RecallAtK(query="q", k=2, without_relevant=0), Fraction(1, 2)),
        (HitRate(query="q", k=1), Fraction(1, 3)),
        (HitRate(query="q", k=2), Fraction(2, 3)),
        (HitRate(query="q", k=2, without_relevant="skip"), Fraction(1)),
        (GroupedAuc(query="q"), Fraction(5, 8)),  # 1 of 4 pairs, 1 of 1
        (GroupedAuc(query="q", weighting="pairs"), Fraction(2, 5)),
        (GroupedAuc(query="q", weighting="examples"), Fraction(3, 6)),
        (GroupedAuc(query="q", weighting="positives"), Fraction(3, 6)),
    ],
)
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_by_hand(metric, expected, parts):
    assert value(metric, GROUP, SCORE, LABEL, parts=parts) == float(expected)


def test_counts_tell_the_groups_left_out():
    assert value(GroupedAuc(query="q", counts=True), GROUP, SCORE, LABEL) == {"mean": 0.625, "groups": 2, "left_out": 1}
    assert value(RecallAtK(query="q", k=2, counts=True), GROUP, SCORE, LABEL) == {"mean": 0.75, "groups": 2, "left_out": 1}
    assert value(HitRate(query="q", k=2, counts=True), GROUP, SCORE, LABEL)["left_out"] == 0


@pytest.mark.parametrize("k", [None, 1, 3, 10, 1000])
@pytest.mark.parametrize("scores", [0, 4])
def test_ndcg_is_sklearns(k, scores):
    group, score, label = drawn(1, scores=scores)
    expected = np.mean([ndcg_score([y], [s], k=k) if len(y) > 1 else float(y.any()) for s, y in by_group(group, score, label)])
    metric = Ndcg(query="q", k=k, gain="linear", ties="average", without_relevant=0)
    assert value(metric, group, score, label, parts=3) == pytest.approx(expected, rel=1e-13)


def test_ndcg_with_exponential_gain():
    # labels 3, 2 at ranks 2 and 1: (3 + 7 / log2(3)) / (7 + 3 / log2(3))
    expected = (3 + 7 / np.log2(3)) / (7 + 3 / np.log2(3))
    assert value(Ndcg(query="q"), [4, 4], [0.1, 0.2], [3, 2]) == pytest.approx(expected, rel=1e-15)
    assert value(Ndcg(query="q", k=1), [4, 4], [0.1, 0.2], [3, 2]) == 3 / 7


def test_ties_go_by_example_id_or_by_average():
    assert value(MeanReciprocalRank(query="q"), [1, 1, 1], [0.5, 0.5, 0.5], [0, 1, 0]) == 0.5
    assert value(Ndcg(query="q"), [1, 1], [0.5, 0.5], [1, 0]) == 1.0
    assert value(Ndcg(query="q"), [1, 1], [0.5, 0.5], [0, 1]) == 1 / np.log2(3)
    for label in ([1, 0], [0, 1]):
        assert value(Ndcg(query="q", ties="average"), [1, 1], [0.5, 0.5], label) == (1 + 1 / np.log2(3)) / 2


def test_average_precision_is_sklearns_without_ties():
    group, score, label = drawn(2, scores=0)
    found = [average_precision_score(y > 0, s) for s, y in by_group(group, score, label) if (y > 0).any()]
    assert value(MeanAveragePrecision(query="q"), group, score, label, parts=2) == pytest.approx(np.mean(found), rel=1e-13)


@pytest.mark.parametrize("weighting", ["groups", "examples", "positives", "pairs"])
def test_grouped_auc_is_sklearns(weighting):
    group, score, label = drawn(3, scores=6)
    areas, weights = [], []
    for s, y in by_group(group, score, label > 0):
        if y.any() and not y.all():
            areas.append(roc_auc_score(y, s))
            weights.append({"groups": 1, "examples": len(y), "positives": y.sum(), "pairs": y.sum() * (~y).sum()}[weighting])
    expected = np.average(areas, weights=weights)
    assert value(GroupedAuc(query="q", weighting=weighting), group, score, label) == pytest.approx(expected, rel=1e-13)


ALL = [
    Ndcg(query="q"),
    Ndcg(query="q", k=4, ties="average", gain="linear"),
    MeanReciprocalRank(query="q"),
    MeanAveragePrecision(query="q", k=7),
    PrecisionAtK(query="q", k=3),
    RecallAtK(query="q", k=3),
    HitRate(query="q", k=1),
    GroupedAuc(query="q"),
    GroupedAuc(query="q", weighting="examples"),
]


@pytest.mark.parametrize("metric", ALL, ids=lambda m: type(m).__name__)
def test_totals_are_the_same_for_any_parts_and_any_order_of_examples(metric):
    group, score, label = drawn(4, scores=0)
    shuffled = np.random.default_rng(5).permutation(len(group))

    def totals(order, parts):
        found = folded(metric, group[order], -score[order], {"label": label[order].astype(float)}, parts=parts)
        return {name: found.exact(name) for name in found}

    once = totals(slice(None), 1)
    assert once["score"] > 0
    for parts in (2, 3, 7, 1000):  # with more parts than groups some are empty
        assert totals(slice(None), parts) == once
    assert totals(shuffled, 3) == once


@pytest.mark.parametrize("metric", ALL, ids=lambda m: type(m).__name__)
def test_a_group_drawn_three_times_is_three_such_groups(metric):
    group, score, label = drawn(6, rows=500, scores=9)
    names, at = np.unique(group, return_inverse=True)
    times = np.random.default_rng(7).poisson(1.0, len(names))[at]
    copies = [(group[times > c] + 10**7 * c, score[times > c], label[times > c]) for c in range(times.max())]
    repeated = value(metric, *(np.concatenate(columns) for columns in zip(*copies, strict=True)))
    assert value(metric, group, score, label, times=times, parts=2) == repeated


@pytest.mark.parametrize("metric", ALL, ids=lambda m: type(m).__name__)
def test_a_group_of_weight_three_is_three_such_groups(metric):
    group, score, label = drawn(9, rows=600, scores=9)
    names, at = np.unique(group, return_inverse=True)
    times = np.random.default_rng(10).integers(1, 4, len(names))[at]
    weighted = value(metric, group, score, label, weight=times, parts=2)
    copies = [(group[times > copy] + 10**7 * copy, score[times > copy], label[times > copy]) for copy in range(3)]
    assert weighted == value(metric, *(np.concatenate(columns) for columns in zip(*copies, strict=True)))
    assert value(metric, group, score, label, weight=np.full(len(group), 2**52)) == value(metric, group, score, label)


def test_weights_are_those_of_sklearns_ndcg():
    draw = np.random.default_rng(11)
    group, score, label = np.repeat(np.arange(40), 6), draw.normal(size=240), draw.integers(0, 4, 240)
    weight = draw.integers(1, 1 << 50, 40)
    expected = ndcg_score(label.reshape(40, 6), score.reshape(40, 6), k=3, sample_weight=weight)
    metric = Ndcg(query="q", k=3, gain="linear", ties="average", without_relevant=0)
    assert value(metric, group, score, label, weight=np.repeat(weight, 6), parts=3) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("metric", ALL, ids=lambda m: type(m).__name__)
def test_a_group_of_two_weights_has_none(metric):
    with pytest.raises(Undefined, match="1 groups have examples of different weights"):
        value(metric, GROUP, SCORE, LABEL, weight=[1, 2, 1, 3, 1, 2, 5], parts=2)


@pytest.mark.parametrize("metric", ALL, ids=lambda m: type(m).__name__)
def test_nothing_to_average_is_undefined(metric):
    metric = metric if isinstance(metric, GroupedAuc) else metric.model_copy(update={"without_relevant": "skip"})
    with pytest.raises(Undefined, match="no group has"):
        value(metric, [], [], [])
    with pytest.raises(Undefined, match="no group has"):
        value(metric, [1, 2, 2], [0.5, 0.5, 0.1], [0, 0, 0])


def test_all_of_one_class_has_no_area():
    with pytest.raises(Undefined, match="both classes"):
        value(GroupedAuc(query="q"), [1, 2, 2], [0.5, 0.5, 0.1], [1, 0, 0])
    assert value(GroupedAuc(query="q"), [1, 2, 2], [0.5, 0.5, 0.5], [1, 0, 1]) == 0.5


def test_a_negative_gain_is_refused_not_summed():
    with pytest.raises(Undefined, match="1 labels are negative"):
        value(Ndcg(query="q"), [1, 1], [0.5, 0.4], [-1, 2])
    with pytest.raises(Undefined, match="2 labels are negative or too large"):
        value(Ndcg(query="q"), [1, 1], [0.5, 0.4], [65, 1e300])


def test_a_million_rows():
    draw = np.random.default_rng(8)
    group, score, label = draw.integers(0, 200_000, 10**6), draw.normal(size=10**6), draw.integers(0, 3, 10**6).astype(float)
    for metric in (Ndcg(query="q", ties="average"), GroupedAuc(query="q"), MeanAveragePrecision(query="q")):
        assert 0.4 < value(metric, group, score, label) < 0.95


def test_terms_group_by_integers_and_by_hashed_strings():
    labels, scores = tf.constant([1.0, 0.0, 2.0]), tf.constant([0.5, 0.25, -1.0])
    rows = Ndcg(query="q").terms(labels, scores, query=tf.constant([[3], [-4], [3]]))["rows"]
    assert rows.key.numpy().tolist() == [-0.5, -0.25, 1.0] and rows.group.numpy().tolist() == [3, -4, 3]
    rows = Ndcg(query="q").terms(labels, scores, query=tf.constant(["a", "ü", "a"]))["rows"]
    group = rows.group.numpy()
    assert group[0] == group[2] != group[1] and group.dtype == np.int64 and (group >= 0).all()
    assert Ndcg(query="q").binding("output", "label", "weight").also == (("query", "q"),)
    with pytest.raises(ShapeError, match="string or an integer, found float32"):
        group_key("query 'q'", labels, 3)
    with pytest.raises(ShapeError, match=r"expected one value per position, \[3\], found int32 \(3, 2\)"):
        group_key("query 'q'", tf.zeros([3, 2], tf.int32), 3)


def test_options_are_checked_when_the_job_is_read():
    with pytest.raises(JobError, match="query: Field required"):
        make([MetricSpec(name="ndcg")])
    with pytest.raises(JobError, match="without_relevant"):
        make([MetricSpec(name="recall_at_k", options={"query": "q", "without_relevant": 2})])
