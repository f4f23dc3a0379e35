"""The real command line, but one rank is slow: `slowed.py RANK TIMES evaluate JOB.yaml ...`.

After each call of the compiled step but the first, in which TensorFlow makes itself ready, it sleeps TIMES as long as the
call took, holding no lock. Each rank has a core of its own, where there are enough.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any


def plant(times: float) -> None:
    """Make this process slow."""
    from harness.step import tensorflow as tf_setup

    tf_setup.import_tensorflow()
    from harness.step.step import Step

    run = Step.run
    calls = 0

    def slowly(self: Any, most: int | None = None) -> Any:
        nonlocal calls
        begun = time.monotonic()
        sums = run(self, most)
        calls += 1
        time.sleep(times * (time.monotonic() - begun) if calls > 1 else 0.0)
        return sums

    Step.run = slowly  # type: ignore[method-assign]


def main(rank: int, times: float, argv: list[str]) -> None:
    from harness import cli
    from harness.ranks.comm import World

    world, cores = World.from_environment(), sorted(os.sched_getaffinity(0))
    if len(cores) >= world.size:
        os.sched_setaffinity(0, {cores[world.rank]})
    if world.rank == rank:
        plant(times)
    sys.argv = ["harness", *argv]
    cli.main(argv)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
