"""Metrics of a clustering against labels, from their contingency table. TensorFlow is imported where the graph is built.

What the clusters are called does not matter, and there may be more or fewer of them than classes. The definitions are of
counts of examples: none is cited for real weights, so none is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.errors import ShapeError
from harness.metrics.contract import Count, Inputs, Metric, Term, Totals, Undefined, ratio

__all__ = [
    "AdjustedRand", "Completeness", "Contingency", "Homogeneity", "NormalizedMutualInfo", "VMeasure",
]  # fmt: skip


@dataclass(frozen=True)
class Contingency:
    """How many examples each class and cluster share: `cells` holds (count, of the class, of the cluster) where count > 0."""

    cells: tuple[tuple[int, int, int], ...]
    classes: tuple[int, ...]
    clusters: tuple[int, ...]
    total: int

    def information(self) -> float:
        """Return the mutual information of classes and clusters, in nats; exactly 0 where they are independent.

        With p = count/n, q = class cluster/n^2 and d = (p - q)/q, it is the sum of q ((1 + d) ln(1 + d) - d): the terms -d q
        add up to nothing, and make every term positive, so that near independence nothing cancels.
        """
        square = self.total**2
        terms, filled = [], 0
        for count, row, column in self.cells:
            expected = row * column
            filled += expected
            terms.append(expected / square * _bregman((count * self.total - expected) / expected))
        # An empty cell has d = -1, whose term is q.
        return math.fsum([*terms, (square - filled) / square])


def _bregman(d: float) -> float:
    """Return (1 + d) ln(1 + d) - d, for d > -1, without loss near 0.

    >>> _bregman(1e-9)
    4.999999998333333e-19
    """
    if abs(d) > 0.05:
        return (1 + d) * math.log1p(d) - d
    # The series d^2/2 - d^3/6 + ... = sum over k > 1 of (-d)^k / (k (k - 1)); 0.05^14 is below the last bit.
    return math.fsum((-d) ** k / (k * (k - 1)) for k in range(2, 16))


def _entropy(counts: tuple[int, ...], total: int) -> float:
    """Return the entropy of a partition, in nats."""
    # ln p as log1p of its distance from 1 where p is large, so that one class of nearly all examples keeps its digits.
    logs = [math.log(n / total) if 2 * n < total else math.log1p((n - total) / total) for n in counts]
    return -math.fsum(n / total * log for n, log in zip(counts, logs, strict=True))


class _Clustering(Metric):
    """Base of metrics of a label against a cluster, in [0, classes) and [0, clusters).

    An output of scores [B, K] names the cluster with the highest score, and `clusters` is not needed; an integer output [B] is
    the cluster itself. Without `classes` there are as many classes as clusters.
    """

    inputs: ClassVar[Inputs] = Inputs.RAW
    takes_weights: ClassVar[bool] = False

    classes: int | None = Field(None, ge=1, description="how many classes the labels have; null: as many as clusters")
    clusters: int | None = Field(None, ge=1, description="how many clusters, where the output is the cluster itself")

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Count the pairs of label and cluster, and what is neither.

        Raises: ShapeError: labels and outputs are no classes and clusters.
        """
        import tensorflow as tf

        from harness.exact.tf_subnormals import highest

        if labels is None:
            raise ShapeError("needs a label; set data.label, or label: of the metric")
        if len(labels.shape) == 2 and labels.shape[-1] == 1:
            labels = tf.squeeze(labels, -1)
        if len(predictions.shape) == 2 and predictions.shape[-1] == 1:
            predictions = tf.squeeze(predictions, -1)
        if len(labels.shape) != 1 or not labels.dtype.is_integer:
            raise ShapeError(f"expected one integer label an example, found {labels.dtype.name} {labels.shape}")
        good = tf.ones_like(labels, tf.bool)
        if len(predictions.shape) == 2 and predictions.dtype.is_floating:
            size = int(predictions.shape[-1])
            good = tf.reduce_all(tf.math.is_finite(predictions), axis=1)
            cluster = tf.cast(highest(predictions), tf.int64)
        elif len(predictions.shape) == 1 and predictions.dtype.is_integer and self.clusters:
            size = self.clusters
            cluster = tf.cast(predictions, tf.int64)
        else:
            raise ShapeError(
                "expected scores [B, K] of two clusters or more, or an integer output [B] with clusters: K, found "
                f"{predictions.dtype.name} {predictions.shape}"
            )
        label = tf.cast(labels, tf.int64)
        good &= (label >= 0) & (label < (self.classes or size)) & (cluster >= 0) & (cluster < size)
        pair = tf.where(good, label * size + cluster, -1)
        if (self.classes or size) * size >= 2**31:
            raise ShapeError(f"{self.classes or size} classes and {size} clusters make more pairs than can be counted")
        return {
            "pairs": Count(tf.cast(pair, tf.int32), (self.classes or size) * size),
            "invalid": Count(tf.where(good, -1, 0), 1),
        }

    def contingency(self, totals: Totals) -> Contingency:
        """Return the table.

        Raises: Undefined: there are no examples, or some are neither in a class nor in a cluster.
        """
        if invalid := int(totals["invalid"][0]):
            raise Undefined(f"{invalid} labels or predictions are NaN, infinite or out of range")
        pairs = totals["pairs"]
        table = pairs.reshape(self.classes or math.isqrt(len(pairs)), -1)
        rows, columns = table.sum(axis=1).tolist(), table.sum(axis=0).tolist()
        if not any(rows):
            raise Undefined("there are no examples")
        cells = tuple((int(table[i, j]), rows[i], columns[j]) for i, j in np.argwhere(table).tolist())
        return Contingency(cells, tuple(n for n in rows if n), tuple(n for n in columns if n), sum(rows))


