"""Two benches side by side: ratios by size, with intervals. Benches that are not of the same work are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.bench.answer import Answer, State
from harness.bench.figures import PARTS, Size
from harness.bench.rules import differing
from harness.bench.spread import LEVEL, Spread, fewest_repeats, ratio_spread
from harness.bench.tables import size_name, spread_text
from harness.errors import UsageError
from harness.folder.output_file import write_output
from harness.results.printed import Block, Printed
from harness.results.tables import TextTable, markdown

__all__ = ["Compared", "PrintedComparison", "Ratio", "check_alike", "compare_benches", "same_sizes", "write_comparison"]

FIGURES = ("solution_s", "rate", "forward_rate", "reading_rate", "sum_s", "peak_bytes", "joules", "money")
DIGESTS = ("job", "data", "model")
LAST_DIGITS = 1e-4  # of a value: from there on machines of another kind do not explain it
NEEDED = ("overrides", "sweeps", "version")  # rules that say what work it is


@dataclass(frozen=True)
class Ratio:
    """A figure of bench B divided by that of bench A.

    Attributes:
      size: in words.
      figure: which: above 1 is more in B, seconds or examples a second alike.
      ratio: with its interval.
    """

    size: str
    figure: str
    ratio: Spread


@dataclass(frozen=True)
class Compared:
    """Two benches side by side.

    Attributes:
      names: of A and B.
      ratios: by size and figure.
      notes: what should be known: rules that differ, sizes that one of them lacks, other bytes.
    """

    names: tuple[str, str]
    ratios: Sequence[Ratio]
    notes: Sequence[str]


def check_alike(first: Answer, second: Answer) -> list[str]:
    """See that two benches are of the same work; return in what else their rules differ.

    Raises: UsageError: they are not.
    """
    notes = [f"rules differ: {text}" for text in differing(first.rules, second.rules)]
    refused = [note for note in notes if note.removeprefix("rules differ: ").split(":")[0] in NEEDED]
    counts = [sorted({fact.examples for fact in bench.facts if fact.is_done}) for bench in (first, second)]
    if counts[0] != counts[1]:
        refused.append(f"examples: {counts[0]} and {counts[1]}")
    metrics = [sorted({key for fact in bench.facts if fact.is_done for key in fact.values}) for bench in (first, second)]
    if metrics[0] != metrics[1] and all(counts):
        refused.append(f"metrics: {' and '.join(', '.join(keys) or 'none' for keys in metrics)}")
    if refused:
        again = "do one of them again by the same rules (--minutes chooses examples by the machine: --set data.limit=N instead)"
        raise UsageError(f"these benches are not of the same work: {'; '.join(refused)}; {again}")
    if others := _other_work(first, second):
        notes.append(f"these benches are not of the same work: another {', another '.join(others)}, by digest")
    return notes


def _other_work(first: Answer, second: Answer) -> list[str]:
    """Return which of job, data and model have other digests; those that one of the benches does not know are left out."""
    known = [
        {kind: {fact.digests[kind] for fact in bench.facts if fact.is_done and kind in fact.digests} for kind in DIGESTS}
        for bench in (first, second)
    ]
    return [kind for kind in DIGESTS if known[0][kind] and known[1][kind] and known[0][kind].isdisjoint(known[1][kind])]


def same_sizes(first: Answer, second: Answer) -> Iterator[tuple[Size, Size | None]]:
    """Go through the sizes of the first bench that have a result, each with the second's."""
    others = {(tuple(size.setting.items()), size.scaling, size.ranks): size for size in second.sizes if size.trials}
    for size in first.sizes:
        if size.trials:
            yield size, others.get((tuple(size.setting.items()), size.scaling, size.ranks))


