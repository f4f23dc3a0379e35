"""Three or more sides: of each metric the best, and those that cannot be told from it. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from harness.comparison.comparison import chosen, compare, level_of
from harness.comparison.sides import WHOLE, Number, Side
from harness.metrics.direction import Better

__all__ = ["Ranked", "rank"]


@dataclass(frozen=True)
class Ranked:
    """One metric of all sides.

    Attributes:
      number: which; `label` is what it is called.
      values: of each side; None where it is not there.
      best: the place of the best side; None where no way is better, or no side has a value.
      alike: the places of those whose difference from the best was tested and not shown, the best itself among them.
      tested: the places of those whose difference from the best has a p-value.
    """

    number: str
    label: str
    values: Sequence[Number | None]
    best: int | None
    alike: frozenset[int]
    tested: frozenset[int] = frozenset()


def rank(sides: Sequence[Side], *, metrics: Collection[str] = (), level: float | None = None, pair: bool = True) -> list[Ranked]:
    """Rank the sides by each number of the whole.

    Each other side is compared with the best. Which one that is the same examples say, so any two sides may have come to be
    compared: the p-values are adjusted for as many as there are pairs of sides, by Bonferroni. The value of the best is on
    average too good.
    """
    wanted = {key for side in sides[1:] for key in chosen(sides[0], side, metrics)}
    names = dict.fromkeys(name for side in sides for name in side.numbers[WHOLE] if side.metric_of(name) in wanted)
    p_values: dict[tuple[int, str], dict[int, float | None]] = {}
    ranked = []
    for name in names:
        values = [side.numbers[WHOLE].get(name) for side in sides]
        held = {at: each.value for at, each in enumerate(values) if each is not None and each.value is not None}
        way = sides[0].better(name)
        label = next(side.number_labels[name] for side in sides if name in side.number_labels)
        if not held or way is Better.NEITHER:
            ranked.append(Ranked(name, label, values, None, frozenset()))
            continue
        best = max(held, key=lambda at: held[at] if way is Better.HIGHER else -held[at])
        if (best, "") not in p_values:
            _compare_with(sides, best, level, pair, p_values)
        known = p_values.get((best, name), {})
        tested = [(at, p) for at in held if (p := known.get(at)) is not None]
        threshold = 1 - level_of(sides[0], level) + 1e-12
        pairs = math.comb(len(tested) + 1, 2)
        alike = {at for at, p in tested if pairs * p > threshold}
        ranked.append(Ranked(name, label, values, best, frozenset(alike | {best}), frozenset(at for at, _ in tested)))
    return ranked


def _compare_with(
    sides: Sequence[Side], best: int, level: float | None, pair: bool, p_values: dict[tuple[int, str], dict[int, float | None]]
) -> None:
    """Note the p-values of every number of the other sides against the best one."""
    p_values[best, ""] = {}
    whole = [replace(side, numbers={WHOLE: side.numbers[WHOLE]}) for side in sides]
    for at, side in enumerate(whole):
        if at == best:
            continue
        for line in compare(whole[best], side, level=level, pair=pair).lines:
            p_values.setdefault((best, line.number), {})[at] = line.difference.p
