"""What binds at the sizes of a bench, in sentences for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.bench.binding import LEADING, Binding, Bound

__all__ = ["sentence"]


def sentence(bindings: Sequence[Binding]) -> str:
    """Say what binds at which sizes.

    Args:
      bindings: of one setting and scaling, by ranks.

    >>> sentence([Binding(1, Bound.MODEL, 0.8, 90.0, 100.0)])
    'The model binds at 1 rank: 90 of the 100 examples/s that it does alone.'
    """
    return " ".join(f"{_named(run[-1])} {_where(run, bindings)}{_figures(run[-1])}." for run in _runs(bindings))


def _runs(bindings: Sequence[Binding]) -> Iterator[list[Binding]]:
    """Cut into runs of sizes at which the same binds."""
    run: list[Binding] = []
    for binding in bindings:
        if run and _alike(run[-1]) != _alike(binding):
            yield run
            run = []
        run.append(binding)
    if run:
        yield run


def _alike(binding: Binding) -> tuple[object, ...]:
    """Return what sizes have in common that one sentence tells of."""
    if binding.bound in (Bound.NOTHING, Bound.UNKNOWN):
        return binding.bound, binding.part if binding.part_share >= LEADING else None
    return binding.bound, binding.rank


NAMES = {
    Bound.READING: "Reading binds",
    Bound.MODEL: "The model binds",
    Bound.METRICS: "The metrics bind",
    Bound.CORES: "The processor cores bind",
    Bound.FINAL_SUM: "The final sum binds",
    Bound.COMMITS: "Commits and the like bind",
    Bound.WAITING: "Waiting for other ranks binds",
    Bound.NOTHING: "Nothing binds alone",
    Bound.UNKNOWN: "What binds cannot be told",
}


def _named(binding: Binding) -> str:
    if binding.bound is Bound.SLOW_RANK:
        return f"A slow rank binds, rank {binding.rank} on {binding.host},"
    return NAMES[binding.bound]


def _where(run: Sequence[Binding], bindings: Sequence[Binding]) -> str:
    first, last = run[0].ranks, run[-1].ranks
    ranks = "rank" if last == 1 else "ranks"
    if len(run) == len(bindings) and len(run) > 1:
        return "at every size"
    if len(run) == 1:
        return f"at {last:,} {ranks}"
    return f"from {first:,} ranks on" if run[-1] is bindings[-1] else f"from {first:,} to {last:,} ranks"


def _figures(binding: Binding) -> str:
    achieved, limit, share = binding.achieved, binding.limit, f"{binding.share:.0%}"
    if binding.bound is Bound.SLOW_RANK:
        return f": {share} of what the ranks could do is lost by it"
    if binding.bound is Bound.FINAL_SUM and achieved is not None:
        alone = f"; the sum alone takes {limit:.3g} s" if limit is not None else ""
        return f": it takes {achieved:.3g} s, {share} of the work{alone}"
    if binding.bound in (Bound.METRICS, Bound.COMMITS, Bound.WAITING):
        return f": {share} of the work"
    if binding.bound is Bound.NOTHING:
        return f": {_spread_over(binding)}"
    if achieved is None or limit is None:
        return f": too little work, or limits that were disturbed{_largest(binding)}"
    if binding.bound is Bound.CORES:
        return f": {achieved:,.0f} examples/s, for reading and predicting share them; one of the two alone does {limit:,.0f}"
    own = {Bound.READING: "reading alone gives", Bound.MODEL: "it does alone"}[binding.bound]
    return f": {_rates(achieved, limit, binding.bytes_an_example if binding.bound is Bound.READING else None)} that {own}"


def _spread_over(binding: Binding) -> str:
    """Say why nothing binds alone.

    >>> _spread_over(Binding(1, Bound.NOTHING, part="metrics", part_share=0.35))
    'no part takes most of the work'
    >>> _spread_over(Binding(1, Bound.NOTHING, part_share=0.6))
    'its repeats do not agree on which part takes most of the work'
    """
    if binding.part_share < LEADING:
        return "no part takes most of the work"
    if not binding.part:
        return "its repeats do not agree on which part takes most of the work"
    return f"its repeats do not agree on what binds{_largest(binding)}"


def _largest(binding: Binding) -> str:
    """Name the part that takes the largest share in every repeat, where that is much."""
    if not binding.part or binding.part_share < LEADING:
        return ""
    part = {"other": "commits and the like", "reducing": "the final sum"}.get(binding.part, binding.part)
    return f"; in each the largest part of the work is {part}, {binding.part_share:.0%}"


def _rates(achieved: float, limit: float, bytes_an_example: float | None) -> str:
    """Say a rate and its limit: in bytes where those are known.

    >>> _rates(1900, 2100, 1e6), _rates(1900, 2100, None)
    ('1.9 GB/s of the 2.1 GB/s', '1,900 of the 2,100 examples/s')
    """
    if bytes_an_example is None:
        return f"{achieved:,.0f} of the {limit:,.0f} examples/s"
    scale, unit = next(
        ((size, unit) for size, unit in ((1e9, "GB/s"), (1e6, "MB/s")) if limit * bytes_an_example >= size), (1e3, "kB/s")
    )
    first, second = (rate * bytes_an_example / scale for rate in (achieved, limit))
    return f"{first:.2g} {unit} of the {second:.2g} {unit}" if second < 10 else f"{first:.0f} {unit} of the {second:.0f} {unit}"