def compare_benches(first: Answer, second: Answer, names: tuple[str, str]) -> Compared:
    """Divide the figures of B by those of A.

    Raises: UsageError: the benches are not of the same work.
    """
    notes = check_alike(first, second)
    notes += [
        f"{name} is {bench.state}" for name, bench in zip(names, (first, second), strict=True) if bench.state != State.VALID
    ]
    ratios = []
    for size, other in same_sizes(first, second):
        if other is None:
            notes.append(f"{names[1]} has no result at {size_name(size, whole=True)}")
            continue
        for figure in (*FIGURES, *PARTS):
            ratio = ratio_spread(other.values(figure), size.values(figure))
            if ratio is not None:
                ratios.append(Ratio(size_name(size), figure, ratio))
    if {fact.bits for fact in first.facts if fact.is_done} != {fact.bits for fact in second.facts if fact.is_done}:
        notes.append(f"the results are not the same bits: {_why_other_bits(first, second)}")
    return Compared(names, ratios, notes)


def _why_other_bits(first: Answer, second: Answer) -> str:
    """Say how far the values of two benches are apart, and what that may come from."""
    if others := _other_work(first, second):
        return f"another {', another '.join(others)}"
    results = [next((fact.values for fact in bench.facts if fact.is_done), {}) for bench in (first, second)]
    apart = {
        key: abs(value - results[1][key]) / max(abs(value), abs(results[1][key]))
        for key, value in results[0].items()
        if key in results[1] and value != results[1][key]
    }
    if not apart:
        return "slices, intervals or tables differ; machines of another kind may give other last digits"
    key = max(apart, key=lambda name: apart[name])
    largest = f"{key} by {apart[key]:.1g} of its value"
    if apart[key] >= LAST_DIGITS:
        return f"{largest}, which is more than last digits: it is another model, other data, or a fault"
    return f"{largest}; machines of another kind may give other last digits"


class PrintedComparison(Printed):
    """A comparison as a command prints it."""

    def __init__(self, compared: Compared) -> None:
        self._compared = compared

    def blocks(self) -> Iterator[Block]:
        """Return the table of the main figures, and the notes."""
        yield _table(self._compared)
        yield from (f"note: {note}" for note in self._compared.notes)
        yield _levels(self._compared)


def _levels(compared: Compared) -> str:
    """Say what the intervals are, and how sure.

    >>> _levels(Compared(("a", "b"), [Ratio("1", "rate", Spread(1.0, 0.9, 1.1, 2 / 3, 2))], []))
    'B divided by A, with 67% intervals that assume no distribution: one that holds 1 tells no difference; 95% takes 4 repeats'
    """
    levels = [ratio.ratio.level for ratio in compared.ratios if ratio.ratio.level is not None]
    if not levels:
        return "B divided by A; one repeat has no interval"
    least = min(levels)
    text = f"B divided by A, with {least:.0%} intervals that assume no distribution: one that holds 1 tells no difference"
    return text if least >= LEVEL else f"{text}; {LEVEL:.0%} takes {fewest_repeats()} repeats"


def _table(compared: Compared) -> TextTable:
    held = {(ratio.size, ratio.figure): ratio.ratio for ratio in compared.ratios}
    shown = [figure for figure in FIGURES if any(ratio.figure == figure for ratio in compared.ratios)]
    table = TextTable(["ranks", *shown], title=f"{compared.names[1]} divided by {compared.names[0]}")
    for size in dict.fromkeys(ratio.size for ratio in compared.ratios):
        table.rows.append([size, *(spread_text(held.get((size, figure))) for figure in shown)])
    return table


def write_comparison(compared: Compared, output: Path) -> None:
    """Write a comparison as JSON or Markdown, by the ending of the file.

    Raises: UsageError: it has another ending.
    """
    if output.suffix == ".json":
        write_output(output, json.dumps(asdict(compared), indent=1) + "\n")
    elif output.suffix == ".md":
        notes = "".join(f"\nNote: {note}\n" for note in compared.notes)
        write_output(output, f"{markdown(_table(compared))}\n{notes}\n{_levels(compared)}\n")
    else:
        raise UsageError(f"{output}: expected a name that ends in .json or .md, found {output.suffix or 'no ending'}")
