"""Reading on the host: chunks of a source as blocks of whole batches, the short one padded. NumPy; knows no graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from harness.data import Records, Source
from harness.data.block_size import BlockSize, size_of
from harness.plan.plan import Chunk

__all__ = ["block_of", "read_runs"]


def read_runs(source: Source, chunk: Chunk, block_size: BlockSize) -> Iterator[Records]:
    """Read a chunk, whole batches at a time; where they turn out to be large, fewer from there on."""
    at = chunk.start
    block_size.begin()
    while at < chunk.stop:
        most = block_size.examples
        for records in _whole_batches(source.read(at, chunk.stop, most), most, block_size.unit):
            yield records
            at += len(records.ids)
            block_size.learn(len(records.ids), size_of(records.raw.values()))
            if block_size.examples != most:
                break
        else:
            return  # what is missing, the certificate sees


def block_of(records: Records, chunk: Chunk, batch_size: int, *, final: bool) -> dict[str, Any]:
    """Cut records into batches, the last one padded: what batches hold, [batches, B, ...], features still raw.

    Args:
      records: of one chunk.
      chunk: that chunk.
      batch_size: B.
      final: whether they are the chunk's last ones.
    """
    examples = len(records.ids)
    batches = -(-examples // batch_size)
    counts = np.full(batches, batch_size, np.int32)
    counts[-1] = examples - batch_size * (batches - 1)
    return {
        "ids": _in_batches(records.ids, batch_size),
        "count": counts,
        "chunk": np.full(batches, chunk.index, np.int64),
        "last": np.arange(batches) == (batches - 1 if final else -1),
        "raw": {name: _in_batches(array, batch_size) for name, array in records.raw.items()},
    }


def _whole_batches(runs: Iterable[Records], size: int, batch_size: int) -> Iterator[Records]:
    """Join runs that the end of a file, or of what was decoded, cut short: batches are runs of the chunk.

    Short runs are joined until they are `size` together; of a run that is long by itself only its last, broken batch is copied.
    """
    rest: list[Records] = []
    for records in runs:
        held = sum(len(part.ids) for part in rest)
        if not rest and len(records.ids) == size:
            yield records
        elif held + len(records.ids) < size:
            rest.append(records)
        else:
            if len(rest) == 1 and held >= batch_size:
                yield rest[0].cut(0, held - held % batch_size)
                rest = [rest[0].cut(held - held % batch_size, held)] if held % batch_size else []
            missing = min(-held % batch_size, len(records.ids))
            if rest:
                yield _join([*rest, records.cut(0, missing)])
            rest = [records.cut(missing, None)] if missing < len(records.ids) else []
    if rest:
        yield _join(rest)


def _join(parts: list[Records]) -> Records:
    if len(parts) == 1:
        return parts[0]
    names = parts[0].raw
    return Records(
        np.concatenate([part.ids for part in parts]),
        {name: np.concatenate([part.raw[name] for part in parts]) for name in names},
        None if parts[0].words is None else np.concatenate([part.words for part in parts if part.words is not None]),
    )


def _in_batches(array: np.ndarray, size: int) -> np.ndarray:
    """Cut an array, [n, ...], into batches [batches, B, ...]; a short one repeats its first example.

    >>> _in_batches(np.array([1, 2, 3, 4, 5]), 3).tolist()
    [[1, 2, 3], [4, 5, 4]]
    """
    examples = len(array)
    if missing := -examples % size:
        first = examples - examples % size
        array = np.concatenate([array, np.repeat(array[first : first + 1], missing, axis=0)])
    return array.reshape(len(array) // size, size, *array.shape[1:])
