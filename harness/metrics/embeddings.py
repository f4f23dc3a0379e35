"""Metrics of vectors: cosine similarity, Fréchet distance. TensorFlow is imported where the graph is built."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from harness.errors import JobError, ShapeError
from harness.metrics.contract import Binding, Gram, GramSums, Inputs, Metric, Number, Term, Totals, Undefined
from harness.metrics.means import MeanMetric
from harness.metrics.moments import DIGITS, unresolved
from harness.metrics.totals import resolved

__all__ = ["CosineSimilarity", "FrechetDistance"]


class CosineSimilarity(MeanMetric):
    """Mean cosine of the angle between label and prediction, vectors along the last dimension.

    An example of several vectors counts as their mean. A vector of zeros has no direction, and the value is null;
    Keras takes 0 there.
    """

    inputs: ClassVar[Inputs] = Inputs.RAW
    summary: ClassVar[str] = "sum of w (y . p) / (|y| |p|) / sum of w"
    source: ClassVar[str] = "keras.metrics.CosineSimilarity, torchmetrics.CosineSimilarity(reduction='mean')"

    def each(self, labels: Any, predictions: Any) -> Any:
        """Return the cosine of each example."""
        import tensorflow as tf

        if labels is None or labels.shape != predictions.shape or len(labels.shape) < 2:
            shape = None if labels is None else labels.shape
            raise ShapeError(f"expected labels and output of one shape [B, ..., D], found {shape} and {predictions.shape}")
        y, p = _unit(labels), _unit(predictions)
        cosine = tf.clip_by_value(tf.reduce_sum(y * p, axis=-1), tf.constant(-1.0, tf.float64), tf.constant(1.0, tf.float64))
        bad = tf.math.is_nan(tf.reduce_sum(y + p, axis=-1))  # clipping may turn NaN into a number
        cosine = tf.where(bad, tf.constant(np.nan, tf.float64), cosine)
        return tf.reduce_mean(tf.reshape(cosine, [cosine.shape[0], -1]), axis=1)


def _unit(vectors: Any) -> Any:
    """Scale to length 1, by the largest component first: squares of huge or tiny numbers would over- or underflow."""
    import tensorflow as tf

    from harness.exact.tf_subnormals import widened

    vectors = widened(vectors)
    vectors = vectors / tf.reduce_max(tf.abs(vectors), axis=-1, keepdims=True)
    return vectors / tf.sqrt(tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True))


class FrechetDistance(Metric):
    """Fréchet distance of two sets of feature vectors, each taken for a Gaussian (FID where they are Inception features).

    The output is the features of what is evaluated, [B, D]. `reference` names an .npz file with `mu` and `sigma`, as
    pytorch-fid writes it; without it the label holds the features of the reference, [B, D].

    Up to 256 features, and where `largest` is not given, means and covariances are exact; what remains is the float64 of
    the eigenvalues, about 1e-13 of the traces. More features, such as Inception's 2,048, are rounded once, to multiples
    of `largest` 2^-22, and their means and covariances are exact from there on. That moves the square root of the distance
    by at most sqrt(D n / (n - 1)) `largest` 2^-23 for each of the two sets, 3.5e-4 with the defaults, and in practice far
    less. A feature that is not below `largest` makes the value null, with how many examples have one.
    """

    inputs: ClassVar[Inputs] = Inputs.RAW
    takes_weights: ClassVar[bool] = False
    takes_slices: ClassVar[bool] = False
    takes_replicates: ClassVar[bool] = False
    summary: ClassVar[str] = "|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), covariances with n - 1"
    source: ClassVar[str] = "M. Heusel et al., 2017; pytorch_fid.fid_score.calculate_frechet_distance"

    EXACT: ClassVar[int] = 256  # features whose products are kept as numbers, eleven int64 each
    LARGEST: ClassVar[float] = 64.0

    reference: str | None = Field(
        None, description=".npz file with mu and sigma of the reference; null: the label holds its features"
    )
    largest: float | None = Field(
        None,
        gt=0,
        description="a power of two that all features are below in size: they are rounded to multiples of 2^-22 of it; "
        "null: 64 for more than 256 features, not rounded for fewer",
    )

    @field_validator("largest")
    @classmethod
    def _power_of_two(cls, largest: float | None) -> float | None:
        if largest is not None and math.frexp(largest)[0] != 0.5:
            raise ValueError("expected a power of two: rounding is exact in binary")
        return largest

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads: no label where the reference is a file."""
        return Binding(self.inputs, self.output or output, None if self.reference else self.label or label)

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return features and their products, the upper triangle."""
        moments = self._moments("found", predictions)
        if self.reference is not None:
            _read(Path(self.reference), predictions.shape[1])  # a wrong file is found now, not after the last example
            return moments
        if labels is None or labels.shape != predictions.shape:
            shape = None if labels is None else labels.shape
            raise ShapeError(
                f"expected reference features as the label, in the shape of the output {predictions.shape}, found {shape}; "
                "or set reference: to a file of statistics"
            )
        return {**moments, **self._moments("reference", labels)}

    def _moments(self, name: str, vectors: Any) -> dict[str, Term]:
        if len(vectors.shape) != 2 or not vectors.dtype.is_floating:
            raise ShapeError(f"expected feature vectors float [B, D], found {vectors.dtype.name} {vectors.shape}")
        if self.largest is None and vectors.shape[1] <= self.EXACT:
            return _exact_moments(name, vectors)
        return {name: Gram(vectors, self.largest or self.LARGEST)}

    def value(self, totals: Totals) -> float:
        """Return the distance."""
        mean, covariance = self._gaussian(totals, "found")
        if self.reference is None:
            other_mean, other = self._gaussian(totals, "reference")
        else:
            other_mean, other = _read(Path(self.reference), len(mean))
        # With S1 = A A^T and S2 = B B^T, tr (S1 S2)^(1/2) is the sum of the singular values of A^T B: no root is taken of
        # rounding, as of the eigenvalues of S1 S2 where there are fewer examples than features.
        cross = np.linalg.svd(_half(covariance).T @ _half(other), compute_uv=False)
        traces = np.trace(covariance) + np.trace(other) - 2 * cross.sum()
        return float(max(np.square(mean - other_mean).sum() + traces, 0.0))

    def _gaussian(self, totals: Totals, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return mean [D] and covariance [D, D] of what `_moments` added."""
        if name not in totals:
            return _exact_gaussian(totals, name)
        largest = self.largest or self.LARGEST
        sums = GramSums.of(totals[name])
        if sums.refused:
            raise Undefined(
                f"{sums.refused} examples of {name} have a feature that is NaN, infinite or not below {largest:g}; set largest"
            )
        return _rounded_gaussian(sums, largest / 2**Gram.BITS)


