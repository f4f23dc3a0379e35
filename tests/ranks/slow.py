"""The real command line, but every chunk takes so many seconds to read: `slow.py SECONDS[:LOGS] evaluate JOB.yaml ...`.

The loop waits for it inside the graph, one chunk a call; commits come as often as they can. Where a folder for logs is
named, each process writes down there what it has finished (see work_log.py). Started by a launcher like harness itself, or
called in a process that has been forked.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.ranks import counted, work_log


def plant(seconds: float) -> None:
    """Make reading slow, and commits frequent."""
    from harness.folder import commit, file_rate
    from harness.step import tensorflow as tf_setup

    tf_setup.import_tensorflow()
    from harness.data.tfrecord import TFRecordSource
    from harness.step import array_feed
    from harness.step import step as tf_step

    read = TFRecordSource.read

    def slowly(self: Any, start: int, stop: int, size: int) -> Iterator[Any]:
        if stop - start > 1:
            time.sleep(seconds)
        yield from read(self, start, stop, size)

    TFRecordSource.read = slowly  # type: ignore[method-assign]
    draw = array_feed.ArrayFeed.draw

    def drawn_slowly(self: Any, chunks: int) -> Any:
        time.sleep(seconds)
        return draw(self, chunks)

    array_feed.ArrayFeed.draw = drawn_slowly  # type: ignore[method-assign]
    tf_step.CALL_CHUNKS = 1
    counted.plant()
    if counted.VARIABLE in os.environ:
        return  # commits come as they do
    commit.FIRST_S = commit.MOST_S = 0.0
    commit.COST_SHARE = 1.0
    file_rate.COMMITS = file_rate.FileRate(0, 1)
    commit.Committer.__init__.__kwdefaults__.update(first_s=0.0, most_s=0.0)  # type: ignore[attr-defined]


def main(argv: list[str]) -> None:
    from harness import cli

    seconds, _, logs = argv[0].partition(":")
    plant(float(seconds))
    if logs:
        work_log.plant(Path(logs))
    sys.argv = ["harness", *argv[1:]]
    cli.main(argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
