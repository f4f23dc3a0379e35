"""What a run cost as people read it: lines for a terminal, tables for a page. Says what is not known, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.job.prices import CostSpec
from harness.results.cost import Cost, cost_of
from harness.results.tables import TextTable

__all__ = ["COLUMNS", "amounts", "cost_columns", "cost_lines", "cost_table", "device_table", "quantity"]

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
HOURS = {"node_hours": "node-hours", "cpu_hours": "CPU-hours", "cpu_hours_used": "CPU-hours used", "gpu_hours": "GPU-hours"}
COLUMNS = ("node_hours", "cpu_hours", "gpu_hours", "joules", "money", "currency", "grams_co2")  # of many runs in one table
NOT_KNOWN = "not known"
MOST_GAPS = 6  # lines


def quantity(amount: float, unit: str) -> str:
    """Return an amount with three digits and its unit.

    >>> quantity(312.4, "J"), quantity(56_789.0, "J"), quantity(0.25, "J"), quantity(0, "J")
    ('312 J', '56.8 kJ', '0.25 J', '0 J')
    """
    size, prefix = next(((size, prefix) for size, prefix in PREFIXES if abs(amount) >= 10 * size), (1.0, ""))
    return f"{_digits(amount / size)} {prefix}{unit}"


def _digits(amount: float) -> str:
    """Return a number with at least three digits.

    >>> _digits(12345.6), _digits(123.4), _digits(0.00123456), _digits(0)
    ('12,346', '123', '0.00123', '0')
    """
    return f"{amount:,.0f}" if abs(amount) >= 100 else f"{amount:.3g}"


def cost_lines(run: Mapping[str, Any], prices: CostSpec | None = None, where: str = "run.json") -> list[str]:
    """Return what a run cost, a few lines; none where it does not say.

    Args:
      run: run.json.
      prices: instead of those that the run was given.
      where: see `cost_of`.
    """
    cost = cost_of(run, prices, where)
    if cost is None:
        return []
    lines = [f"used: {', '.join(_hours(cost))}", f"energy: {_energy(cost, run)}"]
    if money := _money(cost):
        lines.append(f"cost: {money}")
    million = [text for name, text in _per_million(cost).items() if name != "cpu_hours_used"]
    if million:
        lines.append(f"per million examples: {', '.join(million)}")
    lines += [f"not in these numbers: {gap}" for gap in cost.gaps[:MOST_GAPS]]
    if len(cost.gaps) > MOST_GAPS:
        lines.append(f"not in these numbers: {len(cost.gaps) - MOST_GAPS:,} more, see cost.gaps in run.json")
    return [*lines, *cost.notes]


def _hours(cost: Cost) -> list[str]:
    used = "" if cost.cpu_hours_used is None else f" ({_digits(cost.cpu_hours_used)} of processor time)"
    gpu = f"GPU-hours {NOT_KNOWN}" if cost.gpu_hours is None else f"{_digits(cost.gpu_hours)} GPU-hours"
    return [f"{_digits(cost.node_hours)} node-hours", f"{_digits(cost.cpu_hours)} CPU-hours{used}", gpu]


def _energy(cost: Cost, run: Mapping[str, Any]) -> str:
    """Say which energy was measured, and of what none was."""
    parts = [
        f"{kind} {quantity(entry.microjoules / 1e6, 'J')}" for kind, entry in cost.energy.items() if entry.microjoules is not None
    ]
    reasons = [f"{kind} is not measured: {entry.reason}" for kind, entry in cost.energy.items() if entry.microjoules is None]
    slurm = [] if cost.slurm_joules is None else [f"Slurm says {quantity(cost.slurm_joules, 'J')}"]
    if cost.joules is None:
        first = next((entry.reason for entry in cost.energy.values() if entry.reason), "")
        return "; ".join([f"not measured: {first}", *slurm])
    watts = "" if not cost.elapsed_s else f", {quantity(cost.joules / cost.elapsed_s, 'W')} on average"
    return "; ".join([f"{quantity(cost.joules, 'J')}{watts}: {', '.join(parts)}", *reasons, *slurm])


def _money(cost: Cost) -> str:
    parts = []
    if cost.money and cost.prices is not None:
        names = [f"{name} {_digits(part)}" for name, part in cost.money.items() if name != "total" and part is not None]
        unknown = [name for name, part in cost.money.items() if name != "total" and part is None]
        total = cost.money["total"]
        text = f"{_digits(total)} {cost.prices.currency}" if total is not None else f"total {NOT_KNOWN}, for {unknown[0]} is not"
        parts.append(f"{text} ({', '.join(names)})" if names and (len(names) > 1 or total is None) else text)
    if cost.prices is not None and cost.prices.grams_co2_per_kwh is not None:
        parts.append("CO2 not known, for no energy was measured" if cost.grams_co2 is None else quantity(cost.grams_co2, "g CO2"))
    measured = cost.prices is not None and (cost.prices.kwh is not None or cost.prices.grams_co2_per_kwh is not None)
    if measured and cost.joules is not None:
        parts.append(f"electricity: {' and '.join(cost.measured)} only")
    return ", ".join(parts)


def amounts(cost: Cost) -> dict[str, float | None]:
    """Return the numbers of a run that can be set beside another's, by their keys in run.json."""
    numbers = {name: getattr(cost, name) for name in HOURS} | {"joules": cost.joules}
    if cost.money:
        numbers["money"] = cost.money["total"]
    if cost.prices is not None and cost.prices.grams_co2_per_kwh is not None:
        numbers["grams_co2"] = cost.grams_co2
    return numbers


