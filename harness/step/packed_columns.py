"""Columns of single numbers side by side: a pipeline takes time by the tensor, and a table has hundreds of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["PackedColumns"]

LEAST = 4  # columns that are worth it
PACK = "\0columns of "  # marks them among what was read; no column of a user has such a name


class PackedColumns:
    """Packs the columns of a block into one array of each dtype, and takes a batch of it apart in the graph.

    Args:
      raw: what is read of some examples, [n, ...] by name.
    """

    def __init__(self, raw: Mapping[str, np.ndarray]) -> None:
        by_dtype: dict[str, list[str]] = {}
        for name, array in raw.items():
            if array.ndim == 1 and array.dtype.kind in "biuf":
                by_dtype.setdefault(PACK + array.dtype.name, []).append(name)
        self._packs = {pack: names for pack, names in by_dtype.items() if len(names) >= LEAST}

    def pack(self, raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the columns of a block, [batches, B] each, packed as [batches, columns, B]; the others as they are."""
        packed = {pack: np.stack([raw[name] for name in names], axis=1) for pack, names in self._packs.items()}
        return {**{name: raw[name] for name in self._others(raw)}, **packed}

    def unpack(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of a batch, [B, ...] by name, in the graph."""
        columns = {name: raw[name] for name in self._others(raw)}
        for pack, names in self._packs.items():
            columns.update(zip(names, tf.unstack(raw[pack], num=len(names)), strict=True))
        return columns

    def _others(self, raw: Mapping[str, Any]) -> list[str]:
        packed = {name for names in self._packs.values() for name in names}
        return [name for name in raw if name not in packed and name not in self._packs]
