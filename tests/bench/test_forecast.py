"""The forecast: against a plain count of what a world does, against worlds that are simulated, and against runs."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import simulate, worlds
from harness.bench.collective import Network, allreduce_s
from harness.bench.forecast import forecast
from harness.bench.forecast_model import Machine, Size, Work, largest_share, predict
from harness.bench.forecast_run import Wanted, sizes_of
from harness.bench.forecast_text import request, shown
from harness.bench.pilot_costs import Costs, Observation, costs_of
from harness.bench.storage_probe import storage_bytes_s
from harness.errors import UsageError
from harness.plan.plan import File, Plan
from harness.ranks.schedule import static_share
from tests import schemas

COSTS = Costs(
    start_s=3.0,
    compile_s=1.0,
    example_s=0.001,
    reduce_s=0.0,
    row_s=0.0,
    write_s=0.1,
    fixed_busy=1.0,
    busy=1.0,
    base_bytes=1 << 30,
)
MACHINE = Machine(cores=4, memory_bytes=64 << 30)
WORK = Work(examples=10**6, chunks=1000, chunk_size=1000, sum_bytes=1 << 20)
FREE = Network(0.0, 0.0)


def spread(costs: Costs = COSTS, share: float = 0.02) -> list[Costs]:
    return [replace(costs, start_s=costs.start_s * factor) for factor in (1 - share, 1.0, 1 + share)]


def predicted(
    ranks: list[int], *, costs: Costs = COSTS, work: Work = WORK, machine: Machine = MACHINE, nodes_of: int = 4, **more
):
    return forecast(
        {number: spread(costs) for number in (1, 2, 4)}, [Size(number, nodes_of) for number in ranks], work, machine, **more
    )


@pytest.mark.parametrize("ranks", [1, 2, 3, 64, 999, 1000, 1001, 4096])
def test_the_largest_share_is_that_of_the_schedule(ranks):
    plan = Plan((File("a", 0, 123_456),), 10, 1000)
    work = Work(plan.examples, len(plan), plan.chunk_size)
    shares = [sum(chunk.stop - chunk.start for chunk in static_share(plan, rank, ranks)) for rank in range(min(ranks, 150))]
    assert max(shares) <= largest_share(work, ranks) <= max(shares) + plan.chunk_size


def test_the_examples_of_4096_ranks_take_what_a_simulated_world_takes():
    chunks = 4096 * 60
    work = Work(chunks * 1000, chunks, 1000)
    terms = predict(COSTS, Size(4096, 4), work, MACHINE, FREE)
    simulated = worlds.simulate([1000 * COSTS.example_s] * chunks, [1.0] * 4096)
    assert terms.parts["examples"] == pytest.approx(simulated.took_s, rel=0.05)


def test_the_sum_of_4096_ranks_is_that_of_the_world_that_benchmarks_simulate():
    world = simulate.measure(ranks=4096, examples=4_000_000)
    work = Work(4_000_000, world.chunks, 1000, sum_bytes=world.sum_bytes)
    terms = predict(COSTS, Size(4096, 4), work, MACHINE, Network(1e-5, 1e-9))
    # Halving and doubling, step by step: each rank sends half of what it holds, 12 times, and the same back.
    held, seconds = float(world.sum_bytes), 0.0
    for _ in range(12):
        held /= 2
        seconds += 2 * (1e-5 + held * 1e-9)
    assert terms.parts["final sum"] == pytest.approx(seconds, rel=1e-9)
    assert simulate.allreduce_s is allreduce_s


def test_ranks_that_share_cores_wait_for_each_other():
    alone, crowded = (predict(COSTS, Size(ranks, 8), WORK, Machine(2, 1 << 36), FREE) for ranks in (2, 8))
    assert alone.crowding == 1.0 and crowded.crowding == 4.0
    assert crowded.parts["examples"] == pytest.approx(alone.parts["examples"])  # the same cores do the same work
    assert crowded.parts["start-up"] == 4 * alone.parts["start-up"]


def test_a_planted_cost_comes_out_of_a_pair_of_runs():
    def run(examples: int) -> Observation:
        loop, reduce = 0.5 + 0.002 * examples, 0.01 + 0.0001 * examples
        cpu = 4.0 + 0.003 * examples
        return Observation(examples, 3.0, loop, reduce, 0.2, 3.2 + loop + reduce, cpu, 1 << 29, row_bytes=32, joules=100.0)

    costs = costs_of(run(1000), run(5000))
    assert costs.example_s == pytest.approx(0.002) and costs.row_s == pytest.approx(0.0001)
    assert costs.compile_s == pytest.approx(0.5) and costs.reduce_s == pytest.approx(0.01) and costs.write_s == pytest.approx(0.2)
    assert costs.busy == pytest.approx(0.003 / 0.0021) and costs.row_bytes == 32


# Loops of 20,000 and of 51,139 examples, as they were on a busy machine: seconds, then those after the first call.
BUSY = [((15.5, 2.31), (11.08, 7.68)), ((4.23, 2.15), (7.2, 4.98)), ((5.05, 1.56), (4.47, 3.58))]


def busy_pair(small, large):
    def run(examples, loop_s, later_s):
        start_s, cpu_s = 5.0, 6.0 + loop_s
        elapsed_s = start_s + loop_s + 1.0
        return Observation(
            examples, start_s, loop_s, 0.5, 0.5, elapsed_s, cpu_s, 1 << 29, later_s=later_s, later_examples=examples - 1000
        )

    return costs_of(run(20_000, *small), run(51_139, *large))


def test_pilots_whose_larger_run_was_not_slower_are_no_reason_to_take_examples_for_free():
    pairs = [busy_pair(*pair) for pair in BUSY]
    assert [costs.is_unsure for costs in pairs] == [True, False, True]
    found = forecast({1: pairs, 2: pairs}, [Size(1, 2), Size(2, 2)], Work(262_144, 256, 1024), Machine(2, 1 << 34))
    (alone, _), notes = found.sizes, " ".join(found.notes)
    assert 10 < alone.terms.parts["examples"] < 40  # a quiet machine needs 17 s
    assert alone.low_s < alone.terms.total_s - 0.5 * alone.terms.parts["examples"]
    assert "in 4 of 6 pairs of pilots the larger run was not slower" in notes and "from noise" not in notes
    # Without an account of its calls, the whole loop is the most that its examples can have taken.
    assert costs_of(Observation(10, 1, 3, 0, 0, 4, 4, 1), Observation(20, 1, 2, 0, 0, 3, 3, 1)).example_s == 0.1


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_the_interval_holds_as_often_as_it_says(count):
    rng = np.random.default_rng(12)

    def run(examples):
        slower, start, loop = np.exp(0.05 * rng.normal(size=3) * [1, 0.3, 0.3])
        start_s, loop_s, write_s = 3.0 * slower * start, (0.6 + 3e-5 * examples) * slower * loop, 0.05 * slower
        elapsed_s = start_s + loop_s + write_s
        return Observation(examples, start_s, loop_s, 0.0, write_s, elapsed_s, 0.95 * elapsed_s, 1 << 29)

    work, rounds, held = Work(2_000_000, 2000, 1000), 400, 0
    for _ in range(rounds):
        pairs = [costs_of(run(2000), run(68_000)) for _ in range(count)]
        (size,) = forecast({1: pairs, 2: pairs}, [Size(1, 2)], work, Machine(2, 1 << 34)).sizes
        held += size.low_s <= run(2_000_000).elapsed_s <= size.high_s
    assert held >= 0.95 * rounds - 3 * (0.95 * 0.05 * rounds) ** 0.5


def test_memory_grows_by_rows_by_what_resamples_them_and_by_what_is_under_way():
    def run(examples: int) -> Observation:
        held = 600e6 + examples * (3 * 32 + 100) + 8e6 * math.log2(examples / 1000)
        return Observation(examples, 3.0, 1 + examples / 1e4, 0.1, 0.1, 5.0, 4.0, round(held), row_bytes=32, draw_bytes=100)

    costs = costs_of(run(2000), run(52_000))
    assert costs.end_bytes == 196 and costs.growth_bytes == pytest.approx(8e6)
    assert costs.rank_bytes(200_000) == pytest.approx(run(200_000).peak_bytes, abs=2)
    assert costs.rank_bytes(500) == pytest.approx(608e6 + 500 * 196, abs=2)  # not less than the smaller run, rows apart
    wild = replace(costs, growth_bytes=1e8)
    assert wild.rank_bytes(10**7) == round(costs.base_bytes + 10**7 * 196 + (256 << 20))  # what step/allocator.py lets it keep
    grown = predicted([1, 2], costs=costs, machine=replace(MACHINE, connect_bytes=10**7)).sizes
    assert [size.rank_bytes for size in grown] == [costs.rank_bytes(10**6), costs.rank_bytes(500_000) + 10**7]


@pytest.mark.parametrize(("ranks", "cores"), [(1, 2), (4, 2), (8, 4), (5, 4)])
def test_ranks_that_share_cores_are_charged_the_cores_that_there_are(ranks, cores):
    (size,) = predicted([ranks], machine=replace(MACHINE, cores=2), prices={"cpu_hour": 3600.0}).sizes
    assert size.money == pytest.approx(cores * size.terms.total_s)


@pytest.mark.parametrize(
    ("costs", "work", "machine", "nodes_of", "ranks", "reason"),
    [
        (replace(COSTS, start_s=100.0), WORK, MACHINE, 4, 64, "start-up is"),
        (replace(COSTS, compile_s=300.0), WORK, MACHINE, 4, 16, "compiling is"),
        (replace(COSTS, write_s=246.0), WORK, MACHINE, 4, 16, "writing is"),
        (replace(COSTS, reduce_s=246.0), WORK, MACHINE, 4, 16, "final sum is"),
        (COSTS, replace(WORK, chunks=4, chunk_size=250_000), MACHINE, 4, 4, "the largest share does not become smaller"),
        (COSTS, WORK, replace(MACHINE, cores=2), 8192, 2, "share the 2 cores of a node"),
        (COSTS, replace(WORK, size_bytes=10**12), replace(MACHINE, reading_bytes_s=2e9), 8192, 2, "reading is"),
        (COSTS, replace(WORK, sum_bytes=10**10, examples=10**7, chunks=10**4), MACHINE, 4, 2048, "final sum is"),
    ],
)  # fmt: skip
def test_why_more_ranks_do_not_pay_is_what_was_planted(costs, work, machine, nodes_of, ranks, reason):
    stop = predicted([1, 4096], costs=costs, work=work, machine=machine, nodes_of=nodes_of).stop
    assert stop is not None and reason in stop.reason
    # By hand: with a fixed part F and work W, twice p saves W / 2p, a tenth of F + W / p where p = 4 W / F.
    assert stop.ranks == ranks


def test_a_node_that_one_rank_fills_does_not_stop_the_others():
    pilots = {n: [replace(COSTS, example_s=0.004 / n, busy=float(n))] for n in (1, 2, 4)}
    sizes = [Size(ranks, 4) for ranks in (1, 8, 64)]
    found = forecast(pilots, sizes, Work(10**7, 10**4, 1000), replace(MACHINE, cores=4))
    assert found.best.size.ranks == 64 and found.stop is None


def test_where_ranks_pay_nothing_is_accused():
    work = Work(10**9, 10**6, 1000)
    assert predicted([1, 8, 64], work=work).stop is None


def test_what_is_written_is_as_the_schema_says_with_and_without_what_cannot_be_known():
    bare = forecast({4: [COSTS]}, [Size(1, 4)], WORK, MACHINE)
    full = predicted([1, 4096], costs=replace(COSTS, watts=100.0), work=replace(WORK, size_bytes=10**9), prices={"kwh": 0.3})
    for found in (bare, full):
        schemas.check(
            "forecast.json", json.dumps({**found.document(), "request": ["harness", *request(found, Path("job.yaml"))]})
        )
    assert full.stop is not None and full.sizes[0].money is not None


def test_processor_hours_are_the_work_and_what_each_rank_does_for_itself():
    two = predicted([2], costs=replace(COSTS, fixed_busy=1.5, busy=2.0)).sizes[0].document()
    # Each rank starts and compiles for 4 s on 1.5 processors, one writes for 0.1 s; 1,000 s of examples on 2 processors.
    assert two["cpu_hours_used"] * 3600 == pytest.approx(2 * 4 * 1.5 + 0.1 * 1.5 + 1000 * 2.0)


def test_intervals_hold_the_prediction_and_grow_with_the_spread():
    narrow, wide = (forecast({4: spread(share=share)}, [Size(1, 4)], WORK, MACHINE).sizes[0] for share in (0.01, 0.2))
    assert narrow.low_s < narrow.terms.total_s < narrow.high_s
    # Three repeats of deviation s: the 97.5 % quantile of t with 2 degrees of freedom, 4.303, times s times sqrt(4 / 3).
    assert narrow.high_s - narrow.terms.total_s == pytest.approx(4.303 * 0.03 * (4 / 3) ** 0.5, rel=1e-6)
    assert wide.high_s - wide.low_s > 10 * (narrow.high_s - narrow.low_s) * 0.5
    single = forecast({4: [COSTS]}, [Size(1, 4)], WORK, MACHINE)
    assert single.sizes[0].low_s is None and any("no intervals" in note for note in single.notes)


def test_energy_and_price_follow_from_nodes_and_hours_and_are_null_without_their_numbers():
    costs = replace(COSTS, watts=100.0)
    bill = predicted([8], costs=costs, prices={"node_hour": 3.6, "kwh": 0.36, "currency": "EUR"})
    (size,) = bill.sizes
    assert size.joules == pytest.approx(200 * size.terms.total_s)
    assert size.money == pytest.approx((2 * 3.6 + 0.2 * 0.36) * size.terms.total_s / 3600)
    (bare,) = predicted([8], prices={"kwh": 0.36, "currency": "EUR"}).sizes
    assert bare.joules is None and bare.money is None
    assert any("which is not known" in note for note in predicted([8], prices={"kwh": 0.36}).notes)


def test_rows_take_memory_and_a_node_that_has_too_little_is_named():
    work = replace(WORK, examples=10**9, chunks=10**6)
    small = predicted([1, 1024], costs=replace(COSTS, end_bytes=96), work=work)
    assert small.sizes[0].rank_bytes - COSTS.base_bytes == 96e9
    assert small.sizes[1].rank_bytes - COSTS.base_bytes == 96 * 977 * 1000  # of a million chunks, 977 for the fullest rank
    assert any("at 1 ranks a node needs" in note for note in small.notes)


def test_what_storage_gives_to_several_nodes_is_said_not_to_be_known():
    machine, work = replace(MACHINE, reading_bytes_s=1e9), replace(WORK, size_bytes=10**11)
    notes = " ".join(predicted([1, 64], work=work, machine=machine).notes)
    assert "whether several get more cannot be known from one" in notes and "examples alone take 100 s" in notes


def test_the_request_is_that_of_the_best_size_with_time_to_spare():
    found = predicted([1, 8, 4096])
    words = request(found, Path("job.yaml"), ["seed=1"], "short")
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options["--ntasks"] == str(found.best.size.ranks) and options["--partition"] == "short"
    assert int(options["--nodes"]) * int(options["--ntasks-per-node"]) >= int(options["--ntasks"])
    hours, minutes, _ = map(int, options["--time"].split(":"))
    assert 60 * (60 * hours + minutes) >= 1.5 * found.best.high_s
    assert f"harness {' '.join(words)}" in shown(found, words)


def test_storage_is_measured_past_the_cache(tmp_path):
    (tmp_path / "data.bin").write_bytes(os.urandom(20 << 20))
    assert storage_bytes_s([str(tmp_path / "data.bin"), "s3://nowhere/a"], seconds=0.5) > 1e5
    assert storage_bytes_s([str(tmp_path / "data.bin")], least_bytes=1 << 30) is None
    assert storage_bytes_s([]) is None


@pytest.mark.parametrize("ranks", [(), (0, 1), (2, 2), (1, 10**11)])
def test_sizes_that_are_none_are_refused(ranks):
    with pytest.raises(UsageError, match="--ranks: expected numbers of ranks from 1 to 1,048,576"):
        sizes_of(Wanted(Path("job.yaml"), ranks), 2)


def test_a_job_that_is_over_at_once_is_said_to_tell_nothing():
    assert "cannot be told from noise" in " ".join(predicted([1], work=Work(100, 10, 10)).notes)
    assert "noise" not in " ".join(predicted([1]).notes)
