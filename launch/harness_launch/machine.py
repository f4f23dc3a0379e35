"""What this machine has for ranks: GPUs and cores, and how many ranks suit them. Loads no TensorFlow."""

from __future__ import annotations

import glob
import os

__all__ = ["allowed_cores", "auto_ranks", "count_gpus", "physical_cores"]

MOST_AUTO_RANKS = 8  # a CPU evaluation gains little past that, and every rank holds the model


def auto_ranks(gpus: int, cores: int) -> int:
    """Choose how many ranks: one per GPU, else one per physical core up to a sensible number.

    >>> auto_ranks(4, 64), auto_ranks(0, 2), auto_ranks(0, 64)
    (4, 2, 8)
    """
    return gpus or max(1, min(cores, MOST_AUTO_RANKS))


def count_gpus() -> int:
    """Count the GPUs this process may use, without loading TensorFlow."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() and part.strip() != "-1"])
    return len(glob.glob("/dev/nvidia[0-9]*"))


def allowed_cores() -> int:
    """Count the cores that this process may use, those of hyper-threading too."""
    return len(os.sched_getaffinity(0))


def physical_cores(allowed: int) -> int:
    """Count physical cores, at most as many as this process may use."""
    import psutil

    return min(psutil.cpu_count(logical=False) or allowed, allowed)
