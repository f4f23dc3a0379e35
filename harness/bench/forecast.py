"""The forecast: what a job would take at sizes that were not run, how surely, and from where on more ranks do not pay. Pure.

It is made of what pilot runs at one rank took (`pilot_costs`) and of a model of the rest (`forecast_model`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.bench.collective import LIKELY, SLOW, SWIFT, Network
from harness.bench.forecast_model import Machine, Size, Terms, Work, doublings, largest_share, predict
from harness.bench.pilot_costs import Costs, median_costs

__all__ = ["Forecast", "Pilots", "Predicted", "Stop", "forecast"]

SCHEMA_VERSION = 1  # of forecast.json
PAYS = 0.1  # of the time, that twice as many ranks have to save
TELLING_S = 0.5
UNSURE = 0.5  # of the time of the examples, either way, where pilots tell little of an example
CONTENDED = 0.25  # how much longer ranks that share cores may take than the cores' work alone
# Student's t, two-sided 95 %, by degrees of freedom; between these the one before is taken, which is the larger.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 15: 2.131, 20: 2.086}
Pilots = Mapping[int, Sequence[Costs]]  # repeats of the pilot, by the threads of its rank


@dataclass(frozen=True)
class Predicted:
    """What one size would take.

    Attributes:
      size: ranks and nodes.
      terms: of the time.
      low_s, high_s: between which the time lies, by the repeats and by what the model does not know; None with one repeat.
      rank_bytes: memory of a rank.
      joules, money: None where they cannot be told; `Forecast.notes` says why.
    """

    size: Size
    terms: Terms
    low_s: float | None
    high_s: float | None
    rank_bytes: int
    joules: float | None = None
    money: float | None = None

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {
            "ranks": self.size.ranks, "nodes": self.size.nodes, "ranks_on_node": self.size.on_node,
            "seconds": self.terms.total_s, "low_s": self.low_s, "high_s": self.high_s, "parts": dict(self.terms.parts),
            "crowding": self.terms.crowding, "storage_bound": self.terms.storage_bound, "rank_bytes": self.rank_bytes,
            "cpu_hours_used": self.terms.cpu_s / 3600, "joules": self.joules, "money": self.money,
        }  # fmt: skip


@dataclass(frozen=True)
class Stop:
    """Where more ranks stop paying: from `ranks` on twice as many save less than a tenth of the time, and why."""

    ranks: int
    reason: str


@dataclass(frozen=True)
class Forecast:
    """What was predicted.

    Attributes:
      work, machine: what the prediction is of.
      sizes: in the order in which they were asked for.
      stop: None where more ranks pay up to the largest size.
      notes: what is not known, a sentence each.
      currency: of money.
    """

    work: Work
    machine: Machine
    sizes: Sequence[Predicted]
    stop: Stop | None
    notes: Sequence[str] = field(default_factory=tuple)
    currency: str = ""

    @property
    def best(self) -> Predicted:
        """The largest size that was asked for and still pays; the smallest where none does."""
        paying = [size for size in self.sizes if self.stop is None or size.size.ranks <= self.stop.ranks]
        return max(paying or [min(self.sizes, key=lambda size: size.size.ranks)], key=lambda size: size.size.ranks)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {
            "schema_version": SCHEMA_VERSION, "work": asdict(self.work), "machine": asdict(self.machine),
            "sizes": [size.document() for size in self.sizes], "stop": asdict(self.stop) if self.stop else None,
            "best_ranks": self.best.size.ranks, "currency": self.currency, "notes": list(self.notes),
        }  # fmt: skip


def forecast(
    pilots: Pilots,
    sizes: Sequence[Size],
    work: Work,
    machine: Machine,
    *,
    prices: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Forecast:
    """Predict sizes from pilots.

    Args:
      pilots: with each number of threads that a rank of these sizes has.
      prices: the job's `cost`, as run.json keeps it; None where there are none.
      notes: what is not known already.
    """
    prices = prices or {}
    predicted = tuple(_predicted(_nearest(pilots, size, machine), size, work, machine, prices) for size in sizes)
    stop = _stop(pilots, sizes, work, machine)
    every = (*notes, *_unknown(predicted, pilots, work, machine, prices))
    return Forecast(work, machine, predicted, stop, every, str(prices.get("currency", "")))


def _nearest(pilots: Pilots, size: Size, machine: Machine) -> Sequence[Costs]:
    """Return the pilot whose rank had the threads of this size's ranks, or the nearest number."""
    threads = size.threads(machine.cores)
    return pilots[min(pilots, key=lambda number: (abs(number - threads), number))]


