"""What a run cost, all its attempts together: hours, energy, and with prices money and CO2. Reads run.json; measures nothing.

Where a number is not known it is None, and `gaps` says why. What was not measured is not estimated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from harness.errors import RunFolderError
from harness.job.prices import CostSpec

__all__ = ["Cost", "Energy", "cost_of"]

MICRO = 1_000_000
J_PER_KWH = 3_600_000


@dataclass(frozen=True)
class Energy:
    """What a kind of device used in all attempts.

    Attributes:
      microjoules: None where no attempt has a number.
      reason: why not.
    """

    microjoules: int | None
    reason: str = ""


@dataclass(frozen=True)
class Cost:
    """What a run cost.

    Attributes:
      attempts: how many there were.
      recorded: how many of them left a record, and are added up.
      elapsed_s: from their starts to their ends, or to what they recorded last.
      node_hours, cpu_hours, cpu_hours_used, gpu_hours: nodes, cores and GPUs that were allocated times hours, and hours of
        processor time; None where an attempt does not know.
      energy: by kind: package, memory, gpu.
      gaps: what is not in these numbers, a sentence each.
      notes: how they are to be read.
      examples: of the run.
      slurm_joules: what Slurm says, of the attempts that it said it of.
      prices: None where none are given.
    """

    attempts: int
    recorded: int
    elapsed_s: float
    node_hours: float
    cpu_hours: float
    cpu_hours_used: float | None
    gpu_hours: float | None
    energy: Mapping[str, Energy]
    gaps: Sequence[str] = ()
    notes: Sequence[str] = ()
    examples: int = 0
    slurm_joules: int | None = None
    prices: CostSpec | None = field(default=None)

    @property
    def measured(self) -> Sequence[str]:
        """The kinds of device that have a number."""
        return [kind for kind, energy in self.energy.items() if energy.microjoules is not None]

    @property
    def joules(self) -> float | None:
        """Energy of the kinds that have a number; None where none has."""
        known = [energy.microjoules for energy in self.energy.values() if energy.microjoules is not None]
        return sum(known) / MICRO if known else None

    @property
    def money(self) -> dict[str, float | None]:
        """What each price makes, by its key, and `total`; None where the hours, or joules, are not known."""
        prices = self.prices
        if prices is None:
            return {}
        kwh = None if self.joules is None else Decimal(repr(self.joules)) / J_PER_KWH
        amounts = {"gpu_hour": self.gpu_hours, "cpu_hour": self.cpu_hours, "node_hour": self.node_hours, "kwh": kwh}
        parts = {
            name: None if amount is None else Decimal(repr(price)) * Decimal(str(amount))
            for name, amount in amounts.items()
            if (price := getattr(prices, name)) is not None
        }
        if not parts:
            return {}
        known = [part for part in parts.values() if part is not None]
        money = {name: None if part is None else float(part) for name, part in parts.items()}
        return {**money, "total": float(sum(known)) if len(known) == len(parts) else None}

    @property
    def grams_co2(self) -> float | None:
        """What the measured energy stands for; None without an intensity, or energy."""
        if self.prices is None or self.prices.grams_co2_per_kwh is None or self.joules is None:
            return None
        return float(Decimal(repr(self.prices.grams_co2_per_kwh)) * Decimal(repr(self.joules)) / J_PER_KWH)

    def per_million(self, amount: float | None) -> float | None:
        """Return an amount for a million examples; None where it is not known, or there are no examples."""
        return None if amount is None or not self.examples else amount * MICRO / self.examples

    def to_dict(self) -> dict[str, Any]:
        """Return it as run.json holds it."""
        amounts = {
            "node_hours": self.node_hours, "cpu_hours": self.cpu_hours, "cpu_hours_used": self.cpu_hours_used,
            "gpu_hours": self.gpu_hours, "joules": self.joules,
        }  # fmt: skip
        if self.money:
            amounts["money"] = self.money["total"]
        if self.grams_co2 is not None:
            amounts["grams_co2"] = self.grams_co2
        energy = {
            kind: {"joules": None, "reason": entry.reason} if entry.microjoules is None else {"joules": entry.microjoules / MICRO}
            for kind, entry in self.energy.items()
        }
        document = {
            "attempts": self.attempts, "elapsed_s": self.elapsed_s, **amounts, "energy": energy, "measured": list(self.measured),
            "slurm_joules": self.slurm_joules, "gaps": list(self.gaps), "notes": list(self.notes),
            "per_million_examples": {name: self.per_million(amount) for name, amount in amounts.items()},
        }  # fmt: skip
        if self.prices is not None:
            document["prices"] = self.prices.model_dump(mode="json", exclude_defaults=True)
        if self.money:
            document["money_by_price"] = {name: part for name, part in self.money.items() if name != "total"}
        return document


def cost_of(run: Mapping[str, Any], prices: CostSpec | None = None, where: str = "run.json") -> Cost | None:
    """Add up the attempts of a run.

    Args:
      run: run.json.
      prices: those that are given; None takes those that the run was given.
      where: that file's name, for messages.
    Returns: None where the run says nothing of what it used: one of an earlier version.
    Raises: RunFolderError: the file is not what a run writes.
    """
    listed = run.get("attempts")
    attempts = [attempt for attempt in listed if isinstance(attempt, Mapping)] if isinstance(listed, list) else []
    if not any("usage" in attempt for attempt in attempts):
        return None
    try:
        return _added_up(run, attempts, prices)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as exc:
        summary = " ".join(str(exc).split())[:200]
        raise RunFolderError(f"{where}: what it says of usage and cost is not what a run writes: {summary}") from exc


def _added_up(run: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]], prices: CostSpec | None) -> Cost:
    usages = [attempt["usage"] for attempt in attempts if "usage" in attempt]
    if prices is None and (kept := (run.get("cost") or {}).get("prices")):
        prices = CostSpec.model_validate(kept)
    kinds = dict.fromkeys(str(entry["kind"]) for usage in usages for entry in usage["energy"])
    slurm = [usage["slurm"]["joules"] for usage in usages if (usage.get("slurm") or {}).get("joules") is not None]
    return Cost(
        attempts=len(attempts),
        recorded=len(usages),
        elapsed_s=round(sum(usage["elapsed_s"] for usage in usages), 3),
        node_hours=sum(usage["node_hours"] for usage in usages),
        cpu_hours=sum(usage["cpu_hours"] for usage in usages),
        cpu_hours_used=_sum([(attempt.get("usage") or {}).get("cpu_hours_used") for attempt in attempts]),
        gpu_hours=_sum([usage["gpu_hours"] for usage in usages]),
        energy={kind: _energy(kind, usages) for kind in kinds},
        gaps=_gaps(attempts),
        notes=_notes(usages),
        examples=int((run.get("plan") or {}).get("examples") or 0),
        slurm_joules=sum(slurm) if slurm else None,
        prices=prices,
    )


def _sum(parts: Sequence[float | None]) -> float | None:
    """Add up; None where a part is not known: what is left would be too small. `_gaps` names it."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _energy(kind: str, usages: Sequence[Mapping[str, Any]]) -> Energy:
    entries = [entry for usage in usages for entry in usage["energy"] if entry["kind"] == kind]
    known = [round(entry["joules"] * MICRO) for entry in entries if entry["joules"] is not None]
    if known:
        return Energy(sum(known))
    return Energy(None, next((entry["reason"] for entry in reversed(entries) if entry.get("reason")), ""))


