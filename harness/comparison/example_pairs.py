"""The predictions of two runs, example by example: who is right where, and whose losses are smaller.

Examples are joined by their ids and read some at a time, so memory is flat, but for 8 bytes an example: the signed-rank
test needs every difference of losses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.comparison.discordant_file import encoded
from harness.comparison.scored_examples import PredictedRun, Scored
from harness.comparison.signed_ranks import SignedRanks, signed_ranks
from harness.errors import UsageError
from harness.exact.mcnemar import mcnemar
from harness.folder.output_file import write_output

__all__ = ["ExamplePairs", "compare_examples"]

NO_PROBABILITIES = "the scores are no probabilities, which losses are made of; from_logits: true on the metric if they are logits"
NO_SCORES = "the output is the predicted class: it has no losses"


@dataclass(frozen=True)
class ExamplePairs:
    """What the examples of two runs come to.

    Attributes:
      first, second: names, the baseline first.
      metric, second_metric: keys of those that say how predictions are read.
      examples, positions: that were compared.
      counts: of positions that both, the baseline alone, the second alone, and neither have right; None for numbers.
      flips: positions that are decided otherwise; None for numbers.
      p: McNemar's, exact; None for numbers, and where an example has several positions: these are not independent.
      ranks: of the differences of losses, second less first; None where there are none.
      reason: why there are none.
    """

    first: str
    second: str
    metric: str
    second_metric: str
    examples: int
    positions: int
    counts: tuple[int, int, int, int] | None
    flips: int | None
    p: float | None
    ranks: SignedRanks | None
    reason: str | None

    @property
    def flip_rate(self) -> float | None:
        """The share of positions that are decided otherwise."""
        return None if self.flips is None or not self.positions else self.flips / self.positions


def compare_examples(first: PredictedRun, second: PredictedRun, discordant: Path | None = None) -> ExamplePairs:
    """Compare two runs, and write which examples one of them alone has right.

    Args:
      first, second: the baseline, and what is compared with it.
      discordant: a CSV or Parquet file; None writes none.
    Raises: UsageError: the examples are not the same, or there is nothing to write. DataError: a part is torn.
    """
    is_class = first.decisions is not None
    if discordant is not None and not is_class:
        raise UsageError(f"--discordant: {first.key} compares numbers, which are neither right nor wrong")
    tally = _Tally(is_class)
    pairs = tally.passing(_joined(first, second))
    if discordant is None:
        for _ in pairs:
            pass
    else:
        write_output(discordant, encoded(discordant.suffix, pairs, first.class_names))
    ranks, reason = tally.ranks(NO_SCORES if is_class and first.binding.classes is not None else NO_PROBABILITIES)
    _, first_only, second_only, _ = tally.counts
    one_each = tally.positions == tally.examples
    return ExamplePairs(
        first.name, second.name, first.key, second.key, tally.examples, tally.positions,
        tally.counts if is_class else None,
        tally.flips if is_class else None,
        mcnemar(first_only, second_only) if is_class and one_each else None,
        ranks, reason,
    )  # fmt: skip


@dataclass
class _Tally:
    """Counts pairs of examples while they pass."""

    is_class: bool
    examples: int = 0
    positions: int = 0
    counts: tuple[int, int, int, int] = (0, 0, 0, 0)
    flips: int = 0
    differences: list[np.ndarray] = field(default_factory=list)
    has_losses: bool = True

    def passing(self, pairs: Iterator[tuple[Scored, Scored]]) -> Iterator[tuple[Scored, Scored]]:
        """Count pairs and hand them on."""
        for first, second in pairs:
            kept = first.kept
            scored = np.any(kept, axis=1)
            self.examples += int(scored.sum())
            self.positions += int(kept.sum())
            if self.is_class:
                right = [side.predicted == side.labels for side in (first, second)]
                parts = np.bincount((2 * ~right[0] + ~right[1])[kept], minlength=4).tolist()
                self.counts = tuple(a + b for a, b in zip(self.counts, parts, strict=True))
                self.flips += int(((first.predicted != second.predicted) & kept).sum())
            self._add_losses(first.losses, second.losses, scored)
            yield first, second

    def _add_losses(self, first: np.ndarray | None, second: np.ndarray | None, scored: np.ndarray) -> None:
        self.has_losses &= first is not None and second is not None
        if first is None or second is None or not self.has_losses:
            self.differences.clear()
            return
        with np.errstate(invalid="ignore"):
            differences = (second - first)[scored]
        # Both hold the label for impossible: neither is worse.
        self.differences.append(np.where(np.isnan(differences), 0.0, differences))

    def ranks(self, reason: str) -> tuple[SignedRanks | None, str | None]:
        """Return what the differences of losses come to, or why there are none."""
        if not self.has_losses:
            return None, reason
        return signed_ranks(np.concatenate([np.zeros(0), *self.differences])), None


def _joined(first: PredictedRun, second: PredictedRun) -> Iterator[tuple[Scored, Scored]]:
    """Read both runs side by side, and see that they hold the same examples with the same labels.

    Raises: UsageError: they do not.
    """
    blocks = first.blocks(), second.blocks()
    left, right = (next(side, None) for side in blocks)
    while left is not None and right is not None:
        size = min(len(left.ids), len(right.ids))
        pair = left.cut(0, size), right.cut(0, size)
        _check_same(first.name, second.name, *pair)
        yield pair
        left, right = (
            block.cut(size) if len(block.ids) > size else next(side, None)
            for block, side in zip((left, right), blocks, strict=True)
        )
    for name, other, rest in ((first.name, second.name, left), (second.name, first.name, right)):
        if rest is not None:
            raise UsageError(_not_the_same(name, other, int(rest.ids[0])))


def _check_same(first: str, second: str, left: Scored, right: Scored) -> None:
    if (apart := np.flatnonzero(left.ids != right.ids)).size:
        ids = int(left.ids[apart[0]]), int(right.ids[apart[0]])
        raise UsageError(_not_the_same(first, second, ids[0]) if ids[0] < ids[1] else _not_the_same(second, first, ids[1]))
    if not (np.array_equal(left.kept, right.kept) and np.array_equal(left.labels[left.kept], right.labels[right.kept])):
        raise UsageError(f"{first} and {second} have not the same examples: the labels of some are other ones")


def _not_the_same(holder: str, other: str, example: int) -> str:
    return f"{holder} and {other} have not the same examples: {holder} has example {example}, {other} has not"