def _predicted(repeats: Sequence[Costs], size: Size, work: Work, machine: Machine, prices: Mapping[str, Any]) -> Predicted:
    costs = median_costs(repeats)
    terms = predict(costs, size, work, machine, LIKELY)
    low_s = high_s = None
    if len(repeats) > 1:
        low_s, high_s = _interval(repeats, size, work, machine)
    joules = costs.watts * size.nodes * terms.total_s if costs.watts is not None else None
    connect_bytes = machine.connect_bytes if size.ranks > 1 else 0
    rank_bytes = costs.rank_bytes(largest_share(work, size.ranks)) + connect_bytes
    money = _money(prices, size, machine, terms.total_s, joules)
    return Predicted(size, terms, low_s, high_s, rank_bytes, joules, money)


def _interval(repeats: Sequence[Costs], size: Size, work: Work, machine: Machine) -> tuple[float, float]:
    """Return a 95 % prediction interval over the repeats, widened by what the model does not know.

    That is: the network, from swift to slow; ranks that share cores, which may take up to a quarter longer than their work;
    and the slowest of many ranks, sqrt(2 ln p) standard deviations above the mean one where they vary as the repeats do.
    Pilots that tell little of an example make it wider by half of the time of the examples.
    """

    def totals(network: Network) -> list[float]:
        return [predict(costs, size, work, machine, network).total_s for costs in repeats]

    likely = totals(LIKELY)
    middle, deviation, number = statistics.median(likely), statistics.stdev(likely), len(likely)
    quantile = T95[max(known for known in T95 if known <= number - 1)]
    half = quantile * deviation * math.sqrt(1 + 1 / number)
    typical = predict(median_costs(repeats), size, work, machine, LIKELY)
    shared = machine.cores < size.on_node or typical.crowding > 1
    contended = CONTENDED * sum(typical.parts[name] for name in ("start-up", "compiling", "examples")) if shared else 0.0
    slowest = math.sqrt(2 * math.log(size.ranks)) * deviation
    swifter = middle - statistics.median(totals(SWIFT))
    slower = statistics.median(totals(SLOW)) - middle
    unsure = UNSURE * typical.parts["examples"] if any(costs.is_unsure for costs in repeats) else 0.0
    low_s = middle - math.hypot(half, unsure) - swifter
    high_s = middle + math.hypot(half, slowest, unsure) + slower + contended
    return max(0.0, min(low_s, typical.total_s)), max(high_s, typical.total_s)


def _money(prices: Mapping[str, Any], size: Size, machine: Machine, seconds: float, joules: float | None) -> float | None:
    """Return what a size costs; None without a price that applies, or without the energy that one needs."""
    hours = seconds / 3600
    cores = min(size.ranks * size.threads(machine.cores), size.nodes * machine.cores)  # ranks may share them
    parts = {
        "node_hour": size.nodes * hours, "cpu_hour": cores * hours,
        "gpu_hour": size.ranks * machine.gpus_per_rank * hours, "kwh": None if joules is None else joules / 3.6e6,
    }  # fmt: skip
    charged = [(price, parts[name]) for name, price in prices.items() if name in parts and price is not None]
    if not charged or any(amount is None for _, amount in charged):
        return None
    return sum(price * amount for price, amount in charged if amount is not None)


def _stop(pilots: Pilots, sizes: Sequence[Size], work: Work, machine: Machine) -> Stop | None:
    """Find the first power of two from which twice as many ranks do not pay, and say what stands in their way."""
    nodes_of, every = sizes[0].nodes_of, doublings(2 * max(size.ranks for size in sizes))
    terms = [predict(median_costs(_nearest(pilots, size, machine)), size, work, machine, LIKELY)
             for size in (Size(ranks, nodes_of) for ranks in every)]  # fmt: skip
    for place, (ranks, now) in enumerate(zip(every[:-1], terms, strict=False)):
        # A node that is full does not stop what the next nodes bring: all larger sizes are looked at, a tenth for each doubling.
        if all(then.total_s > (1 - PAYS) ** steps * now.total_s for steps, then in enumerate(terms[place + 1 :], start=1)):
            return Stop(ranks, _reason(now, terms[place + 1], Size(2 * ranks, nodes_of), work, machine))
    return None