def _gaps(attempts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what is missing of each attempt, but the energy of a kind of device that no attempt has measured."""
    gaps = []
    usages = [attempt["usage"] for attempt in attempts if "usage" in attempt]
    measured = {entry["kind"] for usage in usages for entry in usage["energy"] if entry["joules"] is not None}
    for attempt in attempts:
        name, usage = f"attempt {attempt.get('attempt')}", attempt.get("usage")
        if usage is None:
            gaps.append(f"{name} left no record of what it used: nothing of it is counted")
            continue
        if usage.get("until"):
            gaps.append(
                f"{name} was ended: counted up to its last record, {usage['elapsed_s']:.0f} s after its start; what it used "
                "after that is not known"
            )
        if usage["cpu_hours_used"] is None:
            gaps.append(f"{name}: processor time is not known of all ranks, and so not of the run")
        if usage["gpu_hours"] is None:
            gaps.append(f"{name}: GPU-hours are not known, and so not of the run: {usage.get('gpu_reason', '')}")
        lacking = [entry for entry in usage["energy"] if entry["joules"] is None and entry["kind"] in measured]
        gaps += [f"{name}: energy of {entry['kind']} is not counted: {entry.get('reason', '')}" for entry in lacking]
    return gaps


def _notes(usages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say where counters count more than the run."""
    notes = []
    nodes = [node for usage in usages for node in usage["by_node"]]
    counted = any(entry["joules"] is not None and entry["kind"] != "gpu" for usage in usages for entry in usage["energy"])
    partly = [node for node in nodes if node["cores"] < node["machine_cores"]]
    if counted and partly:
        node = partly[0]
        notes.append(
            f"counters of packages and memory count all that runs on a machine; the run had {node['cores']:g} of "
            f"{node['machine_cores']} cores of {node['host']}"
        )
    if any("power samples" in entry.get("method", "") for usage in usages for entry in usage["energy"]):
        notes.append("a GPU has no energy counter: its energy is added up from samples of its power")
    return notes
