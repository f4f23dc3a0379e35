"""TensorFlow as a rank needs it: quiet, deterministic, on its own device and its share of the cores."""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.names.variables import THREADS
from harness.names.verbosity import LOG_LEVEL, is_verbose, quiet_stderr
from harness.ranks.comm import Comm, World
from harness.step.allocator import keep_freed_memory
from harness.version import __version__

__all__ = [
    "choose_device",
    "devices",
    "environment",
    "import_tensorflow",
    "op_determinism",
    "set_up",
    "software",
    "threads_per_rank",
]

BATCHES_AT_ONCE = 4  # predicted by a rank at the same time, at most

# Keras imports these where they are installed, for wrappers, plots and notebooks: a third of what importing TensorFlow takes.
UNUSED_BY_RANKS = ("IPython", "matplotlib", "sklearn")


def import_tensorflow() -> None:
    """Import TensorFlow, holding back what its libraries write before their logging can be set.

    Its 400,000 objects live as long as the process. Python's collector would look for garbage among them time and again
    during the import, and again while the step is traced: more than half a second a rank.
    """
    if "tensorflow" in sys.modules:
        return
    collecting = gc.isenabled()
    gc.disable()
    try:
        os.environ[LOG_LEVEL] = os.environ.get(LOG_LEVEL) or "3"
        with quiet_stderr(), _not_installed(*UNUSED_BY_RANKS):
            import tensorflow  # noqa: F401
        gc.freeze()
    finally:
        if collecting:
            gc.enable()


def threads_per_rank(world: World | Comm) -> int:
    """Share this machine's cores among its ranks."""
    given = THREADS.get() or os.environ.get("SLURM_CPUS_PER_TASK", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return max(1, len(os.sched_getaffinity(0)) // world.local_size)


@contextlib.contextmanager
def _not_installed(*names: str) -> Iterator[None]:
    """Let imports inside go without packages that were not imported before; afterwards they can be imported as ever."""
    hidden = {name: None for name in names if name not in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type]  # None says that there is no such module
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def environment() -> dict[str, Any]:
    """Return versions and the machine, for run.json."""
    import keras
    import tensorflow as tf

    return {
        "harness": __version__, "tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__,
        "python": platform.python_version(), "platform": platform.platform(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
    }  # fmt: skip


def software() -> str:
    """Return what the bits of a result may depend on: sums of different software are not added up."""
    versions = environment()
    return ", ".join(f"{name} {versions[name]}" for name in ("harness", "tensorflow", "keras", "numpy", "onednn"))


def set_up(local_rank: int, threads: int, seed: int, *, eager: bool = False) -> list[str]:
    """Choose this rank's device, threads and determinism, before TensorFlow does anything.

    Returns: the names of the devices this rank computes on.
    """
    import tensorflow as tf

    if not is_verbose():
        _quieten()
    keep_freed_memory()
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        # A scheduler that shows each rank one GPU leaves only one to choose.
        mine = gpus[local_rank % len(gpus)]
        tf.config.set_visible_devices(mine, "GPU")
        tf.config.experimental.set_memory_growth(mine, True)
    # A batch for each thread, rather than all threads on one batch: nothing waits between operations. With many threads the
    # batches at work would take too much memory.
    alone = threads <= BATCHES_AT_ONCE and not eager
    tf.config.threading.set_intra_op_parallelism_threads(1 if alone else threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.random.set_seed(seed)
    tf.config.experimental.enable_op_determinism()
    tf.config.run_functions_eagerly(eager)
    return devices()


def _quieten() -> None:
    """Leave out what TensorFlow, Keras and absl say through Python: of code that AutoGraph cannot read, of what is deprecated."""
    import tensorflow as tf
    from absl import logging

    tf.get_logger().setLevel("ERROR")
    logging.set_verbosity(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(absl|keras|tensorflow)(\.|$)")


def devices() -> list[str]:
    """Return the names of the devices this process computes on."""
    import tensorflow as tf

    visible = tf.config.get_visible_devices("GPU")
    return [str(tf.config.experimental.get_device_details(d).get("device_name", d.name)) for d in visible] or ["CPU"]


def choose_device(local_rank: int) -> None:
    """Take one of several GPUs for this rank, where nobody has taken or used any yet."""
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    if len(gpus) > 1:
        with contextlib.suppress(RuntimeError):  # TensorFlow has begun to compute: the choice was the user's
            tf.config.set_visible_devices(gpus[local_rank % len(gpus)], "GPU")


@contextlib.contextmanager
def op_determinism(on: bool) -> Iterator[None]:
    """Switch TensorFlow's op determinism on or off for a while, and then to what it was: training would pay for it.

    Off, tf.data begins pipelines that read ahead. On, it takes threads and prefetching out of every pipeline that Python
    feeds, whatever that does.
    """
    from tensorflow.python.framework import config  # neither asking nor switching it off is public

    switch = {True: config.enable_op_determinism, False: config.disable_op_determinism}
    before = config.is_op_determinism_enabled()
    switch[on]()
    try:
        yield
    finally:
        switch[before]()
