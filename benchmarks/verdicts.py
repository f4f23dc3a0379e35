"""Whether comparisons and gates hold what they say: simulate two models whose truth is known, and count how often they are wrong.

The intervals, p-values and bounds are those of `harness compare` and `harness gate` (`harness.comparison`). A simulation is
a seed: no TensorFlow, no files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.comparison.bounds import bounds_of, bounds_of_difference, bounds_of_gap
from harness.comparison.difference import Difference, paired, unpaired
from harness.comparison.families import holm
from harness.comparison.sides import Number
from harness.exact.draws import multiplicities

__all__ = ["QUESTIONS", "Counted", "Question", "counted", "outside", "table"]

REPLICATES = 200
LEVEL, TAIL = 0.95, 0.05
SLICES = 40
SURE = 1.6901262077469377  # the factor of a score that has the mean log loss of 0.5, where 1 would be right
CORRECT = 0.8  # share of the examples that both models have right

Sides = tuple[Number, Number]


@dataclass(frozen=True)
class Question:
    """What is counted, and what share of it is expected.

    Attributes:
      text, data: for people.
      happens: whether it does in one simulation; called with the number of the simulation and a generator of its own.
      least, most: shares expected, but for the noise of the simulations.
      every: how many simulations of others stand against one of this: some take long.
    """

    text: str
    data: str
    happens: Callable[[int, np.random.Generator], bool]
    least: float = 0.0
    most: float = 1.0
    every: int = 1


@dataclass(frozen=True)
class Counted:
    """In how many of the simulations of a question it happened."""

    place: int
    simulations: int
    happened: int

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.place, self.simulations + other.simulations, self.happened + other.happened)

    @property
    def share(self) -> float:
        """Return the share."""
        return self.happened / self.simulations if self.simulations else math.nan


def shares(examples: int, counts: Sequence[int], number: int, random: np.random.Generator | None = None) -> Sides:
    """Return the accuracies of two models.

    Args:
      counts: examples that both, the first alone, the second alone, and neither has right.
      number: of the simulation, the seed of the draws; with `random` the counts are drawn at once, which is much faster:
        independent Poisson numbers add up to Poisson numbers.
    """
    if random is not None:
        drawn = random.poisson(counts, (REPLICATES, 4)).astype(np.float64)
    else:
        times = multiplicities(np.arange(examples), number, REPLICATES)
        groups = np.repeat(np.arange(4), counts)
        drawn = np.stack([times[groups == group].sum(axis=0) for group in range(4)], axis=1).astype(np.float64)
    total = drawn.sum(axis=1)
    first, second = (
        Number(
            (counts[0] + counts[at]) / examples,
            None,
            examples,
            math.sqrt((counts[0] + counts[at]) * (examples - counts[0] - counts[at]) / examples**2 / (examples - 1)),
            (drawn[:, 0] + drawn[:, at]) / total,
        )
        for at in (1, 2)
    )
    return first, second


def means(losses: np.ndarray, number: int) -> Sides:
    """Return the mean losses of two models; float64 [2, examples]."""
    examples = losses.shape[1]
    times = multiplicities(np.arange(examples), number, REPLICATES)
    first, second = (
        Number(loss.mean(), None, examples, loss.std(ddof=1) / math.sqrt(examples), loss @ times / times.sum(axis=0))
        for loss in losses
    )
    return first, second


def discordant(examples: int, differing: float, ahead: float) -> list[float]:
    """Return the probabilities of both, first alone, second alone, neither right: `ahead` is the share of the second."""
    share = differing / examples
    return [CORRECT - share, share * (1 - ahead), share * ahead, 1 - CORRECT]


def losses(kind: str, examples: int, random: np.random.Generator) -> np.ndarray:
    """Draw the losses of two models on the same examples, float64 [2, examples]; neither model is better.

    "shy and sure": log losses of two classifiers, one of which is less and the other more sure than it ought to be. Their
    means are equal, and their differences skewed.
    """
    if kind == "shy and sure":
        score = 2 * random.normal(size=examples)
        sign = np.where(random.random(examples) < 1 / (1 + np.exp(-score)), 1, -1)
        return np.stack([np.logaddexp(0, -factor * sign * score) for factor in (0.5, SURE)])
    hardness = random.normal(size=examples)
    noise = random.normal(scale=0.5, size=(2, examples))
    return hardness + noise if kind == "normal" else np.exp(hardness + noise)


def _covers(examples: int, differing: float) -> Callable[[int, np.random.Generator], bool]:
    chances = discordant(examples, differing, 0.625)

    def happens(number: int, random: np.random.Generator) -> bool:
        counts = random.multinomial(examples, chances).tolist()
        found = paired(*shares(examples, counts, number), LEVEL, counted=True)
        return _within(found, chances[2] - chances[1])

    return happens


def _covers_losses(kind: str, examples: int) -> Callable[[int, np.random.Generator], bool]:
    return lambda number, random: _within(paired(*means(losses(kind, examples, random), number), LEVEL, counted=False), 0.0)


def _within(found: Difference, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low - 1e-12 <= truth <= found.high + 1e-12


def _alarm(examples: int, differing: float) -> Callable[[int, np.random.Generator], bool]:
    chances = discordant(examples, differing, 0.5)

    def happens(_: int, random: np.random.Generator) -> bool:
        slices = random.multinomial(examples, chances, SLICES).tolist()
        return _any([paired(*shares(examples, counts, 0, random), LEVEL, counted=True) for counts in slices])

    return happens


def _alarm_of_losses(kind: str, examples: int) -> Callable[[int, np.random.Generator], bool]:
    def happens(number: int, random: np.random.Generator) -> bool:
        sides = [means(losses(kind, examples, random), number * SLICES + part) for part in range(SLICES)]
        return _any([paired(*side, LEVEL, counted=False) for side in sides])

    return happens


def _any(found: Sequence[Difference]) -> bool:
    return min(holm([difference.p for difference in found if difference.p is not None]), default=1.0) <= 1 - LEVEL


def _passes(examples: int, differing: float) -> Callable[[int, np.random.Generator], bool]:
    """The second model is worse by just the margin of `may_drop`."""
    chances = discordant(examples, differing, 0.3)

    def happens(number: int, random: np.random.Generator) -> bool:
        counts = random.multinomial(examples, chances).tolist()
        low = bounds_of_difference(*shares(examples, counts, number), TAIL, counted=True).low
        return low is not None and low >= chances[2] - chances[1]

    return happens


def _passes_losses(kind: str, examples: int) -> Callable[[int, np.random.Generator], bool]:
    """The second model is worse by just the margin: both alike, and a margin of 0."""

    def happens(number: int, random: np.random.Generator) -> bool:
        high = bounds_of_difference(*means(losses(kind, examples, random), number), TAIL, counted=False).high
        return high is not None and high <= 0

    return happens


def _passes_at_truth(kind: str, examples: int) -> Callable[[int, np.random.Generator], bool]:
    """A mean loss of 1, held against `at_most: 1`."""

    def happens(number: int, random: np.random.Generator) -> bool:
        loss = random.exponential(size=examples) if kind == "exponential" else random.lognormal(-0.5, 1, examples)
        high = bounds_of(means(np.stack([loss, loss]), number)[0], TAIL, counted=False).high
        return high is not None and high <= 1

    return happens


def _few(number: int, random: np.random.Generator) -> bool:
    """Three of 1,000 examples, each of a weight of its own, are judged differently; `must_gain: 0`."""
    worth = random.uniform(0.5, 1.5, 3) * random.choice([-1, 1], 3) / 1000
    gain = random.poisson(1, (REPLICATES, 3)) @ worth
    sides = Number(0.5, None, 1000, 0.01, np.full(REPLICATES, 0.5)), Number(0.5 + worth.sum(), None, 1000, 0.01, 0.5 + gain)
    low = bounds_of_difference(*sides, TAIL, counted=False).low
    return low is not None and low >= 0


def _small_gap(_: int, random: np.random.Generator) -> bool:
    """A gap of 0.1 between three slices and a fourth, held against `at_most: 0.1`."""
    right = random.binomial(400, [0.9, 0.9, 0.9, 0.8]).tolist()
    high = bounds_of_gap([Number(k / 400, None, 400) for k in right], TAIL, counted=True).high
    return high is not None and high < 0.1


def _shown(pair: bool) -> Callable[[int, np.random.Generator], bool]:
    """Two models that agree on 95 % of 1,000 examples, the second better by two points."""

    def happens(number: int, random: np.random.Generator) -> bool:
        sides = shares(1000, random.multinomial(1000, [0.78, 0.015, 0.035, 0.17]).tolist(), number)
        p = (paired(*sides, LEVEL, counted=True) if pair else unpaired(*sides, LEVEL)).p
        return p is not None and p <= 0.05

    return happens


COVERS = "the paired interval of 95 % covers the true difference"
ALARM = f"no difference in {SLICES} slices, and Holm sees one"
PASSES = "worse by just the margin, and the gate passes"
QUESTIONS = (
    *(Question(COVERS, f"accuracy, 1,000 examples, {n} differ", _covers(1000, n), 0.95) for n in (2, 6, 12, 30, 200)),
    Question(COVERS, "accuracy, 100 examples, 10 differ", _covers(100, 10), 0.95),
    Question(COVERS, "normal losses, 30 examples", _covers_losses("normal", 30), 0.925),
    Question(COVERS, "normal losses, 1,000 examples", _covers_losses("normal", 1000), 0.94, every=4),
    Question(COVERS, "lognormal losses, 100 examples", _covers_losses("lognormal", 100), 0.92),
    Question(COVERS, "lognormal losses, 1,000 examples", _covers_losses("lognormal", 1000), 0.93, every=4),
    *(Question(COVERS, f"losses of a shy and a sure model, {n:,} examples", _covers_losses("shy and sure", n), least, every=every)
      for n, least, every in ((50, 0.90, 1), (200, 0.92, 1), (1000, 0.93, 4))),
    Question(ALARM, "accuracy, 1,000 examples a slice, 60 differ", _alarm(1000, 60), 0.0, 0.05, every=4),
    Question(ALARM, "accuracy, 1,000 examples a slice, 8 differ", _alarm(1000, 8), 0.0, 0.05, every=4),
    Question(ALARM, "accuracy, 25 examples a slice, 4 differ", _alarm(25, 4), 0.0, 0.05, every=4),
    Question(ALARM, "normal losses, 50 examples a slice", _alarm_of_losses("normal", 50), 0.0, 0.05, every=4),
    Question(ALARM, "lognormal losses, 100 examples a slice", _alarm_of_losses("lognormal", 100), 0.0, 0.05, every=4),
    *(Question(ALARM, f"losses of a shy and a sure model, {n:,} examples a slice", _alarm_of_losses("shy and sure", n), 0.0, most, every=every)
      for n, most, every in ((50, 0.17, 4), (200, 0.08, 8))),
    *(Question(PASSES, f"accuracy, {n:,} examples, {m} differ", _passes(n, m), 0.0, 0.05) for n, m in ((1000, 100), (1000, 12), (200, 60))),
    Question(PASSES, "normal losses, 50 examples", _passes_losses("normal", 50), 0.0, 0.06),
    Question(PASSES, "lognormal losses, 200 examples", _passes_losses("lognormal", 200), 0.0, 0.06),
    *(Question(PASSES, f"losses of a shy and a sure model, {n} examples", _passes_losses("shy and sure", n), 0.0, 0.09) for n in (50, 200)),
    Question(PASSES, "3 of 1,000 examples, of weights of their own", _few, 0.0, 0.05),
    *(Question("just at the bound of at_most, and the gate passes", f"{kind} losses, {n} examples", _passes_at_truth(kind, n), 0.0, most)
      for kind, n, most in (("exponential", 50, 0.08), ("lognormal", 50, 0.12), ("lognormal", 1000, 0.08))),
    Question("a gap of 0.1, and the gate says it is smaller", "accuracy, 4 slices of 400 examples", _small_gap, 0.0, 0.05),
    Question("better by 2 points, 95 % alike, and the paired test sees it", "accuracy, 1,000 examples", _shown(True), 0.7),
    Question("the same, and the test without pairs sees it", "accuracy, 1,000 examples", _shown(False), 0.0, 0.3),
)  # fmt: skip


def counted(simulations: int, first: int = 0, places: Sequence[int] = tuple(range(len(QUESTIONS)))) -> list[Counted]:
    """Count how often each question's event happens.

    Args:
      simulations: how many; each has data and multiplicities of its own. Of a question that takes long one of `every`.
      first: number of the first.
      places: which of `QUESTIONS`.
    """
    found = []
    for place in places:
        numbers = [number for number in range(first, first + simulations) if number % QUESTIONS[place].every == 0]
        happens = QUESTIONS[place].happens
        events = sum(happens(number, np.random.default_rng([number, place, 17])) for number in numbers)
        found.append(Counted(place, len(numbers), events))
    return found


def outside(found: Sequence[Counted], deviations: float = 3.0) -> list[str]:
    """Name the questions whose share is not what is expected, by more than the noise of the simulations."""
    names = []
    for result in found:
        question = QUESTIONS[result.place]
        low, high = (
            bound + sign * deviations * math.sqrt(bound * (1 - bound) / result.simulations)
            for bound, sign in ((question.least, -1), (question.most, 1))
        )
        if not low <= result.share <= high:
            names.append(f"{question.text} ({question.data}): {result.share:.2%}")
    return names


def table(found: Sequence[Counted]) -> str:
    """Write the shares as lines of a Markdown table."""
    lines = ["| how often | data | simulations | share | expected |", "| --- | --- | ---: | ---: | --- |"]
    for result in found:
        question = QUESTIONS[result.place]
        expected = f"at least {question.least:.1%}" if question.least else f"at most {question.most:.0%}"
        cells = [question.text, question.data, f"{result.simulations:,}", f"{result.share:.1%}", expected]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
