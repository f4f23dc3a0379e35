"""From summed states to what is reported: values, slices, intervals. Pure; every metric's `value` is called here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.exact.limbs import DIVISOR_BITS, divide, refused, rounded
from harness.job.specs import BootstrapSpec
from harness.metrics.contract import CountTotals, HostMetric, PlainMean, RowMetric, Table
from harness.metrics.question import Question
from harness.metrics.totals import DIGITS, ROUNDING
from harness.results.gap_interval import GapReplicates
from harness.results.interval_choice import Evidence, independent, interval_of
from harness.results.intervals import Interval
from harness.results.slice_replicates import SliceReplicates
from harness.results.values import Result, result, with_details
from harness.sums.grid import SliceKey, decode
from harness.sums.layout import Counted, Status, Summed
from harness.sums.reduction import GrandTotal
from harness.sums.sums import Layouts

__all__ = ["Intervals", "Outcome", "SliceOutcome", "outcome"]

UNKNOWN = object()  # a value that was not made at once

Intervals = Mapping[str, "Interval | Mapping[str, Interval]"]


@dataclass(frozen=True)
class SliceOutcome:
    """The results of one slice."""

    key: SliceKey
    examples: int
    results: Mapping[str, Result]
    intervals: Intervals


@dataclass(frozen=True)
class Outcome:
    """All that is reported.

    Attributes:
      results, intervals: of the whole, by metric key.
      slices: in the order of the job, then by value.
      left_out: how many slices had fewer examples than the job's minimum.
      replicates: values by replicate, float64 [replicates] (NaN for null), by metric key, for later comparison.
      slice_replicates: the same of the slices, in their order, float64 [slices, replicates]; none where the job keeps none, or
        they are more than `slice_replicates.MOST`.
      no_difference: metrics whose replicates say nothing of a difference either, and why, by key.
    """

    results: Mapping[str, Result]
    intervals: Intervals
    slices: Sequence[SliceOutcome] = ()
    left_out: int = 0
    replicates: Mapping[str, np.ndarray] = field(default_factory=dict)
    slice_replicates: Mapping[str, np.ndarray] = field(default_factory=dict)
    no_difference: Mapping[str, str] = field(default_factory=dict)


def outcome(total: GrandTotal, layouts: Layouts, question: Question, progress: Callable[[], None] = lambda: None) -> Outcome:
    """Compute every value.

    Args:
      total: of all ranks.
      layouts: of the sums.
      question: what was asked.
      progress: called now and then: a thousand slices and replicates take their time.
    """
    cells = _Cells(total, layouts, question, progress)
    metrics, slices, bootstrap = question.metrics, question.slices, question.bootstrap
    whole = {key: with_details(key, cells.result(key, 0, 0), metric) for key, metric in metrics.items()}
    intervals, replicates = cells.intervals(whole, 0, bootstrap)
    reported: list[SliceOutcome] = []
    drawn = SliceReplicates(bootstrap)
    left_out = 0
    for slot, text in enumerate(total.grid.keys, start=1):
        assert slices is not None  # only slices have keys
        progress()
        examples = cells.examples(slot)
        if examples < slices.minimum:
            left_out += 1
            continue
        sliced = {key: metric for key, metric in metrics.items() if metric.in_slices}
        results = {key: with_details(key, cells.result(key, slot, 0), metric) for key, metric in sliced.items()}
        within, values = cells.intervals(results, slot, bootstrap)
        drawn.add(len(reported), values)
        reported.append(SliceOutcome(decode(text, slices), examples, results, within))
    refused = {key: why for key in intervals if (why := cells.no_difference(key, whole[key]))}
    return Outcome(whole, intervals, tuple(reported), left_out, replicates, drawn.arrays(len(reported)), refused)


class _Cells:
    """Looks up the result of a metric at a slot and draw."""

    def __init__(self, total: GrandTotal, layouts: Layouts, question: Question, progress: Callable[[], None]) -> None:
        self._progress = progress
        self._total = total
        self._layout = layouts.state
        self._grid_layout = layouts.grid
        self._metrics = question.metrics
        self._bindings = question.bindings
        self._classes = question.classes
        self._states: dict[tuple[int, int], np.ndarray] = {}

    def result(self, key: str, slot: int, draw: int) -> Result:
        """Return one result."""
        metric = self._metrics[key]
        rows: Mapping[str, Any] | str | None = None
        if isinstance(metric, RowMetric):
            folded = self._total.rows[key]
            rows = folded if isinstance(folded, str) else folded.get((slot, draw), {})  # a text says why there is none
        return result(self._layout, self._state(slot, draw), key, metric, self._bindings[key], self._classes, rows)

    def examples(self, slot: int) -> int:
        """Return how many examples a slice has: every binding counts each of them, valid or not."""
        most = 0
        for binding in dict.fromkeys(self._bindings.values()):
            shared = self._layout.totals(self._state(slot, 0), binding)
            most = max(most, int(shared["examples"][0] if "examples" in shared else shared["status"].sum()))
        return most

    def intervals(
        self, results: Mapping[str, Result], slot: int, bootstrap: BootstrapSpec | None
    ) -> tuple[Intervals, dict[str, np.ndarray]]:
        """Return the intervals of some results, and the replicates' values."""
        if bootstrap is None:
            return {}, {}
        intervals: dict[str, Any] = {}
        stored: dict[str, np.ndarray] = {}
        for key, whole in results.items():
            if not self._metrics[key].in_replicates or whole.value is None or isinstance(whole.value, Table | str):
                continue
            self._progress()
            drawn = self._drawn(key, slot, whole, bootstrap.replicates)
            evidence = self._evidence(key, slot, whole, drawn, bootstrap)
            if isinstance(whole.value, Mapping):
                intervals[key] = {}
                for name, value in whole.value.items():
                    values = [None if replicate is None else replicate.get(name) for replicate in drawn.values]
                    if isinstance(value, int | float):
                        intervals[key][name] = interval_of(float(value), values, bootstrap.level, evidence(name))
                        stored[f"{key}/{name}"] = _array(values)
            else:
                intervals[key] = interval_of(float(whole.value), drawn.values, bootstrap.level, evidence(""))
                stored[key] = _array(drawn.values)
        return intervals, stored

    def no_difference(self, key: str, whole: Result) -> str | None:
        """Return why replicates say nothing of the difference of two such values either; None where they do."""
        if self._has_gaps(key, whole):
            return "calibration errors are biased upwards, of two models not alike: their difference has no interval"
        return self._no_interval(key, 0, whole)

    def _no_interval(self, key: str, slot: int, whole: Result) -> str | None:
        """Return why a metric has no interval: by its definition, for its totals, or since its replicates could not be drawn."""
        folded = self._total.rows.get(key, {})
        drawn = None if isinstance(folded, str) else folded.get((slot, 1))
        if isinstance(drawn, str):
            return drawn
        metric = self._metrics[key]
        return metric.no_interval if whole.totals is None else metric.without_interval(whole.totals)

    def _has_gaps(self, key: str, whole: Result) -> bool:
        return whole.totals is not None and self._metrics[key].gaps(whole.totals) is not None

    def _evidence(self, key: str, slot: int, whole: Result, drawn: _Drawn, bootstrap: BootstrapSpec) -> Callable[[str], Evidence]:
        """Return what is known of a number of a result, by its name; "" for that of a result that is one number."""
        metric, totals = self._metrics[key], whole.totals
        assert totals is not None  # only of a value that is not null
        shares = metric.proportion(totals)
        alone = independent(
            metric, self._bindings[key], bootstrap.cluster, examples=whole.examples, positions=whole.positions
        )  # fmt: skip
        why = self._no_interval(key, slot, whole)

        def of(name: str) -> Evidence:
            share = shares.get(name) if isinstance(shares, Mapping) else shares
            return Evidence(share, alone, drawn.gaps, why)

        return of

    def _drawn(self, key: str, slot: int, whole: Result, replicates: int) -> _Drawn:
        """Return the values of all replicates; of a plain mean together, where nothing is the matter with the sums."""
        metric, values, gaps = self._metrics[key], list[Any](), list[np.ndarray]()
        together = self._together(key, slot, replicates)
        own = None if whole.totals is None else metric.gaps(whole.totals)
        for draw in range(1, replicates + 1):
            if together is not None and together[draw] is not UNKNOWN:
                values.append(together[draw])
                continue
            replicate = self.result(key, slot, draw)
            values.append(replicate.value)
            if own is not None and replicate.totals is not None and (drawn_gaps := metric.gaps(replicate.totals)) is not None:
                gaps.append(drawn_gaps.values)
        known = None if own is None or len(gaps) < 2 else GapReplicates(own.values, np.stack(gaps), own.norm == "largest")
        return _Drawn(values, known)

    def _together(self, key: str, slot: int, replicates: int) -> list[Any] | None:
        """Return the value of every draw, made at once; None where that cannot be done.

        It is UNKNOWN where `result` has to say: where positions were refused, or a sum was rounded.
        """
        metric, binding, layout = self._metrics[key], self._bindings[key], self._layout
        if binding.weight is not None or not (status := self._columns(slot, [layout.column(binding, "status")])):
            return None
        positions = status[0][:, Status.VALID]
        good = (positions > 0) & (positions < 1 << DIVISOR_BITS) & (status[0].sum(axis=1) == positions)
        if (plain := metric.plain_mean()) is not None and layout.terms(key) == [plain.total]:
            means, exact = self._means(key, slot, plain, np.where(good, positions, 1))
            known = (good & exact).tolist()
            return [mean if known[draw] else UNKNOWN for draw, mean in enumerate(means.tolist())]
        if isinstance(metric, RowMetric | HostMetric) or not type(metric).__module__.startswith("harness."):
            return None
        terms = layout.terms(key)
        columns = [layout.column(key, term) for term in terms]
        if not all(isinstance(column, Counted) for column in columns) or not (counts := self._columns(slot, columns)):
            return None
        drawn = np.flatnonzero(good)
        named = {term: count[drawn] for term, count in zip(terms, counts, strict=True)}
        values = metric.values(CountTotals(named, positions[drawn], self._classes))
        if values is None:
            return None
        found: list[Any] = [UNKNOWN] * (replicates + 1)
        for draw, value in zip(drawn.tolist(), values, strict=True):
            found[draw] = value
        return found

    def _columns(self, slot: int, columns: Sequence[Any]) -> list[np.ndarray]:
        """Return some columns in all draws of a slot, int64 [draws, size] each; none where one of them is not there."""
        held = [
            self._total.grid.column(slot, column, self._grid_layout) for column in columns if isinstance(column, Summed | Counted)
        ]
        return [] if len(held) < len(columns) or any(column is None for column in held) else held  # type: ignore[return-value]

    def _means(self, key: str, slot: int, plain: PlainMean, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the plain mean of every draw, float64 [draws], and whether it is known to be rounded once, bool [draws]."""
        columns = self._columns(slot, [self._layout.column(key, plain.total)])
        if not columns:
            return np.zeros(len(positions)), np.zeros(len(positions), bool)
        (sums,) = columns
        if plain.bucket is not None:  # both below 2^31: their quotient is rounded once
            return sums[:, plain.bucket] / positions, np.ones(len(positions), bool)
        means = divide(sums, positions)
        # Twice the bound of `Totals.exact`, for these are floats.
        resolved = np.abs(means) * positions >= rounded(sums) * (2.0 ** (DIGITS + 1) * float(ROUNDING))
        return means, resolved & (refused(sums) == 0) & ~np.isnan(means)

    def _state(self, slot: int, draw: int) -> np.ndarray:
        if slot == 0 and draw == 0:
            return self._total.state
        if (slot, draw) not in self._states:
            if len(self._states) > 512:
                self._states.clear()
            self._states[slot, draw] = self._total.grid.state(slot, draw, self._grid_layout)
        return self._states[slot, draw]


@dataclass(frozen=True)
class _Drawn:
    """The values of a metric in all replicates, and its gaps where it is a norm of gaps."""

    values: list[Any]
    gaps: GapReplicates | None


def _array(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float64)