def _text(name: str, amount: float, cost: Cost) -> str:
    if name in HOURS:
        return f"{_digits(amount)} {HOURS[name]}"
    if name == "money":
        return f"{_digits(amount)} {cost.prices.currency if cost.prices else ''}"
    return quantity(amount, "J" if name == "joules" else "g CO2")


def _per_million(cost: Cost) -> dict[str, str]:
    parts = {name: cost.per_million(amount) for name, amount in amounts(cost).items()}
    return {name: _text(name, amount, cost) for name, amount in parts.items() if amount}


def cost_table(run: Mapping[str, Any], prices: CostSpec | None = None) -> tuple[TextTable, Sequence[str]] | None:
    """Return a table of what a run cost, and what is not in it, a sentence each; None where it does not say."""
    cost = cost_of(run, prices)
    if cost is None:
        return None
    million = _per_million(cost)
    titles = {**HOURS, "joules": f"energy ({', '.join(cost.measured)})", "money": "cost", "grams_co2": "CO2"}
    if cost.joules is None:
        titles["joules"] = "energy"
    table = TextTable(["quantity", "whole run", "per million examples"])
    for name, amount in amounts(cost).items():
        table.rows.append([titles[name], NOT_KNOWN if amount is None else _text(name, amount, cost), million.get(name, "")])
    reasons = [f"energy of {kind}: {entry.reason}" for kind, entry in cost.energy.items() if entry.microjoules is None]
    return table, [*reasons, *cost.gaps, *cost.notes]


def device_table(run: Mapping[str, Any], most: int = 64) -> TextTable | None:
    """Return the energy of the devices of the last attempt by phase; None where no device has a number.

    Args:
      most: devices that are shown; those that used most.
    """
    usage = (run.get("attempts") or [{}])[-1].get("usage") or {}
    devices = [device for device in usage.get("devices") or [] if device.get("joules") is not None]
    if not devices:
        return None
    shown = sorted(devices, key=lambda device: -device["joules"])[:most]
    phases = list(dict.fromkeys(name for device in shown for name in device["phases"]))
    table = TextTable(["device", "host", "ranks", "joules", "watts", *(f"{name}, joules" for name in phases)], names=3)
    for device in shown:
        parts = [_digits(device["phases"].get(name, {}).get("joules") or 0.0) for name in phases]
        watts = "" if device["watts"] is None else _digits(device["watts"])
        ranks = device["ranks"]
        names = ", ".join(map(str, ranks[:8])) + (f" and {len(ranks) - 8:,} more" if len(ranks) > 8 else "")
        table.rows.append([device["device"], str(device["host"]), names, _digits(device["joules"]), watts, *parts])
    return table


def cost_columns(run: Mapping[str, Any], prices: CostSpec | None = None, where: str = "run.json") -> dict[str, Any]:
    """Return what a run cost by the names in `COLUMNS`; all are None where it does not say, of an attempt too. See `cost_of`.

    A table has no room for what is missing, and numbers that are too small would pass for those of the whole run.
    """
    cost = cost_of(run, prices, where)
    if cost is not None and cost.recorded < cost.attempts:
        cost = None
    numbers = {} if cost is None else amounts(cost)
    currency = cost.prices.currency if cost is not None and cost.money and cost.prices is not None else None
    return {name: currency if name == "currency" else numbers.get(name) for name in COLUMNS}
