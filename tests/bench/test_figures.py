"""Figures of trials, by size: against hand calculations, SciPy, and laws that are known."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from harness.bench.answer import State, answer
from harness.bench.budget import Pilot, choose
from harness.bench.figures import PARTS, figures, sizes
from harness.bench.rules import Rules, Scaling, Sweep, Trial, settings, trials
from harness.bench.scaling import scaled, serial
from harness.bench.spread import _mann_whitney, median_spread, ratio_spread
from harness.bench.tables import level_sentence, serial_sentence
from harness.errors import UsageError
from tests.bench.frozen import fact, repeats, with_warm_ups


def test_the_parts_add_up_to_the_time_to_solution() -> None:
    trial = figures(fact(2, 1, reading=[1.0, 2.0], predicting=1.0, waiting=[1.0, 0.0], forward_rate=8000.0))
    assert sum(trial.parts_s.values()) == pytest.approx(trial.solution_s)
    assert set(trial.parts_s) == set(PARTS)
    # Of the 1 s of predicting, 4,000 examples at 8,000 a second are the model's own.
    assert trial.parts_s["predicting"] == pytest.approx(0.5) and trial.parts_s["metrics"] == pytest.approx(0.5)
    assert trial.parts_s["launching"] == pytest.approx(0.5)  # 3.5 s that the command took longer, 3.0 of them for limits
    assert trial.rate == pytest.approx(8000 / 3.0)
    assert trial.reading_rate == 20_000 and trial.sum_s == 0.001


@pytest.mark.parametrize("queued", [False, True])
def test_a_rank_that_begins_before_rank_0_adds_nothing_to_the_time(queued: bool) -> None:
    trial = fact(2, 1, reading=1.0)
    trial.run["attempt"]["ranks"][1]["seconds"]["import"] += 0.6  # began so much before rank 0, while it was being launched
    held = figures(trial, queued=queued)
    assert sum(held.parts_s.values()) == pytest.approx(held.solution_s, abs=1e-9)
    assert held.parts_s["launching"] == pytest.approx(0.0 if queued else 0.5 - 0.3)  # the mean over ranks
    assert held.solution_s == pytest.approx(trial.attempt["elapsed_s"] + (0.3 if queued else 0.5))


def test_why_there_is_no_energy_or_money_is_what_the_run_says() -> None:
    trial = fact(1, 1)
    energy = {"package": {"joules": None, "reason": "vm: no counter"}, "memory": {"joules": None, "reason": "vm: none either"}}
    trial.run["cost"] = {"joules": None, "energy": energy, "gaps": ["attempt 1 left no record"]}
    assert (
        figures(trial).cost_gaps == "attempt 1 left no record; vm: no counter; vm: none either; the job has no prices (key cost)"
    )
    assert figures(fact(1, 1)).cost_gaps == "the run does not say"


def test_what_two_sizes_cannot_tell_is_not_said() -> None:
    def words(*ranks: int) -> str:
        facts = with_warm_ups([trial for count in ranks for trial in repeats(count, reading=8.0 / count)])
        return serial_sentence(answer("job", Rules(ranks), None, facts, {}, []), 0)

    assert "two sizes fit any" in words(1, 2) and "misfit" not in words(1, 2)
    assert "of the time at 2 ranks" in words(2, 4) and "largest misfit" in words(1, 2, 4)


def test_the_levels_of_medians_and_of_ratios_are_said_apart() -> None:
    facts = with_warm_ups([*repeats(1, 3), *repeats(2, 3)])
    text = level_sentence(answer("job", Rules((1, 2), repeat=3), None, facts, {}, []), 0)
    assert "the median in 75% of benches" in text and "Flatt in 90%" in text


def test_what_slurm_waits_for_nodes_is_not_counted() -> None:
    waited = fact(2, 1)
    assert figures(waited, queued=True).solution_s == pytest.approx(waited.attempt["elapsed_s"])


@pytest.mark.parametrize("count", range(2, 30))
def test_the_interval_of_a_median_has_its_level(count: int) -> None:
    spread = median_spread([float(value) for value in range(count)])
    assert spread is not None and spread.low is not None and spread.level is not None
    below = int(spread.low)  # of the ordered repeats
    assert spread.level == pytest.approx(1 - 2 * scipy.stats.binom.cdf(below, count, 0.5))
    assert spread.level >= 0.95 or below == 0
    assert 1 - 2 * scipy.stats.binom.cdf(below + 1, count, 0.5) < 0.95  # no narrower one would do


@pytest.mark.parametrize(("first", "second"), [(2, 2), (3, 5), (5, 5), (4, 7)])
def test_counts_of_mann_and_whitney_are_those_of_all_orders(first: int, second: int) -> None:
    counts = [0] * (first * second + 1)
    for places in itertools.combinations(range(first + second), first):
        counts[sum(place - rank for rank, place in enumerate(places))] += 1
    assert list(_mann_whitney(first, second)) == counts


def test_the_interval_of_a_ratio_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered, rounds = 0, 2000
    for _ in range(rounds):
        above, below = 3.0 * rng.lognormal(sigma=0.3, size=5), rng.lognormal(sigma=0.3, size=5)
        spread = ratio_spread(above.tolist(), below.tolist())
        assert spread is not None and spread.low is not None and spread.high is not None
        covered += spread.low <= 3.0 <= spread.high
    assert spread is not None and spread.level is not None
    assert abs(covered / rounds - spread.level) < 4 * math.sqrt(spread.level * (1 - spread.level) / rounds)


def test_amdahls_law_is_found_again() -> None:
    share, facts = 0.2, []
    for ranks in (1, 2, 4, 8):
        whole = 10.0 * (share + (1 - share) / ranks)
        facts += [fact(ranks, repeat, start=0.5, reading=whole - 0.5 - 0.62 - 0.5 - 0.01, predicting=0.0) for repeat in (1, 2, 3)]
    held = sizes(facts)
    found = serial(held)
    assert found is not None and found.share == pytest.approx(share) and found.misfit == pytest.approx(0.0, abs=1e-9)
    lines = scaled(held, Scaling.STRONG)
    assert [line.ranks for line in lines] == [1, 2, 4, 8]
    for line in lines[1:]:
        assert line.karp_flatt is not None and line.karp_flatt.value == pytest.approx(share)
        assert line.efficiency is not None
        assert line.efficiency.value == pytest.approx(1 / (share + (1 - share) / line.ranks) / line.ranks)


def test_weak_scaling_ends_at_the_largest_size_of_strong_scaling() -> None:
    facts = [fact(1, 1, scaling="weak", examples=2000, reading=1.0), *repeats(4, 1, reading=2.0), *repeats(1, 1, reading=4.0)]
    lines = scaled(sizes(facts), Scaling.WEAK)
    assert [line.ranks for line in lines] == [1, 4]
    assert lines[1].efficiency is not None and lines[1].efficiency.value < 1


def test_a_bench_whose_bytes_differ_is_invalid() -> None:
    alike = with_warm_ups([*repeats(1, 2), *repeats(2, 2)])
    rules = Rules((1, 2), repeat=2)
    assert answer("job", rules, None, alike, {}, []).state is State.VALID
    odd = [*alike[:-1], fact(2, 2, digest="c" * 64)]
    found = answer("job", rules, None, odd, {}, [])
    assert found.state is State.INVALID and "s000-strong-0002-02" in found.problems[0]


def test_a_size_that_failed_is_named_and_the_others_stand() -> None:
    failed = fact(2, 1).__class__("s000-strong-0002-01", 2, "strong", 1, state="failed", reason="exit code 1: no room")
    later = replace(failed, name="s000-strong-0002-02", repeat=2, reason="not run: an earlier trial of this size failed")
    facts = [*with_warm_ups([*repeats(1, 2), failed]), later]
    facts[1] = replace(facts[1], state="done", reason="")  # its warm-up did not fail
    found = answer("job", Rules((1, 2), repeat=2), None, facts, {}, [])
    assert found.state is State.INCOMPLETE and found.problems == ["s000-strong-0002-01 failed: exit code 1: no room"]
    assert [size.ranks for size in found.strong()] == [1]


@pytest.mark.parametrize("kept", [slice(0, -1), slice(1, None), slice(0, 0)], ids=["no last repeat", "no warm-up", "nothing"])
def test_a_bench_with_fewer_trials_than_its_rules_is_incomplete(kept: slice) -> None:
    facts = with_warm_ups([*repeats(1, 2), *repeats(2, 2)])
    lacking = answer("job", Rules((1, 2), repeat=2), None, facts[kept], {}, [])
    names = {fact.name for fact in facts} - {fact.name for fact in facts[kept]}
    assert lacking.state is State.INCOMPLETE and "missing" in lacking.problems[0]
    assert any(name in lacking.problems[0] for name in names)


def test_a_trial_that_is_there_twice_or_was_not_run_is_named() -> None:
    rules, facts = Rules((1,), repeat=2), with_warm_ups(repeats(1, 2))
    twice = answer("job", rules, None, [*facts, facts[-1]], {}, [])
    assert twice.state is State.INCOMPLETE and "s000-strong-0001-02 is not of the rules" in twice.problems[0]
    left_out = replace(facts[-1], state="failed", reason="not run: an earlier trial of this size failed")
    idle = answer("job", rules, None, [*facts[:-1], left_out], {}, [])
    assert idle.state is State.INCOMPLETE and "s000-strong-0001-02 is not run" in idle.problems[0]


def test_a_sweep_names_the_best_and_what_changes_the_result() -> None:
    rules = Rules((1,), repeat=2, sweeps=(Sweep.parse("precision"),))
    first = [{"precision": "float32"}, "b", {"accuracy": 0.5}]
    second = [{"precision": "bfloat16"}, "c", {"accuracy": 0.25}]
    facts = [
        fact(1, repeat, setting=setting, bits=bits, values=values, digest=bits * 64, reading=reading)
        for (setting, bits, values), reading in ((first, 2.0), (second, 1.0))
        for repeat in (1, 2)
    ]
    found = answer("job", rules, None, with_warm_ups(facts), {}, [])
    assert found.state is State.VALID  # of one setting all trials gave the same bytes
    assert [(swept.is_best, swept.same_bits, swept.differences) for swept in found.swept] == [
        (False, True, {}),
        (True, False, {"accuracy": -0.25}),
    ]


def test_sizes_take_turns_and_warm_ups_come_first() -> None:
    order = trials(Rules((1, 2), repeat=3, sweeps=(Sweep("a", ("1", "2")),)))
    assert [trial.repeat for trial in order[:4]] == [0] * 4 and all(not trial.is_warm_up for trial in order[4:])
    middle = [
        sum(place for place, trial in enumerate(order) if trial.size == size) / 4 for size in {trial.size for trial in order}
    ]
    assert max(middle) - min(middle) < 4  # no size is early or late on the whole
    assert len({trial.name for trial in order}) == len(order)


@pytest.mark.parametrize("text", ["batch_size", "batch_size=", "=1,2", "batch_size=1,1", "threads=0", "precision=float64"])
def test_a_sweep_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--sweep"):
        Sweep.parse(text)


def test_a_setting_of_a_sweep_becomes_overrides() -> None:
    setting = settings([Sweep("batch_size", ("64",)), Sweep("threads", ("2",))])[0]
    trial = Trial(setting, 0, Scaling.STRONG, 2, 1)
    assert trial.overrides(500, 4) == ["batch_size=64", "data.limit=500"] and trial.threads == 2


def test_minutes_choose_examples_and_repeats_that_fit() -> None:
    pilot, ranks = Pilot(8.0, 4.0, 1000.0), (1, 2, 4)
    for minutes in (4, 8, 30):
        chosen = choose(pilot, minutes, ranks, repeat=5, warm_ups=1, places=2)
        assert chosen.examples is not None
        # Even where ranks bring nothing beyond one, starting and evaluating are no more than twice what was allowed.
        rounds = (chosen.repeat + 1) * len(ranks)
        assert rounds * 12.0 <= minutes * 60
        assert rounds * (12.0 + chosen.examples / 1400) <= minutes * 60 * 1.5
    with pytest.raises(UsageError, match="--minutes 0.5"):
        choose(pilot, 0.5, ranks, repeat=5, warm_ups=1)
