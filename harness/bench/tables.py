"""A bench as tables of texts, for the terminal, Markdown and the page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.bench.answer import Answer, Swept
from harness.bench.figures import PARTS, Size
from harness.bench.rules import Scaling
from harness.bench.spread import Spread
from harness.results.tables import NULL, TextTable, number

__all__ = [
    "facts_table",
    "level_sentence",
    "limits_table",
    "machine_table",
    "parts_table",
    "result_text",
    "scaling_table",
    "serial_sentence",
    "size_name",
    "spread_text",
    "sweep_table",
    "trials_table",
]

FINEST = 1e-4  # of a figure that its text tells, however alike the repeats are


def spread_text(spread: Spread | None, scale: float = 1.0) -> str:
    """Write a median with its interval, to the digits that it supports.

    >>> spread_text(Spread(3.14159, 3.0, 3.5, 0.9375, 5)), spread_text(None)
    ('3.14 [3.00, 3.50]', 'null')
    >>> spread_text(Spread(0.9175, 0.9175, 0.9175000000000001, 0.5, 2))  # repeats that are alike: no more digits than that
    '0.917500 [0.917500, 0.917500]'
    """
    if spread is None:
        return NULL
    if spread.low is None or spread.high is None:
        return number(spread.value * scale, abs(spread.value * scale) / 100)
    error = max((spread.high - spread.low) / 4, abs(spread.value) * FINEST) * scale
    ends = ", ".join(number(end * scale, error) for end in (spread.low, spread.high))
    return f"{number(spread.value * scale, error)} [{ends}]"


def size_name(size: Size, *, whole: bool = False) -> str:
    """Say which size it is; with the word for it where no column has that."""
    unit = "" if not whole else " rank" if size.ranks == 1 else " ranks"
    words = [f"{size.ranks:,}{unit}", *(f"{key}={value}" for key, value in size.setting.items())]
    return ", ".join(words) + (" (weak)" if size.scaling == Scaling.WEAK else "")


def facts_table(answer: Answer) -> TextTable:
    """Return what was asked for, and what was chosen."""
    rules = answer.rules
    done = [size for size in answer.sizes if size.trials]
    examples = sorted({trial.examples for size in done if size.scaling == Scaling.STRONG for trial in size.trials})
    attempts = [fact.attempt for fact in answer.facts if fact.is_done]
    rows = {
        "job": answer.name,
        "examples": ", ".join(f"{count:,}" for count in examples),
        "ranks": ", ".join(str(ranks) for ranks in rules.ranks),
        "repeats": f"{rules.repeat}, after {rules.warm_ups} warm-up of each size, sizes forth and back",
        "transport": _alike(attempts, "comm"),
        "schedule": _alike(attempts, "schedule"),
        "hosts": rules.hosts or "",
        "Slurm partition": rules.slurm or "",
        "GPUs of a rank": "" if rules.gpus_per_rank is None else str(rules.gpus_per_rank),
        "minutes allowed": "" if rules.minutes is None else f"{rules.minutes:g}",
        "overrides": ", ".join(rules.overrides),
        "devices": ", ".join(sorted({str(device) for attempt in attempts for rank in attempt.get("ranks") or []
                                     for device in rank.get("devices") or []})),
        "trials": f"{sum(fact.is_done for fact in answer.facts)} done of {len(answer.facts)}, warm-ups included",
    }  # fmt: skip
    return TextTable(["fact", "value"], [[name, text] for name, text in rows.items() if text], names=2, title="The bench")


def _alike(attempts: Sequence[Mapping[str, Any]], key: str) -> str:
    return ", ".join(sorted({str(attempt[key]) for attempt in attempts if attempt.get(key)}))


def parts_table(sizes: Sequence[Size]) -> TextTable:
    """Return the time to solution by size, and the medians of its parts."""
    table = TextTable(["ranks", "time to solution, s", *PARTS], title="Time to solution and its parts, seconds")
    for size in sizes:
        parts = [_seconds(size.median(name)) for name in PARTS]
        table.rows.append([size_name(size), spread_text(size.spread("solution_s")), *parts])
    return table


def _seconds(seconds: float | None) -> str:
    return NULL if seconds is None else f"{seconds:.3f}" if seconds < 10 else f"{seconds:,.1f}"


def scaling_table(answer: Answer, number_: int, scaling: Scaling) -> TextTable | None:
    """Return speed and efficiency by size; None where there are no two sizes of that kind."""
    scaled = answer.scaled(number_, scaling)
    if scaling is Scaling.WEAK and len(scaled) < 2:
        return None
    sizes = {size.ranks: size for size in answer.of(number_) if size.trials and size.scaling == Scaling.STRONG}
    if scaling is Scaling.WEAK:
        sizes |= {size.ranks: size for size in answer.of(number_) if size.trials and size.scaling == Scaling.WEAK}
    columns = ["ranks", "examples", "examples/s", "examples/s a rank", "efficiency", "of the loop alone"]
    title = f"{str(scaling).capitalize()} scaling"
    table = TextTable([*columns, *(["serial share (Karp, Flatt)"] if scaling is Scaling.STRONG else [])], title=title)
    for line in scaled:
        size = sizes[line.ranks]
        rate = size.spread("rate")
        cells = [f"{line.ranks:,}", f"{size.trials[0].examples:,}", spread_text(rate), spread_text(rate, 1 / line.ranks)]
        first = line is scaled[0]
        cells += ["1" if first else spread_text(line.efficiency), "1" if first else spread_text(line.loop_efficiency)]
        if scaling is Scaling.STRONG:
            cells.append("" if first else spread_text(line.karp_flatt))
        table.rows.append(cells)
    return table


def limits_table(sizes: Sequence[Size]) -> TextTable:
    """Return the limits by size, beside what was achieved."""
    columns = ["ranks", "examples/s", "model alone", "reading alone", "final sum, ms", "sum alone, ms", "most memory, MB"]
    table = TextTable([*columns, "joules", "money"], title="Limits of the machine, measured in the same runs")
    for size in sizes:
        memory = size.median("peak_bytes")
        table.rows.append(
            [
                size_name(size),
                *(spread_text(size.spread(name)) for name in ("rate", "forward_rate", "reading_rate")),
                spread_text(size.spread("reducing"), 1e3),
                spread_text(size.spread("sum_s"), 1e3),
                NULL if memory is None else f"{memory / 1e6:,.0f}",
                *(spread_text(size.spread(name)) for name in ("joules", "money")),
            ]
        )
    return table


def serial_sentence(answer: Answer, number_: int) -> str:
    """Say which share of the time more ranks do not shorten, and what it is made of."""
    serial = answer.serial(number_)
    if serial is None:
        return ""
    largest = answer.strong(number_)[-1].ranks
    parts = sorted(((seconds, name) for name, seconds in serial.parts_s.items() if seconds >= 0.001), reverse=True)
    made_of = ", ".join(f"{name} {_seconds(seconds)} s" for seconds, name in parts[:5])
    sizes = answer.strong(number_)
    misfit = f"largest misfit {serial.misfit:.0%}" if len(sizes) > 2 else "two sizes fit any: a third would tell whether it holds"
    first = f" of the time at {sizes[0].ranks:,} ranks" if sizes[0].ranks > 1 else ""
    law = f"Amdahl's law fits with a serial share of {serial.share:.0%}{first} ({misfit})"
    beyond = ""
    if serial.share > 1:
        beyond = "; above 100% more ranks take longer"
    elif serial.share < 0:
        beyond = "; below 0% more ranks bring more than their number"
    return f"{law}{beyond}. What does not get less with ranks, at {largest:,}: {made_of or 'nothing above a millisecond'}."


def level_sentence(answer: Answer, number_: int) -> str:
    """Say what numbers in brackets are, and how often they hold what they are of."""
    spreads = [size.spread("solution_s") for size in answer.strong(number_)]
    medians = [spread.level for spread in spreads if spread is not None and spread.level]
    ratios = [
        line.efficiency.level
        for scaling in Scaling
        for line in answer.scaled(number_, scaling)
        if line.efficiency is not None and line.efficiency.level
    ]
    if not medians:
        return "Medians over repeats; one repeat has no interval."
    levels = f"so many repeats hold the median in {min(medians):.0%} of benches"
    levels += f", an efficiency or a serial share by Karp and Flatt in {min(ratios):.0%}" if ratios else ""
    return f"Medians over repeats, in brackets their intervals by order statistics: {levels}."


def sweep_table(answer: Answer) -> TextTable:
    """Return the settings of a sweep, the best marked, and what they change in the result."""
    sizes = [f"examples/s, {count:,} rank{'s' if count > 1 else ''}" for count in answer.rules.ranks]
    table = TextTable(["setting", *sizes, "result"], title="Settings")
    for swept in answer.swept:
        name = ", ".join(f"{key}={value}" for key, value in swept.setting.items()) + (" **" if swept.is_best else "")
        rates = [
            number(rate, rate / 100) if (rate := swept.rates.get(count)) is not None else NULL for count in answer.rules.ranks
        ]
        table.rows.append([name, *rates, result_text(swept)])
    return table


def result_text(swept: Swept) -> str:
    """Say whether the result of a setting is that of the first, and what is not the same."""
    if swept.same_bits is None:
        return "unknown"
    if swept.same_bits:
        return "the same bits"
    largest = sorted(swept.differences.items(), key=lambda pair: -abs(pair[1]))[:3]
    named = ", ".join(f"{key} {change:+.3g}" for key, change in largest)
    return f"other bits: {named}" if named else "other bits, in tables, slices or intervals"


def trials_table(answer: Answer) -> TextTable:
    """Return a line a trial, in the order in which they were run."""
    columns = ["trial", "ranks", "setting", "state", "begun", "time to solution, s", "examples/s", "metrics.json", "remark"]
    table = TextTable(columns, title="Trials, in the order in which they were run")
    figures = {(size.number, size.scaling, size.ranks, trial.repeat): trial for size in answer.sizes for trial in size.trials}
    numbers = {tuple(size.setting.items()): size.number for size in answer.sizes}
    for fact in answer.facts:
        trial = figures.get((numbers[tuple(fact.setting.items())], fact.scaling, fact.ranks, fact.repeat))
        setting = ", ".join(f"{key}={value}" for key, value in fact.setting.items())
        speed = [f"{trial.solution_s:.3f}", number(trial.rate, 1.0) if trial.rate else NULL] if trial else ["", ""]
        remark = fact.reason or ("warm-up" if fact.repeat < 1 else "")
        table.rows.append([fact.name, str(fact.ranks), setting, fact.state, fact.begun, *speed, fact.digest[:12], remark])
    return table


def machine_table(machine: Mapping[str, Any]) -> TextTable:
    """Return what the machine is, a line a fact; what it does not tell is null."""
    return TextTable(["fact", "value"], [[name, text] for name, text in _flat(machine)], names=2, title="The machine")


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, part in value.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(part, Mapping):
            yield from _flat(part, f"{name}: ")
        elif isinstance(part, list) and part and all(isinstance(each, Mapping) for each in part):
            yield name, "; ".join(", ".join(f"{inner}" for inner in each.values() if inner is not None) for each in part)
        else:
            yield name, NULL if part is None else ", ".join(map(str, part)) if isinstance(part, list) else str(part)
