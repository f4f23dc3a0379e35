"""The real command line, but one rank reads slowly: `slow_reader.py RANK SECONDS evaluate JOB.yaml ...`, so many for each chunk."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any


def plant(seconds: float) -> None:
    """Make reading slow, in this process."""
    from harness.step import tensorflow as tf_setup

    tf_setup.import_tensorflow()
    from harness.data.tfrecord import TFRecordSource
    from harness.step import step as tf_step

    read = TFRecordSource.read

    def slowly(self: Any, start: int, stop: int, size: int) -> Iterator[Any]:
        if stop - start > 1:
            time.sleep(seconds)
        yield from read(self, start, stop, size)

    TFRecordSource.read = slowly  # type: ignore[method-assign]
    tf_step.CALL_CHUNKS = 1


def main(rank: int, seconds: float, argv: list[str]) -> None:
    from harness import cli
    from harness.ranks.comm import World

    plant(seconds if World.from_environment().rank == rank else seconds / 6)
    sys.argv = ["harness", *argv]
    cli.main(argv)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
