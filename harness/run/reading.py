"""How a run read its data: kept in the run folder, so that chunks can be read and hashed again without its model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.data import Feature, Kind, Source
from harness.data.content import ContentHash, signed
from harness.plan.plan import Plan
from harness.prepare.input_binding import Matched

__all__ = ["Reading"]

EXAMPLES_AT_ONCE = 256  # that are hashed


@dataclass(frozen=True)
class Reading:
    """How a run read its data, so that chunks can be hashed again without its model.

    Attributes:
      features: that were parsed. hashed: raw tensors whose contents are certified. skip: whether bad records are skipped.
    """

    features: Mapping[str, Feature]
    hashed: tuple[str, ...]
    skip: bool

    @classmethod
    def of(cls, source: Source, matched: Matched, *, skip: bool) -> Reading:
        """Return how the pipeline of a job reads; see `harness/step/feed.py`."""
        hashed = source.reads(matched.wanted if matched.hashed is None else matched.hashed)
        return cls(matched.wanted, tuple(sorted(hashed)), skip)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes; JSON can hold it.

        >>> import json
        >>> reading = Reading({"x": Feature("float32", (None, 3), Kind.VARIABLE, 0)}, ("x",), True)
        >>> Reading.from_dict(json.loads(json.dumps(reading.to_dict()))) == reading
        True
        """
        features = {n: [f.dtype, list(f.shape), f.kind.value, f.pad, list(f.keys)] for n, f in self.features.items()}
        return {"features": features, "hashed": list(self.hashed), "skip": self.skip}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Reading:
        """Return the reading that `to_dict` took apart.

        Raises: ValueError, TypeError, KeyError, AttributeError: it is something else.
        """
        features = {
            name: Feature(dtype, tuple(shape), Kind(kind), pad, tuple(keys))
            for name, (dtype, shape, kind, pad, keys) in raw["features"].items()
        }
        return cls(features, tuple(raw["hashed"]), bool(raw["skip"]))

    def contents(self, source: Source, plan: Plan, chunks: Iterable[int], moved: Callable[[], None]) -> dict[int, int]:
        """Read chunks again; return their content hashes.

        Raises: DataError: they cannot be read.
        """
        selected = source.select(self.features, skip=self.skip)
        hasher = ContentHash(self.hashed)
        hashes: dict[int, int] = {}
        for index in chunks:
            chunk, known = plan[index], selected.known_content(index)
            if known is None:
                known = signed(sum(hasher.of(records) for records in selected.read(chunk.start, chunk.stop, EXAMPLES_AT_ONCE)))
            hashes[index] = known
            moved()
        return hashes
