"""Metrics of vectors: cosine similarity, Fréchet distance. TensorFlow is imported where the graph is built."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from harness.errors import JobError, ShapeError
from harness.metrics.contract import Binding, Inputs, Metric, Number, Term, Totals, Undefined
from harness.metrics.means import MeanMetric

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
            found = None if labels is None else labels.shape
            raise ShapeError(f"expected labels and output of one shape [B, ..., D], found {found} and {predictions.shape}")
        y, p = _unit(labels), _unit(predictions)
        cosine = tf.clip_by_value(tf.reduce_sum(y * p, axis=-1), tf.constant(-1.0, tf.float64), tf.constant(1.0, tf.float64))
        bad = tf.math.is_nan(tf.reduce_sum(y + p, axis=-1))  # clipping may turn NaN into a number
        cosine = tf.where(bad, tf.constant(np.nan, tf.float64), cosine)
        return tf.reduce_mean(tf.reshape(cosine, [cosine.shape[0], -1]), axis=1)


def _unit(vectors: Any) -> Any:
    """Scale to length 1, by the largest component first: squares of huge or tiny numbers would over- or underflow."""
    import tensorflow as tf

    vectors = tf.cast(vectors, tf.float64)
    vectors = vectors / tf.reduce_max(tf.abs(vectors), axis=-1, keepdims=True)
    return vectors / tf.sqrt(tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True))


class FrechetDistance(Metric):
    """Fréchet distance of two sets of feature vectors, each taken for a Gaussian (FID where they are Inception features).

    The output is the features of what is evaluated, [B, D]. `reference` names an .npz file with `mu` and `sigma`, as
    pytorch-fid writes it; without it the label holds the features of the reference, [B, D]. Means and covariances
    are exact: products of float32 features fit a float64, those of float64 features enter with what rounding took.
    What remains is the float64 of the eigenvalues, about 1e-13 of the traces.

    The state has a number for each pair of features, so D is limited: 2,048 Inception features do not fit.
    """

    inputs: ClassVar[Inputs] = Inputs.RAW
    takes_weights: ClassVar[bool] = False
    takes_slices: ClassVar[bool] = False
    takes_replicates: ClassVar[bool] = False
    summary: ClassVar[str] = "|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), covariances with n - 1"
    source: ClassVar[str] = "M. Heusel et al., 2017; pytorch_fid.fid_score.calculate_frechet_distance"

    LARGEST: ClassVar[int] = 256

    reference: str | None = Field(None, description="an .npz file with mu and sigma; null: the label holds features")

    def binding(self, output: str, label: str | None, weight: str | None) -> Binding:
        """Return what the metric reads: no label where the reference is a file."""
        return Binding(self.inputs, self.output or output, None if self.reference else self.label or label)

    def terms(self, labels: Any, predictions: Any) -> dict[str, Term]:
        """Return features and their products, the upper triangle."""
        found = _moments("found", predictions)
        if self.reference is not None:
            _read(Path(self.reference), predictions.shape[1])  # a wrong file is found now, not after the last example
            return found
        if labels is None or labels.shape != predictions.shape:
            shape = None if labels is None else labels.shape
            raise ShapeError(
                f"expected reference features as the label, in the shape of the output {predictions.shape}, found {shape}; "
                "or set reference: to a file of statistics"
            )
        return {**found, **_moments("reference", labels)}

    def value(self, totals: Totals) -> float:
        """Return the distance."""
        mean, covariance = _gaussian(totals, "found")
        if self.reference is None:
            other_mean, other = _gaussian(totals, "reference")
        else:
            other_mean, other = _read(Path(self.reference), len(mean))
        # tr (S1 S2)^(1/2) is the sum of the roots of the eigenvalues of A S2 A, A the root of S1: symmetric, so real.
        values, vectors = np.linalg.eigh(covariance)
        half = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        cross = np.linalg.eigvalsh(half @ other @ half)
        traces = np.trace(covariance) + np.trace(other) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
        return float(max(np.square(mean - other_mean).sum() + traces, 0.0))


def _moments(name: str, vectors: Any) -> dict[str, Term]:
    import tensorflow as tf

    from harness.tf_exact import two_product

    if len(vectors.shape) != 2 or not vectors.dtype.is_floating:
        raise ShapeError(f"expected feature vectors float [B, D], found {vectors.dtype.name} {vectors.shape}")
    size = vectors.shape[1]
    if size > FrechetDistance.LARGEST:
        raise ShapeError(
            f"expected at most {FrechetDistance.LARGEST} features, found {size}: the state would hold {size * (size + 1) // 2:,} "
            "products; project the features first"
        )
    narrow = vectors.dtype in (tf.float32, tf.float16, tf.bfloat16)
    vectors = tf.cast(vectors, tf.float64)
    rows, columns = np.triu_indices(size)
    a, b = tf.gather(vectors, rows, axis=1), tf.gather(vectors, columns, axis=1)
    # Two mantissas of 24 bits fit one of 53: nothing is lost.
    products = Number(a * b) if narrow else Number(*two_product(a, b))
    return {f"{name}_sum": Number(vectors), f"{name}_products": products}


def _gaussian(totals: Totals, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return mean [D] and covariance [D, D], rounded once from the exact sums."""
    n = Fraction(totals.positions)
    if n < 2:
        raise Undefined("a covariance needs at least two examples")
    sums = totals.exact(f"{name}_sum")
    size = len(sums)
    covariance = np.zeros([size, size])
    for i, j, product in zip(*np.triu_indices(size), totals.exact(f"{name}_products"), strict=True):
        covariance[i, j] = covariance[j, i] = float((product - sums[i] * sums[j] / n) / (n - 1))
    return np.array([float(x / n) for x in sums]), covariance


def _read(path: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read statistics of the reference.

    Raises: JobError: the file is not there, or holds something else.
    """
    try:
        with np.load(path) as found:
            mean, covariance = np.asarray(found["mu"], np.float64), np.asarray(found["sigma"], np.float64)
    except (OSError, KeyError, ValueError) as exc:
        raise JobError(f"reference {path}: expected an .npz file with mu and sigma: {exc}") from exc
    if mean.shape != (size,) or covariance.shape != (size, size):
        raise JobError(
            f"reference {path}: expected mu [{size}] and sigma [{size}, {size}], found {mean.shape}, {covariance.shape}"
        )
    return mean, covariance