# By chance alone clusters hold some information on classes: (classes - 1) (clusters - 1) / (2 n) nats of it, and a replicate as
# much again. No replicate reaches down to the independence that may be the truth.
BIASED = (
    "chance makes the information that is seen larger than the true one, and a replicate's larger still: near independence the "
    "bootstrap does not hold; adjusted_rand has an interval"
)


class AdjustedRand(_Clustering):
    """Share of pairs of examples on which classes and clusters agree, chance taken to 0 (L. Hubert, P. Arabie, 1985).

    1 where the two partitions are the same, also where both are trivial (one example, or all in one), as in scikit-learn.
    """

    summary: ClassVar[str] = "(pairs together in both - expected) / (mean of pairs together in either - expected)"
    source: ClassVar[str] = "sklearn.metrics.adjusted_rand_score"

    def value(self, totals: Totals) -> float:
        """Return the adjusted index, in integers."""
        table = self.contingency(totals)
        both = sum(math.comb(count, 2) for count, _, _ in table.cells)
        classes = sum(math.comb(count, 2) for count in table.classes)
        clusters = sum(math.comb(count, 2) for count in table.clusters)
        if both == classes == clusters:
            return 1.0
        pairs = math.comb(table.total, 2)
        above = 2 * (both * pairs - classes * clusters)
        return ratio(above, (classes + clusters) * pairs - 2 * classes * clusters, "no pairs of examples")


class NormalizedMutualInfo(_Clustering):
    """Mutual information of classes and clusters over a mean of their entropies.

    1 where both are one class and one cluster; 0 where one of them is, as in scikit-learn. Exact also near independence, where
    scikit-learn's sum cancels.
    """

    summary: ClassVar[str] = "I(class; cluster) / mean of H(class) and H(cluster)"
    source: ClassVar[str] = "sklearn.metrics.normalized_mutual_info_score"
    no_interval: ClassVar[str | None] = BIASED

    average_method: Literal["arithmetic", "geometric", "min", "max"] = Field(
        "arithmetic", description="mean of the two entropies that divides"
    )

    def value(self, totals: Totals) -> float:
        """Return information over the mean of the entropies."""
        table = self.contingency(totals)
        if len(table.classes) == len(table.clusters) == 1:
            return 1.0
        information = table.information()
        if not information:
            return 0.0
        low, high = sorted((_entropy(table.classes, table.total), _entropy(table.clusters, table.total)))
        means = {"arithmetic": (low + high) / 2, "geometric": math.sqrt(low * high), "min": low, "max": high}
        return min(information / means[self.average_method], 1.0)


class Homogeneity(_Clustering):
    """How far each cluster holds one class only; 1 where there is one class, as in scikit-learn."""

    summary: ClassVar[str] = "I(class; cluster) / H(class)"
    source: ClassVar[str] = "sklearn.metrics.homogeneity_score"
    no_interval: ClassVar[str | None] = BIASED

    def value(self, totals: Totals) -> float:
        """Return information over the entropy of the classes."""
        table = self.contingency(totals)
        if len(table.classes) == 1:
            return 1.0
        return min(table.information() / _entropy(table.classes, table.total), 1.0)


class Completeness(_Clustering):
    """How far each class is in one cluster only; 1 where there is one cluster, as in scikit-learn."""

    summary: ClassVar[str] = "I(class; cluster) / H(cluster)"
    source: ClassVar[str] = "sklearn.metrics.completeness_score"
    no_interval: ClassVar[str | None] = BIASED

    def value(self, totals: Totals) -> float:
        """Return information over the entropy of the clusters."""
        table = self.contingency(totals)
        if len(table.clusters) == 1:
            return 1.0
        return min(table.information() / _entropy(table.clusters, table.total), 1.0)


class VMeasure(_Clustering):
    """Weighted harmonic mean of homogeneity and completeness; with `beta` above 1 completeness counts more."""

    summary: ClassVar[str] = "(1 + b) h c / (b h + c) = (1 + b) I / (b H(cluster) + H(class))"
    source: ClassVar[str] = "sklearn.metrics.v_measure_score"
    no_interval: ClassVar[str | None] = BIASED

    beta: float = Field(1.0, gt=0, allow_inf_nan=False, description="how much more completeness counts than homogeneity")

    def value(self, totals: Totals) -> float:
        """Return the mean, in information and entropies, so that independence is 0 and not 0/0."""
        table = self.contingency(totals)
        if len(table.classes) == len(table.clusters) == 1:
            return 1.0
        below = self.beta * _entropy(table.clusters, table.total) + _entropy(table.classes, table.total)
        return min((1 + self.beta) * table.information() / below, 1.0)
