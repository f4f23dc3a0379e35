"""What a load test comes to: whether the bounds are kept, missed, or it cannot be told, and one sentence why. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.bench.loadgen import ScenarioName
from harness.load.account import TICKS, LoadAccount
from harness.load.request import LatencyBound, LoadRequest
from harness.results.binomial import clopper_pearson

__all__ = ["BoundFinding", "Judgement", "Verdict", "judge"]

LEVEL = 0.95
FEWER = 0.05  # by which what is answered in a second has to fall short of what comes, to be called an overload
DEVIATIONS = 3  # of a count, by which it has to, too
BUSY = 0.9  # cores of this process, above which it may be what is slow: Python runs on one


class Verdict(StrEnum):
    """What a test comes to."""

    KEPT = "kept"
    MISSED = "missed"
    UNKNOWN = "cannot be told"

    @property
    def exit_code(self) -> int:
        """What the process ends with."""
        return {Verdict.KEPT: 0, Verdict.MISSED: 1, Verdict.UNKNOWN: 5}[self]


@dataclass(frozen=True)
class BoundFinding:
    """What came of a bound.

    Attributes:
      bound: see there.
      late: queries that were not answered within it: those without an answer are among them.
      queries: of all.
      low, high: interval of the share of queries that are late.
    """

    bound: LatencyBound
    late: int
    queries: int
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Kept where the whole interval is within what the bound allows, missed where none of it is."""
        allowed = 1 - self.bound.share
        return Verdict.KEPT if self.high <= allowed else Verdict.MISSED if self.low > allowed else Verdict.UNKNOWN

    @property
    def sentence(self) -> str:
        """Say it."""
        allowed = 1 - self.bound.share
        found = (
            f"{self.bound.text}: {self.late:,} of {self.queries:,} queries were later, {100 * self.late / self.queries:.3g} % "
            f"[{100 * self.low:.3g}, {100 * self.high:.3g}], {100 * allowed:.3g} % may be"
        )
        if self.verdict is not Verdict.UNKNOWN:
            return f"{found}: {self.verdict}"
        least = math.ceil(math.log((1 - LEVEL) / 2) / math.log(self.bound.share))
        more = f", and no fewer than {least:,} queries can" if self.queries < least else ""
        return f"{found}: so few queries do not tell{more}; --seconds asks for more"


@dataclass(frozen=True)
class Judgement:
    """What a load test comes to.

    Attributes:
      verdict: of all.
      sentences: why, the first says most.
      bounds: each.
      is_overloaded: whether fewer queries were answered than came, and more and more waited.
    """

    verdict: Verdict
    sentences: Sequence[str]
    bounds: Sequence[BoundFinding]
    is_overloaded: bool


def judge(request: LoadRequest, account: LoadAccount, busy: float, connections: int) -> Judgement:
    """Judge a test.

    Args:
      request: what was asked.
      account: what became of the queries.
      busy: cores that this process kept busy.
      connections: requests that could be under way.
    """
    bounds = [_of(bound, account) for bound in request.bounds]
    verdicts, sentences = [bound.verdict for bound in bounds], [bound.sentence for bound in bounds]
    if (is_overloaded := request.scenario is ScenarioName.SERVER and _overloaded(account)) or not account.answered:
        verdicts.append(Verdict.MISSED)
    if is_overloaded:
        sentences.insert(0, _overload(account, connections))
    if account.unanswered:
        sentences.append(_failures(account))
        if not bounds:
            verdicts.append(Verdict.MISSED)
    verdict = next((found for found in (Verdict.MISSED, Verdict.UNKNOWN) if found in verdicts), Verdict.KEPT)
    asked = 0.0 if request.qps is None else request.qps * account.last_came_s
    if asked - account.queries > max(FEWER * asked, DEVIATIONS * math.sqrt(asked)):
        note = (
            f"only {account.queries / account.last_came_s:,.4g} queries came in a second: this machine could not send more, so "
            "what the service does at the rate that was asked for is not known"
        )
        if not account.failed:
            return Judgement(Verdict.UNKNOWN, [note, *sentences], bounds, False)
        sentences.append(note)
    if busy >= BUSY:
        note = f"this process kept {busy:.2f} cores busy, and may itself be what is slow: {_busy_advice(request.scenario)}"
        if verdict is Verdict.MISSED and not account.failed:
            return Judgement(Verdict.UNKNOWN, [f"{note} before the service is blamed", *sentences], bounds, False)
        sentences.append(note)
    return Judgement(verdict, sentences, bounds, is_overloaded)


def _busy_advice(scenario: ScenarioName) -> str:
    """Say what to do where this process is busy: the streams have one query under way, on however many machines."""
    is_stream = scenario in (ScenarioName.SINGLE_STREAM, ScenarioName.MULTI_STREAM)
    return "use a faster machine" if is_stream else "spread the load over several machines"


def _of(bound: LatencyBound, account: LoadAccount) -> BoundFinding:
    late = account.late[bound.name] + account.unanswered
    return BoundFinding(bound, late, account.queries, *clopper_pearson(late, account.queries, LEVEL))


def _overloaded(account: LoadAccount) -> bool:
    """Whether clearly fewer queries ended than came, in the later half: what waits grows as long as they come."""
    came, ended = account.later_half
    if account.unanswered and not account.answered_later:
        return False  # it is gone, and that is said
    least = came - max(FEWER * came, DEVIATIONS * math.sqrt(came))
    return ended < least and account.most_answered < least


def _overload(account: LoadAccount, connections: int) -> str:
    """Say how much too much it was."""
    half_s = max(account.last_came_s - int(account.last_came_s * TICKS) // 2 / TICKS, 1e-9)
    came, ended = account.later_half
    windows = [window for _, window in sorted(account.timeline.windows.items())]
    medians = [found.value for window in (windows[0], windows[-1]) if (found := window.percentile(0.5))] if windows else []
    has_grown = len(medians) == 2 and medians[1] > medians[0]
    grown = f"; the latency of half of them grew from {medians[0]:,.0f} to {medians[-1]:,.0f} ms" if has_grown else ""
    return (
        f"overloaded: {came / half_s:,.1f} queries came in a second, and {ended / half_s:,.1f} ended, with up to "
        f"{connections:,} under way; when the last one came {account.waiting_at_last:,} of {account.queries:,} waited{grown}"
    )


def _failures(account: LoadAccount) -> str:
    """Say how many queries had no answer, and why most had none."""
    parts = []
    if account.failed:
        (reason, _), *others = account.reasons.most_common()
        parts.append(f"{account.failed:,} failed ({reason}{f'; {len(others)} more reasons' if others else ''})")
    if account.unsent:
        parts.append(f"{account.unsent:,} were never sent, they had waited too long")
    return f"no answer: {' and '.join(parts)}, of {account.queries:,} queries"
