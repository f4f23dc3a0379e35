"""Retrieval by embeddings within a group: every example looks for those of its own label among the nearest others."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.errors import ShapeError
from harness.metrics.contract import Inputs, RowMetric, Rows, Term, Totals, Undefined, ratio
from harness.metrics.groups import group_key

__all__ = ["RetrievalRecall"]

WIDEST = 400  # powers of two between the sizes of embeddings whose distances are compared
BLOCK = 1 << 22  # similarities that are held at once


class RetrievalRecall(RowMetric):
    """Share of examples that have one of their own label among the k nearest others of their group.

    The output is an embedding per example, [B, D]; the label is an integer or a string. `query` names the feature that
    cuts the examples into groups, within which all pairs are compared; without it there is one group, held by one rank.
    Of equally near ones the lower example id is nearer. Examples that have no other of their label in their group are
    left out; with `counts` the value says how many. A bootstrap draws whole groups; of one group it draws the examples that
    look, and all others stay to be found.
    """

    inputs: ClassVar[Inputs] = Inputs.RAW
    takes_weights: ClassVar[bool] = False
    features: ClassVar[tuple[str, ...]] = ("query",)
    summary: ClassVar[str] = "share of examples with one of the same label among the k nearest others of the group"
    source: ClassVar[str] = "Recall@K of metric learning (Jegou et al. 2011; Oh Song et al. 2016)"

    k: int = Field(1, ge=1, description="how many of the nearest count")
    query: str | None = Field(None, description="feature that says which group an example belongs to; null: one group")
    similarity: Literal["cosine", "dot", "euclidean"] = Field("cosine", description="what makes two embeddings near")
    counts: bool = Field(False, description="whether the number of examples, and of those left out, is reported too")

    @property
    def drawn_by(self) -> str | None:
        """Name the feature whose values a bootstrap draws; None draws the examples that look."""
        return self.query

    @property
    def keeps_undrawn(self) -> bool:
        """Whether an example that does not look is still there to be found: where there is one group."""
        return self.query is None

    def terms(self, labels: Any, predictions: Any, query: Any = None) -> dict[str, Term]:
        """Keep embedding and label of every example, by group.

        Raises: ShapeError: the output is no embedding, or the label not one value per example.
        """
        import tensorflow as tf

        from harness.exact.tf_subnormals import widened

        shape = predictions.shape
        if shape.rank != 2 or None in shape.as_list() or not predictions.dtype.is_floating:
            raise ShapeError(f"expected embeddings [B, D] of known size, found output {predictions.dtype.name} {shape}")
        if labels is None:
            raise ShapeError("retrieval_recall needs a label; set data.label, or label: of the metric")
        label = group_key("label", labels, shape[0])
        group = tf.zeros_like(label) if query is None else group_key(f"query '{self.query}'", query, shape[0])
        columns = tf.unstack(widened(predictions), axis=1)
        values = {f"e{number:05}": column for number, column in enumerate(columns)}
        return {"rows": Rows(tf.zeros([shape[0]], tf.float64), {**values, "label": label}, group)}

    def fold(self, part: Any) -> dict[str, Any]:
        """Count the examples that find one of their label, those that could, and those left out."""
        sums = {"found": 0, "able": 0, "left_out": 0, "bad": 0, "apart": 0}
        names = sorted(name for name in part.values if name != "label")
        vectors = np.stack([part.values[name] for name in names], axis=1)
        good = np.isfinite(vectors).all(axis=1)
        sums["bad"] = int((~good).sum())  # drawn or not: all others look at it
        edges = np.append(part.groups, len(part)).tolist()
        for start, stop in pairwise(edges):
            if not good[start:stop].all():
                continue
            self._add(sums, vectors[start:stop], part.values["label"][start:stop], part.multiplicity[start:stop])
        return sums

    def _add(self, sums: dict[str, Any], vectors: np.ndarray, label: np.ndarray, times: np.ndarray) -> None:
        """Add one group."""
        _, where, sizes = np.unique(label, return_inverse=True, return_counts=True)
        able = sizes[where] > 1
        sums["left_out"] += int(times[~able].sum())
        sums["able"] += int(times[able].sum())
        comparable = self._comparable(vectors)
        if comparable is None:
            sums["apart"] += 1
            return
        looking, others = comparable
        step = max(1, BLOCK // len(label))
        for at in range(0, len(label), step):
            own = np.arange(at, min(at + step, len(label)))
            hit = self._hits(looking[own], others, label, own)
            sums["found"] += int(times[own][hit & able[own]].sum())

    def _comparable(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Scale the vectors of a group so that no square or product leaves the range of float64.

        By powers of two, which change no digit and nothing of who is nearer: each vector by its own where only its
        direction counts, as of the one that looks under `dot`.

        Returns: who looks and who is looked at, [n, D] each; None where distances have no digits for the small and the large.
        """
        exponents = np.frexp(np.abs(vectors).max(axis=1, initial=0.0))[1]
        some = vectors.any(axis=1)
        largest = int(exponents[some].max()) if some.any() else 0
        alone, together = np.ldexp(vectors, -exponents[:, None]), np.ldexp(vectors, -largest)
        if self.similarity == "cosine":
            length = np.sqrt(np.einsum("id,id->i", alone, alone))
            # an embedding of zeros is equally far from all
            unit = alone / np.where(length > 0, length, 1.0)[:, None]
            return unit, unit
        if self.similarity == "dot":
            return alone, together
        if (some & (exponents < largest - WIDEST)).any():
            return None
        return together, together

    def _hits(self, looking_vectors: np.ndarray, vectors: np.ndarray, label: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Say which of some examples have one of their label among the k nearest others, bool [m].

        A matrix product is fast, but its bits may depend on the number of threads. It only says who may be among the k
        nearest: all that are less than twice its error farther than the k-th. Where those are k, they are the ones; where
        they are more, `_near` decides between them.

        Args:
          looking_vectors: float64 [m, D], of those that look. vectors: [n, D]. label: [n]. own: int64 [m], who looks.
        """
        k = min(self.k, len(label) - 1)
        hit = np.zeros(len(own), bool)
        if not k:
            return hit
        about, error = self._about(looking_vectors, vectors)
        about[np.arange(len(own)), own] = -np.inf
        least = np.partition(about, -k, axis=1)[:, -k] - 2 * error
        near = about >= least[:, None]
        looking, others = np.nonzero(near)
        hit[looking[label[others] == label[own[looking]]]] = True
        starts = np.searchsorted(looking, np.arange(len(own) + 1))
        for number in np.flatnonzero(np.diff(starts) > k).tolist():
            some = others[starts[number] : starts[number + 1]]
            distance = -self._near(looking_vectors[number][None], vectors[some])[0]
            distance[some == own[number]] = np.inf
            first = some[np.argsort(distance, kind="stable")[:k]]
            hit[number] = (label[first] == label[own[number]]).any()
        return hit

    def _about(self, some: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return about how near each is to each, float64 [m, n], and how far that may be from `_near`, [m].

        N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1: in any order a computed a . b is off
        by less than D u |a| |b| / (1 - D u), u = 2^-53. Both are, and so are the norms: four times as much, and for
        numbers that underflow, is more than enough. A squared distance is off by as much of (|a| + |b|)^2.
        """
        squares = np.einsum("id,id->i", others, others)
        own, largest = np.einsum("id,id->i", some, some), float(squares.max())
        about = some @ others.T
        scale = np.sqrt(own) * np.sqrt(largest)
        if self.similarity == "euclidean":
            about = 2 * about - own[:, None] - squares
            scale = (np.sqrt(own) + np.sqrt(largest)) ** 2
        return about, 8 * (some.shape[1] + 4) * (scale * 2.0**-53 + 2.0**-1000)

    def _near(self, some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return how near each is to each, float64 [m, n]; the higher the nearer."""
        # einsum and not a matrix product, whose bits may depend on the number of threads
        if self.similarity == "euclidean":
            return -np.stack([np.einsum("nd,nd->n", others - vector, others - vector) for vector in some])
        return np.asarray(np.einsum("md,nd->mn", some, others))

    def value(self, totals: Totals) -> Any:
        """Return the share.

        Raises: Undefined: an embedding is no number, or no example has another of its label.
        """
        if bad := totals.exact("bad"):
            raise Undefined(f"{bad} embeddings are NaN or infinite")
        if totals.exact("apart"):
            raise Undefined(
                f"some embeddings are more than 2^{WIDEST} times as large as others: distances have no digits for both"
            )
        share = ratio(totals.exact("found"), totals.exact("able"), "no example has another of its label in its group")
        if not self.counts:
            return share
        return {"recall": share, "examples": int(totals.exact("able")), "left_out": int(totals.exact("left_out"))}