def _reason(now: Terms, then: Terms, more: Size, work: Work, machine: Machine) -> str:
    """Say why twice as many ranks do not pay: the largest term that they do not make smaller."""
    left = {name: seconds for name, seconds in then.parts.items() if seconds > (1 - PAYS) * now.parts[name]}
    name = max(left, key=lambda part: left[part])
    share = left[name] / then.total_s
    if name != "examples":
        why = {
            "start-up": "ranks import and connect before they evaluate",
            "compiling": "every rank compiles the model for itself",
            "final sum": "its steps and its bytes grow with the ranks",
            "writing": "one rank writes the results",
        }[name]
        grown = left[name] > 1.2 * now.parts[name] and then.crowding > 1
        shared = f", and {more.on_node} ranks share {machine.cores} cores" if grown else ""
        return f"{name} is {share:.0%} of the time at {more.ranks:,} ranks: {why}{shared}"
    if then.storage_bound:
        return f"reading is {share:.0%} of the time at {more.ranks:,} ranks: the storage of a node gives no more"
    if then.crowding > 1:
        return f"{more.on_node} ranks share the {machine.cores} cores of a node: together they evaluate no faster"
    chunk = largest_share(work, more.ranks)
    if chunk < largest_share(work, more.ranks // 2):
        return f"{more.on_node} ranks share the {machine.cores} cores of a node: with fewer threads each takes as much longer"
    return (
        f"the largest share does not become smaller: {work.chunks:,} chunks for {more.ranks:,} ranks leave one with {chunk:,} "
        "examples (chunk_size in the job makes chunks smaller)"
    )


def _unknown(
    predicted: Sequence[Predicted], pilots: Pilots, work: Work, machine: Machine, prices: Mapping[str, Any]
) -> list[str]:
    """Say what cannot be known from one rank of one machine."""
    notes = []
    if any(work.examples * median_costs(repeats).example_s < TELLING_S for repeats in pilots.values()):
        notes.append(f"all examples together take less than {TELLING_S:g} s of a rank: what one takes cannot be told from noise")
    unsure = [costs.is_unsure for repeats in pilots.values() for costs in repeats]
    if any(unsure):
        notes.append(
            f"in {sum(unsure)} of {len(unsure)} pairs of pilots the larger run was not slower: what an example takes is unsure, "
            "and so is all that follows from it; a larger --pilot, or a machine that does nothing else, would tell"
        )
    if any(size.size.nodes > 1 for size in predicted):
        notes.append("other nodes are taken to be like this one, the network between 2 us and 1 ms a step, 10 and 0.1 GB/s")
        if machine.reading_bytes_s and work.size_bytes:
            fastest = max(predicted, key=lambda size: size.size.ranks)
            needed = work.size_bytes / max(fastest.terms.parts["examples"], 1e-9)
            if needed > machine.reading_bytes_s:
                notes.append(
                    f"at {fastest.size.ranks:,} ranks the storage has to give {needed / 1e9:.2f} GB/s; one node got "
                    f"{machine.reading_bytes_s / 1e9:.2f} GB/s here; whether several get more cannot be known from one, and if "
                    f"they do not, the examples alone take {work.size_bytes / machine.reading_bytes_s:,.0f} s"
                )
        notes.append("hundreds of processes that load TensorFlow from one file system may start more slowly than one does here")
    if not work.size_bytes:
        notes.append("the bytes of the data are not known: no limit of the storage is in the forecast")
    if any(len(repeats) < 2 for repeats in pilots.values()):
        notes.append("one repeat says nothing of its uncertainty: there are no intervals")
    too_large = [size for size in predicted if size.rank_bytes * size.size.on_node > machine.memory_bytes]
    if too_large:
        needed_gib = too_large[0].rank_bytes * too_large[0].size.on_node / 2**30
        notes.append(
            f"at {too_large[0].size.ranks:,} ranks a node needs {needed_gib:.1f} GiB of memory, this one has "
            f"{machine.memory_bytes / 2**30:.1f} GiB: fewer ranks a node with --nodes-of"
        )
    if any(size.joules is None for size in predicted):
        notes.append("energy is not known: the pilot measured none on this machine")
    if any(size.money is None for size in predicted):
        notes.append("no price: the job has no key cost" if not prices else "no price: one goes by energy, which is not known")
    return notes
