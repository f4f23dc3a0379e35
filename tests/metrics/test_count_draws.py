"""Values of many draws at once, to the bit of those made one by one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from harness.job.specs import MetricSpec
from harness.metrics import METRICS, load, make
from harness.metrics.contract import CountTotals, Metric, Totals, Undefined

CLASSES = ("ant", "bee", "cat", "dog")
AVERAGES = ["macro", "weighted", "micro", "per_class", "binary"]
PER_CLASS = ["precision", "recall", "specificity", "jaccard", "f_beta"]


def confusions(draws: int, examples: int, seed: int) -> np.ndarray:
    """Confusion matrices, int64 [draws, 4, 4], some of whose classes do not occur."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(16, 0.2), draws) if seed else np.full([draws, 16], 1 / 16)
    return np.stack([rng.multinomial(examples, row) for row in weights]).reshape(draws, 4, 4)


def counts_of(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """What the metrics of a predicted class count."""
    far = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    return {
        "hits": np.diagonal(matrices, axis1=1, axis2=2),
        "labelled": matrices.sum(axis=2),
        "predicted": matrices.sum(axis=1),
        "distance": np.stack([(matrices * (far == d)).sum(axis=(1, 2)) for d in range(4)], axis=1),
    }


def one_by_one(metric, counts, positions):
    for draw, number in enumerate(positions):
        sums = {name: count[draw].copy() for name, count in counts.items()}
        try:
            yield metric.value(Totals(sums, positions=int(number), weight=Fraction(int(number)), classes=CLASSES))
        except Undefined:
            yield None


@pytest.mark.parametrize(("examples", "seed"), [(3, 0), (20, 1), (797, 2), (2**31 - 1, 3)])
@pytest.mark.parametrize(
    "spec",
    [
        *(
            MetricSpec(name=name, options={"average": average, "zero_division": zero})
            for name in PER_CLASS
            for average in AVERAGES
            for zero in (None, 0, 1)
        ),
        *(
            MetricSpec(name=name, options={"average": average, "zero_division": zero, "include_background": background})
            for name in ("iou", "dice")
            for average in AVERAGES
            for zero in (None, 1)
            for background in (True, False)
        ),
        *(MetricSpec(name="mean_iou", options={"include_background": background}) for background in (True, False)),
        MetricSpec(name="f_beta", options={"beta": 2.0}),
        *(MetricSpec(name="cohen_kappa", options={"weights": weights}) for weights in (None, "linear", "quadratic")),
        MetricSpec(name="matthews_correlation"),
    ],
    ids=lambda value: f"{value.name}{list(value.options.values())}" if isinstance(value, MetricSpec) else None,
)
def test_many_draws_have_the_bits_of_one(spec, examples, seed):
    (metric,) = make([spec]).values()
    counts = counts_of(confusions(60, examples, seed))
    positions = counts["labelled"].sum(axis=1)
    together = metric.values(CountTotals(counts, positions, CLASSES))
    if together is None:  # too large for 64 bits
        assert examples == 2**31 - 1 and spec.name in (
            "cohen_kappa",
            "dice",
            "f_beta",
            "iou",
            "jaccard",
            "mean_iou",
            "specificity",
        )
        return
    assert together == list(one_by_one(metric, counts, positions))


def test_every_metric_that_values_draws_at_once_is_here():
    """A metric that changes what its value is made of has to change it for many draws too."""
    at_once = {name for name in METRICS if load(name).values is not Metric.values}
    assert at_once == {*PER_CLASS, "iou", "dice", "mean_iou", "cohen_kappa", "matthews_correlation"}


def test_a_beta_that_is_no_whole_number_is_counted_one_by_one():
    (metric,) = make([MetricSpec(name="f_beta", options={"beta": 0.3})]).values()
    counts = counts_of(confusions(3, 20, 1))
    assert metric.values(CountTotals(counts, counts["labelled"].sum(axis=1), CLASSES)) is None
