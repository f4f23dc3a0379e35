"""Faults, planted in the reader of TFRecord files: what:where, where is the id of the example at which it happens.

Others make reading, or the sum over ranks, slow: slow-read:SECONDS[:RANK:SECONDS_OF_OTHERS], slow-sum:SECONDS.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

BATCH = 16  # of the jobs that faults are planted in


def batches(found: Iterator[Any]) -> Iterator[Any]:
    """Cut what a reader hands out into batches: it may be many at a time."""
    for records in found:
        for at in range(0, len(records.ids), BATCH):
            yield records.cut(at, at + BATCH)


def drop_batch(read: Any, at: int) -> Any:
    """Leave out the batch that holds an example."""

    def faulty(self: Any, start: int, stop: int, size: int) -> Iterator[Any]:
        for records in batches(read(self, start, stop, size)):
            if stop - start == 1 or at not in records.ids:
                yield records

    return faulty


def double_batch(read: Any, at: int) -> Any:
    """Hand out the batch that holds an example twice."""

    def faulty(self: Any, start: int, stop: int, size: int) -> Iterator[Any]:
        for records in batches(read(self, start, stop, size)):
            yield records
            if stop - start > 1 and at in records.ids:
                yield records

    return faulty


def shift(read: Any, at: int) -> Any:
    """Read every run that holds an example one record too far on."""

    def faulty(self: Any, start: int, stop: int, size: int) -> Iterator[Any]:
        off = 1 if stop - start > 1 and start <= at < stop else 0
        yield from read(self, start + off, stop + off, size)

    return faulty


def swap(read: Any, at: int) -> Any:
    """Hand out an example in the place of its neighbour: the count is right, the examples are not."""

    def faulty(self: Any, start: int, stop: int, size: int) -> Iterator[Any]:
        for records in read(self, start, stop, size):
            if stop - start > 1 and at in records.ids:
                ids = records.ids.copy()
                ids[ids == at] = at + 1
                records = dataclasses.replace(records, ids=ids)
            yield records

    return faulty


def fail(read: Any, at: int, how: str) -> Any:
    """Raise, die or hang where an example is read."""

    def faulty(self: Any, start: int, stop: int, size: int) -> Iterator[Any]:
        for records in read(self, start, stop, size):
            if stop - start > 1 and at in records.ids:
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if how == "hang":
                    time.sleep(600)
                raise RuntimeError("planted by the test")
            yield records

    return faulty


def slow_read(read: Any, where: str) -> Any:
    """Take so many seconds for a thousand examples; where a rank is named the others take less: SECONDS[:RANK:SECONDS]."""
    from harness.ranks.comm import World

    seconds, *special = where.split(":")
    if special and World.from_environment().rank != int(special[0]):
        seconds = special[1]

    def faulty(self: Any, start: int, stop: int, size: int) -> Iterator[Any]:
        for records in read(self, start, stop, size):
            time.sleep(float(seconds) * len(records.ids) / 1000)
            yield records

    return faulty


def slow_sum(seconds: float) -> None:
    """Make every sum over the ranks slow."""
    from harness.ranks.horovod_comm import HorovodComm

    whole = HorovodComm.sum

    def slowly(self: Any, vector: Any) -> Any:
        time.sleep(seconds)
        return whole(self, vector)

    HorovodComm.sum = slowly  # type: ignore[method-assign]


def plant(fault: str) -> None:
    """Put a fault into this process."""
    from harness.data.tfrecord import TFRecordSource

    what, _, where = fault.partition(":")
    if what == "slow-sum":
        slow_sum(float(where))
        return
    if what == "slow-read":
        TFRecordSource.read = slow_read(TFRecordSource.read, where)  # type: ignore[method-assign]
        return
    kinds = {"drop": drop_batch, "double": double_batch, "shift": shift, "swap": swap}
    read = TFRecordSource.read
    faulty = kinds[what](read, int(where)) if what in kinds else fail(read, int(where), what)
    TFRecordSource.read = faulty  # type: ignore[method-assign]
