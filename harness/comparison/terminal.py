"""Comparisons as people read them: tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.comparison.comparison import NO_BOOTSTRAP, Comparison, Line
from harness.comparison.documents import lines_table, ranking_table, worst_first
from harness.comparison.ranking import Ranked
from harness.comparison.sides import WHOLE, Side
from harness.results.printed import Block
from harness.results.tables import slice_name

__all__ = ["comparison_blocks", "ranking_blocks", "rests_on"]

MOST_SLICES = 40  # shown; all are in compare.json
MOST_LEFT_OUT = 10
MOST_NAMED = 3
CHOSEN = "The best of several is chosen by these same examples: its value is on average too good"


def comparison_blocks(comparison: Comparison) -> Iterator[Block]:
    """Return the whole, then slices, the worst first, and what the table rests on."""
    names = comparison.first.name, comparison.second.name
    title = f"{names[1]} against {names[0]}"
    whole = [line for line in comparison.lines if line.slice == WHOLE]
    slices = sorted((line for line in comparison.lines if line.slice != WHOLE), key=worst_first)
    yield lines_table(whole, *names, title)
    if slices:
        yield lines_table(slices[:MOST_SLICES], *names)
        if len(slices) > MOST_SLICES:
            yield f"the worst {MOST_SLICES} of {len(slices):,} numbers of slices; all of them: -o compare.json"
    for line in whole:
        if line.difference.reason and line.difference.reason != NO_BOOTSTRAP:
            yield f"{line.label}: the difference has no interval: {line.difference.reason}"
    for entry in comparison.left_out[:MOST_LEFT_OUT]:
        yield f"not compared: {entry.label}: {entry.reason}"
    if len(comparison.left_out) > MOST_LEFT_OUT:
        yield f"and {len(comparison.left_out) - MOST_LEFT_OUT:,} more that are not compared"
    for note in comparison.notes:
        yield f"note: {note}"
    yield rests_on(comparison)


def ranking_blocks(sides: Sequence[Side], ranked: Sequence[Ranked]) -> Iterator[Block]:
    """Return all sides side by side."""
    yield ranking_table(sides, ranked)
    yield f"** the best; * cannot be told from it. {CHOSEN}"


def rests_on(comparison: Comparison) -> str:
    """Say how the differences were made, and what holds all of them together."""
    drawn = comparison.first.question.bootstrap is not None
    if comparison.is_paired and not drawn and not comparison.family:
        return "no intervals and no p-values: the jobs have no bootstrap; say bootstrap: {replicates: 200} in both"
    how = "within the same replicates" if drawn else "by counts of examples, the others without intervals for want of a bootstrap"
    how = how if comparison.is_paired else "as if the examples had nothing to do with each other"
    text = f"differences {how}; intervals of {comparison.level:.0%}; "
    if not comparison.family:
        return text + "no p-values"
    text += f"p-values hold for all {comparison.family:,} together (Holm)"
    if (wanted := comparison.wanted_replicates) is not None:
        text += f"; {_by_replicates(comparison.lines)}: for so many p-values bootstrap.replicates has to be {wanted:,}"
    return text


def _by_replicates(lines: Sequence[Line]) -> str:
    """Say whose p-values count replicates."""
    names = [
        f"{line.label} of {slice_name(dict(line.slice))}" if line.slice else line.label
        for line in lines
        if line.difference.method == "replicates"
    ]
    others = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return f"those of {', '.join(names[:MOST_NAMED])}{others} count replicates"
