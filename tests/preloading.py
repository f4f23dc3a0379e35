"""What the tests' processes have at hand before a test begins, so that it is made once and not in each of them."""

from __future__ import annotations

import compileall
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["bytecode", "load", "rooms"]

# What a run of one rank goes through; `ranks` stays out, for there a module says by being loaded that it is used.
ROOMS = ("data", "exact", "folder", "metrics", "models", "predictions", "prepare", "results", "run", "step", "sums", "watch")
# What only scripts and notebooks load.
OTHERS = {"harness.run.keras_callback", "harness.watch.notebook_bar"}


def bytecode(root: Path) -> None:
    """Write the bytecode of the sources that ranks and commands import.

    Python does so by itself, but where PYTHONDONTWRITEBYTECODE is set: there hundreds of processes would compile them anew.
    """
    for folder in ("harness", "launch"):
        compileall.compile_dir(root / folder, quiet=2)


def rooms() -> Iterator[str]:
    """Name the modules that a run may import on its way.

    >>> "harness.step.build" in rooms()
    True
    """
    for room in ROOMS:
        package = importlib.import_module(f"harness.{room}")
        names = (module.name for module in pkgutil.iter_modules(package.__path__, f"harness.{room}."))
        yield from (name for name in names if name not in OTHERS)


def load() -> None:
    """Import TensorFlow and the harness: a process that was forked finds all that it needs."""
    from harness.step import tensorflow as tf_setup

    tf_setup.import_tensorflow()
    import keras  # noqa: F401

    for name in rooms():
        importlib.import_module(name)
