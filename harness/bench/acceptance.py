"""Whether a bench is as good as a reference: the same bytes, and as fast. Verdicts and documents are those of gates.

Equal machines differ by chance, and a bench has a rule for the time and one for the speed of each size. So a rule FAILs by an
interval that is the wider the more rules there are (Bonferroni): at most `ALARMS` of the comparisons of equal machines FAIL,
whatever the number of sizes and repeats. All rules have to pass, so each passes by an interval of `LEVEL`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.bench.answer import Answer, State
from harness.bench.figures import Size
from harness.bench.ratio import check_alike, same_sizes
from harness.bench.spread import LEVEL, Spread, fewest_repeats, ratio_spread
from harness.bench.tables import size_name
from harness.comparison.gate_command import ENDINGS, Ruling
from harness.comparison.judgements import Gated, Judgement, Verdict
from harness.errors import UsageError
from harness.folder.output_file import write_output

__all__ = ["ALARMS", "accept_bench", "judge_ratio", "share", "write_acceptance"]

ALARMS = 0.05  # of the comparisons of equal machines, that may FAIL
SHARE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(%?)")


def share(text: str) -> float:
    """Read a share.

    Raises: UsageError: it is none between 0 and 1.

    >>> share("5%"), share("0.05")
    (0.05, 0.05)
    """
    match = SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= value < 1:
        raise UsageError(f"--tolerance {text}: expected a share between 0 and 1, as in 5% or 0.05")
    return value


def accept_bench(reference: Answer, bench: Answer, tolerance: float, names: tuple[str, str]) -> Ruling:
    """Judge a bench by a reference, a rule a line.

    Args:
      tolerance: share by which it may be slower.
      names: of reference and bench.
    Raises: UsageError: the two are not of the same work.
    """
    notes = check_alike(reference, bench)
    judgements = [_valid("the reference is valid", reference), _valid("the bench is valid", bench)]
    pairs = list(same_sizes(reference, bench))
    rules = 2 * sum(own is not None for _, own in pairs)
    for size, own in pairs:
        judgements += _judged(size, own, reference, bench, tolerance, rules)
    if rules:
        notes.append(
            f"time and speed FAIL by chance in at most {ALARMS:.0%} of benches of equal machines, all {rules} rules together; "
            f"PASS rests on intervals of at least {LEVEL:.0%}"
        )
    return Ruling(names[1], names[0], Gated(judgements, {}, notes))


def _valid(rule: str, bench: Answer) -> Judgement:
    verdict = Verdict.PASS if bench.state is State.VALID else Verdict.FAIL
    return Judgement(rule, verdict, None, None, reason="" if verdict is Verdict.PASS else f"{bench.state}: {bench.problems[0]}")


def _judged(size: Size, own: Size | None, reference: Answer, bench: Answer, tolerance: float, rules: int) -> Iterator[Judgement]:
    name = size_name(size, whole=True)
    if own is None:
        yield Judgement(f"a result at {name}", Verdict.FAIL, None, None, reason="the bench has none")
        return
    same = _digests(reference, size) == _digests(bench, own)
    reason = "" if same else "metrics.json has other bytes: however fast, it is another result"
    yield Judgement(f"the same bytes at {name}", Verdict.PASS if same else Verdict.FAIL, None, None, reason=reason)
    for figure, words, bound in (("solution_s", "time to solution", 1 + tolerance), ("rate", "examples/s", 1 - tolerance)):
        yield judge_ratio(
            f"{words} at {name}", own.values(figure), size.values(figure), bound, rules=rules, is_floor=figure == "rate"
        )


def _digests(bench: Answer, size: Size) -> set[str]:
    return {
        fact.digest
        for fact in bench.facts
        if fact.is_done and (dict(fact.setting), fact.scaling, fact.ranks) == (dict(size.setting), size.scaling, size.ranks)
    }


def judge_ratio(
    rule: str, own: Sequence[float], reference: Sequence[float], bound: float, *, rules: int, is_floor: bool
) -> Judgement:
    """Judge the ratio of two groups of repeats: it passes where its interval does, and fails where none of it does.

    Args:
      rule: its name.
      own, reference: above 0.
      rules: how many are judged together, which this is one of.
      is_floor: whether a ratio above the bound is good.

    >>> equal = [1.0, 1.01, 1.02, 1.03, 1.04]
    >>> judge_ratio("time", equal, equal, 1.1, rules=6, is_floor=False).verdict.name
    'PASS'
    >>> judge_ratio("time", [2.0, 2.1], [1.0, 1.1], 1.1, rules=2, is_floor=False).verdict.name
    'INCONCLUSIVE'
    """
    ratio = ratio_spread(own, reference)
    if ratio is None:
        return Judgement(rule, Verdict.INCONCLUSIVE, None, bound, reason="there is too little work to measure", is_floor=is_floor)
    if ratio.level is None or ratio.level < LEVEL:
        return Judgement(
            rule, Verdict.INCONCLUSIVE, ratio.value, bound, reason=_too_few(ratio, own, reference), is_floor=is_floor
        )
    alarm_level = 1 - 2 * ALARMS / rules
    wide = ratio_spread(own, reference, max(LEVEL, alarm_level)) or ratio
    is_known = wide.level is not None and wide.level >= alarm_level
    if _lies_beyond(wide, bound, is_floor=is_floor) and is_known:
        verdict, reason, ratio = Verdict.FAIL, "", wide
    elif _lies_beyond(ratio, bound, is_floor=is_floor):
        verdict = Verdict.INCONCLUSIVE
        reason = f"slower, but one of {rules} rules may be so by chance: "
        reason += "more repeats would tell" if is_known else f"it takes --repeat {fewest_repeats(alarm_level)} to tell"
    elif (ratio.low or 0.0) >= bound if is_floor else (ratio.high or 0.0) <= bound:
        verdict, reason = Verdict.PASS, ""
    else:
        verdict, reason = Verdict.INCONCLUSIVE, "the interval holds the bound: more repeats would tell"
    # An interval is given to `Judgement` in `reason`: its own is that of examples, of which so many more would tell.
    text = f"bench divided by reference, {ratio.level:.1%} interval [{ratio.low:.3f}, {ratio.high:.3f}]"
    return Judgement(rule, verdict, ratio.value, bound, reason="; ".join(filter(None, [text, reason])), is_floor=is_floor)


def _lies_beyond(ratio: Spread, bound: float, *, is_floor: bool) -> bool:
    """Return whether all of an interval is on the bad side of a bound."""
    return bool(ratio.high is not None and ratio.high < bound if is_floor else ratio.low is not None and ratio.low > bound)


def _too_few(ratio: Spread, own: Sequence[float], reference: Sequence[float]) -> str:
    """Say how many repeats there are, and how many it takes.

    >>> _too_few(Spread(1.0, 0.9, 1.1, 2 / 3, 2), [1.0, 1.0], [1.0] * 2)
    '2 and 2 repeats have an interval of 67%, and 95% is needed: at least 4 in each; bench with --repeat 5'
    """
    interval = "no interval" if ratio.level is None else f"an interval of {ratio.level:.0%}"
    return (
        f"{len(own)} and {len(reference)} repeats have {interval}, and {LEVEL:.0%} is needed: "
        f"at least {fewest_repeats()} in each; bench with --repeat 5"
    )


def write_acceptance(ruling: Ruling, output: Path) -> None:
    """Write the verdicts as JUnit's XML, Markdown or JSON, by the ending of the file.

    Raises: UsageError: it has another ending.
    """
    if (form := ENDINGS.get(output.suffix)) is None:
        raise UsageError(f"{output}: expected a name that ends in {', '.join(ENDINGS)}, found {output.suffix or 'no ending'}")
    write_output(output, ruling.text(form))
