"""/sys/class/powercap as Linux lays it out: zones side by side, as links into a tree."""

from __future__ import annotations

from pathlib import Path

__all__ = ["make_tree", "set_uj", "zone"]

RANGE_UJ = 262_143_328_850  # of Intel's server processors


def zone(folder: Path, name: str, energy_uj: int, range_uj: int = RANGE_UJ) -> Path:
    """Make one zone."""
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder


def make_tree(root: Path, packages: int = 2, *, memory: bool = True, range_uj: int = RANGE_UJ) -> Path:
    """Make a machine of some packages, each with cores and memory, a platform zone, and package 0 a second time."""
    devices, shown = root / "devices", root / "class" / "powercap"
    shown.mkdir(parents=True)
    for number in range(packages):
        package = zone(devices / f"intel-rapl:{number}", f"package-{number}", 1000 + number, range_uj)
        links = [package, zone(package / f"intel-rapl:{number}:0", "core", 500, range_uj)]
        if memory:
            links.append(zone(package / f"intel-rapl:{number}:1", "dram", 300 + number, range_uj))
        for path in links:
            (shown / path.name).symlink_to(path)
    for name, path in (("psys", f"intel-rapl:{packages}"), ("package-0", "intel-rapl-mmio:0")):
        (shown / path).symlink_to(zone(devices / path, name, 9000, range_uj))
    (shown / "intel-rapl").symlink_to(devices)  # the control type itself
    return shown


def set_uj(shown: Path, zone_name: str, energy_uj: int) -> None:
    """Let a counter of the tree stand at a count; whoever reads it finds it whole, as in the kernel's."""
    path = shown / zone_name / "energy_uj"
    path.with_suffix(".new").write_text(f"{energy_uj}\n")
    path.with_suffix(".new").rename(path)
