"""What a run cost: attempts added up, prices, a million examples; what is not known stays so."""

from __future__ import annotations

import json

import pytest

from harness.errors import JobError, RunFolderError, UsageError
from harness.job.job import Job
from harness.job.prices import CostSpec
from harness.job.prices_file import read_prices
from harness.results.cost import cost_of
from harness.results.cost_tables import cost_columns, cost_lines, cost_table, device_table
from tests.results.test_usage import NO_MEMORY, account, gpu, package, usage

PRICES = CostSpec(gpu_hour=2.1, cpu_hour=0.05, node_hour=1.25, kwh=0.3, currency="EUR", grams_co2_per_kwh=400)


def attempt(number, accounts=None, elapsed_s=3600.0, **more):
    return {"attempt": number, **({} if accounts is None else {"usage": {**usage(accounts, elapsed_s), **more}})}


def run(*attempts, examples=500_000):
    return {"attempts": list(attempts), "plan": {"examples": examples}}


ONE = [account(0, package(0, 0, 1_800_000_000_000), gpu("GPU-a", 0, 1_800_000_000_000), gpus=["GPU-a"], missing=NO_MEMORY)]


def test_hours_joules_money_and_co2():
    cost = cost_of(run(attempt(1, ONE)), PRICES)
    assert (cost.node_hours, cost.cpu_hours, cost.gpu_hours, cost.joules) == (1.0, 2.0, 1.0, 3_600_000.0)
    # one kilowatt-hour: by hand 2.1 + 2 x 0.05 + 1.25 + 0.3
    assert cost.money == {"gpu_hour": 2.1, "cpu_hour": 0.1, "node_hour": 1.25, "kwh": 0.3, "total": 3.75}
    assert cost.grams_co2 == 400.0
    document = cost.to_dict()
    assert document["per_million_examples"] == {
        "node_hours": 2.0, "cpu_hours": 4.0, "cpu_hours_used": 0.02, "gpu_hours": 2.0, "joules": 7_200_000.0, "money": 7.5,
        "grams_co2": 800.0,
    }  # fmt: skip
    assert document["measured"] == ["package", "gpu"] and document["energy"]["memory"]["joules"] is None
    assert cost_lines(run(attempt(1, ONE)), PRICES) == [
        "used: 1 node-hours, 2 CPU-hours (0.01 of processor time), 1 GPU-hours",
        "energy: 3,600 kJ, 1,000 W on average: package 1,800 kJ, gpu 1,800 kJ; memory is not measured: n1: no counter",
        "cost: 3.75 EUR (gpu_hour 2.1, cpu_hour 0.1, node_hour 1.25, kwh 0.3), 400 g CO2, electricity: package and gpu only",
        "per million examples: 2 node-hours, 4 CPU-hours, 2 GPU-hours, 7,200 kJ, 7.5 EUR, 800 g CO2",
        "counters of packages and memory count all that runs on a machine; the run had 2 of 8 cores of n1",
    ]


def test_attempts_are_added_up_and_what_is_missing_is_said():
    killed = attempt(2, [account(0, gpus=["GPU-a"], missing=NO_MEMORY)], 1800.0, until="the last record", cpu_hours_used=None)
    document = run(attempt(1), killed, attempt(3, ONE))
    cost = cost_of(document)
    assert (cost.attempts, cost.node_hours, cost.gpu_hours, cost.cpu_hours_used) == (3, 1.5, 1.5, None)
    assert cost.energy["gpu"].microjoules == 1_800_000_000_000
    assert [gap.partition(":")[0] for gap in cost.gaps] == [
        "attempt 1 left no record of what it used", "attempt 2 was ended", "attempt 2", "attempt 2", "attempt 2",
    ]  # fmt: skip
    assert cost.money == {} and cost.grams_co2 is None
    lines = cost_lines(document)
    assert sum(line.startswith("not in these numbers: ") for line in lines) == 5
    assert "memory is not measured: n1: no counter" in lines[1] and not any("energy of memory" in line for line in lines)
    assert set(cost_columns(document).values()) == {None}  # a table cannot say that an attempt is missing
    assert cost_columns(run(killed, attempt(3, ONE)))["node_hours"] == 1.5
    many = run(*(attempt(number, until="the last record", accounts=ONE) for number in range(1, 10)))
    assert sum(line.startswith("not in these numbers: ") for line in cost_lines(many)) == 7  # six, and how many more


