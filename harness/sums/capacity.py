"""Whether the state fits: sized before the run, refused with the figure. Pure but for one look at what the machine has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.errors import JobError
from harness.metrics.contract import Binding
from harness.names.variables import STATE_BYTES
from harness.sums.layout import Counted, Crossed, Summed
from harness.sums.sums import Layouts

__all__ = ["allowed_bytes", "check_examples", "check_fits", "fitting", "peak_bytes", "size_text"]

SHARE = 4  # the state may take so many-th part of what is available: it is copied once or twice on its way to the sum
NAMED = 3  # of the largest contributors


def allowed_bytes(local_size: int) -> int:
    """Return how large the state of one rank may be: a quarter of the available memory, shared by the machine's ranks.

    The variable HARNESS_STATE_BYTES sets another limit.
    """
    setting = STATE_BYTES.get()
    if setting.isdigit():
        return int(setting)
    return _available_bytes() // (SHARE * local_size)


def check_fits(layouts: Layouts, slots: int, allowed: int) -> int:
    """Return the bytes of the state, or refuse it.

    Args:
      layouts: of state and grid.
      slots: of the grid, the whole counted.
      allowed: bytes.
    Raises: JobError: it does not fit; names the metrics that need most.
    """
    total, draws = layouts.size_bytes(slots), layouts.draws
    if total <= allowed:
        return total
    by: dict[str, int] = {}
    whole = _sizes(layouts.state.parts)
    everywhere = [(owner, size * slots * draws) for owner, size in _sizes(layouts.grid.columns)]
    for owner, size in whole + everywhere:
        by[owner] = by.get(owner, 0) + 8 * size
    largest = sorted(by.items(), key=lambda entry: (-entry[1], entry[0]))[:NAMED]
    cells = f" of {slots:,} slices x {draws:,} draws (the whole included)" if layouts.grid.columns else ""
    raise JobError(
        f"the state{cells} takes {size_text(total)} a rank, expected at most {size_text(allowed)}; "
        f"the most take {', '.join(f'{owner}: {size_text(size)}' for owner, size in largest)}. Lower slices.maximum or "
        f"bootstrap.replicates, set slices: false or bootstrap: false on the largest metrics, start fewer ranks a machine, or "
        f"set {STATE_BYTES.name} to allow more"
    )


def check_examples(layouts: Layouts, slots: int, examples: int, chunk: int, allowed: int) -> int:
    """Return the bytes of the examples that a rank may have to hold, or refuse them.

    Args:
      layouts: of the sums.
      slots: of slices, the whole counted.
      examples, chunk: of the plan, and of its largest chunk.
      allowed: bytes.
    Raises: JobError: they do not fit.
    """
    layout = layouts.examples
    entries = layout.most_entries(slots, layouts.specs, examples, chunk)
    total = 8 * layout.width * entries
    if total > allowed:
        raise JobError(
            f"examples: {entries:,} of {8 * layout.width:,} bytes, of {layout.groups(slots):,} groups and a chunk of {chunk:,}, "
            f"take {size_text(total)} a rank, expected at most {size_text(allowed)}; lower examples.worst, slices.maximum or "
            f"chunk_size, choose per: all, or set {STATE_BYTES.name} to allow more"
        )
    return total


def fitting(layouts: Layouts, allowed: int) -> int | None:
    """Return how many slots of a grid fit; None where they take no memory. See `check_fits`."""
    slot_bytes = layouts.size_bytes(1) - layouts.size_bytes(0)
    return (allowed - layouts.size_bytes(0)) // slot_bytes if slot_bytes else None


def size_text(size_bytes: int) -> str:
    """Write a size for people.

    >>> size_text(999), size_text(2**20), size_text(5 * 2**30)
    ('999 bytes', '1.0 MiB', '5.0 GiB')
    """
    if size_bytes < 1 << 20:
        return f"{size_bytes:,} bytes"
    return f"{size_bytes / 2**20:,.1f} MiB" if size_bytes < 1 << 30 else f"{size_bytes / 2**30:,.1f} GiB"


def peak_bytes() -> int:
    """Return the most memory that this process has held at once, mapped files included; 0 where the system does not say."""
    # Not what getrusage says: that includes what the launcher held before it started this process.
    lines = [line.split() for line in _lines("/proc/self/status") if line.startswith("VmHWM:")]
    return int(lines[0][1]) << 10 if lines else 0


def _sizes(parts: Sequence[Summed | Counted | Crossed]) -> list[tuple[str, int]]:
    return [("what metrics share" if isinstance(part.key[0], Binding) else str(part.key[0]), part.size) for part in parts]


def _available_bytes() -> int:
    """Return the memory that could be used now: of the machine, or of what this process was confined to."""
    limits = [int(line.split()[1]) << 10 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        limits.append(max(int(limit[0]) - int(used[0]), 0))
    return min(limits, default=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
