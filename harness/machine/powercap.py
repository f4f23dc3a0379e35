"""Energy of processors and their memory, as Linux shows it below /sys/class/powercap (RAPL, of Intel and AMD).

Every zone has a name, a counter in microjoules, and the count at which it begins again. Zones lie in each other: cores and
graphics are parts of a package and are not counted again; `psys` is a whole platform, packages included, and is left out.
One package may show twice, as `intel-rapl:0` and `intel-rapl-mmio:0`: it is counted once, by its name.
https://docs.kernel.org/power/powercap/powercap.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import NoReading
from harness.machine.energy import EnergyCounter, Kind, Method

__all__ = ["POWERCAP", "Zone", "find_zones"]

POWERCAP = Path("/sys/class/powercap")
ROOT_ONLY = "only root may read it"
PACKAGE = re.compile(r"package-\d+(-die-\d+)?")
MEMORY = "dram"
CONTROL_TYPE = "intel-rapl"  # AMD's processors too


@dataclass(frozen=True)
class Zone:
    """One zone that is counted.

    Attributes:
      device: `package-0`, or `package-0/dram` for its memory.
      folder: where its files lie.
      range_uj: see `EnergyCounter`.
    """

    device: str
    kind: Kind
    folder: Path
    range_uj: int
    method: Method = Method.COUNTER

    def read(self) -> int:
        """Return the count, in microjoules.

        Raises: NoReading: it cannot be read.
        """
        return _number(self.folder / "energy_uj")


def find_zones(root: Path = POWERCAP) -> tuple[list[EnergyCounter], Mapping[Kind, str]]:
    """Find the zones that count packages and their memory, and can be read.

    Args:
      root: of the tree.
    Returns: the zones; and by kind why there is none, or why one of them cannot be read: then none of that kind is.
    """
    zones: dict[str, EnergyCounter] = {}
    reasons: dict[Kind, str] = {}
    for device, kind, folder in _named(root):
        if device in zones:
            continue
        try:
            zone = Zone(device, kind, folder, _number(folder / "max_energy_range_uj"))
            zone.read()
        except NoReading as exc:
            reasons.setdefault(kind, str(exc))
            continue
        if not zone.range_uj:
            reasons.setdefault(kind, f"{folder / 'max_energy_range_uj'}: is 0")
            continue
        zones[device] = zone
    for kind in (Kind.PACKAGE, Kind.MEMORY):
        if not any(zone.kind is kind for zone in zones.values()):
            reasons.setdefault(kind, f"{root}: this machine shows no counter of it")
    # A part of the packages would be taken for all of them.
    return [zone for zone in zones.values() if zone.kind not in reasons], reasons


def _named(root: Path) -> Iterator[tuple[str, Kind, Path]]:
    """Find the zones that count packages and memory, by their names."""
    try:
        folders = [folder for folder in root.iterdir() if re.fullmatch(r"[\w-]+:\d+", folder.name)]
    except OSError:
        return
    # Of two that show the same package, the one that shows its memory too.
    folders.sort(key=lambda folder: (not folder.name.startswith(f"{CONTROL_TYPE}:"), folder.name))
    for folder in folders:
        package = _name(folder)
        if not PACKAGE.fullmatch(package):
            continue
        yield package, Kind.PACKAGE, folder
        # Below /sys/class/powercap all zones stand side by side, as links; in a copy of the tree they may lie in each other.
        inner = {path.name: path for place in (root, folder) for path in sorted(place.glob(f"{folder.name}:*"))}
        for part in inner.values():
            if _name(part) == MEMORY:
                yield f"{package}/{MEMORY}", Kind.MEMORY, part


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(path: Path) -> int:
    """Read a count.

    Raises: NoReading: it is not there, not to be read, or not a number.
    """
    try:
        text = path.read_text().strip()
    except PermissionError:
        raise NoReading(f"{path}: {ROOT_ONLY}") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise NoReading(f"{path}: cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if not text.isascii() or not text.isdigit():
        raise NoReading(f"{path}: expected a count of microjoules, found {text[:40]!r}")
    return int(text)
