"""Whether a bench is as good as a reference: the same bytes, and as fast. Verdicts and documents are those of gates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from harness.bench.answer import Answer, State
from harness.bench.figures import Size
from harness.bench.ratio import check_alike, same_sizes
from harness.bench.spread import Spread, ratio_spread
from harness.bench.tables import size_name
from harness.comparison.gate_command import ENDINGS, Ruling
from harness.comparison.judgements import Gated, Judgement, Verdict
from harness.errors import UsageError
from harness.folder.output_file import write_output

__all__ = ["accept_bench", "share", "write_acceptance"]

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
    for size, own in same_sizes(reference, bench):
        judgements += _judged(size, own, reference, bench, tolerance)
    return Ruling(names[1], names[0], Gated(judgements, {}, notes))


def _valid(rule: str, bench: Answer) -> Judgement:
    verdict = Verdict.PASS if bench.state is State.VALID else Verdict.FAIL
    return Judgement(rule, verdict, None, None, reason="" if verdict is Verdict.PASS else f"{bench.state}: {bench.problems[0]}")


def _judged(size: Size, own: Size | None, reference: Answer, bench: Answer, tolerance: float) -> Iterator[Judgement]:
    name = size_name(size, whole=True)
    if own is None:
        yield Judgement(f"a result at {name}", Verdict.FAIL, None, None, reason="the bench has none")
        return
    same = _digests(reference, size) == _digests(bench, own)
    reason = "" if same else "metrics.json has other bytes: however fast, it is another result"
    yield Judgement(f"the same bytes at {name}", Verdict.PASS if same else Verdict.FAIL, None, None, reason=reason)
    times = ratio_spread(own.values("solution_s"), size.values("solution_s"))
    yield _within(f"time to solution at {name}", times, 1 + tolerance, is_floor=False)
    yield _within(f"examples/s at {name}", ratio_spread(own.values("rate"), size.values("rate")), 1 - tolerance, is_floor=True)


def _digests(bench: Answer, size: Size) -> set[str]:
    return {
        fact.digest
        for fact in bench.facts
        if fact.is_done and (dict(fact.setting), fact.scaling, fact.ranks) == (dict(size.setting), size.scaling, size.ranks)
    }


def _within(rule: str, ratio: Spread | None, bound: float, *, is_floor: bool) -> Judgement:
    """Judge a ratio: it passes where its interval does, and fails where none of it does."""
    if ratio is None:
        return Judgement(rule, Verdict.INCONCLUSIVE, None, bound, reason="there is too little work to measure", is_floor=is_floor)
    if ratio.low is None or ratio.high is None:
        reason = "one repeat has no interval: bench with --repeat 5"
        return Judgement(rule, Verdict.INCONCLUSIVE, ratio.value, bound, reason=reason, is_floor=is_floor)
    good, bad = (ratio.low >= bound, ratio.high < bound) if is_floor else (ratio.high <= bound, ratio.low > bound)
    verdict = Verdict.PASS if good else Verdict.FAIL if bad else Verdict.INCONCLUSIVE
    reason = "" if verdict is not Verdict.INCONCLUSIVE else "the interval holds the bound: more repeats would tell"
    # An interval is given to `Judgement` in `reason`: its own is that of examples, of which so many more would tell.
    text = f"bench divided by reference, [{ratio.low:.3f}, {ratio.high:.3f}]"
    return Judgement(rule, verdict, ratio.value, bound, reason="; ".join(filter(None, [text, reason])), is_floor=is_floor)


def write_acceptance(ruling: Ruling, output: Path) -> None:
    """Write the verdicts as JUnit's XML, Markdown or JSON, by the ending of the file.

    Raises: UsageError: it has another ending.
    """
    if (form := ENDINGS.get(output.suffix)) is None:
        raise UsageError(f"{output}: expected a name that ends in {', '.join(ENDINGS)}, found {output.suffix or 'no ending'}")
    write_output(output, ruling.text(form))