@pytest.mark.parametrize("name", ["gpu_hour", "cpu_hour", "node_hour", "kwh", "grams_co2_per_kwh"])
def test_a_price_is_a_number_of_which_money_comes(name):
    with pytest.raises(ValueError, match=f"(?s){name}.*less than or equal"):
        CostSpec(**{name: 1e308}, currency="EUR")
    priced = cost_of(run(attempt(1, ONE), examples=1), CostSpec(**{name: 1e15}, currency="EUR"))
    json.dumps(priced.to_dict(), allow_nan=False)


def test_nothing_is_made_up_where_nothing_was_measured():
    nothing = run(attempt(1, [account(0, missing={"package": "only root may read it", **NO_MEMORY})]))
    cost = cost_of(nothing, PRICES)
    assert cost.joules is None and cost.grams_co2 is None
    assert cost.money["kwh"] is None and cost.money["total"] is None  # not the price of the hours alone
    lines = cost_lines(nothing, PRICES)
    assert lines[1] == "energy: not measured: n1: only root may read it"
    assert lines[2] == (
        "cost: total not known, for kwh is not (gpu_hour 0, cpu_hour 0.1, node_hour 1.25), CO2 not known, for no energy was measured"
    )
    assert cost_of({"attempts": [{"attempt": 1}]}) is None and cost_lines({}) == [] and cost_table({}) is None
    assert cost_columns({})["node_hours"] is None and device_table({}) is None
    assert cost_of(run(attempt(1, ONE), examples=0)).to_dict()["per_million_examples"]["joules"] is None


def test_the_prices_of_the_run_hold_unless_others_are_given():
    document = run(attempt(1, ONE))
    document["cost"] = cost_of(document, PRICES).to_dict()
    document = json.loads(json.dumps(document))
    assert cost_of(document).money["total"] == 3.75
    assert cost_of(document, CostSpec(node_hour=2, currency="CHF")).money == {"node_hour": 2.0, "total": 2.0}
    assert cost_columns(document)["currency"] == "EUR"


@pytest.mark.parametrize("usage", ["much", [], {}, {"energy": [{"kind": "gpu", "joules": "many"}]}, None])
def test_what_no_run_writes_is_named(usage):
    with pytest.raises(RunFolderError, match="runs/a/run.json: what it says of usage"):
        cost_of({"attempts": [{"attempt": 1, "usage": usage}, attempt(2, ONE)]}, where="runs/a/run.json")


def test_tables():
    document = run(attempt(1, ONE))
    table, remarks = cost_table(document, PRICES)
    assert table.rows[0] == ["node-hours", "1 node-hours", "2 node-hours"] and table.rows[-1] == ["CO2", "400 g CO2", "800 g CO2"]
    assert remarks[0] == "energy of memory: n1: no counter"
    devices = device_table(document)
    assert devices.rows[0][:4] == ["package-0", "n1", "0", "1,800,000"]


JOB = {"model": "m", "data": "x.npz", "metrics": "accuracy"}


def test_prices_change_no_digest():
    plain, priced = Job.from_dict(JOB), Job.from_dict({**JOB, "cost": {"gpu_hour": 2.1, "currency": "EUR"}})
    assert plain.digest == priced.digest and priced.cost.gpu_hour == 2.1


@pytest.mark.parametrize("prices, message", [
    ({"gpu_hours": 1}, "unknown key 'cost.gpu_hours': did you mean 'gpu_hour'?"),
    ({"gpu_hour": 1}, "cost: currency is missing: gpu_hour in what? as in currency: EUR"),
    ({"gpu_hour": -1, "currency": "EUR"}, "cost.gpu_hour: Input should be greater than or equal to 0, found -1"),
    ({"kwh": float("inf"), "currency": "EUR"}, "cost.kwh: Input should be a finite number"),
    ({"kwh": "cheap", "currency": "EUR"}, "cost.kwh: Input should be a valid number"),
])  # fmt: skip
def test_wrong_prices_are_named(prices, message):
    with pytest.raises(JobError) as caught:
        Job.from_dict({**JOB, "cost": prices})
    assert message in str(caught.value)


def test_prices_in_a_file(tmp_path):
    path = tmp_path / "prices.yaml"
    for text in (
        "gpu_hour: 2\ncurrency: EUR\n",
        "cost:\n  gpu_hour: 2\n  currency: EUR\n",
        "model: m\ncost: {gpu_hour: 2, currency: EUR}",
    ):
        path.write_text(text)
        assert read_prices(path) == CostSpec(gpu_hour=2, currency="EUR")
    for text, message in [
        ("- 1\n", "expected prices"),
        ("gpu_hour: [1\n", "prices.yaml"),
        ("gpu_hour: 1\n", "currency is missing"),
        ("x: 1\n", "unknown key 'x'"),
    ]:
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            read_prices(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_prices(tmp_path / "none.yaml")
