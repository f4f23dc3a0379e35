"""What an attempt used: the accounts of its ranks, put together. Every machine, package and GPU once, whoever reported it.

Pure. Energies are integers of microjoules until they are shown; a sum over devices of which one has no number has none either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.machine.allocation import Allocation, allocated_cores
from harness.machine.energy import Kind, Measured, joules
from harness.machine.meter import Readings

__all__ = ["Account", "usage"]

NO_READER = "no rank could read it"


@dataclass(frozen=True)
class Account:
    """What one rank says.

    Attributes:
      rank: its number.
      allocation: what it could use.
      readings: what it measured; None where it left nothing.
    """

    rank: int
    allocation: Allocation
    readings: Readings | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        readings = self.readings.to_dict() if self.readings else None
        return {"rank": self.rank, "allocation": self.allocation.to_dict(), "readings": readings}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Account:
        """Read what `to_dict` returned."""
        readings = None if raw["readings"] is None else Readings.from_dict(raw["readings"])
        return cls(raw["rank"], Allocation.from_dict(raw["allocation"]), readings)


@dataclass(frozen=True)
class _Device:
    """One device, as the rank reports it that is taken at its word.

    Attributes:
      host: of the machine that it belongs to.
      ranks: that used it: of processors and memory all of the machine.
      phases_ns: time of the rank that reports it, nanoseconds by phase.
      reader: that rank; None where there is none.
    """

    measured: Measured
    host: str
    ranks: tuple[int, ...]
    phases_ns: Mapping[str, int]
    reader: int | None

    def to_dict(self) -> dict[str, Any]:
        measured = self.measured
        return {
            "device": measured.device, "kind": str(measured.kind), "host": self.host, "ranks": list(self.ranks),
            "read_by": self.reader, "method": str(measured.method), **_energy([self]),
            **({"reason": measured.reason} if measured.reason else {}),
        }  # fmt: skip


def usage(accounts: Sequence[Account], elapsed_s: float) -> dict[str, Any]:
    """Return what run.json says of an attempt.

    Args:
      accounts: of all its ranks.
      elapsed_s: how long it took.
    """
    machines: dict[str, list[Account]] = {}
    for account in sorted(accounts, key=lambda account: account.rank):
        machines.setdefault(account.allocation.machine, []).append(account)
    cores = [allocated_cores([account.allocation for account in here]) for here in machines.values()]
    gpus, reason = _count_gpus(machines.values())
    devices = [*_of_machines(machines.values()), *_gpus(accounts)]
    hours = elapsed_s / 3600
    silent = [account.rank for account in accounts if account.readings is None]
    used_s = sum(account.readings.processor_s for account in accounts if account.readings)
    energy = [_kind(kind, machines.values(), devices) for kind in (Kind.PACKAGE, Kind.MEMORY)]
    if gpus != 0:
        energy.append(_gpu_kind(accounts, devices, reason))
    return {
        "elapsed_s": round(elapsed_s, 3),
        "nodes": len(machines),
        "node_hours": hours * len(machines),
        "cores": sum(cores),
        "cpu_hours": hours * sum(cores),
        "cpu_hours_used": None if silent else used_s / 3600,
        "gpus": gpus,
        "gpu_hours": None if gpus is None else hours * gpus,
        **({"gpu_reason": reason} if gpus is None else {}),
        "energy": energy,
        "by_node": [_node(here, size, devices) for here, size in zip(machines.values(), cores, strict=True)],
        "by_rank": _by_rank(devices),
        "devices": [device.to_dict() for device in devices],
    }


def _count_gpus(machines: Iterable[Sequence[Account]]) -> tuple[int | None, str]:
    """Return how many GPUs were used, each once; where that cannot be told, why."""
    uuids: set[str] = set()
    unnamed = 0
    for accounts in machines:
        users = [account.allocation for account in accounts if account.allocation.gpu_count]
        uuids |= {uuid for user in users for uuid in user.gpus}
        nameless = [user for user in users if not user.gpus]
        if nameless and len(users) > 1:
            return None, f"{nameless[0].host}: whether ranks share GPUs cannot be told: {nameless[0].reason}"
        unnamed += sum(user.gpu_count for user in nameless)
    return len(uuids) + unnamed, ""


def _of_machines(machines: Iterable[Sequence[Account]]) -> list[_Device]:
    """Return the packages and memories, each once, as the lowest rank of its machine reports it."""
    devices: dict[tuple[str, str], _Device] = {}
    for accounts in machines:
        ranks = tuple(account.rank for account in accounts)
        for account in accounts:
            for measured in account.readings.devices if account.readings else ():
                if measured.kind is not Kind.GPU and account.readings:
                    key = account.allocation.machine, measured.device
                    devices.setdefault(
                        key, _Device(measured, account.allocation.host, ranks, account.readings.phases_ns, account.rank)
                    )
    return list(devices.values())


def _gpus(accounts: Sequence[Account]) -> list[_Device]:
    """Return the GPUs that ranks computed on, each once: one that a rank has to itself as that rank reports it."""
    devices = []
    for uuid in sorted({uuid for account in accounts for uuid in account.allocation.gpus}):
        users = [account for account in accounts if uuid in account.allocation.gpus]
        ranks, host = tuple(account.rank for account in users), users[0].allocation.host
        others = [account for account in accounts if account not in users]
        for account in [*users, *others]:
            readings = account.readings
            measured = [device for device in readings.devices if device.device == uuid] if readings else []
            if measured and readings:
                devices.append(_Device(measured[0], host, ranks, readings.phases_ns, account.rank))
                break
        else:
            devices.append(_Device(Measured(uuid, Kind.GPU, reason=NO_READER), host, ranks, {}, None))
    return devices


def _energy(devices: Sequence[_Device]) -> dict[str, Any]:
    """Add up devices that all have numbers: joules, and mean watts, each device over the time of the rank that reports it."""
    if not devices or any(device.measured.total_uj is None for device in devices):
        return {"joules": None, "watts": None}
    names = dict.fromkeys(name for device in devices for name in device.measured.phases_uj)
    phases = {
        name: {
            "joules": joules(sum(device.measured.phases_uj.get(name, 0) for device in devices)),
            "watts": _watts([(device.measured.phases_uj.get(name, 0), device.phases_ns.get(name, 0)) for device in devices]),
        }
        for name in names
    }
    return {
        "joules": joules(sum(device.measured.total_uj or 0 for device in devices)),
        "watts": _watts([(device.measured.total_uj or 0, sum(device.phases_ns.values())) for device in devices]),
        "phases": phases,
    }


def _watts(parts: Sequence[tuple[int, int]]) -> float | None:
    """Return the mean power of several devices together.

    Args:
      parts: microjoules and nanoseconds of each.
    """
    timed = [1000 * used_uj / elapsed_ns for used_uj, elapsed_ns in parts if elapsed_ns]
    return round(sum(timed), 3) if timed else None


def _kind(kind: Kind, machines: Iterable[Sequence[Account]], devices: Sequence[_Device]) -> dict[str, Any]:
    """Add up what packages, or memories, of all machines used."""
    reasons = [reason for accounts in machines if (reason := _missing(kind, accounts))]
    mine = [device for device in devices if device.measured.kind is kind]
    reasons += [f"{device.host}: {device.measured.device}: {device.measured.reason}" for device in mine if device.measured.reason]
    if reasons:
        return {"kind": str(kind), "joules": None, "watts": None, "reason": _first(reasons)}
    return {"kind": str(kind), **_energy(mine)}


def _missing(kind: Kind, accounts: Sequence[Account]) -> str:
    """Say why nobody on a machine counts a kind; nothing where somebody does."""
    host = accounts[0].allocation.host
    reports = [account.readings for account in accounts if account.readings]
    if any(device.kind is kind for readings in reports for device in readings.devices):
        return ""
    reasons = [readings.missing[kind] for readings in reports if kind in readings.missing]
    return f"{host}: {reasons[0] if reasons else NO_READER}"


def _gpu_kind(accounts: Sequence[Account], devices: Sequence[_Device], unknown: str) -> dict[str, Any]:
    """Add up what the GPUs used that ranks computed on."""
    mine = [device for device in devices if device.measured.kind is Kind.GPU]
    nameless = [account.allocation for account in accounts if account.allocation.gpu_count and not account.allocation.gpus]
    reasons = [unknown] if unknown else [f"{own.host}: {own.reason}" for own in nameless]
    reasons += [f"{device.measured.device}: {device.measured.reason}" for device in mine if device.measured.reason]
    if reasons:
        return {"kind": str(Kind.GPU), "joules": None, "watts": None, "reason": _first(reasons)}
    methods = sorted({str(device.measured.method) for device in mine})
    return {"kind": str(Kind.GPU), **_energy(mine), "method": ", ".join(methods)}


def _first(reasons: Sequence[str]) -> str:
    if not reasons:
        return ""
    return reasons[0] if len(reasons) == 1 else f"{reasons[0]}; and {len(reasons) - 1:,} more"


def _node(accounts: Sequence[Account], cores: float, devices: Sequence[_Device]) -> dict[str, Any]:
    """Return what one machine used: of its devices those that have numbers, and the names of the others."""
    ranks = {account.rank for account in accounts}
    mine = [device for device in devices if ranks & set(device.ranks)]
    counted = [device for device in mine if not device.measured.reason]
    own = accounts[0].allocation
    return {
        "host": own.host, "ranks": sorted(ranks), "cores": cores, "machine_cores": own.machine_cores, **_energy(counted),
        "without": [device.measured.device for device in mine if device.measured.reason],
    }  # fmt: skip


def _by_rank(devices: Sequence[_Device]) -> list[dict[str, Any]]:
    """Return what ranks used that have their GPUs to themselves."""
    gpus = [device for device in devices if device.measured.kind is Kind.GPU]
    ranks = sorted({rank for device in gpus for rank in device.ranks})
    parts = []
    for rank in ranks:
        mine = [device for device in gpus if rank in device.ranks]
        if all(device.ranks == (rank,) and not device.measured.reason for device in mine):
            energy = _energy(mine)
            if any(device.reader != rank for device in mine):  # the phases are those of another
                del energy["phases"]
            parts.append({"rank": rank, **energy})
    return parts
