"""The data of the kits: examples made on the spot from their ids, by any rank, at any size. No file, no network.

A function here is what `data.python` of a kit's job names: it returns a reader of as many examples as can be asked for, and
the job's `limit` says how many are evaluated. An example follows from its id alone, in integers, so that every machine makes
the same ones: the content hash of the certificate does not depend on the hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from harness.bench.keyed_noise import octets, small_integers

__all__ = [
    "CLASSES", "DOCUMENTS", "FEATURES", "MASKS", "MOST", "PATCH", "SIDE", "TOKENS", "TOPICS", "VOCABULARY", "NoiseReader",
    "colours", "integer", "patterns", "ranking", "segmentation", "table", "teacher", "text", "vision",
]  # fmt: skip

MOST = 1 << 31  # examples that a reader can make
BLOCK = 256  # made at a time

SIDE, PATCH, CLASSES = 32, 8, 10  # of an image: pixels a side, pixels of a patch's side, classes of images
SIGNAL = 4  # of 128: how much a class shows in a pixel
FEATURES, TOPICS = 16, 5  # of a table: columns, segments to slice by
DOCUMENTS = 16  # of a query
TOKENS, VOCABULARY = 32, 256
MASKS = 4  # classes of pixels

MAKE = Callable[[np.ndarray], Mapping[str, np.ndarray]]


class NoiseReader:
    """Makes examples from their ids.

    Args:
      make: from ids, int64 [n], to arrays [n, ...] by feature name.
    """

    def __init__(self, make: MAKE) -> None:
        self._make = make

    def __len__(self) -> int:
        return MOST

    def read(self, start: int, stop: int) -> Iterator[Mapping[str, np.ndarray]]:
        """Make examples [start, stop), a block at a time."""
        for first in range(start, stop, BLOCK):
            yield self._make(np.arange(first, min(first + BLOCK, stop), dtype=np.int64))


def vision() -> NoiseReader:
    """Images float32 [32, 32, 3] of noise, in which each of ten classes shows a faint pattern; label int64."""
    return NoiseReader(_vision)


def _vision(ids: np.ndarray) -> Mapping[str, np.ndarray]:
    label = small_integers(11, ids, 1, CLASSES)[:, 0]
    noise = octets(12, ids, SIDE * SIDE * 3).reshape(-1, SIDE, SIDE, 3).astype(np.int16) - 128
    pattern = patterns().repeat(PATCH, 1).repeat(PATCH, 2)[label]
    return {"image": ((noise + SIGNAL * pattern) / 128).astype(np.float32), "label": label}


def patterns() -> np.ndarray:
    """Return what shows a class of images: int16 [10, 4, 4, 3], 1 or -1 for each patch of 8 x 8 pixels and colour."""
    side = SIDE // PATCH
    return (2 * small_integers(13, np.arange(CLASSES), side * side * 3, 2) - 1).reshape(-1, side, side, 3).astype(np.int16)


def table() -> NoiseReader:
    """Rows of 16 numbers, float32; label 0 or 1, int64; a segment of five, int64, to slice by."""
    return NoiseReader(_table)


def _table(ids: np.ndarray) -> Mapping[str, np.ndarray]:
    features, score = _scored(ids, 21)
    luck = octets(23, ids, 4).astype(np.int64).sum(axis=1) - 510
    label = (score + 2 * luck > 0).astype(np.int64)
    return {"x": features, "label": label, "segment": small_integers(24, ids, 1, TOPICS)[:, 0]}


def _scored(ids: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features float32 [n, 16] in [-2, 2), and what the teacher makes of them, int64 [n]."""
    numbers = octets(seed, ids, FEATURES).astype(np.int64) - 128
    return (numbers / 64).astype(np.float32), numbers @ teacher(seed)


def teacher(seed: int) -> np.ndarray:
    """Return the whole-number weights that labels of a table follow: int64 [16], in [-4, 4)."""
    return small_integers(seed + 1, np.array([0]), FEATURES, 8)[0] - 4


def ranking() -> NoiseReader:
    """Documents of 16 numbers, float32, 16 to a query; relevance 0 to 3, int64; query int64."""
    return NoiseReader(_ranking)


def _ranking(ids: np.ndarray) -> Mapping[str, np.ndarray]:
    features, score = _scored(ids, 31)
    luck = 4 * (octets(33, ids, 1).astype(np.int64)[:, 0] - 128)
    relevance = np.digitize(score + luck, [0, 800, 1400]).astype(np.int64)
    return {"x": features, "relevance": relevance, "query": ids // DOCUMENTS}


def text() -> NoiseReader:
    """Token ids int32 [32] of 256, and the token that follows each, int32 [32]."""
    return NoiseReader(_text)


def _text(ids: np.ndarray) -> Mapping[str, np.ndarray]:
    noise = octets(41, ids, TOKENS + 1).astype(np.int64)
    tokens = np.empty((len(ids), TOKENS + 1), np.int64)
    tokens[:, 0] = noise[:, 0]
    for at in range(1, TOKENS + 1):
        # A quarter of the tokens is any of 256; the others are one of the four that may follow the one before.
        follows = 5 * tokens[:, at - 1] + (noise[:, at] & 3)
        tokens[:, at] = np.where(noise[:, at] < 64, 4 * noise[:, at] + at, follows) % VOCABULARY
    return {"tokens": tokens[:, :-1].astype(np.int32), "next": tokens[:, 1:].astype(np.int32)}


def segmentation() -> NoiseReader:
    """Images float32 [32, 32, 3], and a class of four for every pixel, int32 [32, 32]."""
    return NoiseReader(_segmentation)


def _segmentation(ids: np.ndarray) -> Mapping[str, np.ndarray]:
    side = SIDE // PATCH
    mask = small_integers(51, ids, side * side, MASKS).reshape(-1, side, side).repeat(PATCH, 1).repeat(PATCH, 2)
    noise = octets(52, ids, SIDE * SIDE * 3).reshape(-1, SIDE, SIDE, 3).astype(np.int16) - 128
    return {"image": ((noise + 16 * colours()[mask]) / 128).astype(np.float32), "mask": mask.astype(np.int32)}


def colours() -> np.ndarray:
    """Return what shows a class of pixels: int16 [4, 3], 1 or -1 for each colour."""
    return np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.int16)


def integer() -> NoiseReader:
    """Rows of 16 whole numbers in [-8, 8), as float32; label int64 of ten; a segment of five, int64."""
    return NoiseReader(_integer)


def _integer(ids: np.ndarray) -> Mapping[str, np.ndarray]:
    label = small_integers(61, ids, 1, CLASSES)[:, 0]
    marks = small_integers(62, np.arange(CLASSES), FEATURES, 5) - 2
    numbers = small_integers(63, ids, FEATURES, 12) - 6 + marks[label]
    return {
        "x": numbers.clip(-8, 7).astype(np.float32), "label": label, "segment": small_integers(64, ids, 1, TOPICS)[:, 0],
    }  # fmt: skip
