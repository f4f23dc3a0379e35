"""What more ranks bring: efficiency, and the share of the time that does not get less with them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.bench.figures import FIXED, Size
from harness.bench.rules import Scaling
from harness.bench.spread import Spread, ratio_spread

__all__ = ["Scaled", "Serial", "scaled", "serial"]

SAME_SHARE = 0.1  # of the examples of a rank: shares of weak scaling are rounded


@dataclass(frozen=True)
class Scaled:
    """One size against the smallest of its kind.

    Attributes:
      ranks: how many.
      efficiency: of the time to solution: 1 where so many ranks are worth so many.
      loop_efficiency: of the examples a second while evaluating.
      karp_flatt: the serial share that the speed-up of this size alone comes from; None at the smallest size, and in weak
        scaling.
    """

    ranks: int
    efficiency: Spread | None
    loop_efficiency: Spread | None
    karp_flatt: Spread | None = None


@dataclass(frozen=True)
class Serial:
    """The share of the time to solution at the smallest size that more ranks do not shorten.

    Attributes:
      share: of Amdahl's law, fitted to the medians of all sizes; above 1 where more ranks take longer.
      misfit: the largest distance of a size from that law, as a share of the time at the smallest size.
      parts_s: what it is made of: seconds at the largest size of the parts that do not get less by themselves.
    """

    share: float
    misfit: float
    parts_s: Mapping[str, float]


def scaled(held: Sequence[Size], scaling: Scaling) -> list[Scaled]:
    """Compare the sizes of one setting with the smallest.

    Args:
      held: the sizes of the setting; the largest of strong scaling is the largest of weak scaling too.
    """
    chosen = _of(held, scaling)
    return [_against(chosen[0], size, scaling) for size in chosen] if chosen else []


def _of(held: Sequence[Size], scaling: Scaling) -> list[Size]:
    chosen = [size for size in held if size.scaling == scaling and size.trials]
    if scaling is Scaling.WEAK and chosen:
        strong = [size for size in held if size.scaling == Scaling.STRONG and size.trials]
        share, most = _share(chosen[0]), max(weak.ranks for weak in chosen)
        # With chunks of its own a rank has a few examples more or less; where a size failed, another one has many times as many.
        chosen += [size for size in strong if size.ranks > most and abs(_share(size) / share - 1) < SAME_SHARE][-1:]
    return sorted(chosen, key=lambda size: size.ranks)


def _share(size: Size) -> float:
    return size.trials[0].examples / size.ranks


def _against(first: Size, size: Size, scaling: Scaling) -> Scaled:
    factor = size.ranks / first.ranks
    times = ratio_spread(first.values("solution_s"), size.values("solution_s"))
    rates = ratio_spread(size.values("rate"), first.values("rate"))
    if size is first:
        return Scaled(size.ranks, None, None)
    whole = _times(times, 1 / factor) if scaling is Scaling.STRONG else times
    flat = _karp_flatt(times, factor) if scaling is Scaling.STRONG else None
    return Scaled(size.ranks, whole, _times(rates, 1 / factor), flat)


def _times(spread: Spread | None, factor: float) -> Spread | None:
    if spread is None:
        return None
    low, high = (None if end is None else end * factor for end in (spread.low, spread.high))
    return Spread(spread.value * factor, low, high, spread.level, spread.repeats)


def _karp_flatt(speedup: Spread | None, factor: float) -> Spread | None:
    """Return the serial share of a speed-up; the more speed-up the less.

    Source: A. H. Karp, H. P. Flatt, Measuring parallel processor performance, 1990.
    """
    if speedup is None or factor <= 1:
        return None

    def share(times: float) -> float:
        return (1 / times - 1 / factor) / (1 - 1 / factor)

    low, high = (None if end is None else share(end) for end in (speedup.high, speedup.low))
    return Spread(share(speedup.value), low, high, speedup.level, speedup.repeats)


def serial(held: Sequence[Size]) -> Serial | None:
    """Fit Amdahl's law to the sizes of one setting; None of one size.

    time(p) / time(1) = s + (1 - s) / p: a line through the origin in x = 1 - 1/p, y = time(p) / time(1) - 1/p.
    """
    strong = _of(held, Scaling.STRONG)
    times = [(size.ranks / strong[0].ranks, size.median("solution_s") or 0.0) for size in strong]
    if len(times) < 2 or not times[0][1]:
        return None
    points = [(1 - 1 / factor, seconds / times[0][1] - 1 / factor) for factor, seconds in times[1:]]
    share = sum(x * y for x, y in points) / sum(x * x for x, _ in points)
    misfit = max(abs(y - share * x) for x, y in points)
    return Serial(share, misfit, {name: strong[-1].median(name) or 0.0 for name in FIXED})