def _rounded_gaussian(sums: GramSums, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mean [D] and covariance [D, D] in units of a power of two: integers until the last division."""
    n, size = sums.examples, sums.features
    if n < 2:
        raise Undefined("a covariance needs at least two examples")
    rows = [sums.row(number) for number in range(size)]
    totals = np.array([row[-1] for row in rows] + [None], dtype=object)[:-1]
    covariance = np.zeros([size, size])
    for number, row in enumerate(rows):
        scatter = n * row[:-1] - totals[number] * totals[number:]
        covariance[number, number:] = covariance[number:, number] = scatter.astype(np.float64) / (n * (n - 1)) * unit**2
    return totals.astype(np.float64) / n * unit, covariance


def _half(covariance: np.ndarray) -> np.ndarray:
    """Return A with A A^T = S, [D, rank]; directions with less than D 2^-52 of the largest variance are rounding."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * 2.0**-52 * max(values[-1], 0.0)
    half: np.ndarray = vectors[:, kept] * np.sqrt(values[kept])
    return half


def _exact_moments(name: str, vectors: Any) -> dict[str, Term]:
    import tensorflow as tf

    from harness.exact.tf_limbs import two_product
    from harness.exact.tf_subnormals import widened

    size = vectors.shape[1]
    narrow = vectors.dtype in (tf.float32, tf.float16, tf.bfloat16)
    vectors = widened(vectors)
    rows, columns = np.triu_indices(size)
    a, b = tf.gather(vectors, rows, axis=1), tf.gather(vectors, columns, axis=1)
    # Two mantissas of 24 bits fit one of 53: nothing is lost.
    products = Number(a * b) if narrow else Number(*two_product(a, b))
    return {f"{name}_sum": Number(vectors), f"{name}_products": products}


def _exact_gaussian(totals: Totals, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return mean [D] and covariance [D, D], rounded once from the exact sums."""
    n = Fraction(totals.positions)
    if n < 2:
        raise Undefined("a covariance needs at least two examples")
    sums, off = totals.on_grid(f"{name}_sum"), totals.rounding(f"{name}_sum")
    products, off_products = totals.on_grid(f"{name}_products"), totals.rounding(f"{name}_products")
    # The value is of the size of the traces: of what the grid took of the squares, as little may be seen.
    diagonal = [i == j for i, j in zip(*np.triu_indices(len(sums)), strict=True)]
    rounding = sum(off_products[diagonal]) + sum(2 * abs(sums) * off + off * off) / n
    if not resolved(sum(products[diagonal]) - sum(sums * sums) / n, rounding, DIGITS):
        raise Undefined(unresolved(f"features of {name}"))
    size = len(sums)
    covariance = np.zeros([size, size])
    for i, j, product in zip(*np.triu_indices(size), products, strict=True):
        covariance[i, j] = covariance[j, i] = float((product - sums[i] * sums[j] / n) / (n - 1))
    return np.array([float(x / n) for x in sums]), covariance


def _read(path: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read statistics of the reference.

    Raises: JobError: the file is not there, or holds something else.
    """
    try:
        with np.load(path) as statistics:
            mean, covariance = np.asarray(statistics["mu"], np.float64), np.asarray(statistics["sigma"], np.float64)
    except (OSError, KeyError, ValueError) as exc:
        raise JobError(f"reference {path}: expected an .npz file with mu and sigma: {exc}") from exc
    if mean.shape != (size,) or covariance.shape != (size, size):
        raise JobError(
            f"reference {path}: expected mu [{size}] and sigma [{size}, {size}], found {mean.shape}, {covariance.shape}"
        )
    return mean, covariance
